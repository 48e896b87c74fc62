"""What a run costs besides its time: memory and temporary disk of a process, and how busy the server's backends are.

All of it is read from `/proc`, so it works for servers on this machine that share its process ids. A thread looks every
20 ms; it takes a few per cent of one core from every way alike.
"""

from __future__ import annotations

import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from tools.process import children, command_line

_TICK_SECONDS = 0.02
_WORKER = re.compile(r"^postgres: .*parallel worker for PID (\d+)")

# What may be seen of a run.
Fact: TypeAlias = Literal[
    "memory_bytes",  # the process's VmHWM, the most memory it has ever had
    "disk_bytes",  # the most that its temporary folder held at once, unlinked files included
    "process_seconds",  # CPU seconds of the process
    "process_busy",  # cores that the process used during the COPY
    "server_seconds",  # CPU seconds of all backends and their workers; a busy machine changes it less than the time
    "copy_seconds",  # how long a backend was in a COPY, summed over the backends
    "backend_busy",  # share of that time in which the backend had a core
    "backend_ready",  # share in which it wanted a core and another program had it: the noise of the machine
    "backend_idle",  # share in which it wanted none: it waited for its client or for the disk
    "copy_waited",  # seconds that COPY waited for its next block, as the function's answer says
]


class Probe:
    """Watches one run.

    Args:
        folder: the temporary folder of the process that loads the day.
        database: name of the database that is loaded.
        backend_pid: a backend of the server.
        pid: the process that loads the day; may be set later.
    """

    def __init__(self, folder: Path, database: str, backend_pid: int, pid: int | None = None) -> None:
        self.pid = pid
        self._folder = folder
        is_here = any("postgres" in part for part in command_line(backend_pid)[:1])
        self._server_pid = _status(backend_pid, "PPid") if is_here else 0
        # postgres: role database host(port) COMMAND
        self._client = re.compile(rf"^postgres: .* {re.escape(database)} \S+ (\w.*)$")
        self._backends: dict[int, tuple[int, int]] = {}
        self._looked, self._cpu = time.monotonic(), 0.0
        self._memory = self._disk = 0
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self.look()
        # What was done before the run does not count.
        self._seconds.clear()

    def look(self) -> None:
        """Add what happened since the last look. What a backend does now, it did since then."""
        now, cpu = time.monotonic(), _cpu_seconds(self.pid)
        passed, self._looked = now - self._looked, now
        # A process that has ended keeps what it had.
        spent, self._cpu = max(0.0, cpu - self._cpu), max(cpu, self._cpu)
        seconds = self._seconds
        seconds["process"] += spent
        for backend, command, scheduled in self._scheduled():
            before = self._backends.get(backend, (0, 0))
            busy, ready = ((end - begin) / 1e9 for begin, end in zip(before, scheduled, strict=True))
            self._backends[backend] = scheduled
            seconds["server"] += busy
            if command == "COPY":
                seconds["copy"] += passed
                seconds["process during copy"] += spent
                seconds["copy busy"] += busy
                seconds["copy ready"] += ready
        if self.pid is not None:
            self._memory = max(self._memory, process_memory(self.pid).peak)
            self._disk = max(self._disk, disk_use(self.pid, self._folder))

    def seen(self) -> dict[Fact, float]:
        """Return what is known so far."""
        seconds = self._seconds
        seen: dict[Fact, float] = {"server_seconds": seconds["server"]} if self._server_pid else {}
        if copy := seconds["copy"]:
            busy, ready = seconds["copy busy"] / copy, seconds["copy ready"] / copy
            seen |= {"copy_seconds": copy, "backend_busy": busy, "backend_ready": ready}
            seen |= {"backend_idle": max(0.0, 1 - busy - ready)}
        if self.pid is not None:
            seen |= {"disk_bytes": self._disk, "process_seconds": seconds["process"]}
            seen |= {"memory_bytes": self._memory} if self._memory else {}
            seen |= {"process_busy": seconds["process during copy"] / copy} if copy else {}
        return seen

    def _scheduled(self) -> Iterator[tuple[int, str, tuple[int, int]]]:
        """Yield each backend of the database and each of its workers.

        Yields:
            Its pid, its command ("" for a worker), and for how many nanoseconds it had a core and waited for one.
        """
        for pid in children(self._server_pid) if self._server_pid else ():
            # The title of the process says what it does.
            title = " ".join(command_line(pid)).rstrip()
            client, worker = self._client.match(title), _WORKER.match(title)
            if client or (worker and int(worker[1]) in self._backends):
                # Each is a process of one thread.
                with suppress(OSError, ValueError):
                    busy, ready, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
                    yield pid, client[1] if client else "", (int(busy), int(ready))


@contextmanager
def watching(probe: Probe) -> Iterator[Probe]:
    """Look again and again while the body runs, and once more at its end."""
    end = threading.Event()

    def look_until_end() -> None:
        while not end.wait(_TICK_SECONDS):
            probe.look()

    looking = threading.Thread(target=look_until_end)
    looking.start()
    try:
        yield probe
    finally:
        end.set()
        looking.join()
        probe.look()


class Memory(NamedTuple):
    """What a process has in memory (`VmRSS`), and the most that it ever had (`VmHWM`), in bytes."""

    now: int
    peak: int


def process_memory(pid: int) -> Memory:
    """Return the memory of a process; 0 where it has ended."""
    return Memory(_status(pid, "VmRSS") * 1024, _status(pid, "VmHWM") * 1024)


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


def _status(pid: int, name: str) -> int:
    """Return a number of `/proc/<pid>/status`; 0 where the process has ended."""
    with suppress(OSError):
        found = re.search(rf"^{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        return int(found[1]) if found else 0
    return 0


def _cpu_seconds(pid: int | None) -> float:
    """Return what a process has used of all cores; 0 where it has ended."""
    with suppress(OSError):
        # The number of its clock, as clock_getcpuclockid(3) makes it; Python has no name for that.
        return 0.0 if pid is None else time.clock_gettime(~pid << 3 | 2)
    return 0.0
