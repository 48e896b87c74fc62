"""`POST /api/backfills`: restore many days. `GET` and `DELETE` with an id: follow one, stop it. `GET` lists them."""

from __future__ import annotations

import azure.functions as func

from shared.backfills.http import backfills
from shared.functions.entry import NO_CONTEXT, call_of, response_of, sealed, set_up

set_up()


def main(req: func.HttpRequest, context: func.Context = NO_CONTEXT) -> func.HttpResponse:
    """Answer one request."""
    return sealed("RestoreBackfills", context, lambda: response_of(backfills(call_of(req, context))))
