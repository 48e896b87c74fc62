"""What `make bench` is told by the environment."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from benchmarks.cases import CASES
from benchmarks.plan import ALL_SIZES, MILLION, PLANS, Step
from tools.config import LOOPBACK, REPOSITORY, SUITES, WORK, ToolError, check_port_free

BENCH = WORK / "bench"
_DEFAULT_SIZES = "0.3,1"
_MOST_ROWS = 100 * MILLION
# A server of somebody else is reached by the DSN in the variable.
FOREIGN_SERVERS = {"community": "RESTORE_TEST_COMMUNITY_DSN", "given": "RESTORE_TEST_DSN"}
_OF_A_STEP = ("BENCH_SIZES", "BENCH_RUNS", "BENCH_CASES", "BENCH_WAYS")


@dataclass(frozen=True)
class BenchConfig:
    """The variables of `make bench`, checked.

    Attributes:
        steps: what is measured. `BENCH_PLAN` names them; else `BENCH_SIZES` in millions or `all`, `BENCH_RUNS`,
            `BENCH_CASES` and `BENCH_WAYS` make a step; else it is the plan `usual`.
        servers: Debian suites, `community` and `given`. Variable `BENCH_SERVERS`, else `PG`.
        is_kept: whether the figures are kept. Those of some ways of one's own choice are not: they would stand
            beside others of another hour.
        is_fresh: whether figures of the same code are measured anew. Variable `BENCH_FRESH`.
        pg_port: TCP port of the benchmark's own servers. Variable `BENCH_PG_PORT`.
        root: the function app that is measured; another commit's work tree, for instance. Variable `BENCH_ROOT`.
    """

    steps: tuple[Step, ...]
    servers: tuple[str, ...]
    is_kept: bool
    is_fresh: bool
    pg_port: int
    root: Path

    def steps_on(self, server: str) -> list[Step]:
        """Return what is measured on a server."""
        return [step for step in self.steps if not step.servers or server in step.servers]


def load_bench_config(environ: Mapping[str, str] = os.environ) -> BenchConfig:
    """Read the variables.

    Raises:
        ToolError: a plan, size, number, case or server that is none, or a plan beside what makes one.
    """
    return BenchConfig(
        steps=_steps(environ),
        servers=_servers(environ),
        is_kept=not environ.get("BENCH_WAYS"),
        is_fresh=bool(environ.get("BENCH_FRESH")),
        pg_port=_number(environ, "BENCH_PG_PORT", 15442, most=65535),
        root=Path(environ.get("BENCH_ROOT") or REPOSITORY).resolve(),
    )


def _steps(environ: Mapping[str, str]) -> tuple[Step, ...]:
    own = [name for name in _OF_A_STEP if environ.get(name)]
    plan = environ.get("BENCH_PLAN") or ("" if own else "usual")
    if plan and own:
        raise ToolError(f"BENCH_PLAN={plan} says itself what is measured; leave out {', '.join(own)}")
    if plan:
        if plan not in PLANS:
            raise ToolError(f"the plan {plan} of BENCH_PLAN is not known; choose among: {', '.join(PLANS)}")
        return PLANS[plan]
    text = environ.get("BENCH_SIZES") or _DEFAULT_SIZES
    cases, known = tuple(_parts(environ.get("BENCH_CASES", ""))), [case.name for case in CASES]
    for case in cases:
        if case not in known:
            raise ToolError(f"the case {case} of BENCH_CASES is not known; choose among: {', '.join(known)}")
    return (
        Step(
            sizes=ALL_SIZES
            if text == "all"
            else tuple(sorted({_rows(part) for part in _parts(text)})) or ALL_SIZES[:2],
            runs=_number(environ, "BENCH_RUNS", 3, most=99),
            cases=cases,
            ways=tuple(_parts(environ.get("BENCH_WAYS", ""))),
        ),
    )


def _servers(environ: Mapping[str, str]) -> tuple[str, ...]:
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
    return servers


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
