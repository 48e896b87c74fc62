"""What a run costs besides its time: memory and temporary disk of a process, and how busy the server's backends are.

All of it is read from `/proc`, so it works for servers on this machine that share its process ids. A thread looks every
20 ms; it takes a few per cent of one core from every way alike.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from tools.process import children, command_line

_TICK_SECONDS = 0.02
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

# What may be seen of a run.
Fact: TypeAlias = Literal[
    "memory_bytes",  # the process's VmHWM, the most memory it has ever had
    "disk_bytes",  # the most that its temporary folder held at once, unlinked files included
    "process_seconds",  # CPU seconds of the process
    "process_busy",  # cores that the process used during the COPY
    "server_seconds",  # CPU seconds of all backends and their workers; a busy machine does not change it
    "copy_seconds",  # how long a backend was in a COPY, summed over the backends
    "backend_busy",  # share of that time in which the backend had a core
    "backend_ready",  # share in which it wanted a core and another program had it: the noise of the machine
    "backend_idle",  # share in which it wanted none: it waited for its client or for the disk
    "copy_waited",  # seconds that COPY waited for its next block, as the function's answer says
]


class _Backends:
    """CPU time of the backends of one database. The title of a backend's process says what it does."""

    def __init__(self, database: str, server_pid: int | None) -> None:
        # postgres: role database host(port) COMMAND
        self._client = re.compile(rf"^postgres: .* {re.escape(database)} \S+ (\w.*)$")
        self._worker = re.compile(r"^postgres: .*parallel worker for PID (\d+)")
        self._server_pid = server_pid
        self._ours: set[int] = set()
        self._first: dict[int, int] = {}
        self._spent: dict[int, int] = {}
        self._copying: dict[int, tuple[float, int, int]] = {}
        self._has_looked = False
        self.copy_seconds = self._busy = self._ready = 0.0

    def look(self, now: float) -> bool:
        """Add what happened since the last look, and say whether a backend is in a COPY."""
        copying: dict[int, tuple[float, int, int]] = {}
        for pid in children(self._server_pid) if self._server_pid else ():
            command = self._command(pid)
            scheduled = None if command is None else _scheduled(pid)
            if scheduled is None:
                continue
            # A backend that existed before the run has done other work; a later one has not.
            self._first.setdefault(pid, 0 if self._has_looked else scheduled[0])
            self._spent[pid] = scheduled[0]
            if command == "COPY":
                copying[pid] = (now, *scheduled)
                then, busy, ready = self._copying.get(pid, copying[pid])
                self.copy_seconds += now - then
                self._busy += (scheduled[0] - busy) / 1e9
                self._ready += (scheduled[1] - ready) / 1e9
        self._copying, self._has_looked = copying, True
        return bool(copying)

    def seen(self) -> dict[Fact, float]:
        """Return what is known of them."""
        if self._server_pid is None:
            return {}
        seen: dict[Fact, float] = {
            "server_seconds": sum(spent - self._first[pid] for pid, spent in self._spent.items()) / 1e9
        }
        if self.copy_seconds:
            busy, ready = self._busy / self.copy_seconds, self._ready / self.copy_seconds
            seen |= {"copy_seconds": self.copy_seconds, "backend_busy": busy, "backend_ready": ready}
            seen["backend_idle"] = max(0.0, 1 - busy - ready)
        return seen

    def _command(self, pid: int) -> str | None:
        title = " ".join(command_line(pid)).rstrip()
        client = self._client.match(title)
        if client:
            self._ours.add(pid)
            return client[1]
        worker = self._worker.match(title)
        return "worker" if worker and int(worker[1]) in self._ours else None


@dataclass
class Probe:
    """Watches a run. `pid`, the process that loads the day, may be set later. `seen` is there after the run."""

    pid: int | None
    seen: dict[Fact, float] = field(default_factory=dict)

    def look_until(self, end: threading.Event, folder: Path, backends: _Backends) -> None:
        """Look again and again until the event is set, and once more then."""
        before, memory, disk = time.monotonic(), 0, 0
        begin = cpu = _cpu_seconds(self.pid)
        copy_wall = copy_cpu = 0.0
        is_last = False
        while not is_last:
            is_last = end.wait(_TICK_SECONDS)
            # A process that has ended keeps what it had.
            now, spent = time.monotonic(), max(cpu, _cpu_seconds(self.pid))
            if backends.look(now):
                copy_wall, copy_cpu = copy_wall + now - before, copy_cpu + spent - cpu
            before, cpu = now, spent
            if self.pid is not None:
                memory, disk = max(memory, peak_memory(self.pid)), max(disk, disk_use(self.pid, folder))
        self.seen = backends.seen()
        if self.pid is not None:
            self.seen |= {"disk_bytes": disk, "process_seconds": cpu - begin}
            self.seen |= {"memory_bytes": memory} if memory else {}
            self.seen |= {"process_busy": copy_cpu / copy_wall} if copy_wall else {}


@contextmanager
def watching(folder: Path, database: str, backend_pid: int, pid: int | None = None) -> Iterator[Probe]:
    """Watch what the body runs.

    Args:
        folder: the temporary folder of the process that loads the day.
        database: name of the database that is loaded.
        backend_pid: a backend of the server.
        pid: the process that loads the day.
    """
    probe, end, backends = Probe(pid), threading.Event(), _Backends(database, _server_of(backend_pid))
    backends.look(time.monotonic())
    looking = threading.Thread(target=probe.look_until, args=(end, folder, backends))
    looking.start()
    try:
        yield probe
    finally:
        end.set()
        looking.join()


def peak_memory(pid: int) -> int:
    """Return a process's VmHWM in bytes; 0 where it has ended."""
    with suppress(OSError):
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0
    return 0


def disk_use(pid: int, folder: Path) -> int:
    """Return the bytes below a folder: of its files, and of unlinked files that a process has open there."""
    below, paths = f"{folder.resolve()}/", list(folder.rglob("*"))
    with suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if str(link.readlink()).startswith(below):
                    paths.append(link)
    sizes: dict[tuple[int, int], int] = {}
    for path in paths:
        with suppress(OSError):
            if path.is_file():
                stat = path.stat()
                sizes[stat.st_dev, stat.st_ino] = stat.st_size
    return sum(sizes.values())


def _server_of(pid: int) -> int | None:
    """Return the pid of the server that a backend belongs to, or None where it does not run on this machine."""
    if any("postgres" in part for part in command_line(pid)[:1]):
        with suppress(OSError):
            return int(_stat(pid)[1])
    return None


def _scheduled(pid: int) -> tuple[int, int] | None:
    """Return for how long a process of one thread had a core, and for how long it waited for one, in nanoseconds."""
    with suppress(OSError, ValueError):
        busy, ready, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
        return int(busy), int(ready)
    return None


def _cpu_seconds(pid: int | None) -> float:
    with suppress(OSError):
        # utime and stime: the 14th and 15th of proc(5), which counts from the pid on.
        return 0.0 if pid is None else sum(map(int, _stat(pid)[11:13])) / _CLOCK_TICKS
    return 0.0


def _stat(pid: int) -> list[str]:
    # The third field of proc(5) and those after it; the second may hold blanks.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
