"""`POST /api/restore`: one HTTP request is one restore, answered at its end, or taken for the queue."""

from __future__ import annotations

import azure.functions as func

from shared.functions.entry import NO_CONTEXT, call_of, join_of, response_of, sealed, set_up
from shared.jobs.http import post_restore

set_up()


def main(req: func.HttpRequest, context: func.Context = NO_CONTEXT) -> func.HttpResponse:
    """Answer one request. Its body is the JSON that `docs/request.md` describes."""
    return sealed(
        "RestoreChunk", context, lambda: response_of(post_restore(call_of(req, context), join=join_of(context)))
    )
