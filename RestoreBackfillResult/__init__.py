"""`GET /api/backfills/{id}/result`: 202 until a backfill has ended, then its answer. Its token is the key."""

from __future__ import annotations

from shared.backfills.http import result
from shared.functions.entry import http_function

main = http_function("RestoreBackfillResult", result)
