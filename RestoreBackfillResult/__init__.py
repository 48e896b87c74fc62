"""`GET /api/backfills/{id}/result`: 202 until a backfill has ended, then its answer. Its token is the key."""

from __future__ import annotations

import azure.functions as func

from shared.backfills.http import result
from shared.functions.entry import NO_CONTEXT, call_of, response_of, sealed, set_up

set_up()


def main(req: func.HttpRequest, context: func.Context = NO_CONTEXT) -> func.HttpResponse:
    """Answer one request."""
    return sealed("RestoreBackfillResult", context, lambda: response_of(result(call_of(req))))
