"""`GET /api/restores/{id}/result`: 202 until a restore has ended, then its answer. Its token is the key."""

from __future__ import annotations

from shared.functions.entry import http_function
from shared.functions.first_call import get_result

main = http_function("RestoreResult", get_result)
