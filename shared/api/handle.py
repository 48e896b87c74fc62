"""What the HTTP functions and the queue worker share: run a restore, log how it ended, make the answer."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from shared.api.call import new_request_id
from shared.api.log_line import log_line, progress_line, start_line
from shared.api.parse import parse_for, require_json
from shared.api.render import error_answer, internal_error, success_answer
from shared.errors import InternalError, RestoreError
from shared.log_redaction import OUR_LOGGER
from shared.model.answer import WarningNote
from shared.model.report import Report, Work
from shared.model.request import RestoreRequest
from shared.process import MIB, give_back_memory, invocation, repeating
from shared.settings import Settings, load_settings

if TYPE_CHECKING:
    from shared.restore.after_commit import PutOff
    from shared.restore.restore import BeforeCommit

_log = logging.getLogger(OUR_LOGGER)

# Of an archive as stored. The memory of a smaller one is not worth the time.
_LARGE_BYTES = 4 * MIB
# https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
WITH_RETRY_AFTER = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)


@dataclass(frozen=True)
class HttpAnswer:
    """An HTTP answer.

    Attributes:
        status: HTTP's status code.
        headers: those beside the content type, which is `application/json; charset=utf-8`, except that of the page.
        body: a JSON object, since Data Factory takes nothing else; or the page.
    """

    status: int
    headers: dict[str, str]
    body: str


@dataclass(frozen=True)
class Reply:
    """How a restore or a call ended: the answer to its caller, and the error behind it; None after a success."""

    answer: HttpAnswer
    error: RestoreError | None


def new_report(work: Work = "restore") -> Report:
    """Return the report of work that begins."""
    return Report(new_request_id(), work)


def answer_request(request_id: str, answer: Callable[[], HttpAnswer]) -> HttpAnswer:
    """Answer a request that does not run a restore. See `replied`."""
    return replied(Report(request_id, "call"), answer).answer


def read_request(body: bytes, content_type: str | None) -> tuple[RestoreRequest, Settings]:
    """Read a request, and the settings that it is read by.

    Raises:
        RestoreError: as `parse_for` and `load_settings`, and if the body is not sent as JSON.
    """
    if body:
        require_json(content_type)
    settings = load_settings()
    return parse_for(body, settings), settings


def run_restore(
    request: RestoreRequest,
    settings: Settings,
    report: Report,
    *,
    join: Callable[[], None],
    before_commit: BeforeCommit | None = None,
    put_off: PutOff | None = None,
) -> None:
    """Run one restore, with its lines in the log.

    Raises:
        RestoreError: as `restore`.
    """
    # Not at the top: a call that only asks how far a restore is loads this module, too.
    from shared.restore.restore import restore  # noqa: PLC0415

    report.describe(request)
    _write(report, logging.INFO, lambda: start_line(report))
    try:
        with invocation(join), _progress_lines(report, settings.log_progress_seconds):
            restore(request, settings, report, before_commit, put_off)
    finally:
        if (report.compressed_bytes or 0) >= _LARGE_BYTES:
            give_back_memory()


def answered(report: Report, work: Callable[[], None]) -> Reply:
    """Do the work, log how it ended, and make the answer. Raises no `Exception`.

    Args:
        report: is filled by the work.
        work: raises a `RestoreError` if it fails.
    """

    def answer() -> HttpAnswer:
        try:
            work()
        finally:
            report.progress.end()
        _write(report, logging.WARNING if report.warnings else logging.INFO, lambda: log_line(report))
        return json_reply(HTTPStatus.OK, success_answer(report), request_id=report.request_id)

    return replied(report, answer)


def replied(report: Report, answer: Callable[[], HttpAnswer]) -> Reply:
    """Return an answer, or that of the error that came up. Raises no `Exception`.

    Args:
        report: names the request.
        answer: makes the answer.
    """
    try:
        try:
            return Reply(answer(), None)
        except RestoreError as error:
            return failed(report, error)
    except Exception:  # noqa: BLE001 - the last line of defence: a caller gets JSON, whatever happened
        bug = InternalError("see the traceback under this request_id")
        _write(report, logging.ERROR, lambda: log_line(report, bug), exc_info=True)
        body = internal_error(report)
        return Reply(json_reply(bug.status, body, request_id=report.request_id, error_code=bug.code), bug)


def _write(report: Report, level: int, line: Callable[[], str], *, exc_info: bool = False) -> None:
    """Write a line to the log. A failure to do so affects neither the restore nor its answer."""
    try:
        _log.log(level, "%s", line(), exc_info=exc_info)
    except Exception:  # noqa: BLE001 - a line of the log is worth less than the answer
        with suppress(Exception):
            _log.error("a line of the log of request_id=%s was lost", report.request_id, exc_info=True)


@contextmanager
def _progress_lines(report: Report, every_seconds: int) -> Iterator[None]:
    """Log the restore's progress at an interval in seconds; 0: never."""
    if not every_seconds:
        yield
        return

    def write() -> bool:
        _write(report, logging.INFO, lambda: progress_line(report))
        return True

    with repeating(write, every_seconds, name="progress"):
        yield


def failed(report: Report, error: RestoreError, warnings: Sequence[WarningNote] = ()) -> Reply:
    """Log an error, and reply with it."""
    log_error(report, error)
    return Reply(error_reply(report, error, warnings), error)


def log_error(report: Report, error: RestoreError) -> None:
    """Write the line of a restore or a call that failed."""
    # An error that the caller can correct is a warning; one that an operator must look at is an error.
    level = logging.ERROR if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR else logging.WARNING
    _write(report, level, lambda: log_line(report, error), exc_info=isinstance(error, InternalError))


def error_reply(report: Report, error: RestoreError, warnings: Sequence[WarningNote] = ()) -> HttpAnswer:
    """Make the answer of an error."""
    is_ours = isinstance(error, InternalError)
    body = internal_error(report) if is_ours else error_answer(error, report.request_id, warnings)
    wait = {"Retry-After": str(error.retry_after_seconds)} if error.status in WITH_RETRY_AFTER else {}
    return json_reply(error.status, body, wait, request_id=report.request_id, error_code=error.code)


def json_reply(
    status: int,
    body: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
    *,
    request_id: str,
    error_code: str | None = None,
) -> HttpAnswer:
    """Make an answer in JSON."""
    all_headers = {"x-ms-request-id": request_id, **(headers or {})}
    if error_code is not None:
        all_headers["x-ms-error-code"] = error_code
    text = json.dumps(body, ensure_ascii=False, indent=2) + "\n"
    # Half a surrogate pair, which a caller may send as JSON, becomes JSON's own escape: it has no form in UTF-8.
    return HttpAnswer(status, all_headers, text.encode("utf-8", "backslashreplace").decode())
