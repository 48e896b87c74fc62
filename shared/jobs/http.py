"""The HTTP functions around operations: post, monitor, result, cancel, list. Bytes and headers -> an answer."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import quote

from shared.api.handle import HttpAnswer, answered, json_reply, new_report, read_request, replied, run_restore
from shared.errors import (
    Fault,
    InvalidRequest,
    OperationEnded,
    OperationNotFound,
)
from shared.jobs.days import day_note, write_day_soon
from shared.jobs.monitor import RETRY_AFTER_SECONDS, base_url, links, monitor
from shared.jobs.operation import Operation, now
from shared.jobs.outcome import answer_of, ending_canceled
from shared.jobs.storage import job_storage
from shared.jobs.store import NO_SUCH_OPERATION, OperationStore
from shared.jobs.submit import opens, submit, wants_async
from shared.log_redaction import OUR_LOGGER
from shared.model.monitor import STATUSES, MonitorList
from shared.model.request import RestoreRequest
from shared.settings import Settings, load_settings

_log = logging.getLogger(OUR_LOGGER)

# Parameters of the query, and the attributes of a record that they filter by.
_FILTERS = {"status": "status", "database": "database", "table": "target_table", "day": "day", "backfill": "backfill"}
_MOST_LISTED, _LISTED = 1000, 50
# Twice the longest name of a table: schema and table with 63 bytes each, in quotes.
_LONGEST_FILTER = 512
_ROW = re.compile(r"op~[A-Za-z0-9._~-]{0,200}", re.ASCII)


@dataclass(frozen=True)
class HttpCall:
    """One HTTP request, as the host hands it over.

    Attributes:
        method: in upper case.
        url: the whole of it.
        headers: by name, in any case.
        query: parameters of the URL.
        route: parameters of the route.
        body: its bytes.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    route: Mapping[str, str]
    body: bytes


def post_restore(call: HttpCall, *, join: Callable[[], None] = lambda: None) -> HttpAnswer:
    """Restore a day and answer when it has ended, or take it for the queue. Raises no `Exception`.

    Args:
        call: `POST /restore`.
        join: is called first in each thread that the restore starts. It makes the host keep the thread's log lines.
    """
    report = new_report()

    def answer() -> HttpAnswer:
        request, settings = read_request(call.body, call.headers.get("Content-Type"))
        if wants_async(request, call.headers):
            report.describe(request)
            return _take(call, request, settings, report.request_id)
        outcome = answered(report, lambda: run_restore(request, settings, report, join=join))
        write_day_soon(settings, day_note(report, outcome.error, now()), join=join)
        return outcome.answer

    return replied(report, answer).answer


def _take(call: HttpCall, request: RestoreRequest, settings: Settings, request_id: str) -> HttpAnswer:
    submitted = submit(request, call.body, call.headers, settings)
    operation = submitted.operation
    _log.info("operation=%s request_id=%s was taken: %s", operation.id, request_id, operation.status)
    base = base_url(settings, call.url, call.headers, "/restore")
    headers = {
        "Operation-Location": links(base, operation)["self"],
        **until_it_ends(links(base, operation)["result"], submitted.token),
        "Preference-Applied": "respond-async",
    }
    return json_reply(202, monitor(operation, base), headers, request_id=request_id)


def until_it_ends(result: str, token: str) -> dict[str, str]:
    """Return the headers by which Data Factory and Logic Apps follow an operation to its result.

    Args:
        result: address of the result.
        token: opens it.
    """
    return {"Location": f"{result}?token={quote(token)}", "Retry-After": str(RETRY_AFTER_SECONDS)}


def get_restores(call: HttpCall) -> HttpAnswer:
    """Show one operation, or list them, or cancel one. Raises nothing."""
    operation_id = call.route.get("id")
    if operation_id is None:
        return _answered(lambda settings, store: _list(call, settings, store))
    if call.method == "DELETE":
        return _answered(lambda settings, store: _cancel(call, settings, store, operation_id))
    return _answered(lambda settings, store: _show(call, settings, store.get(operation_id)))


def get_result(call: HttpCall) -> HttpAnswer:
    """Answer what the synchronous call would have answered; 202 until then. Raises nothing."""

    def result(settings: Settings, store: OperationStore) -> HttpAnswer:
        base = base_url(settings, call.url, call.headers, f"/restores/{call.route.get('id')}/result")
        return result_answer(
            call, store, lambda operation: (monitor(operation, base), links(base, operation)["result"])
        )

    return _answered(result)


def result_answer(
    call: HttpCall, store: OperationStore, show: Callable[[Operation], tuple[Mapping[str, Any], str]]
) -> HttpAnswer:
    """Return the result of an operation that has ended, else its monitor, to a caller with its token.

    Args:
        call: names the operation and the token.
        store: holds the operation.
        show: returns the monitor, and the address of the result.

    Raises:
        OperationNotFound: there is none, or the token is not one of it: a stranger learns nothing.
    """
    operation, token = store.get(call.route.get("id", "")), call.query.get("token", "")
    if not opens(operation, token):
        raise OperationNotFound(NO_SUCH_OPERATION)
    if operation.has_ended:
        return answer_of(operation)
    body, address = show(operation)
    return json_reply(202, body, until_it_ends(address, token), request_id=new_report().request_id)


