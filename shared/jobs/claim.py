"""One worker's hold on an operation. Its writes name the record's ETag, so they fail once another worker has it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shared.errors import JobStorageUnreachable, OperationNotFound
from shared.jobs.operation import Operation
from shared.jobs.store import OperationStore
from shared.log_redaction import OUR_LOGGER
from shared.model.progress import Progress
from shared.process import repeating

_log = logging.getLogger(OUR_LOGGER)

HEARTBEAT_SECONDS = 5


class ClaimLost(Exception):
    """Another worker has taken the operation over, or it was ended. What this one began is to be rolled back."""


class Claim:
    """The hold on an operation that runs.

    `is_lost` says whether a write found it to be invalid; `last_stage`, in which stage the attempt before it ended.

    Only one claim of an operation is valid. Another worker may take it over once no heartbeat was written for two
    minutes; each write here finds that out. Two threads write: the restore's and the heartbeat's.
    """

    def __init__(self, store: OperationStore, operation: Operation, *, last_stage: str) -> None:
        self.last_stage = last_stage
        self._store = store
        self._operation = operation
        self._lock = threading.Lock()
        self.is_lost = False

    @property
    def operation(self) -> Operation:
        """The record as it was last read or written."""
        return self._operation

    def write(self, **changes: Any) -> Operation:
        """Write attributes of the record.

        Raises:
            ClaimLost: the claim is not valid any more; nothing was written.
            JobStorageUnreachable: nobody knows whether it was written.
        """

        def while_it_holds(current: Operation) -> dict[str, Any]:
            # Others write as well: a caller wants to cancel, or an earlier try of this write came through.
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

    @contextmanager
    def heartbeat(self, progress: Progress) -> Iterator[None]:
        """Write every few seconds how far the restore is. Cancel it if a caller asked for it, or the claim is lost."""

        def beat() -> bool:
            try:
                self.write(**progress_of(progress))
            except ClaimLost:
                _log.warning("operation=%s was taken over by another worker", self._operation.id)
                progress.cancel()
                return False
            except JobStorageUnreachable as error:
                # The restore goes on: whether it may commit is asked once more before its COMMIT.
                _log.warning("operation=%s has no heartbeat: %s", self._operation.id, error.message)
            except Exception:  # noqa: BLE001 - the restore does not end by it
                _log.exception("operation=%s has no heartbeat", self._operation.id)
            if self._operation.is_canceled:
                progress.cancel()
            return True

        with repeating(beat, HEARTBEAT_SECONDS, name="heartbeat"):
            yield


def progress_of(progress: Progress) -> dict[str, Any]:
    """Return the attributes of a record that say how far a restore is."""
    return {
        "stage": progress.stage_name or "",
        "compressed_bytes": progress.compressed_bytes,
        "compressed_bytes_total": progress.compressed_bytes_total or 0,
        "rows": progress.rows or 0,
        "seconds": progress.seconds()["total"],
    }
