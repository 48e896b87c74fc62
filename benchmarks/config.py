"""The variables of `make bench`."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.cases import CASES
from benchmarks.plan import ALL_SIZES, MILLION, PLANS, Step
from tools.config import LOOPBACK, REPOSITORY, SUITES, WORK, ToolError, check_port_free

BENCH = WORK / "bench"
# Servers that run already, and the variable that holds the DSN of each.
FOREIGN_SERVERS = {"community": "RESTORE_TEST_COMMUNITY_DSN", "given": "RESTORE_TEST_DSN"}
_MOST_ROWS = 100 * MILLION
_OF_A_STEP = ("BENCH_SIZES", "BENCH_RUNS", "BENCH_CASES", "BENCH_WAYS")


@dataclass(frozen=True)
class BenchConfig:
    """The variables, checked. docs/performance.md describes them.

    Figures of a choice of ways are not kept: they would stand beside others of another hour.
    """

    steps: tuple[Step, ...]
    servers: tuple[str, ...]
    is_kept: bool
    pg_port: int
    root: Path

    def steps_on(self, server: str) -> list[Step]:
        """Return what is measured on a server."""
        return [step for step in self.steps if not step.servers or server in step.servers]


def load_bench_config(environ: Mapping[str, str] = os.environ) -> BenchConfig:
    """Read the variables.

    Raises:
        ToolError: a plan, size, number, case or server is not valid, or a plan is combined with a choice of one's own.
    """
    return BenchConfig(
        steps=_steps(environ),
        servers=_servers(environ),
        is_kept=not environ.get("BENCH_WAYS"),
        pg_port=_number(environ, "BENCH_PG_PORT", 15442, most=65535),
        root=Path(environ.get("BENCH_ROOT") or REPOSITORY).resolve(),
    )


def _steps(environ: Mapping[str, str]) -> tuple[Step, ...]:
    own = [name for name in _OF_A_STEP if environ.get(name)]
    plan = environ.get("BENCH_PLAN") or ("" if own else "usual")
    if plan and own:
        raise ToolError(f"BENCH_PLAN={plan} says what is measured; leave out {', '.join(own)}")
    if plan:
        _check_known("plan", "BENCH_PLAN", plan, PLANS)
        return PLANS[plan]
    sizes, cases = environ.get("BENCH_SIZES", ""), _parts(environ.get("BENCH_CASES", ""))
    for case in cases:
        _check_known("case", "BENCH_CASES", case, [case.name for case in CASES])
    chosen = tuple(sorted({_rows(part) for part in _parts(sizes)})) if sizes != "all" else ALL_SIZES
    runs = _number(environ, "BENCH_RUNS", 3, most=99)
    return (Step(chosen or ALL_SIZES[:2], runs, tuple(cases), tuple(_parts(environ.get("BENCH_WAYS", "")))),)


def _servers(environ: Mapping[str, str]) -> tuple[str, ...]:
    suites = (environ["PG"],) if environ.get("PG") else SUITES
    given = ("community",) if environ.get(FOREIGN_SERVERS["community"]) else ()
    servers = tuple(_parts(environ.get("BENCH_SERVERS", ""))) or (*suites, *given)
    for server in servers:
        _check_known("server", "BENCH_SERVERS", server, (*SUITES, *FOREIGN_SERVERS))
        variable = FOREIGN_SERVERS.get(server)
        if variable and not environ.get(variable):
            raise ToolError(f"the server {server} of BENCH_SERVERS needs its DSN in {variable}")
    return servers


def own_folder() -> TemporaryDirectory[str]:
    """Create a temporary folder that nothing else uses; a context manager removes it."""
    (BENCH / "tmp").mkdir(parents=True, exist_ok=True)
    return TemporaryDirectory(dir=BENCH / "tmp")


def free_port(first: int) -> int:
    """Return the first free port of the loopback address from `first` on.

    Raises:
        ToolError: a hundred ports in a row are taken.
    """
    for port in range(first, first + 100):
        with suppress(ToolError):
            check_port_free(port, "HOST_PORT", "the function host")
            return port
    raise ToolError(f"no port is free on {LOOPBACK} from {first} on; choose another with HOST_PORT=<port>")


def _check_known(kind: str, variable: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise ToolError(f"the {kind} {name} of {variable} is not known; choose among: {', '.join(known)}")


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
