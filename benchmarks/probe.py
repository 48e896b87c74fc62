"""What a run costs beside its time: memory and temporary disk of a process, and how busy the server's backends are.

All of it is read from `/proc`, so it works for servers on this machine that share its process ids. A thread looks every
20 ms; it takes a few per cent of one core from every way alike.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from benchmarks.backends import Backends, server_of

_TICK_SECONDS = 0.02
# A query costs the server more than a look into /proc.
_ASK_EVERY_TICKS = 5
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_WAITS = "SELECT wait_event_type, wait_event FROM pg_stat_activity WHERE pid = ANY(%s)"


@dataclass(frozen=True)
class Observed:
    """What was seen of one run. None is what could not be seen.

    Attributes:
        memory_bytes: the process's VmHWM, the most memory it has ever had.
        disk_bytes: the most that lay in its temporary folder at once, files without a name included.
        server_seconds: CPU seconds of all backends of the database, parallel workers included; the noise of a busy
            machine is not in it.
        process_seconds: CPU seconds of the process.
        copy_seconds: how long a backend was in a COPY, added up over the backends.
        backend_busy: share of that time in which the backend had a core.
        backend_ready: share in which it wanted one and another program had it: the noise of the machine.
        backend_starved: share of the looks in which it waited for its client to send.
        process_busy: cores that the process took during the COPY.
    """

    memory_bytes: int | None = None
    disk_bytes: int | None = None
    server_seconds: float | None = None
    process_seconds: float | None = None
    copy_seconds: float | None = None
    backend_busy: float | None = None
    backend_ready: float | None = None
    backend_starved: float | None = None
    process_busy: float | None = None


class Probe:
    """Watches a run; `observed()` tells at its end. Made by `watching()`.

    Args:
        folder: the temporary folder of the process that puts the day in.
        admin_dsn: a database of the server other than the one that is loaded: a session there would be in the way of
            a restore that looks whether it is alone.
        database: name of the database that is loaded.
        pid: the process that puts the day in. It may be set later, and None where its cost is not asked for.
    """

    def __init__(self, folder: Path, admin_dsn: str, database: str, pid: int | None = None) -> None:
        self.pid = pid
        self._folder = folder
        self._admin_dsn = admin_dsn
        self._backends = Backends(database)
        self._disk = self._memory = 0
        self._cpu_before = self._cpu_after = self._copy_cpu = self._copy_wall = 0.0
        self._looks = self._starved = 0
        self._ready, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._failure: Exception | None = None

    def start(self) -> None:
        """Begin to watch; returns when it does."""
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """End it, and raise what went wrong in its thread."""
        self._end.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def observed(self) -> Observed:
        """Return what was seen."""
        backends, begin = self._backends, self._cpu_before
        in_copy = backends.copy_seconds
        return Observed(
            memory_bytes=self._memory or None,
            disk_bytes=None if self.pid is None else self._disk,
            server_seconds=backends.seconds,
            process_seconds=None if self.pid is None else self._cpu_after - begin,
            copy_seconds=in_copy or None,
            backend_busy=backends.copy_busy / in_copy if in_copy else None,
            backend_ready=backends.copy_ready / in_copy if in_copy else None,
            backend_starved=self._starved / self._looks if self._looks else None,
            process_busy=self._copy_cpu / self._copy_wall if self._copy_wall and self.pid else None,
        )

    def _watch(self) -> None:
        try:
            self._look_until_the_end()
        except Exception as exc:  # noqa: BLE001 - told where it is heard, by the thread that times the run
            self._failure = exc
        finally:
            self._ready.set()

    def _look_until_the_end(self) -> None:
        with closing(psycopg2.connect(self._admin_dsn, connect_timeout=10)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                self._backends.server_pid = server_of(connection.info.backend_pid)
                before, tick = time.monotonic(), 0
                self._backends.look(before)
                self._cpu_before = self._cpu_after = self._process_cpu()
                self._ready.set()
                while not self._end.wait(_TICK_SECONDS):
                    now, spent = time.monotonic(), self._process_cpu()
                    copying = self._backends.look(now)
                    if copying:
                        self._copy_wall += now - before
                        self._copy_cpu += spent - self._cpu_after
                    before, self._cpu_after, tick = now, spent, tick + 1
                    if copying and tick % _ASK_EVERY_TICKS == 0:
                        cursor.execute(_WAITS, (copying,))
                        waits = cursor.fetchall()
                        self._looks += len(waits)
                        self._starved += waits.count(("Client", "ClientRead"))
                    self._look_at_process()
                self._backends.look(time.monotonic())
        self._cpu_after = self._process_cpu()
        self._look_at_process()

    def _process_cpu(self) -> float:
        # A process that has ended keeps what it had.
        return max(self._cpu_after, 0.0 if self.pid is None else _cpu_seconds(self.pid))

    def _look_at_process(self) -> None:
        if self.pid is not None:
            self._memory = max(self._memory, peak_memory(self.pid) or 0)
            self._disk = max(self._disk, disk_use(self.pid, self._folder))


@contextmanager
def watching(folder: Path, admin_dsn: str, database: str, pid: int | None = None) -> Iterator[Probe]:
    """Watch what the body runs; the arguments are those of `Probe`."""
    probe = Probe(folder, admin_dsn, database, pid)
    probe.start()
    try:
        yield probe
    finally:
        probe.stop()


def peak_memory(pid: int) -> int | None:
    """Return a process's VmHWM in bytes, or None where it has ended."""
    with suppress(OSError):
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    return None


def disk_use(pid: int, folder: Path) -> int:
    """Return the bytes below a folder: of its files, and of those that a process has open there without a name."""
    found: dict[tuple[int, int], int] = {}
    below = f"{folder.resolve()}/"
    with suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if str(link.readlink()).startswith(below):
                    _add(found, link)
    for path in folder.rglob("*"):
        with suppress(OSError):
            if path.is_file():
                _add(found, path)
    return sum(found.values())


def _add(found: dict[tuple[int, int], int], path: Path) -> None:
    stat = path.stat()
    found[stat.st_dev, stat.st_ino] = stat.st_size


def _cpu_seconds(pid: int) -> float:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # utime and stime: the 14th and 15th of proc(5), which counts from the pid on.
        return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS
    return 0.0
