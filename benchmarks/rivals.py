"""The rivals in a race: psql, timescaledb-parallel-copy, and the old recipe."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.archive import Lake
from benchmarks.cases import TARGET, Way
from benchmarks.day import Day
from benchmarks.server import Server, psql_environment
from tools.config import LOGS, LOOPBACK, REPOSITORY, ToolError

PARALLEL_COPY = "timescaledb-parallel-copy"
_STORAGE_VARIABLE = "BENCH_STORAGE"
_PARALLEL_OPTIONS = ("--copy-options", "CSV", "--skip-header", "--schema", TARGET[0], "--table", TARGET[1])
_PSQL_OPTIONS = (
    *("--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--single-transaction", "--output", "/dev/null"),
)


@dataclass(frozen=True)
class Rival:
    """A program that loads the day, and whether it reads the decompressed day on its standard input."""

    command: Sequence[str]
    environ: Mapping[str, str]
    reads_csv: bool = True


def make_rival(
    way: Way, server: Server, dsn: str, lake: Lake, day: Day, index_statements: Sequence[str]
) -> Rival | None:
    """Return the program of a way, or None where it is not installed.

    Args:
        way: any but the function's.
        server: the server to load into.
        dsn: of the database.
        lake: where the archive is stored.
        day: what is loaded.
        index_statements: the last commands of a way that builds indexes.
    """
    environ = psql_environment(dsn)
    if way.program == "psql":
        commands = (*way.script, *(index_statements if way.builds_indexes else ()))
        arguments = [argument for command in commands for argument in ("--command", command)]
        # Inside a root file system, PATH is another one.
        return Rival((*server.psql, *_PSQL_OPTIONS, *arguments), environ | {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    if way.program == "recipe":
        command = (sys.executable, "-m", "benchmarks.recipe", _STORAGE_VARIABLE, lake.filesystem, lake.path(day))
        extra = {_STORAGE_VARIABLE: lake.storage, "NO_PROXY": LOOPBACK, "no_proxy": LOOPBACK}
        return Rival(command, environ | extra, reads_csv=False)
    found = shutil.which(PARALLEL_COPY)
    if found is None:
        return None
    return Rival((found, "--connection", dsn, "--workers", str(way.workers), *_PARALLEL_OPTIONS), environ)


@contextmanager
def running_rival(rival: Rival, way: Way, day: Day, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a rival whose TMPDIR is `folder`, and gzip to feed it. The body waits for its end.

    Raises:
        ToolError: it failed.
    """
    log = LOGS / f"bench-{way.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    unpack = None
    with log.open("wb") as output:
        if rival.reads_csv:
            unpack = subprocess.Popen(["gzip", "-dc", str(day.path)], stdout=subprocess.PIPE, stderr=output)
        program = subprocess.Popen(
            list(rival.command),
            cwd=REPOSITORY,
            env={**rival.environ, "TMPDIR": str(folder)},
            stdin=unpack.stdout if unpack else subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    if unpack and unpack.stdout:
        # The rival holds it now. If the rival ends early, gzip must notice.
        unpack.stdout.close()
    try:
        yield program
        code = program.wait() or (unpack.wait() if unpack else 0)
        if code != 0:
            said = os.linesep.join(log.read_text(errors="replace").splitlines()[-5:])
            raise ToolError(f"{way.name} ended with {code}, see {log}:\n{said}")
    finally:
        for process in filter(None, (program, unpack)):
            if process.poll() is None:
                process.kill()
            process.wait()
