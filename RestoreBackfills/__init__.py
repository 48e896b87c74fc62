"""`POST /api/backfills`: restore many days. `GET` and `DELETE` with an id: follow one, stop it. `GET` lists them."""

from __future__ import annotations

from shared.functions.entry import http_function
from shared.functions.first_call import backfills

main = http_function("RestoreBackfills", backfills)
