"""How far one restore is, how long each stage took, and whether it is to stop.

The restore writes it. Any other thread may read it, and may cancel the restore.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.csvfile.scan import rows_of
from shared.errors import RestoreCanceled
from shared.log_redaction import OUR_LOGGER
from shared.process import start_thread

_log = logging.getLogger(OUR_LOGGER)

# How often a running statement is interrupted until it ends.
_INTERRUPT_SECONDS = 0.5


def percent_of(read: int, total: int | None) -> float | None:
    """Return how much of a stored archive was read, in percent with one digit; None until its length is known."""
    return None if not total else round(min(100.0, 100 * read / total), 1)


class Progress:
    """The stages of one restore, on a clock that never goes back. A stage that is entered again adds up.

    Attributes:
        stage_name: the stage that runs, or the one in which an error came up.
        compressed_bytes: how much of the stored archive was read, in bytes. Starts over where it is read again.
        compressed_bytes_total: length of the stored archive, in bytes; None until it is known.
        csv_bytes: how much of the CSV was handed on to PostgreSQL, in bytes. Starts over likewise.
        records: how many records of the CSV were read; None until the first ones were. Starts over likewise.
        has_header: whether the first of them is the header.
        loads: how often the load was begun.
        is_committed: whether the server has confirmed the load's COMMIT.
    """

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._stages: dict[str, float] = {}
        self.stage_name: str | None = None
        self.compressed_bytes = 0
        self.compressed_bytes_total: int | None = None
        self.csv_bytes = 0
        self.records: int | None = None
        self.has_header = False
        self.loads = 0
        self.is_committed = False
        self._may_commit = False
        self._canceled = threading.Event()
        self._ended = threading.Event()
        self._interrupt: Callable[[], None] | None = None
        self._lock = threading.Lock()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the body's time for a stage.

        Raises:
            RestoreCanceled: the restore is to stop.
        """
        self.check()
        begin = time.monotonic()
        self.stage_name = name
        try:
            yield
        finally:
            self._stages[name] = self._stages.get(name, 0.0) + time.monotonic() - begin
        self.stage_name = None

    def seconds(self) -> dict[str, float]:
        """Return the stages so far and the total, in seconds, rounded to milliseconds."""
        stages = {name: round(seconds, 3) for name, seconds in list(self._stages.items())}
        return stages | {"total": round(time.monotonic() - self._begin, 3)}

    @property
    def rows(self) -> int | None:
        """How many rows of the archive were read; None until the first ones were."""
        return None if self.records is None else rows_of(self.records, has_header=self.has_header)

    @property
    def percent(self) -> float | None:
        """How much of the stored archive was read, in percent; None until its length is known."""
        return percent_of(self.compressed_bytes, self.compressed_bytes_total)

    def cancel(self) -> None:
        """Cancel the restore: it rolls back. After its COMMIT began, this has no effect."""
        with self._lock:
            if self._canceled.is_set():
                return
            self._canceled.set()
        if not self._ended.is_set():
            start_thread(self._keep_interrupting, name="cancel")

    @property
    def is_canceled(self) -> bool:
        """Whether the restore was canceled, in time."""
        return self._canceled.is_set() and not self._may_commit

    def check(self) -> None:
        """Stop here if the restore was canceled.

        Raises:
            RestoreCanceled: it was, before its COMMIT began.
        """
        if self.is_canceled:
            raise RestoreCanceled("the restore was canceled; nothing was changed")

    def begin_commit(self) -> None:
        """Refuse cancels from now on.

        Raises:
            RestoreCanceled: one came before.
        """
        with self._lock:
            self.check()
            self._may_commit = True

    def commit_was_refused(self) -> None:
        """Take cancels again: the server refused the COMMIT and rolled back, and the restore is not over."""
        self._may_commit = False

    @contextmanager
    def interruptible(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """Let a cancel interrupt what the body waits for.

        Args:
            interrupt: ends a statement that runs. It is called from another thread, again and again, and never after
                the body has ended.
        """
        with self._lock:
            self._interrupt = interrupt
        try:
            yield
        finally:
            with self._lock:
                self._interrupt = None

    def end(self) -> None:
        """Note that the restore is over, whatever its outcome."""
        self._ended.set()

    def _keep_interrupting(self) -> None:
        while not self._ended.is_set():
            with self._lock:
                if self._interrupt is not None:
                    self._try_to_interrupt(self._interrupt)
            self._ended.wait(_INTERRUPT_SECONDS)

    @staticmethod
    def _try_to_interrupt(interrupt: Callable[[], None]) -> None:
        try:
            interrupt()
        except Exception:  # noqa: BLE001 - the next try may come through
            _log.warning("an interrupt of a canceled restore failed", exc_info=True)