def _answered(work: Callable[[Settings, OperationStore], HttpAnswer]) -> HttpAnswer:
    def answer() -> HttpAnswer:
        settings = load_settings()
        return work(settings, OperationStore(job_storage(settings)))

    return replied(new_report(), answer).answer


def _show(call: HttpCall, settings: Settings, operation: Operation, status: int = 200) -> HttpAnswer:
    base = base_url(settings, call.url, call.headers, f"/restores/{call.route.get('id')}")
    headers = {} if operation.has_ended else {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return json_reply(status, monitor(operation, base), headers, request_id=new_report().request_id)


def _cancel(call: HttpCall, settings: Settings, store: OperationStore, operation_id: str) -> HttpAnswer:
    operation = store.update(store.get(operation_id), _cancellation)
    _log.info("operation=%s is to be canceled: %s", operation.id, operation.status)
    return _show(call, settings, operation, 202)


def _cancellation(operation: Operation) -> Mapping[str, Any]:
    """Return what a cancel writes into a record."""
    if operation.has_ended and operation.status != "Canceled":
        # Also if somebody canceled it too late.
        raise OperationEnded(f"the restore {operation.id} has ended: {operation.status}")
    if operation.is_canceled:
        # The same call again.
        return {}
    if operation.status == "NotStarted" and not operation.commit:
        return ending_canceled()
    return {"is_canceled": True}


def _list(call: HttpCall, settings: Settings, store: OperationStore) -> HttpAnswer:
    query = call.query
    check_names(query, (*_FILTERS, "top", "after"))
    most = whole_number(query.get("top"), "top", most=_MOST_LISTED, default=_LISTED)
    given = {name: query[name] for name in _FILTERS if query.get(name)}
    _check_filters(given)
    equal = {_FILTERS[name]: value for name, value in given.items()}
    page = store.newest(equal, most=most, from_row=row_after(query.get("after")))
    base = base_url(settings, call.url, call.headers, "/restores")
    next_link = None
    if page.next_row is not None:
        kept = {**given, "top": str(most), "after": page.next_row}
        next_link = f"{base}/restores?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in kept.items())
    body: MonitorList = {
        "value": [monitor(operation, base, with_result=False) for operation in page.operations],
        "nextLink": next_link,
    }
    return json_reply(200, body, request_id=new_report().request_id)


def whole_number(text: str | None, name: str, *, most: int, default: int) -> int:
    """Read a parameter that is a whole number from 1 on.

    Raises:
        InvalidRequest: it is none, or larger than the most.
    """
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and 1 <= int(text) <= most):
        raise bad_parameter(name, f"must be a whole number from 1 to {most}")
    return int(text)


def row_after(text: str | None) -> str | None:
    """Read where a list goes on.

    Raises:
        InvalidRequest: no `nextLink` gave it.
    """
    if text is not None and not _ROW.fullmatch(text):
        raise bad_parameter("after", "must be one that a nextLink gave")
    return text


def check_names(query: Mapping[str, str], known: Collection[str]) -> None:
    """Refuse a parameter that nobody knows: a filter that is misspelled would list everything.

    Args:
        query: of the request. A key may stand in it as `code`.
        known: the names of its parameters.

    Raises:
        InvalidRequest: it has another one.
    """
    for name in query:
        if name not in known and name != "code":
            raise bad_parameter(name[:_LONGEST_FILTER], f"is unknown; known are {', '.join(known)}")


def _check_filters(given: Mapping[str, str]) -> None:
    check_status(given.get("status"))
    for name, value in given.items():
        if len(value) > _LONGEST_FILTER:
            raise bad_parameter(name, f"has more than {_LONGEST_FILTER} characters")
    if "day" in given:
        read_day(given, "day")


def read_day(query: Mapping[str, str], name: str) -> date:
    """Read a parameter that is a day.

    Raises:
        InvalidRequest: it is missing, none, or not written as YYYY-MM-DD.
    """
    text = query.get(name, "")
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.max
    # Python reads other forms as well.
    if day.isoformat() != text or day == date.max:
        raise bad_parameter(name, "must be a day as YYYY-MM-DD")
    return day


def check_status(status: str | None) -> None:
    """Check a filter by status.

    Raises:
        InvalidRequest: no operation can have it.
    """
    if status is not None and status not in STATUSES:
        raise bad_parameter("status", f"must be one of {', '.join(STATUSES)}")


def bad_parameter(name: str, what: str) -> InvalidRequest:
    """Return the error of a parameter of the query."""
    message = f"the parameter {name} {what}"
    return InvalidRequest(message, target=name, details=[Fault("InvalidValue", message, name)])
