"""One worker's claim on an operation. Its writes name the record's ETag, so they fail once another worker has it."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from shared.api.handle import new_report
from shared.errors import JobStorageUnreachable, OperationNotFound
from shared.jobs.operation import Operation
from shared.jobs.store import OperationStore
from shared.log_redaction import OUR_LOGGER
from shared.model.report import Report
from shared.model.stamp import now, seconds_since
from shared.process import repeating
from shared.progress.progress import Progress

_log = logging.getLogger(OUR_LOGGER)

R = TypeVar("R", bound=Operation)

HEARTBEAT_SECONDS = 5
# Shorter than operation.STALE_SECONDS: nothing else writes a heartbeat then.
PATIENCE_SECONDS, PAUSE_SECONDS = 90, 2


class ClaimLost(Exception):
    """Another worker has taken over the operation, or it was ended. This worker must roll back what it began."""


class Claim(Generic[R]):
    """The claim on an operation that runs.

    Only one claim of an operation is valid. Another worker may take it over once no heartbeat was written for two
    minutes; each write here finds that out. Two threads write: the restore's and the heartbeat's.

    Attributes:
        is_lost: whether a write has found the claim invalid.
        before: the record as the previous attempt left it.
        queued_seconds: how long the operation waited after it was due, by the clocks of this machine and of those that
            recorded it; None if it waits for its group.
    """

    def __init__(self, store: OperationStore[R], operation: R, *, before: R, queued_seconds: float | None) -> None:
        self.before = before
        self.queued_seconds = queued_seconds
        self._store = store
        self._operation = operation
        self._lock = threading.Lock()
        self.is_lost = False

    @property
    def operation(self) -> R:
        """The record as it was last read or written."""
        return self._operation

    def write(self, **changes: Any) -> R:
        """Write attributes of the record.

        Raises:
            ClaimLost: the claim is not valid any more; nothing was written.
            JobStorageUnreachable: it is unknown whether it was written.
        """
        return self._write(lambda _: changes)

    def renew(self, progress: Progress) -> R:
        """Write how far the attempt is, and that the claim holds, unless it was given up. Raises as `write`."""

        def changes(current: R) -> dict[str, Any]:
            return {"claim": current.claim, **current.progress_changes(progress)} if current.claim else {}

        return self._write(changes)

    def _write(self, decide: Callable[[R], dict[str, Any]]) -> R:
        def while_it_holds(current: R) -> dict[str, Any]:
            changes = decide(current)
            # There are other writes: a caller's cancel, or an earlier attempt of this write that succeeded after all.
            gives_up = changes.get("claim") == ""
            if gives_up and all(getattr(current, name) == value for name, value in changes.items()):
                # It gave the claim up, and its answer was lost. No other writer knows this time and this answer.
                return {}
            if current.claim != self._operation.claim or current.has_ended:
                self.is_lost = True
                raise ClaimLost("another worker has taken the operation over")
            return changes

        with self._lock:
            try:
                self._operation = self._store.update(self._operation, while_it_holds)
            except OperationNotFound:
                self.is_lost = True
                raise ClaimLost("the record is gone") from None
            return self._operation

    def write_patiently(self, **changes: Any) -> R:
        """Write at the end of an attempt, and wait if the storage account does not answer. Raises as `write`."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return self.write(**changes)
            except JobStorageUnreachable:
                if time.monotonic() > deadline:
                    raise
            time.sleep(PAUSE_SECONDS)

    @contextmanager
    def heartbeat(self, progress: Progress) -> Iterator[None]:
        """Write the progress every few seconds. Cancel the work if a caller's cancel ends it, or the claim is lost.

        With the body the work is over, whatever its outcome: nothing interrupts it any more.
        """

        def beat() -> bool:
            try:
                self.renew(progress)
            except ClaimLost:
                _log.warning("operation=%s was taken over by another worker", self._operation.id)
                progress.cancel()
                return False
            except JobStorageUnreachable as error:
                # The restore goes on: whether it may commit is asked once more before its COMMIT.
                _log.warning("operation=%s has no heartbeat: %s", self._operation.id, error.message)
            except Exception:  # noqa: BLE001 - it must not end the restore
                _log.exception("operation=%s has no heartbeat", self._operation.id)
            if self._operation.is_to_end:
                progress.cancel()
            return True

        try:
            with repeating(beat, HEARTBEAT_SECONDS, name="heartbeat"):
                yield
        finally:
            # Else the thread of a cancel would go on, for as long as the process lives.
            progress.end()

    def work_with_heartbeat(self, work: Callable[[Report], bool]) -> bool:
        """Do the work of a group or a backfill with a heartbeat, which may cancel its progress.

        Returns:
            What the work returns; False if another worker has taken the operation over.
        """
        report = new_report("backfill")
        try:
            with self.heartbeat(report.progress):
                return work(report)
        except ClaimLost:
            _log.warning("operation=%s was taken over by another worker", self._operation.id)
            return False


def claim_operation(store: OperationStore[R], operation: R, **changes: Any) -> Claim[R] | None:
    """Claim an operation; None if there is nothing to do, or another worker has it.

    Args:
        store: holds it.
        operation: as it was read.
        changes: attributes to write with the claim.

    Raises:
        OperationNotFound, JobStorageUnreachable: as `OperationStore.update`.
    """
    claim, before = uuid.uuid4().hex, operation

    def take(current: R) -> dict[str, Any]:
        nonlocal before
        # If it has this claim, the write came through and its answer did not.
        if current.has_ended or current.claim == claim or (current.claim and not current.is_stale):
            return {}
        before = current
        return {
            "status": "Running",
            "claim": claim,
            "attempt": current.attempt + 1,
            "crashes": current.crashes + bool(current.claim),
            "started": current.started or now(),
            "next_attempt": "",
            "is_queued": False,
            **current.loss_changes(),
            **current.claim_changes(),
            **changes,
        }

    operation = store.update(operation, take)
    if operation.claim != claim:
        return None
    queued_seconds = None if operation.is_held else seconds_since(max(before.created, before.next_attempt))
    return Claim(store, operation, before=before, queued_seconds=queued_seconds)
