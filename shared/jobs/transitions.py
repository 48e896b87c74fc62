"""What is written into the record of an operation when its status changes. Pure, except for `update`, which writes.

| from       | to         | by                                                                                  |
|------------|------------|-------------------------------------------------------------------------------------|
| NotStarted | Running    | `claim_operation` in `claim.py`: a worker                                           |
| Running    | NotStarted | `waiting`: its error may pass; its worker is gone; a group is not due, or has no time |
| NotStarted | Canceled   | `canceled`: a caller. A record that names a COMMIT stays: a worker first asks about it |
| both       | Failed     | `given_up`: the host has given up its message, and no worker has it                 |
| Running    | an end     | `ended`: its worker                                                                 |
| an end     | NotStarted | `as_new` in `operation.py`: the retry of a backfill, for itself and for its days    |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from shared.api.handle import Reply, error_reply, log_error, new_report
from shared.api.render import error_answer
from shared.errors import OperationEnded, RestoreCanceled, RestoreError, TooManyAttempts
from shared.jobs.operation import AskedOperation, Operation, RestoreOperation
from shared.jobs.store import OperationStore
from shared.model.monitor import Status
from shared.model.report import Report, Work
from shared.model.stamp import now

R = TypeVar("R", bound=Operation)


@dataclass(frozen=True)
class End:
    """The end of an operation that no worker has.

    Attributes:
        status: Failed or Canceled.
        error: why.
        report: of the call that ends it.
        more: further attributes to write.
    """

    status: Status
    error: RestoreError
    report: Report = field(default_factory=new_report)
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def changes(self) -> Mapping[str, Any]:
        """What is written into the record."""
        reply = Reply(error_reply(self.report, self.error), self.error)
        return {**ended(self.status, reply, self.report), **self.more}


# What is to be written; nothing: the record is left as it is.
Change: TypeAlias = Mapping[str, Any] | End


def update(store: OperationStore[R], operation: R, decide: Callable[[R], Change]) -> R:
    """Write what is decided of a record, as `OperationStore.update`. An end is logged once, when it is written."""
    decided: Change = {}

    def changes(current: R) -> Mapping[str, Any]:
        nonlocal decided
        decided = decide(current)
        return decided.changes if isinstance(decided, End) else decided

    updated = store.update(operation, changes)
    if isinstance(decided, End):
        log_error(decided.report, decided.error)
    return updated


def waiting(**more: Any) -> dict[str, Any]:
    """Return the attributes that let an operation wait for another worker, still without a message."""
    return {"status": "NotStarted", "claim": "", "is_queued": False, **more}


def ended(status: Status, reply: Reply, report: Report) -> dict[str, Any]:
    """Return the attributes that end an operation: the answer of its result, and the error behind it."""
    error, answer = reply.error, reply.answer
    body = json.loads(answer.body)
    return {
        "status": status,
        "outcome": body["status"] if status == "Succeeded" else "",
        "warned_of": " ".join(dict.fromkeys(warning["code"] for warning in body.get("warnings", []))),
        "ended": now(),
        "next_attempt": "",
        "claim": "",
        # The SDK would store an `HTTPStatus` as a text.
        "answer_status": int(answer.status),
        "answer_headers": json.dumps(answer.headers),
        "answer": answer.body,
        "error": "" if error is None else json.dumps(error_answer(error, report.request_id)["error"]),
    }


def describe(report: Report, operation: AskedOperation) -> None:
    """Note in a report what the request of an operation names, without reading the request again."""
    report.archive_url, report.database, report.target_table = (
        operation.archive,
        operation.database,
        operation.target_table,
    )


def canceled_before(work: Work = "restore") -> RestoreCanceled:
    """Return the error of an operation that was canceled while it waited."""
    return RestoreCanceled(f"the {work} was canceled before it began; nothing was changed")


def end_of_waiting(work: Work = "restore") -> End:
    """Return the end of an operation that is canceled while it waits."""
    return End("Canceled", canceled_before(work), new_report(work), {"is_canceled": True})


def canceled(operation: RestoreOperation) -> Change:
    """Decide what a caller's cancel does to a restore.

    Raises:
        OperationEnded: it has ended, and not by a cancel.
    """
    if operation.has_ended and operation.status != "Canceled":
        # Even if it was canceled too late.
        raise OperationEnded(f"the restore {operation.id} has ended: {operation.status}")
    if operation.is_canceled:
        # The same call again.
        return {}
    if operation.status == "NotStarted" and not operation.commit:
        return end_of_waiting()
    return {"is_canceled": True}


def given_up(operation: Operation) -> Change:
    """Decide what happens to an operation whose message the host has given up."""
    if operation.has_ended or (operation.status == "Running" and not (operation.claim and operation.is_stale)):
        return {}
    if operation.is_held:
        # It waits for its turn, and has no message: this one was forged.
        return {}
    if not isinstance(operation, RestoreOperation) or operation.commit:
        # A backfill and a group end with their days. The rows of a restore may be in: a worker has to ask.
        return waiting(**operation.loss_changes())
    last = "" if not operation.error else f"; its last error was {json.loads(operation.error)['code']}"
    stage = f" in {operation.stage!r}" if operation.stage else ""
    report = new_report()
    describe(report, operation)
    message = f"the host gave the restore up after {operation.attempt} attempts{stage}{last}"
    return End("Failed", TooManyAttempts(message), report, more=operation.loss_changes())
