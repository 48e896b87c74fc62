"""What the backends of a server do, and how much of a core they get. Linux alone tells it, in `/proc`."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from tools.process import children, command_line


class Backends:
    """Time of the backends of one database. The title of a backend's process says what it does."""

    def __init__(self, database: str) -> None:
        # postgres: role database host(port) COMMAND
        self._client = re.compile(rf"^postgres: .* {re.escape(database)} \S+ (\w.*)$")
        self._worker = re.compile(r"^postgres: .*parallel worker for PID (\d+)")
        self._ours: set[int] = set()
        self._first: dict[int, int] = {}
        self._spent: dict[int, int] = {}
        self._copying: dict[int, tuple[float, int, int]] = {}
        self._looks = 0
        self.server_pid: int | None = None
        self.copy_seconds = self.copy_busy = self.copy_ready = 0.0

    @property
    def seconds(self) -> float | None:
        """CPU seconds of all of them since the first look, or None where they cannot be seen."""
        if self.server_pid is None:
            return None
        return sum(spent - self._first[pid] for pid, spent in self._spent.items()) / 1e9

    def look(self, now: float) -> list[int]:
        """Add what happened since the last look, and return the backends that are in a COPY."""
        copying: dict[int, tuple[float, int, int]] = {}
        for pid in children(self.server_pid) if self.server_pid else ():
            command = self._command(pid)
            scheduled = None if command is None else _scheduled(pid)
            if scheduled is None:
                continue
            # Who was there before the run has done other things; who came later, nothing else.
            self._first.setdefault(pid, 0 if self._looks else scheduled[0])
            self._spent[pid] = scheduled[0]
            if command == "COPY":
                copying[pid] = (now, *scheduled)
        for pid, (_, busy, ready) in copying.items():
            if pid in self._copying:
                then, busy_before, ready_before = self._copying[pid]
                self.copy_seconds += now - then
                self.copy_busy += (busy - busy_before) / 1e9
                self.copy_ready += (ready - ready_before) / 1e9
        self._copying = copying
        self._looks += 1
        return list(copying)

    def _command(self, pid: int) -> str | None:
        title = " ".join(command_line(pid)).rstrip()
        client = self._client.match(title)
        if client:
            self._ours.add(pid)
            return client[1]
        worker = self._worker.match(title)
        return "worker" if worker and int(worker[1]) in self._ours else None


def server_of(pid: int) -> int | None:
    """Return the pid of the server that a backend belongs to, or None where it does not run on this machine."""
    with suppress(OSError):
        if any("postgres" in part for part in command_line(pid)[:1]):
            return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return None


def _scheduled(pid: int) -> tuple[int, int] | None:
    """Return for how long a process of one thread had a core, and wanted one in vain; nanoseconds."""
    with suppress(OSError, ValueError):
        busy, ready, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
        return int(busy), int(ready)
    return None
