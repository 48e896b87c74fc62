"""`POST /api/backfills/{id}/retry`: restore the days once more that are not in."""

from __future__ import annotations

from shared.backfills.http import retry
from shared.functions.entry import http_function

main = http_function("RestoreBackfillRetry", retry)
