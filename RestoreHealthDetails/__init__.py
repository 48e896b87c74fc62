"""`GET /api/health/details`: what was looked at, and what it showed."""

from __future__ import annotations

from shared.functions.entry import http_function
from shared.health.http import get_details

main = http_function("RestoreHealthDetails", lambda _: get_details())
