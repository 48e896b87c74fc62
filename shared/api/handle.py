"""`POST /api/restore`: the bytes of a request -> status, headers and body of its answer. Knows no Azure Functions."""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from shared.api.log_line import log_line, progress_line, start_line
from shared.api.parse import parse_request, require_json
from shared.api.render import error_answer, success_answer
from shared.errors import InternalError, RestoreError
from shared.log_redaction import OUR_LOGGER
from shared.model.answer import Answer, ErrorAnswer
from shared.model.report import Report
from shared.process import invocation, start_thread
from shared.restore.restore import restore
from shared.settings import load_settings

_log = logging.getLogger(OUR_LOGGER)


@dataclass(frozen=True)
class HttpAnswer:
    """An HTTP answer.

    Attributes:
        status: HTTP's status code.
        headers: those beside the content type, which is `application/json; charset=utf-8`.
        body: a JSON object, since Data Factory takes nothing else.
    """

    status: int
    headers: dict[str, str]
    body: str


def handle_restore(
    body: bytes, content_type: str | None = None, *, join: Callable[[], None] = lambda: None
) -> HttpAnswer:
    """Run one restore.

    Args:
        body: the JSON that `docs/request.md` describes.
        content_type: the header of this name; None if there is none.
        join: is called first in each thread that the restore starts. It makes the host keep the thread's log lines.

    Returns:
        200 with the report, or an error with its code also in the header `x-ms-error-code`. Raises nothing.
    """
    report = Report(request_id=str(uuid.uuid4()))
    try:
        if body:
            require_json(content_type)
        settings = load_settings()
        request = parse_request(
            body,
            default_account_url=settings.adls_account_url_default,
            default_filesystem=settings.adls_filesystem_default,
        )
        report.describe(request)
        _log.info("%s", start_line(report))
        with invocation(join), _progress_lines(report, settings.log_progress_seconds):
            restore(request, settings, report)
    except RestoreError as error:
        return _failed(report, error)
    except Exception:  # noqa: BLE001 - the last line of defence: a caller gets JSON, whatever happened
        return _failed(report, InternalError("see the traceback under this request_id"))
    finally:
        report.progress.end()
    _log.log(logging.WARNING if report.warnings else logging.INFO, "%s", log_line(report))
    return _json(200, success_answer(report), report.request_id)


@contextmanager
def _progress_lines(report: Report, every_seconds: int) -> Iterator[None]:
    """Log how far the restore is, every so many seconds; 0: never."""
    if not every_seconds:
        yield
        return
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(every_seconds):
            _log.info("%s", progress_line(report))

    thread = start_thread(run, name="progress")
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _failed(report: Report, error: RestoreError) -> HttpAnswer:
    # What the caller can mend is a warning; what an operator must look at is an error.
    level = logging.ERROR if error.status >= 500 else logging.WARNING  # noqa: PLR2004 - HTTP's own border
    _log.log(level, "%s", log_line(report, error), exc_info=isinstance(error, InternalError))
    return _json(error.status, error_answer(error, report.request_id), report.request_id, error.code)


def _json(status: int, body: Answer | ErrorAnswer, request_id: str, error_code: str | None = None) -> HttpAnswer:
    headers = {"x-ms-request-id": request_id}
    if error_code is not None:
        headers["x-ms-error-code"] = error_code
    return HttpAnswer(status, headers, json.dumps(body, ensure_ascii=False, indent=2) + "\n")
