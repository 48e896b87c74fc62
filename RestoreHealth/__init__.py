"""`GET /api/health`: whether the app is well, for probes."""

from __future__ import annotations

from shared.functions.entry import http_function
from shared.functions.first_call import get_health

main = http_function("RestoreHealth", get_health)
