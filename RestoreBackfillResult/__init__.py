"""`GET /api/backfills/{id}/result`: 202 until a backfill has ended, then its answer. Its token is the key."""

from __future__ import annotations

from shared.functions.entry import http_function
from shared.functions.first_call import backfill_result

main = http_function("RestoreBackfillResult", backfill_result)
