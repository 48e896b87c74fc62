"""Works on the operation that a message names: claim it, restore, record the outcome.

A message may come twice, at once or later, and a worker may end at any point. So nothing here relies on a message:

- A record is claimed by a write under its ETag. Only the holder of a valid claim may commit.
- Before a COMMIT is sent, the record names the transaction. A worker that claims such a record first asks the server
  whether that transaction was committed.
- A message for an operation that has ended, or that another worker holds, is dropped. Of a worker that died, the sweep
  finds the record.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from shared.api.handle import Outcome, answered, json_reply, new_report, run_restore
from shared.api.parse import parse_for
from shared.api.render import error_answer, success_answer
from shared.errors import JobStorageUnreachable, OperationNotFound, RestoreCanceled, RestoreError, TooManyAttempts
from shared.jobs.claim import Claim, ClaimLost, progress_of
from shared.jobs.days import day_note, try_to_write_day
from shared.jobs.enqueue import delay_seconds, enqueue
from shared.jobs.message import decode
from shared.jobs.operation import Operation, iso, now
from shared.jobs.outcome import canceled_before, continued, ending, failed
from shared.jobs.storage import job_storage
from shared.jobs.store import OperationStore
from shared.log_redaction import OUR_LOGGER
from shared.model.monitor import Status
from shared.model.progress import Progress
from shared.model.report import Report
from shared.model.request import RestoreRequest
from shared.process import invocation
from shared.restore.pending import PendingCommit, decode_pending, finish_committed, was_committed
from shared.settings import Settings, load_settings

_log = logging.getLogger(OUR_LOGGER)

# Shorter than operation.STALE_SECONDS: nothing else writes a heartbeat then.
_PATIENCE_SECONDS, _PAUSE_SECONDS = 90, 2


def run_message(text: bytes, *, join: Callable[[], None] = lambda: None) -> None:
    """Work on the operation that a message names.

    Args:
        text: of the message.
        join: as of `run_restore`.

    Raises:
        UnreadableMessageError: the message names none; the host will move it to the poison queue.
        JobStorageUnreachable: the app's own storage account is away; the host will hand the message over again.
        ConfigurationError: likewise, if the settings are wrong.
    """
    message = decode(text)
    settings = load_settings()
    store = OperationStore(job_storage(settings))
    try:
        claim = _claim(store, message.operation_id)
    except OperationNotFound:
        _log.warning("operation=%s is not recorded; its message is dropped", message.operation_id)
        return
    if claim is None:
        return
    try:
        _Work(claim, store, settings, join).run()
    except ClaimLost:
        _log.warning("operation=%s was taken over or ended meanwhile; this attempt was rolled back", claim.operation.id)


def _claim(store: OperationStore, operation_id: str) -> Claim | None:
    """Claim an operation; None if there is nothing to do, or another worker is at it."""
    claim, last_stage = uuid.uuid4().hex, ""

    def take(operation: Operation) -> dict[str, Any]:
        nonlocal last_stage
        is_running = operation.status == "Running"
        # If it has this claim, the write came through and its answer did not.
        if operation.has_ended or operation.claim == claim or (is_running and not operation.is_stale):
            return {}
        last_stage = operation.stage
        return {
            "status": "Running",
            "claim": claim,
            "attempt": operation.attempt + 1,
            "crashes": operation.crashes + is_running,
            "started": operation.started or now(),
            "next_attempt": "",
            "is_queued": False,
            **progress_of(Progress()),
        }

    operation = store.update(store.get(operation_id), take)
    return Claim(store, operation, last_stage=last_stage) if operation.claim == claim else None


class _Work:
    """One attempt at an operation."""

    def __init__(self, claim: Claim, store: OperationStore, settings: Settings, join: Callable[[], None]) -> None:
        self._claim = claim
        self._store = store
        self._settings = settings
        self._join = join

    def run(self) -> None:
        """Restore, or go on behind a COMMIT; then record the outcome."""
        report = new_report()
        _log.info(
            "operation=%s attempt=%d request_id=%s begins",
            self._claim.operation.id,
            self._claim.operation.attempt,
            report.request_id,
        )
        with invocation(self._join), self._claim.heartbeat(report.progress):
            outcome = self._finish_commit(report) or self._restore(report)
        self._write_down(outcome, report)

    def _finish_commit(self, report: Report) -> Outcome | None:
        """Go on behind the COMMIT of an earlier attempt; None if there was none, or it did not take place."""
        if not self._claim.operation.commit:
            return None
        record = json.loads(self._claim.operation.commit)
        request, pending = self._request(), decode_pending(record["pending"])
        report.describe(request)
        try:
            is_committed = was_committed(request, self._settings, pending, report)
        except RestoreError as error:
            return failed(report, error)
        if not is_committed:
            self._claim.write(commit="")
            return None
        outcome = answered(report, lambda: finish_committed(request, self._settings, pending, report))
        answer = continued(record["answer"], report)
        return Outcome(json_reply(200, answer, request_id=answer["request_id"]), outcome.error)

    def _restore(self, report: Report) -> Outcome:
        operation = self._claim.operation
        if operation.is_canceled:
            return failed(report, canceled_before())
        if operation.crashes >= self._settings.job_max_crashes:
            message = f"the restore lost its worker {operation.crashes} times, last in {self._claim.last_stage!r}"
            return failed(report, TooManyAttempts(message))

        def work() -> None:
            run_restore(
                self._request(), self._settings, report, join=self._join, before_commit=self._note_commit(report)
            )

        return answered(report, work)

    def _note_commit(self, report: Report) -> Callable[[PendingCommit, Report], None]:
        def note(pending: PendingCommit, expected: Report) -> None:
            record = {"pending": pending.encode(), "answer": success_answer(expected)}
            try:
                operation = self._claim.write(commit=json.dumps(record), **progress_of(report.progress))
            except ClaimLost:
                report.progress.cancel()
            else:
                if operation.is_canceled:
                    report.progress.cancel()
            report.progress.check()

        return note

    def _request(self) -> RestoreRequest:
        return parse_for(self._claim.operation.request.encode(), self._settings)

    def _write_down(self, outcome: Outcome, report: Report) -> None:
        error = outcome.error
        if self._claim.is_lost:
            raise ClaimLost
        if error is not None and self._try_again(error):
            return
        # An administrator may have ended the restore in the database: nobody canceled the operation then.
        was_canceled = isinstance(error, RestoreCanceled) and self._claim.operation.is_canceled
        status: Status = "Succeeded" if error is None else ("Canceled" if was_canceled else "Failed")
        ended = self._write_patiently(
            **ending(status, outcome, report),
            **(progress_of(report.progress) if report.progress.compressed_bytes_total else {}),
        )
        _log.info("operation=%s ended: %s", ended.id, ended.status)
        try_to_write_day(self._settings, day_note(report, error, ended.ended, ended.id))

    def _try_again(self, error: RestoreError) -> bool:
        """Put the operation back into the queue if its error may pass, and it was not tried too often."""
        operation = self._claim.operation
        if operation.is_canceled or isinstance(error, RestoreCanceled):
            return False
        delay = delay_seconds(error, operation, self._settings)
        if delay is None:
            return False
        is_waiting = error.retry_delay_seconds is not None
        counted = {"waits": operation.waits + 1} if is_waiting else {"retries": operation.retries + 1}
        released = self._write_patiently(
            status="NotStarted",
            claim="",
            **counted,
            error=json.dumps(error_answer(error, "")["error"]),
            next_attempt=iso(self._store.service_time() + timedelta(seconds=delay)),
            is_queued=False,
        )
        enqueue(self._store, released, delay_seconds=delay)
        return True

    def _write_patiently(self, **changes: Any) -> Operation:
        """Write at the end of an attempt, also if the storage account is away for a while."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return self._claim.write(**changes)
            except JobStorageUnreachable:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_PAUSE_SECONDS)
