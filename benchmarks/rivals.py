"""The rivals in a race: psql, timescaledb-parallel-copy, and the old recipe."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.archive import Lake
from benchmarks.cases import TARGET, Way
from benchmarks.day import Day
from benchmarks.server import Server, psql_environment
from tools.config import LOGS, LOOPBACK, REPOSITORY, ToolError

_PARALLEL_COPY = "timescaledb-parallel-copy"
_STORAGE_VARIABLE = "BENCH_STORAGE"
_PARALLEL_OPTIONS = ("--copy-options", "CSV", "--skip-header", "--schema", TARGET[0], "--table", TARGET[1])
_PSQL_OPTIONS = ["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--single-transaction", "--output", "/dev/null"]
# The rival reads the decompressed day on its standard input.
_UNPACKED = ("bash", "-c", 'set -o pipefail; gzip -dc "$0" | "$@"')


def command_of(
    way: Way, server: Server, dsn: str, lake: Lake, day: Day, index_statements: Sequence[str]
) -> list[str] | str:
    """Return the command of a way, or why it cannot be timed.

    Args:
        way: any but the function's.
        server: the server to load into.
        dsn: of the database.
        lake: where the archive is stored.
        day: what is loaded.
        index_statements: the last commands of the floor.
    """
    if way.program == "recipe":
        return [sys.executable, "-m", "benchmarks.recipe", _STORAGE_VARIABLE, lake.filesystem, lake.path(day)]
    if way.program == "parallel-copy":
        found = shutil.which(_PARALLEL_COPY)
        if found is None:
            return f"{_PARALLEL_COPY} is not on the PATH"
        program = [found, "--connection", dsn, "--workers", str(way.workers), *_PARALLEL_OPTIONS]
    else:
        commands = (*way.script, *(index_statements if way.program == "floor" else ()))
        arguments = [argument for command in commands for argument in ("--command", command)]
        program = [*server.psql, *_PSQL_OPTIONS, *arguments]
    return [*_UNPACKED, str(day.path), *program]


@contextmanager
def running_rival(
    command: Sequence[str], way: Way, dsn: str, lake: Lake, folder: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a rival whose TMPDIR is `folder`. The context ends when the rival does.

    Raises:
        ToolError: it failed.
    """
    log = LOGS / f"bench-{way.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    environ = psql_environment(dsn) | {"TMPDIR": folder, "NO_PROXY": LOOPBACK, "no_proxy": LOOPBACK}
    environ[_STORAGE_VARIABLE] = lake.storage
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, cwd=REPOSITORY, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        ) as program,
    ):
        yield program
    if program.returncode != 0:
        said = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
        raise ToolError(f"{way.name} ended with {program.returncode}, see {log}:\n{said}")
