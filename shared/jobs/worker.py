"""Works on the operation that a message names: claim it, restore, record the outcome.

A message may come twice, at once or later, and a worker may end at any point. So nothing here relies on a message:

- A record is claimed by a write under its ETag. Only the holder of a valid claim may commit.
- Before a COMMIT is sent, the record names the transaction. A worker that claims such a record first asks the server
  whether that transaction was committed. Once that is known, the record does not name it any more.
- A message for an operation that has ended, or that another worker holds, is dropped. The sweep finds the record
  of a worker that died.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from shared.api.handle import Reply, answered, failed, json_reply, run_restore
from shared.api.parse import parse_for
from shared.api.render import success_answer
from shared.errors import (
    CommitOutcomeUnknown,
    InternalError,
    OperationNotFound,
    RestoreCanceled,
    RestoreError,
    TooManyAttempts,
)
from shared.jobs.claim import Claim, ClaimLost, claim_operation
from shared.jobs.day_notes import day_note, try_to_write_day
from shared.jobs.enqueue import try_again
from shared.jobs.message import Message
from shared.jobs.operation import DayOperation, RestoreOperation
from shared.jobs.recorded_answer import continued
from shared.jobs.storage import RESTORE_QUEUE, job_storage
from shared.jobs.store import OperationStore
from shared.jobs.transitions import canceled_before, ended
from shared.log_redaction import OUR_LOGGER
from shared.model.monitor import Status
from shared.model.report import Report
from shared.model.request import RestoreRequest
from shared.postgres.transaction import outcome_unknown
from shared.process import invocation
from shared.restore.after_commit import PutOff, note_failure_after_commit
from shared.restore.left import Left
from shared.restore.pending import PendingCommit, decode_pending, finish_committed, was_committed
from shared.settings import Settings, load_settings
from shared.telemetry.trace import Origin, restoring

_log = logging.getLogger(OUR_LOGGER)

R = TypeVar("R", bound=RestoreOperation)


def run_restore_message(message: Message, *, join: Callable[[], None] = lambda: None) -> None:
    """Work on the restore that a message names.

    Args:
        message: as it was read.
        join: as of `run_restore`.

    Raises:
        JobStorageUnreachable: the app's own storage account cannot be reached; the host will hand the message over
            again.
        ConfigurationError: likewise, if the settings are wrong.
    """
    settings = load_settings()
    store = OperationStore(job_storage(settings), RestoreOperation)
    try:
        operation = store.get(message.operation_id)
        if operation.is_held:
            _log.warning("operation=%s belongs to a group, and gets no message; this one is dropped", operation.id)
            return
        claim = claim_operation(store, operation)
    except OperationNotFound:
        _log.warning("operation=%s is not recorded; its message is dropped", message.operation_id)
        return
    if claim is not None:
        work_on(claim, store, settings, join)


def work_on(claim: Claim[R], store: OperationStore[R], settings: Settings, join: Callable[[], None]) -> R | None:
    """Attempt an operation that is claimed, and record the outcome.

    Args:
        claim: on the operation.
        store: holds it.
        settings: the function app's.
        join: as of `run_restore`.

    Returns:
        The record after it; None if another worker has it now.
    """
    try:
        _Work(claim, store, settings, join).run()
    except ClaimLost:
        _log.warning("operation=%s was taken over or ended meanwhile; this attempt was rolled back", claim.operation.id)
        return None
    return claim.operation


class _Work(Generic[R]):
    """One attempt at an operation."""

    def __init__(self, claim: Claim[R], store: OperationStore[R], settings: Settings, join: Callable[[], None]) -> None:
        self._claim = claim
        self._store = store
        self._settings = settings
        self._join = join
        self._left: Left | None = None

    def run(self) -> None:
        """Restore, or continue after a COMMIT; then record the outcome."""
        operation = self._claim.operation
        report = Report(operation.request_id)
        report.queued_seconds = self._claim.queued_seconds
        # For the log and the calendar, if the attempt ends before it reads the request. What is wrong with it is said
        # where it is read.
        with suppress(RestoreError):
            report.describe(self._request())
        _log.info("operation=%s attempt=%d request_id=%s begins", operation.id, operation.attempt, report.request_id)
        if operation.commit:
            # The rows may be in: canceling the operation now would not remove them.
            report.progress.refuse_cancels()
        origin = Origin(operation.traceparent, RESTORE_QUEUE, operation.id, operation.attempt)
        with invocation(self._join), self._claim.heartbeat(report.progress), restoring(report, origin) as trace:
            reply = self._finish_commit(report) or self._restore(report)
            trace(reply.error)
        self._write_down(reply, report)

    def _finish_commit(self, report: Report) -> Reply | None:
        """Continue after the COMMIT of an earlier attempt; None if there was none, or if it did not take place."""
        if not self._claim.operation.commit:
            return None
        record = json.loads(self._claim.operation.commit)
        pending = decode_pending(record["pending"])
        lost = self._lost_its_workers()
        if lost is not None and self._claim.operation.crashes >= 2 * self._settings.job_max_crashes:
            # Each worker that asked about the COMMIT was lost.
            return failed(report, outcome_unknown(pending.commit_id, f"the server was not asked: {lost.message}"))
        try:
            request = self._request()
            is_committed = was_committed(request, self._settings, pending, report)
        except CommitOutcomeUnknown as error:
            return failed(report, error)
        except RestoreError as error:
            # Any other error would say that nothing was changed.
            return failed(report, outcome_unknown(pending.commit_id, f"the server cannot be asked: {error.message}"))
        if not is_committed:
            self._claim.write(commit="")
            report.progress.take_cancels()
            return None

        self._left = pending.left

        def finish() -> None:
            if lost is None:
                finish_committed(request, self._settings, pending, report, self._put_off())
            else:
                # Each worker that continued after the COMMIT was lost.
                note_failure_after_commit(report, lost)

        reply = answered(report, finish)
        answer = continued(record["answer"], report)
        return Reply(json_reply(200, answer, request_id=answer["request_id"]), reply.error)

    def _restore(self, report: Report) -> Reply:
        operation = self._claim.operation
        if operation.is_canceled:
            return failed(report, canceled_before())
        lost = self._lost_its_workers()
        if lost is not None:
            return failed(report, lost)

        def work() -> None:
            run_restore(
                self._request(),
                self._settings,
                report,
                join=self._join,
                before_commit=self._note_commit(report),
                put_off=self._put_off(),
            )

        return answered(report, work)

    def _lost_its_workers(self) -> TooManyAttempts | None:
        """Return why the operation must not be attempted again; None if it may."""
        crashes = self._claim.operation.crashes
        if crashes < self._settings.job_max_crashes:
            return None
        return TooManyAttempts(f"the restore lost its worker {crashes} times, last in {self._claim.before.stage!r}")

    def _note_commit(self, report: Report) -> Callable[[PendingCommit, Report], None]:
        def note(pending: PendingCommit, expected: Report) -> None:
            record = {"pending": pending.encode(), "answer": success_answer(expected)}
            self._left = pending.left
            try:
                changes = self._claim.operation.progress_changes(report.progress)
                operation = self._claim.write(commit=json.dumps(record), **changes)
            except ClaimLost:
                report.progress.cancel()
            else:
                if operation.is_canceled:
                    report.progress.cancel()
            report.progress.check()

        return note

    def _put_off(self) -> PutOff | None:
        """Leave compression and aggregates to the backfill that the day belongs to."""
        operation: RestoreOperation = self._claim.operation
        return PutOff(operation.shares_chunks) if isinstance(operation, DayOperation) else None

    def _request(self) -> RestoreRequest:
        return parse_for(self._claim.operation.request.encode(), self._settings)

    def _write_down(self, reply: Reply, report: Report) -> None:
        error, operation = reply.error, self._claim.operation
        if self._claim.is_lost:
            raise ClaimLost
        # A bug may have come up behind the COMMIT, too.
        is_settled = not isinstance(error, CommitOutcomeUnknown | InternalError)
        noted: dict[str, Any] = {"commit": ""} if is_settled else {}
        if error is not None:
            noted |= operation.failure_changes(report.progress.stage_name, error.code)
            reached = operation.progress_changes(report.progress)
            if try_again(self._claim, self._store, self._settings, error, **reached, **noted):
                return
        # An administrator may have ended the restore in the database: the operation was not canceled then.
        was_canceled = isinstance(error, RestoreCanceled) and self._claim.operation.is_canceled
        status: Status = "Succeeded" if error is None else ("Canceled" if was_canceled else "Failed")
        written = self._claim.write_patiently(
            **ended(status, reply, report),
            **(operation.progress_changes(report.progress) if report.progress.compressed_bytes_total else {}),
            **noted,
            **self._left_to_backfill(report),
        )
        if error is None:
            _log.info("operation=%s ended: %s", written.id, written.status)
        else:
            level = logging.INFO if was_canceled else logging.WARNING
            what = f"target={written.target_table} day={written.day} request_id={report.request_id}"
            _log.log(level, "operation=%s ended: %s; %s %s", written.id, written.status, error.code, what)
        try_to_write_day(self._settings, day_note(report, error, written.ended, written.id))

    def _left_to_backfill(self, report: Report) -> dict[str, Any]:
        """Return what a day of a backfill leaves to do, as attributes of its record; none if it loaded nothing.

        It is known before the COMMIT: no step after the COMMIT has to succeed for it.
        """
        operation: RestoreOperation = self._claim.operation
        if self._left is None or not report.progress.is_committed or not isinstance(operation, DayOperation):
            return {}
        return {"left": json.dumps(self._left.encode())}
