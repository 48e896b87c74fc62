"""Cuts sockets off whose time is up."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Watchdog:
    """Cuts sockets off whose time is up.

    It has one thread for all of them: to start a thread takes longer than most statements do.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._deadlines: dict[socket.socket, float] = {}
        self._thread: threading.Thread | None = None
        self._wakes_at = math.inf

    @contextmanager
    def watch(self, watched: socket.socket, seconds: float) -> Iterator[None]:
        """Cut a socket off if the body takes longer. After the body, it is not touched."""
        deadline = time.monotonic() + seconds
        with self._changed:
            self._deadlines[watched] = deadline
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="statement limits", daemon=True)
                self._thread.start()
            elif deadline < self._wakes_at:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._deadlines.pop(watched, None)

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for watched in [watched for watched, deadline in self._deadlines.items() if deadline <= now]:
                    del self._deadlines[watched]
                    _cut(watched)
                self._wakes_at = min(self._deadlines.values(), default=math.inf)
                self._changed.wait(None if self._wakes_at == math.inf else self._wakes_at - now)


def _cut(watched: socket.socket) -> None:
    try:
        watched.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The peer was faster.
        return
