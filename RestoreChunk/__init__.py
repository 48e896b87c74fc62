"""`POST /api/restore`: one HTTP request is one restore, answered at its end, or taken for the queue."""

from __future__ import annotations

from shared.functions.entry import http_function
from shared.functions.first_call import post_restore

main = http_function("RestoreChunk", post_restore)
