"""`GET` and `DELETE /api/restores/{id}`: see how far a restore is, or cancel it. `GET /api/restores` lists them."""

from __future__ import annotations

from shared.functions.entry import http_function
from shared.functions.first_call import get_restores

main = http_function("RestoreStatus", get_restores)
