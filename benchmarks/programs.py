"""The programs in a race: this project's function, psql, timescaledb-parallel-copy, and the user's old recipe."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg2.extensions import parse_dsn

from benchmarks.archive import Lake
from benchmarks.cases import Case, Way
from benchmarks.config import own_folder
from benchmarks.database import Bench
from benchmarks.day import Day
from benchmarks.probe import Probe
from tools.azurite import ACCOUNT, JOB_ACCOUNTS
from tools.config import LOGS, LOOPBACK, REPOSITORY, SUITES, ToolError
from tools.host_process import HostProcess
from tools.local_server import free_port
from tools.rootfs import RootFs

FAILED = "failed"
_HOUR_SECONDS = 3600
_PARALLEL_COPY = "timescaledb-parallel-copy"
_PARALLEL_OPTIONS = ("--copy-options", "CSV", "--skip-header", "--schema", "silver", "--table", "telemetry")
_PSQL_OPTIONS = ("--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--single-transaction", "--output", "/dev/null")
# The rival reads the decompressed day on its standard input.
_UNPACKED = ("bash", "-c", 'set -o pipefail; gzip -dc "$0" | "$@"')


class NotTimedError(Exception):
    """Why a way has no figures, for the report. What a way said that failed is on the screen already."""


def _failed(way: Way, said: str) -> NotTimedError:
    print(f"   {way.name} {said}", flush=True)
    return NotTimedError(FAILED)


def _environment(bench: Bench, lake: Lake, folder: Path) -> dict[str, str]:
    """Return the environment of every program: where database, archive and TMPDIR are, and nothing of the caller's.

    Its PG*, ADLS_* and limits would make it another function.
    """
    # `prefer` is what psql would choose, so that all talk to the server in the same way.
    server = {"sslmode": "prefer"} | parse_dsn(bench.dsn)
    server["database"] = server.pop("dbname")
    environ = {f"PG{name.upper()}": str(value) for name, value in server.items()}
    # Inside a root file system, PATH is another one.
    environ |= {"PATH": f"{os.environ['PATH']}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    environ |= {"PYTHONPATH": str(REPOSITORY), "NO_PROXY": LOOPBACK, "no_proxy": LOOPBACK, "TMPDIR": str(folder)}
    # Azurite's last account for jobs, whose queue nothing else reads.
    jobs = lake.storage.replace(ACCOUNT, JOB_ACCOUNTS[-1])
    return environ | {"ADLS_CONNECTION_STRING": lake.storage, "AzureWebJobsStorage": jobs}


@dataclass(frozen=True)
class Host:
    """The function in a process that listens on a port of 127.0.0.1 and has `folder` as its own TMPDIR."""

    pid: int
    port: int
    folder: Path

    def restore(self, way: Way, lake: Lake, day: Day) -> dict[str, Any]:
        """Send the request of a way, and return the answer.

        Raises:
            NotTimedError: the day was not restored.
        """
        body = json.dumps({"adls_url": lake.url(day), **way.request})
        with closing(http.client.HTTPConnection(LOOPBACK, self.port, timeout=_HOUR_SECONDS)) as connection:
            connection.request("POST", "/api/restore", body, {"Content-Type": "application/json"})
            answer = connection.getresponse().read().decode()
        found: dict[str, Any] = json.loads(answer) if answer.startswith("{") else {}
        if found.get("status") not in ("ok", "ok_with_warnings"):
            raise _failed(way, f"answered {answer}")
        return found


@contextmanager
def running_function(root: Path, way: Way, bench: Bench, lake: Lake) -> Iterator[Host]:
    """Run the function app of a folder in a fresh process, with settings that name the database's server.

    Raises:
        ToolError: it ended, or did not answer within 60 s.
    """
    server = HostProcess(free_port())
    command = [sys.executable, "-m", "tools.host", "--root", str(root), "--port", str(server.port)]
    log = LOGS / f"bench-host-{way.name}.log"
    with own_folder() as folder:
        pid = server.run(command, seconds=60, log=log, environ=_environment(bench, lake, folder))
        try:
            yield Host(pid, server.port, folder)
        finally:
            server.stop()


def run_rival(way: Way, case: Case, bench: Bench, lake: Lake, day: Day, folder: Path, probe: Probe) -> dict[str, Any]:
    """Run any way but the function's to its end, with `folder` as its TMPDIR. There is no answer.

    Raises:
        NotTimedError: the program failed, or is not installed.
    """
    log = LOGS / f"bench-{way.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command, environ = _rival_command(way, case, bench, lake, day), _environment(bench, lake, folder)
    with (
        log.open("wb") as out,
        subprocess.Popen(
            command, cwd=REPOSITORY, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        ) as program,
    ):
        # The memory of the other rivals is of no interest.
        probe.pid = program.pid if way.program == "recipe" else None
    if program.returncode != 0:
        said = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
        raise _failed(way, f"ended with {program.returncode}, see {log}:\n{said}")
    return {}


def _rival_command(way: Way, case: Case, bench: Bench, lake: Lake, day: Day) -> list[str]:
    if way.program == "recipe":
        return [sys.executable, "-m", "benchmarks.recipe", lake.filesystem, lake.path(day)]
    program: Sequence[str]
    if way.program == "parallel-copy":
        if shutil.which(_PARALLEL_COPY) is None:
            raise NotTimedError(f"{_PARALLEL_COPY} is not on the PATH")
        program = (_PARALLEL_COPY, "--connection", bench.dsn, "--workers", str(way.workers), *_PARALLEL_OPTIONS)
    else:
        script = (*way.script, *(bench.plain_indexes(case) if way.program == "floor" else ()))
        program = (*psql(), *_PSQL_OPTIONS, *(part for command in script for part in ("--command", command)))
    return [*_UNPACKED, str(day.path), *program]


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
