"""`GET /api/health`: whether the app is well, for probes."""

from __future__ import annotations

from shared.functions.entry import http_function
from shared.health.http import get_health

main = http_function("RestoreHealth", lambda _: get_health())
