"""What callers see of an operation: its status monitor, and the links to it. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import cast

from shared.errors import RestoreCanceled, WindowNotEmpty
from shared.jobs.operation import AskedOperation, DayOperation, Operation, RestoreOperation
from shared.model.answer import ErrorBody, RestoreOutcome
from shared.model.monitor import Monitor, OperationLinks
from shared.model.stamp import read_stamp, stamp
from shared.progress.progress import percent_read

# How soon a caller should look again, in seconds: while something runs, and at most. It may be canceled meanwhile.
_RUNNING_SECONDS, _MOST_SECONDS = 5, 60

# Instead of an error's own hint, for a day of a backfill.
_HINTS_OF_DAYS = {
    WindowNotEmpty.code: (
        'send a new backfill in which existing is "skip", which leaves such days as they are, or "replace": a retry has'
        " the same request, and ends the same way while the rows are there"
    ),
    RestoreCanceled.code: "if the day is still wanted, retry the backfill: it restores only days that are not in",
}
# Behind the error's own hint, which is for a caller who restores one day.
_FOR_A_DAY = (
    "to try this day again, retry its backfill; to change the request, send a new backfill, in which existing stands"
    " for destination.on_existing"
)


def retry_after_seconds(operations: Iterable[Operation]) -> int:
    """Return how soon a caller should look again: when the first attempt is due, if all of them wait for one.

    Args:
        operations: whose end is waited for, as they were read. One that has ended does not count.
    """
    waits = [_seconds_of_wait(operation) for operation in operations if not operation.has_ended]
    return max(_RUNNING_SECONDS, min([*waits, _MOST_SECONDS])) if waits else _RUNNING_SECONDS


def _seconds_of_wait(operation: Operation) -> int:
    """Return how long an operation waits from the time on when it was read; 0 if it runs, or may run at once."""
    if operation.status == "Running" or not operation.next_attempt or operation.read is None:
        return 0
    # Both are times of the storage service.
    return math.ceil((read_stamp(operation.next_attempt) - operation.read).total_seconds())


def restore_links(base: str, operation: RestoreOperation) -> OperationLinks:
    """Return the addresses of a restore. None of them holds its token."""
    own = f"{base}/restores/{operation.id}"
    return {"self": own, "result": f"{own}/result", "cancel": own}


def restore_monitor(operation: RestoreOperation, base: str, *, with_result: bool = True) -> Monitor:
    """Return the status monitor, in the shape of Azure's REST guidelines for long-running operations.

    https://github.com/microsoft/api-guidelines/blob/vNext/azure/ConsiderationsForServiceDesign.md#long-running-operations

    Args:
        operation: the record.
        base: what links begin with.
        with_result: whether to add the request, the attempts that failed, and the answer of a success.
    """
    shown: Monitor = {
        "id": operation.id,
        "kind": "restore",
        "backfill": operation.backfill if isinstance(operation, DayOperation) else None,
        "status": operation.status,
        "outcome": cast("RestoreOutcome", operation.outcome) or None,
        "canceling": operation.is_canceled and not operation.has_ended,
        "created": operation.created,
        "started": operation.started or None,
        "ended": operation.ended or None,
        "attempt": operation.attempt,
        "attempt_request_id": operation.request_id or None,
        "heartbeat": _heartbeat(operation),
        "next_attempt": operation.next_attempt or None,
        "archive": operation.archive,
        "database": operation.database,
        "target_table": operation.target_table,
        "day": operation.day,
        "progress": {
            "stage": operation.stage or None,
            "compressed_bytes": operation.compressed_bytes,
            "compressed_bytes_total": operation.compressed_bytes_total or None,
            "csv_bytes": operation.csv_bytes,
            "csv_bytes_total": operation.csv_bytes_total or None,
            "percent": percent_read(
                operation.compressed_bytes,
                operation.compressed_bytes_total,
                operation.csv_bytes,
                operation.csv_bytes_total,
            ),
            "rows": operation.rows,
            "seconds": operation.seconds,
        },
        "links": restore_links(base, operation),
    }
    if with_result:
        shown["request"] = json.loads(operation.request)
        shown["attempts"] = json.loads(operation.attempts or "[]")
    if with_result and operation.status == "Succeeded" and operation.answer:
        shown["result"] = json.loads(operation.answer)
    if operation.error:
        shown["error"] = shown_error(operation)
    return shown


def shown_error(operation: AskedOperation) -> ErrorBody:
    """Return the error of an operation, or of its last attempt, with the hint that holds where it is shown."""
    error: ErrorBody = json.loads(operation.error)
    if not operation.has_ended:
        error["hint"] = "it is tried again without a further call"
    elif isinstance(operation, DayOperation):
        error["hint"] = _hint_of_day(error)
    return error


def _hint_of_day(error: ErrorBody) -> str | None:
    """Return what to do about a day of a backfill."""
    if error["code"] in _HINTS_OF_DAYS or error["hint"] is None:
        return _HINTS_OF_DAYS.get(error["code"])
    return f"{error['hint']}; {_FOR_A_DAY}"


def _heartbeat(operation: RestoreOperation) -> str | None:
    if operation.status != "Running" or operation.written is None:
        return None
    return stamp(operation.written, "seconds")
