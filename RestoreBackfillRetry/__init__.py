"""`POST /api/backfills/{id}/retry`: restore the days once more that are not in."""

from __future__ import annotations

from shared.functions.entry import http_function
from shared.functions.first_call import retry_backfill

main = http_function("RestoreBackfillRetry", retry_backfill)
