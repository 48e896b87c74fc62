"""`POST /api/restore`: one HTTP request is one restore. `shared/api/handle.py` is what it does."""

from __future__ import annotations

import logging
from typing import Any

import azure.functions as func

from shared.api.handle import handle_restore
from shared.log_redaction import redact_logs
from shared.process import limit_heap_retention

# The SDKs log every request and its headers at INFO. Not "azure" as a whole: `azure.functions` is the host's own log.
for _name in ("azure.core", "azure.storage", "azure.identity"):
    logging.getLogger(_name).setLevel(logging.WARNING)
redact_logs()
limit_heap_retention()


# The worker loads no function whose `context` is annotated otherwise than `Context`, nor with `Context | None`
# (azure_functions_runtime_v1 1.2, functions.py). Before Python 3.11 a default of None makes it such a union.
_NO_CONTEXT: Any = object()


def main(req: func.HttpRequest, context: func.Context = _NO_CONTEXT) -> func.HttpResponse:
    """Answer one request.

    Args:
        req: its body is the JSON that `docs/request.md` describes.
        context: of the invocation; left out where no Functions host calls.
    """

    def join() -> None:
        # The host drops a log line from a thread that has no invocation id.
        if context not in (None, _NO_CONTEXT):
            local: Any = context.thread_local_storage
            local.invocation_id = context.invocation_id

    answer = handle_restore(req.get_body(), req.headers.get("Content-Type"), join=join)
    return func.HttpResponse(
        answer.body, status_code=answer.status, headers=answer.headers, mimetype="application/json", charset="utf-8"
    )
