"""`POST /api/restore`: one HTTP request is one restore, answered at its end, or taken for the queue."""

from __future__ import annotations

from shared.functions.entry import http_function
from shared.jobs.http import post_restore
from shared.process import current_join

main = http_function("RestoreChunk", lambda call: post_restore(call, join=current_join()))
