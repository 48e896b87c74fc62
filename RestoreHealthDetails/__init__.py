"""`GET /api/health/details`: what was looked at, and what it showed."""

from __future__ import annotations

from shared.functions.entry import http_function
from shared.functions.first_call import get_health_details

main = http_function("RestoreHealthDetails", get_health_details)
