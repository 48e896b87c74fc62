"""`GET` and `DELETE /api/restores/{id}`: see how far a restore is, or cancel it. `GET /api/restores` lists them."""

from __future__ import annotations

import azure.functions as func

from shared.functions.entry import NO_CONTEXT, call_of, response_of, sealed, set_up
from shared.jobs.http import get_restores

set_up()


def main(req: func.HttpRequest, context: func.Context = NO_CONTEXT) -> func.HttpResponse:
    """Answer one request."""
    return sealed("RestoreStatus", context, lambda: response_of(get_restores(call_of(req))))
