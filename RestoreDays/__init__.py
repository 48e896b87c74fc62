"""`GET /api/days`: which days of a table are archived, which it holds, which were restored."""

from __future__ import annotations

import azure.functions as func

from shared.calendar.http import get_days
from shared.functions.entry import NO_CONTEXT, call_of, response_of, sealed, set_up

set_up()


def main(req: func.HttpRequest, context: func.Context = NO_CONTEXT) -> func.HttpResponse:
    """Answer one request."""
    return sealed("RestoreDays", context, lambda: response_of(get_days(call_of(req))))
