"""`POST /api/restore`: one HTTP request is one restore. No SQL, no I/O and no rules here."""

from __future__ import annotations

import json
import logging
import uuid

import azure.functions as func

from shared.allocator import give_large_blocks_back
from shared.answer import Answer, ErrorAnswer
from shared.answer_body import error_answer, success_answer
from shared.errors import InternalError, RestoreError
from shared.log_guard import guard_logs
from shared.log_line import log_line
from shared.report import Report
from shared.request_json import parse_request
from shared.restore import restore
from shared.settings import load_settings

_log = logging.getLogger("restore_chunk")

# The storage SDK logs every request and its headers at INFO.
logging.getLogger("azure").setLevel(logging.WARNING)
guard_logs()
give_large_blocks_back()


def main(req: func.HttpRequest) -> func.HttpResponse:
    """Answer one request.

    Args:
        req: its body is the JSON that `docs/request.md` describes.

    Returns:
        200 with the report, or an error with its code also in the header `x-ms-error-code`. Always a JSON
        object, since Data Factory takes nothing else.
    """
    report = Report(request_id=str(uuid.uuid4()))
    try:
        settings = load_settings()
        request = parse_request(
            req.get_body(),
            default_account_url=settings.adls_account_url_default,
            default_filesystem=settings.adls_filesystem_default,
        )
        report.describe(request)
        restore(request, settings, report)
    except RestoreError as error:
        return _failed(report, error)
    except Exception:  # noqa: BLE001 - the last line of defence: a caller gets JSON, whatever happened
        return _failed(report, InternalError("see the traceback under this request_id"))
    _log.log(logging.WARNING if report.warnings else logging.INFO, "%s", log_line(report))
    return _json(200, success_answer(report), report.request_id)


def _failed(report: Report, error: RestoreError) -> func.HttpResponse:
    # What the caller can mend is a warning; what an operator must look at is an error.
    level = logging.ERROR if error.status >= 500 else logging.WARNING  # noqa: PLR2004 - HTTP's own border
    _log.log(level, "%s", log_line(report, error), exc_info=isinstance(error, InternalError))
    return _json(error.status, error_answer(error, report.request_id), report.request_id, error.code)


def _json(status: int, body: Answer | ErrorAnswer, request_id: str, error_code: str | None = None) -> func.HttpResponse:
    headers = {"x-ms-request-id": request_id}
    if error_code is not None:
        headers["x-ms-error-code"] = error_code
    return func.HttpResponse(
        json.dumps(body, ensure_ascii=False, indent=2) + "\n",
        status_code=status,
        headers=headers,
        mimetype="application/json",
        charset="utf-8",
    )
