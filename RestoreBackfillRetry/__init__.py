"""`POST /api/backfills/{id}/retry`: restore the days once more that are not in."""

from __future__ import annotations

import azure.functions as func

from shared.backfills.http import retry
from shared.functions.entry import NO_CONTEXT, call_of, response_of, sealed, set_up

set_up()


def main(req: func.HttpRequest, context: func.Context = NO_CONTEXT) -> func.HttpResponse:
    """Answer one request."""
    return sealed("RestoreBackfillRetry", context, lambda: response_of(retry(call_of(req))))
