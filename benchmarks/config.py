"""What `make bench` is told by the environment."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from tools.config import LOOPBACK, REPOSITORY, SUITES, WORK, ToolError, check_port_free

BENCH = WORK / "bench"
MILLION = 1_000_000
ALL_SIZES = ("0.3", "1", "3", "10")
_DEFAULT_SIZES = ALL_SIZES[:2]
_MOST_ROWS = 100 * MILLION
# A server of somebody else is reached by the DSN in the variable.
FOREIGN_SERVERS = {"community": "RESTORE_TEST_COMMUNITY_DSN", "given": "RESTORE_TEST_DSN"}


@dataclass(frozen=True)
class BenchConfig:
    """The variables of `make bench`, checked.

    Attributes:
        sizes: rows of the days, smallest first. Variable `BENCH_SIZES`, in millions, or `all`.
        runs: how often each way is timed. Variable `BENCH_RUNS`.
        servers: Debian suites, `community` and `given`. Variable `BENCH_SERVERS`, else `PG`.
        cases: names of the cases to run; all of them where empty. Variable `BENCH_CASES`.
        ways: names of the ways to run; all of them where empty. Variable `BENCH_WAYS`.
        pg_port: TCP port of the benchmark's own servers. Variable `BENCH_PG_PORT`.
        root: the function app that is measured; another commit's work tree, for instance. Variable `BENCH_ROOT`.
    """

    sizes: tuple[int, ...]
    runs: int
    servers: tuple[str, ...]
    cases: tuple[str, ...]
    ways: tuple[str, ...]
    pg_port: int
    root: Path


def load_bench_config(environ: Mapping[str, str] = os.environ) -> BenchConfig:
    """Read the variables.

    Raises:
        ToolError: a size, a number or a server that is none.
    """
    text = environ.get("BENCH_SIZES") or ",".join(_DEFAULT_SIZES)
    sizes = tuple(sorted({_rows(part) for part in (ALL_SIZES if text == "all" else _parts(text))}))
    suites = (environ["PG"],) if environ.get("PG") else SUITES
    given = ("community",) if environ.get(FOREIGN_SERVERS["community"]) else ()
    servers = tuple(_parts(environ.get("BENCH_SERVERS") or ",".join((*suites, *given))))
    for server in servers:
        if server not in SUITES and server not in FOREIGN_SERVERS:
            known = ", ".join((*SUITES, *FOREIGN_SERVERS))
            raise ToolError(f"the server {server} of BENCH_SERVERS is not known; choose among: {known}")
        variable = FOREIGN_SERVERS.get(server)
        if variable and not environ.get(variable):
            raise ToolError(f"the server {server} of BENCH_SERVERS needs its DSN in {variable}")
    return BenchConfig(
        sizes=sizes,
        runs=_number(environ, "BENCH_RUNS", 3, most=99),
        servers=servers,
        cases=tuple(_parts(environ.get("BENCH_CASES", ""))),
        ways=tuple(_parts(environ.get("BENCH_WAYS", ""))),
        pg_port=_number(environ, "BENCH_PG_PORT", 15442, most=65535),
        root=Path(environ.get("BENCH_ROOT") or REPOSITORY).resolve(),
    )


@contextmanager
def own_folder(name: str) -> Iterator[Path]:
    """Make a temporary folder that nobody else uses, and remove it at the end."""
    folder = BENCH / "tmp" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_port(first: int) -> int:
    """Return a port of the loopback address that is free, the first one from here on.

    Raises:
        ToolError: a hundred ports in a row are taken.
    """
    for port in range(first, first + 99):
        try:
            check_port_free(port, "HOST_PORT", "the function host")
        except ToolError:
            continue
        return port
    raise ToolError(f"no port is free on {LOOPBACK} from {first} on; choose another begin with HOST_PORT=<port>")


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _rows(text: str) -> int:
    try:
        rows = int(Decimal(text) * MILLION)
    except (InvalidOperation, ValueError, OverflowError):
        rows = 0
    if not 1 <= rows <= _MOST_ROWS:
        raise ToolError(f"BENCH_SIZES={text} is no size: millions of rows, 0.3 for instance, or all")
    return rows


def _number(environ: Mapping[str, str], name: str, default: int, *, most: int) -> int:
    text = environ.get(name) or str(default)
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= most:
        raise ToolError(f"{name}={text} is not a number from 1 to {most}")
    return int(text)
