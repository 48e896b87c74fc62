"""`GET /api/days`: which days of a table are archived, which it holds, which were restored."""

from __future__ import annotations

from shared.functions.entry import http_function
from shared.functions.first_call import get_days

main = http_function("RestoreDays", get_days)
