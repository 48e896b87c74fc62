"""`GET /api/health/details`: what was looked at, and what it showed."""

from __future__ import annotations

import azure.functions as func

from shared.functions.entry import NO_CONTEXT, response_of, sealed, set_up
from shared.health.http import get_details

set_up()


def main(
    req: func.HttpRequest,  # noqa: ARG001 - the host passes it by its name
    context: func.Context = NO_CONTEXT,
) -> func.HttpResponse:
    """Answer one request."""
    return sealed("RestoreHealthDetails", context, lambda: response_of(get_details()))
