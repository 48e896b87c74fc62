"""The HTTP functions around operations: post, monitor, result, cancel, list. Bytes and headers -> an answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from shared.api.call import (
    HttpCall,
    bad_parameter,
    base_url,
    check_names,
    page_link,
    read_day,
    whole_number,
)
from shared.api.handle import HttpAnswer, answer_request, answered, json_reply, read_request, replied, run_restore
from shared.errors import OperationNotFound
from shared.jobs.day_notes import day_note, note_without_worker, write_day_soon
from shared.jobs.keys import is_row
from shared.jobs.monitor import restore_links, restore_monitor, retry_after_seconds
from shared.jobs.operation import AskedOperation, RestoreOperation
from shared.jobs.recorded_answer import answer_of
from shared.jobs.storage import job_storage
from shared.jobs.store import OperationStore
from shared.jobs.submit import opens, submit, wants_async
from shared.jobs.transitions import canceled, update
from shared.log_redaction import OUR_LOGGER
from shared.model.monitor import STATUSES, MonitorList
from shared.model.report import Report
from shared.model.request import RestoreRequest
from shared.model.stamp import now
from shared.settings import Settings, load_settings
from shared.telemetry.trace import Origin, restoring

_log = logging.getLogger(OUR_LOGGER)

A = TypeVar("A", bound=AskedOperation)

# Parameters of the query, and the attributes of a record that they filter by.
FILTERS = {
    "status": "status",
    "database": "database",
    "table": "target_table",
    "day": "day",
    "backfill": "backfill",
    "request_id": "request_id",
}
_MOST_LISTED, _LISTED = 1000, 50
_HOW_TO_OPEN = (
    "use the whole address in the header Location of the 202, which holds the token; to get a new one, send the same"
    " request again under the same Operation-Id; the monitor, with a key, has the result too"
)


def post_restore(call: HttpCall, *, join: Callable[[], None] = lambda: None) -> HttpAnswer:
    """Restore a day and answer when it has ended, or take it for the queue. Raises no `Exception`.

    Args:
        call: `POST /restore`.
        join: is called first in each thread that the restore starts. It makes the host keep the thread's log lines.
    """
    report = Report(call.request_id)

    def answer() -> HttpAnswer:
        request, settings = read_request(call.body, call.headers.get("Content-Type"))
        if wants_async(request, call.headers):
            report.describe(request)
            return _take(call, request, settings)
        with restoring(report, Origin(call.traceparent)) as trace:
            reply = answered(report, lambda: run_restore(request, settings, report, join=join))
            trace(reply.error)
        write_day_soon(settings, day_note(report, reply.error, now()), join=join)
        return reply.answer

    return replied(report, answer).answer


def _take(call: HttpCall, request: RestoreRequest, settings: Settings) -> HttpAnswer:
    submitted = submit(request, call.body, call.headers, call.traceparent, settings)
    operation = submitted.operation
    _log.info("operation=%s request_id=%s was taken: %s", operation.id, call.request_id, operation.status)
    base = base_url(call, settings, "/restore")
    addresses = restore_links(base, operation)
    headers = {
        "Operation-Location": addresses["self"],
        **until_it_ends(addresses["result"], submitted.token, retry_after_seconds([operation])),
        "Preference-Applied": "respond-async",
    }
    return json_reply(202, restore_monitor(operation, base), headers, request_id=call.request_id)


def until_it_ends(result: str, token: str, seconds: int) -> dict[str, str]:
    """Return the headers by which Data Factory and Logic Apps follow an operation to its result.

    Args:
        result: address of the result.
        token: opens it.
        seconds: how soon they should look again.
    """
    return {"Location": f"{result}?token={quote(token)}", "Retry-After": str(seconds)}


def get_restores(call: HttpCall) -> HttpAnswer:
    """Show one operation, or list them, or cancel one. Raises nothing."""
    operation_id = call.route.get("id")
    if operation_id is None and call.method == "DELETE":
        return _answered(call, _no_id)
    if operation_id is None:
        return _answered(call, lambda settings, store: _list(call, settings, store))
    if call.method == "DELETE":
        return _answered(call, lambda settings, store: _cancel(call, settings, store, operation_id))
    return _answered(call, lambda settings, store: _show(call, settings, store.get_to_show(operation_id)))


def get_result(call: HttpCall) -> HttpAnswer:
    """Answer what a call that waits would have answered; 202 until the operation has ended. Raises nothing."""

    def result(settings: Settings, store: OperationStore[RestoreOperation]) -> HttpAnswer:
        base = base_url(call, settings, f"/restores/{call.route.get('id')}/result")

        def show(operation: RestoreOperation) -> Shown:
            address = restore_links(base, operation)["result"]
            return Shown(restore_monitor(operation, base), address, retry_after_seconds([operation]))

        return result_answer(call, store, show)

    return _answered(call, result)


@dataclass(frozen=True)
class Shown:
    """What a caller sees of an operation that has not ended.

    Attributes:
        body: its monitor.
        result: the address of its result, without the token.
        retry_after_seconds: how soon the caller should look again.
    """

    body: Mapping[str, Any]
    result: str
    retry_after_seconds: int


def result_answer(call: HttpCall, store: OperationStore[A], show: Callable[[A], Shown]) -> HttpAnswer:
    """Return the result of an operation that has ended, else its monitor, to a caller with its token.

    Args:
        call: names the operation and the token.
        store: holds the operation.
        show: returns what a caller sees of an operation.

    Raises:
        OperationNotFound: there is none, or the token does not open it: a stranger learns nothing.
    """
    token = call.query.get("token", "")
    if not token:
        raise OperationNotFound("a token is missing, and no result opens without it", hint=_HOW_TO_OPEN)
    operation = _opened(store, call.route.get("id", ""), token)
    if operation is None:
        raise OperationNotFound(
            "the token opens no result: it is of another operation, or outdated, or none is kept", hint=_HOW_TO_OPEN
        )
    if operation.has_ended:
        return answer_of(operation)
    shown = show(operation)
    headers = until_it_ends(shown.result, token, shown.retry_after_seconds)
    return json_reply(202, shown.body, headers, request_id=call.request_id)


def _opened(store: OperationStore[A], operation_id: str, token: str) -> A | None:
    try:
        operation = store.get(operation_id)
    except OperationNotFound:
        return None
    return operation if opens(operation, token) else None


def _answered(call: HttpCall, work: Callable[[Settings, OperationStore[RestoreOperation]], HttpAnswer]) -> HttpAnswer:
    def answer() -> HttpAnswer:
        settings = load_settings()
        return work(settings, OperationStore(job_storage(settings), RestoreOperation))

    return answer_request(call.request_id, answer)


def _show(call: HttpCall, settings: Settings, operation: RestoreOperation, status: int = 200) -> HttpAnswer:
    base = base_url(call, settings, f"/restores/{call.route.get('id')}")
    headers = {} if operation.has_ended else {"Retry-After": str(retry_after_seconds([operation]))}
    return json_reply(status, restore_monitor(operation, base), headers, request_id=call.request_id)


def _no_id(_: Settings, __: OperationStore[RestoreOperation]) -> HttpAnswer:
    raise bad_parameter("id", "is missing: DELETE cancels one restore, /restores/{id}")


def _cancel(
    call: HttpCall, settings: Settings, store: OperationStore[RestoreOperation], operation_id: str
) -> HttpAnswer:
    found = store.get(operation_id)
    operation = update(store, found, canceled)
    # A restore that waited has ended with this call, and no worker will note that.
    write_day_soon(settings, note_without_worker(settings, found, operation))
    _log.info("operation=%s is to be canceled: %s", operation.id, operation.status)
    return _show(call, settings, operation, 202)


def _list(call: HttpCall, settings: Settings, store: OperationStore[RestoreOperation]) -> HttpAnswer:
    check_names(call, (*FILTERS, "top", "after"))
    given = {name: call.query[name] for name in FILTERS if call.query.get(name)}
    _check_filters(call, given)
    equal = {FILTERS[name]: value for name, value in given.items()}
    listed = list_newest(call, settings, store, "/restores", equal, given)
    body: MonitorList = {
        "value": [restore_monitor(operation, listed.base, with_result=False) for operation in listed.operations],
        "nextLink": listed.next_link,
    }
    return json_reply(200, body, request_id=call.request_id)


@dataclass(frozen=True)
class Listed(Generic[A]):
    """A page of a list of operations.

    Attributes:
        operations: newest first.
        base: what links begin with.
        next_link: address of the next page; None after the last one.
    """

    operations: Sequence[A]
    base: str
    next_link: str | None


def list_newest(
    call: HttpCall,
    settings: Settings,
    store: OperationStore[A],
    route: str,
    equal: Mapping[str, str],
    parameters: Mapping[str, str],
) -> Listed[A]:
    """List operations by a query with `top` and `after`.

    Args:
        call: has the query.
        settings: the function app's.
        store: holds operations of one kind.
        route: of the list, below the base.
        equal: values that attributes must have.
        parameters: the query's, which say the same.

    Raises:
        InvalidRequest: `top` or `after` cannot be.
    """
    most = whole_number(call, "top", most=_MOST_LISTED, default=_LISTED)
    page = store.newest(equal, most=most, from_row=_row_after(call.query.get("after")))
    base = base_url(call, settings, route)
    next_link = None
    if page.next_row is not None:
        next_link = page_link(base + route, {**parameters, "top": str(most), "after": page.next_row})
    return Listed(page.operations, base, next_link)


def _row_after(text: str | None) -> str | None:
    """Read where a list goes on.

    Raises:
        InvalidRequest: no `nextLink` gave it.
    """
    if text is not None and not is_row(text):
        raise bad_parameter("after", "must be one that a nextLink gave")
    return text


def _check_filters(call: HttpCall, given: Mapping[str, str]) -> None:
    check_status(given.get("status"))
    if "day" in given:
        read_day(call, "day")


def check_status(status: str | None) -> None:
    """Check a filter by status.

    Raises:
        InvalidRequest: no operation can have it.
    """
    if status is not None and status not in STATUSES:
        raise bad_parameter("status", f"must be one of {', '.join(STATUSES)}")
