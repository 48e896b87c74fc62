"""A server on one port, which one command may start and another may stop."""

from __future__ import annotations

import http.client
import signal
import socket
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from typing_extensions import Self

from tools.config import LOOPBACK, REPOSITORY, WORK, ToolError
from tools.process import alive, send_group, spawn, spawned, wait_until

_RUN = WORK / "run"
_STOP_SECONDS = 60
_SHOWN_LINES = 30


class LocalServer(ABC):
    """A server on one port of 127.0.0.1.

    Args:
        port: the TCP port; the first one, if it uses several.
    """

    kind: ClassVar[str]
    """For a person, and for the name of its pid file."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._pid_file = _RUN / f"{self.kind}-{port}.pid"

    @classmethod
    def all_started(cls) -> list[Self]:
        """Return every one that was started and not stopped, on whichever port."""
        return [cls(int(path.stem.rpartition("-")[2])) for path in _RUN.glob(f"{cls.kind}-*.pid")]

    @property
    def pid(self) -> int | None:
        """The pid of the running server, or None."""
        return spawned(self._pid_file)

    @abstractmethod
    def answers(self) -> bool:
        """Say whether a server of this kind answers on the port, of this command or another."""

    def stop(self) -> None:
        """End the server and what it started.

        Raises:
            ToolError: it still runs after 60 s.
        """
        pid = self.pid
        if pid is None:
            return
        send_group(pid, signal.SIGTERM)
        if not wait_until(lambda: not alive(pid), _STOP_SECONDS):
            raise ToolError(f"{self.kind} (pid {pid}) does not end; end it by: kill -9 {pid}")
        self._pid_file.unlink(missing_ok=True)

    def run(
        self,
        command: Sequence[str],
        *,
        seconds: float,
        log: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> int:
        """Start the server, and wait until it answers.

        Args:
            command: program and arguments.
            seconds: how long the server may take to answer.
            log: where its output goes; None: to the screen.
            environ: its environment; None: this process's own.

        Returns:
            Its pid.

        Raises:
            ToolError: it ended, or did not answer in time.
        """
        try:
            pid = spawn(command, pid_file=self._pid_file, log=log, environ=environ, cwd=REPOSITORY)
            wait_until(lambda: self.answers() or not alive(pid), seconds)
            is_up = alive(pid) and self.answers()
        except BaseException:
            self.stop()
            raise
        if not is_up:
            self.stop()
            said = "" if log is None else f", see {log}:\n{_end_of(log)}"
            raise ToolError(f"{self.kind} does not serve port {self.port} by {command[0]}{said}")
        return pid


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_SHOWN_LINES:])


def free_port() -> int:
    """Return a port of the loopback address that nothing uses."""
    with socket.create_server((LOOPBACK, 0)) as free:
        return int(free.getsockname()[1])


def get(port: int, path: str = "/") -> http.client.HTTPResponse | None:
    """Send a GET to a loopback port. Return the answer without its body; None if none came within 5 s."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
