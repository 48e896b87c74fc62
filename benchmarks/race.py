"""The race: each way in turn, round after round, on the same data and the same server.

The programs are this project's function, psql, timescaledb-parallel-copy, and the user's old recipe.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from psycopg2.extensions import parse_dsn

from benchmarks.cases import Case, Way
from benchmarks.database import Bench
from benchmarks.day import DATABASE, Day, Lake
from benchmarks.plan import BENCH
from benchmarks.probe import Probe, watching
from benchmarks.results import Result, Run, Series
from shared.jobs.operation import ENDED
from tools.azurite import ACCOUNT, JOB_ACCOUNTS
from tools.config import DAILY_SCHEDULE, LOGS, LOOPBACK, REPOSITORY, SUITES, ToolError
from tools.host_process import HostProcess
from tools.local_server import free_port
from tools.rootfs import RootFs

FAILED = "failed"
_HOUR_SECONDS = 3600
_PAUSE_SECONDS = 0.5
PARALLEL_COPY = "timescaledb-parallel-copy"
PARALLEL_OPTIONS = ("--copy-options", "CSV", "--skip-header", "--schema", "silver", "--table", "telemetry")
PSQL_OPTIONS = ("--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--single-transaction", "--output", "/dev/null")
# The rival reads the decompressed day on its standard input.
UNPACKED = ("bash", "-c", 'set -o pipefail; gzip -dc "$0" | "$@"')


@contextmanager
def own_folder() -> Iterator[Path]:
    """Create a temporary folder that nothing else uses, and remove it at the end."""
    (BENCH / "tmp").mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=BENCH / "tmp") as folder:
        yield Path(folder)


class NotTimedError(Exception):
    """Why a way has no figures, for the report."""


@dataclass(frozen=True)
class Host:
    """The function in a process that listens on a port of 127.0.0.1 and has `folder` as its own TMPDIR."""

    pid: int
    port: int
    folder: Path


@dataclass(frozen=True)
class Race:
    """One case at one size on one server. The day is in the lake already; `root` is the function app's folder."""

    bench: Bench
    lake: Lake
    case: Case
    day: Day
    root: Path

    def run(self, ways: Sequence[Way], rounds: int) -> Result:
        """Time the ways in turns, each once a round. A way that cannot be timed is not tried again.

        Raises:
            WrongDataError: a run left other data than the archive's.
        """
        when = datetime.now(timezone.utc).isoformat(timespec="seconds")
        found = {way.name: Series() for way in ways}
        with ExitStack() as stack:
            functions = [way for way in ways if way.program == "function"]
            hosts = {way.name: stack.enter_context(self.running_function(way)) for way in functions}
            for turn in range(rounds):
                for way in [way for way in ways if found[way.name].missing is None]:
                    try:
                        run = self._time(way, hosts.get(way.name))
                        found[way.name] = Series([*found[way.name].runs, run])
                        said = f"{run.seconds:8.2f} s"
                    except NotTimedError as exc:
                        found[way.name] = Series(missing=str(exc))
                        said = f"  {exc}"
                    where = f"{self.case.name:<18} {self.day.rows:>10,} rows  round {turn + 1} of {rounds}"
                    print(f"   {where}  {way.name:<14}{said}", flush=True)
        return Result(
            server=self.bench.name,
            title=self.bench.title,
            version=self.bench.version,
            conditions=self.bench.conditions,
            case=self.case.name,
            rows=self.day.rows,
            when=when,
            commit=commit_of(self.root),
            ways=found,
        )

    @contextmanager
    def running_function(self, way: Way) -> Iterator[Host]:
        """Run the function app in a fresh process, with settings that name the database's server.

        Raises:
            ToolError: it ended, or did not answer within 60 s.
        """
        server = HostProcess(free_port())
        command = [sys.executable, "-m", "tools.host", "--root", str(self.root), "--port", str(server.port)]
        log = LOGS / f"bench-host-{way.name}.log"
        with own_folder() as folder:
            # All hosts of a race run at once, and each may work on the messages of its queue.
            queue = 0 if way.looks is None else 1 + bool(way.looks)
            pid = server.run(command, seconds=60, log=log, environ=environment(self.bench, self.lake, folder, queue))
            try:
                yield Host(pid, server.port, folder)
            finally:
                server.stop()

    def _time(self, way: Way, host: Host | None) -> Run:
        """Run a way once on freshly made tables."""
        self.bench.prepare(self.case, way, self.day)
        with ExitStack() as stack:
            folder = host.folder if host else stack.enter_context(own_folder())
            backend_pid = self.bench.connection.info.backend_pid
            probe = stack.enter_context(watching(Probe(folder, DATABASE, backend_pid, host.pid if host else None)))
            begin = time.monotonic()
            answer = self._restore(way, host) if host else self._run_rival(way, folder, probe)
            seconds = time.monotonic() - begin if way.looks is None else answer["timings"]["total"]
        if not self.bench.check(self.case, way, self.day):
            raise NotTimedError("the day does not end compressed")
        return Run(
            seconds, probe.seen() | ({"copy_waited": answer["copy"]["waited_seconds"]} if answer else {}), answer
        )

    def _restore(self, way: Way, host: Host) -> dict[str, Any]:
        """Send the request of a way, and return the answer."""
        body = json.dumps({"adls_url": self.lake.url(self.day), **way.request, "async": way.looks is not None})
        with closing(http.client.HTTPConnection(LOOPBACK, host.port, timeout=_HOUR_SECONDS)) as connection:

            def ask(method: str, path: str, body: str | None = None) -> dict[str, Any]:
                connection.request(method, path, body, {"Content-Type": "application/json"})
                answer = connection.getresponse().read().decode()
                found: dict[str, Any] = json.loads(answer) if answer.startswith("{") else {"answered": answer}
                return found

            found = ask("POST", "/api/restore", body)
            if way.looks is not None and "links" in found:
                found = self._follow(way.looks, lambda: ask("GET", urlsplit(found["links"]["self"]).path))
        if found.get("status") not in ("ok", "ok_with_warnings"):
            print(f"   {way.name} answered {found}", flush=True)
            raise NotTimedError(FAILED)
        return found

    @staticmethod
    def _follow(looks: int, look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Look so often while it runs, one look after the other, and then now and then; return the answer.

        Raises:
            NotTimedError: the restore ended before so many looks.
        """
        while (state := look()).get("status") == "NotStarted":
            time.sleep(_PAUSE_SECONDS)
        for _ in range(looks):
            state = look()
        if looks and state["status"] != "Running":
            raise NotTimedError(f"it was {state['status']} after {looks} looks")
        while state.get("status") not in ENDED:
            time.sleep(_PAUSE_SECONDS)
            state = look()
        result: dict[str, Any] = state.get("result", state)
        return result

    def _run_rival(self, way: Way, folder: Path, probe: Probe) -> dict[str, Any]:
        """Run any way but the function's to its end, with `folder` as its TMPDIR. There is no answer."""
        log, command = LOGS / f"bench-{way.name}.log", self._rival_command(way)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as out:
            environ = environment(self.bench, self.lake, folder)
            with subprocess.Popen(
                command, cwd=REPOSITORY, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            ) as program:
                # The memory of the other rivals is of no interest.
                probe.pid = program.pid if way.program == "recipe" else None
        if program.returncode != 0:
            said = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
            print(f"   {way.name} ended with {program.returncode}, see {log}:\n{said}", flush=True)
            raise NotTimedError(FAILED)
        return {}

    def _rival_command(self, way: Way) -> list[str]:
        if way.program == "recipe":
            return [sys.executable, "-m", "benchmarks.recipe", self.lake.filesystem, self.lake.path(self.day)]
        program = [PARALLEL_COPY, "--connection", self.bench.dsn, "--workers", str(way.workers), *PARALLEL_OPTIONS]
        if way.program != "parallel-copy":
            script = (*way.script, *(index.string for index in self.case.indexes if way.program == "floor"))
            program = [*psql(), *PSQL_OPTIONS, *(part for command in script for part in ("--command", command))]
        elif shutil.which(PARALLEL_COPY) is None:
            raise NotTimedError(f"{PARALLEL_COPY} is not on the PATH")
        return [*UNPACKED, str(self.day.path), *program]


def environment(bench: Bench, lake: Lake, folder: Path, queue: int = 0) -> dict[str, str]:
    """Return the environment of every program: where database, archive and TMPDIR are, and nothing of the caller's.

    `queue` counts Azurite's accounts for jobs from the last one on, which nothing else reads.

    Its PG*, ADLS_* and limits would make it another function.
    """
    # `prefer` is what psql would choose, so that all talk to the server in the same way.
    server = {"sslmode": "prefer"} | parse_dsn(bench.dsn)
    server["database"] = server.pop("dbname")
    environ = {f"PG{name.upper()}": str(value) for name, value in server.items()}
    # Inside a root file system, PATH is another one.
    environ |= {"PATH": f"{os.environ['PATH']}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    environ |= {"PYTHONPATH": str(REPOSITORY), "NO_PROXY": LOOPBACK, "no_proxy": LOOPBACK, "TMPDIR": str(folder)}
    jobs = lake.storage.replace(ACCOUNT, JOB_ACCOUNTS[-1 - queue])
    environ |= {"ADLS_CONNECTION_STRING": lake.storage, "AzureWebJobsStorage": jobs}
    return environ | {"RESTORE_DAILY_SCHEDULE": DAILY_SCHEDULE}


def psql() -> tuple[str, ...]:
    """Return the command that starts psql, installed or from Debian's packages.

    Raises:
        ToolError: there is none.
    """
    if found := shutil.which("psql"):
        return (found,)
    for root in map(RootFs, SUITES):
        if root.path.exists():
            return tuple(root.command(f"{root.bin}/psql"))
    raise ToolError("psql is not installed; apt install postgresql-client, or run make up once")


def commit_of(root: Path) -> str:
    """Return the commit of a work tree, with `-dirty` where it was changed since; `unknown` without git."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    command = [git, "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip() or "unknown"
