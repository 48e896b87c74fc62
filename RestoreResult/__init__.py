"""`GET /api/restores/{id}/result`: 202 until a restore has ended, then its answer. Its token is the key."""

from __future__ import annotations

import azure.functions as func

from shared.functions.entry import NO_CONTEXT, call_of, response_of, sealed, set_up
from shared.jobs.http import get_result

set_up()


def main(req: func.HttpRequest, context: func.Context = NO_CONTEXT) -> func.HttpResponse:
    """Answer one request."""
    return sealed("RestoreResult", context, lambda: response_of(get_result(call_of(req))))
