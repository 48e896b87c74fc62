"""`GET /api/ui`: the page. It holds no data, and asks the other functions with the key of the person before it."""

from __future__ import annotations

import azure.functions as func

from shared.functions.entry import NO_CONTEXT, sealed, set_up
from shared.page.page import page, page_headers

set_up()


def main(
    req: func.HttpRequest,  # noqa: ARG001 - the host passes it by its name
    context: func.Context = NO_CONTEXT,
) -> func.HttpResponse:
    """Return the page."""
    return sealed(
        "RestorePage",
        context,
        lambda: func.HttpResponse(page(), headers=page_headers(), mimetype="text/html", charset="utf-8"),
    )
