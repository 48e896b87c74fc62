"""`POST /api/restore`: one HTTP request is one restore. `shared/api/handle.py` is what it does."""

from __future__ import annotations

import logging

import azure.functions as func

from shared.api.handle import handle_restore
from shared.log_redaction import redact_logs
from shared.process import limit_heap_retention

# The storage SDK logs every request and its headers at INFO.
logging.getLogger("azure").setLevel(logging.WARNING)
redact_logs()
limit_heap_retention()


def main(req: func.HttpRequest, context: func.Context | None = None) -> func.HttpResponse:  # noqa: ARG001
    """Answer one request.

    Args:
        req: its body is the JSON that `docs/request.md` describes.
        context: of the invocation; None outside the Functions host.
    """
    answer = handle_restore(req.get_body())
    return func.HttpResponse(
        answer.body, status_code=answer.status, headers=answer.headers, mimetype="application/json", charset="utf-8"
    )
