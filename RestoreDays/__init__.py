"""`GET /api/days`: which days of a table are archived, which it holds, which were restored."""

from __future__ import annotations

from shared.calendar.http import get_days
from shared.functions.entry import http_function

main = http_function("RestoreDays", get_days)
