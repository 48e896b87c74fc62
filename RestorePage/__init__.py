"""`GET /api/ui`: the page. It holds no data, and asks the other functions with the key of the person before it."""

from __future__ import annotations

import azure.functions as func

from shared.functions.entry import sealed, set_up
from shared.page.page import page, page_headers

set_up()


def main(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001 - the host passes it by its name
    """Return the page."""
    return sealed(
        "RestorePage",
        lambda: func.HttpResponse(page(), headers=page_headers(), mimetype="text/html", charset="utf-8"),
    )
