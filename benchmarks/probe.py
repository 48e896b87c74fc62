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
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tools.process import children, command_line

_TICK_SECONDS = 0.02
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Observed:
    """What was seen of one run. None is what could not be seen.

    Attributes:
        memory_bytes: the process's VmHWM, the most memory it has ever had.
        disk_bytes: the most that its temporary folder held at once, unlinked files included.
        server_seconds: CPU seconds of all backends of the database, parallel workers included; a busy machine does not
            change it.
        process_seconds: CPU seconds of the process.
        copy_seconds: how long a backend was in a COPY, summed over the backends.
        backend_busy: share of that time in which the backend had a core.
        backend_ready: share in which it wanted a core and another program had it: the noise of the machine.
        backend_idle: share in which it wanted none: it waited for its client or for the disk.
        process_busy: cores that the process used during the COPY.
        copy_waited: seconds that COPY waited for its next block, as the function's answer says.
    """

    memory_bytes: int | None = None
    disk_bytes: int | None = None
    server_seconds: float | None = None
    process_seconds: float | None = None
    copy_seconds: float | None = None
    backend_busy: float | None = None
    backend_ready: float | None = None
    backend_idle: float | None = None
    process_busy: float | None = None
    copy_waited: float | None = None


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
        self.copy_seconds = self.copy_busy = self.copy_ready = 0.0

    @property
    def seconds(self) -> float | None:
        """CPU seconds of all of them since the first look, or None where they cannot be seen."""
        if self._server_pid is None:
            return None
        return sum(spent - self._first[pid] for pid, spent in self._spent.items()) / 1e9

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
                self.copy_busy += (scheduled[0] - busy) / 1e9
                self.copy_ready += (scheduled[1] - ready) / 1e9
        self._copying, self._has_looked = copying, True
        return bool(copying)

    def _command(self, pid: int) -> str | None:
        title = " ".join(command_line(pid)).rstrip()
        client = self._client.match(title)
        if client:
            self._ours.add(pid)
            return client[1]
        worker = self._worker.match(title)
        return "worker" if worker and int(worker[1]) in self._ours else None


class Probe:
    """Watches a run; made by `watching()`. `pid`, the process that loads the day, may be set later."""

    def __init__(self, folder: Path, database: str, server_pid: int | None, pid: int | None) -> None:
        self.pid = pid
        self._folder, self._backends = folder, _Backends(database, server_pid)
        self._disk = self._memory = 0
        self._cpu = self._copy_cpu = self._copy_wall = 0.0
        self._before = time.monotonic()
        self._backends.look(self._before)
        self._begin = self._cpu = self._process_cpu()

    def look_until(self, end: threading.Event) -> None:
        """Look again and again until the event is set, and once more then."""
        is_last = False
        while not is_last:
            is_last = end.wait(_TICK_SECONDS)
            now, spent = time.monotonic(), self._process_cpu()
            if self._backends.look(now):
                self._copy_wall += now - self._before
                self._copy_cpu += spent - self._cpu
            self._before, self._cpu = now, spent
            if self.pid is not None:
                self._memory = max(self._memory, peak_memory(self.pid) or 0)
                self._disk = max(self._disk, disk_use(self.pid, self._folder))

    @property
    def observed(self) -> Observed:
        """What was seen."""
        seen, in_copy, has_process = self._backends, self._backends.copy_seconds, self.pid is not None
        return Observed(
            memory_bytes=self._memory or None,
            disk_bytes=self._disk if has_process else None,
            server_seconds=seen.seconds,
            process_seconds=self._cpu - self._begin if has_process else None,
            copy_seconds=in_copy or None,
            backend_busy=seen.copy_busy / in_copy if in_copy else None,
            backend_ready=seen.copy_ready / in_copy if in_copy else None,
            backend_idle=max(0.0, 1 - (seen.copy_busy + seen.copy_ready) / in_copy) if in_copy else None,
            process_busy=self._copy_cpu / self._copy_wall if self._copy_wall and has_process else None,
        )

    def _process_cpu(self) -> float:
        # A process that has ended keeps what it had.
        return max(self._cpu, 0.0 if self.pid is None else _cpu_seconds(self.pid))


@contextmanager
def watching(folder: Path, database: str, backend_pid: int, pid: int | None = None) -> Iterator[Probe]:
    """Watch what the body runs.

    Args:
        folder: the temporary folder of the process that loads the day.
        database: name of the database that is loaded.
        backend_pid: a backend of the server.
        pid: the process that loads the day.
    """
    probe, end = Probe(folder, database, _server_of(backend_pid), pid), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(probe.look_until, end)
        try:
            yield probe
        finally:
            end.set()
            looking.result()


def peak_memory(pid: int) -> int | None:
    """Return a process's VmHWM in bytes, or None where it has ended."""
    with suppress(OSError):
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    return None


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


def _cpu_seconds(pid: int) -> float:
    with suppress(OSError):
        # utime and stime: the 14th and 15th of proc(5), which counts from the pid on.
        return sum(map(int, _stat(pid)[11:13])) / _CLOCK_TICKS
    return 0.0


def _stat(pid: int) -> list[str]:
    # The third field of proc(5) and those after it; the second may hold blanks.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
