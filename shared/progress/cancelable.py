"""A restore that another thread may cancel, until its COMMIT begins."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.errors import RestoreCanceled
from shared.log_redaction import OUR_LOGGER
from shared.process import start_thread

_log = logging.getLogger(OUR_LOGGER)

# How often a running statement is interrupted until it ends.
_INTERRUPT_SECONDS = 0.5
# How long a body that has ended waits for an interrupt under way. One may connect first, which takes 15 s by default.
PATIENCE_SECONDS = 30


class Cancelable:
    """A restore that any other thread may cancel.

    The restore checks whether it was canceled (`check`). While it waits for the server it cannot check, so a thread
    interrupts the wait.
    """

    def __init__(self) -> None:
        self._refuses_cancels = False
        self._canceled = threading.Event()
        self._ended = threading.Event()
        self._interrupt: Callable[[], None] | None = None
        # Guards the above for moments: nobody calls the network meanwhile.
        self._state = threading.Lock()
        # Held while an interrupt is under way, which calls the network.
        self._interrupting = threading.Lock()

    def cancel(self) -> None:
        """Cancel the restore: it rolls back. While it refuses cancels, this has no effect. Waits for nothing."""
        with self._state:
            if self._canceled.is_set():
                return
            self._canceled.set()
        if not self._ended.is_set():
            start_thread(self._keep_interrupting, name="cancel")

    @property
    def is_canceled(self) -> bool:
        """Whether the restore was canceled, in time."""
        return self._canceled.is_set() and not self._refuses_cancels

    def check(self) -> None:
        """Stop here if the restore was canceled.

        Raises:
            RestoreCanceled: it was, before its COMMIT began.
        """
        if self.is_canceled:
            raise RestoreCanceled("the restore was canceled; nothing was changed")

    def refuse_cancels(self) -> None:
        """Refuse cancels from now on: the COMMIT begins, or may have taken place already.

        Raises:
            RestoreCanceled: the restore was canceled before.
        """
        with self._state:
            self.check()
            self._refuses_cancels = True

    def take_cancels(self) -> None:
        """Take cancels again: the COMMIT did not take place, and the restore is not over."""
        self._refuses_cancels = False

    @contextmanager
    def interruptible(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """Let a cancel interrupt what the body waits for, except while no cancel is taken.

        Args:
            interrupt: ends a statement that runs. It is called from another thread, again and again, and is not begun
                after the body has ended. One that is under way is waited for, for half a minute at most.
        """
        with self._state:
            self._interrupt = interrupt
        try:
            yield
        finally:
            with self._state:
                self._interrupt = None
            self._wait_for_interrupt()

    def end(self) -> None:
        """Note that the restore is over, whatever its outcome."""
        self._ended.set()

    def _wait_for_interrupt(self) -> None:
        """Wait for an interrupt under way: it would end a later statement, such as the ROLLBACK."""
        if not self._interrupting.acquire(timeout=PATIENCE_SECONDS):
            _log.warning("an interrupt of a canceled restore has not ended after %s s", PATIENCE_SECONDS)
            return
        self._interrupting.release()

    def _keep_interrupting(self) -> None:
        while not self._ended.is_set():
            with self._interrupting:
                self._try_to_interrupt()
            self._ended.wait(_INTERRUPT_SECONDS)

    def _try_to_interrupt(self) -> None:
        # One that begins here makes `refuse_cancels` raise: none can be under way once the COMMIT begins.
        with self._state:
            interrupt = self._interrupt if self.is_canceled else None
        if interrupt is None:
            return
        try:
            interrupt()
        except Exception:  # noqa: BLE001 - the next try may come through
            _log.warning("an interrupt of a canceled restore failed", exc_info=True)
