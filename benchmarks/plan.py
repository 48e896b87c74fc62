"""What is measured: the plans as data, `usual` and the one for the page in the docs, and the arguments."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cases import CASES, Case, Way
from tools.config import REPOSITORY, SUITES, WORK

BENCH = WORK / "bench"
# Servers that run already, and the variable that holds the DSN of each.
FOREIGN_SERVERS = {"community": "RESTORE_TEST_COMMUNITY_DSN", "given": "RESTORE_TEST_DSN"}
MILLION = 1_000_000
ALL_SIZES = (300_000, MILLION, 3 * MILLION, 10 * MILLION)
_SMALL, _MIDDLE, _LARGE, _LARGEST = ALL_SIZES


@dataclass(frozen=True)
class Step:
    """The named cases, ways and servers, or all of them; the days have so many rows, and each way so many runs."""

    sizes: tuple[int, ...]
    runs: int = 3
    cases: tuple[str, ...] = ()
    ways: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()

    def races(self, *, is_community: bool) -> Iterator[tuple[Case, list[Way]]]:
        """Yield the cases that an edition can run, each with its chosen ways."""
        for case in CASES:
            ways = [way for way in case.ways if not self.ways or way.name in self.ways]
            if ways and (not self.cases or case.name in self.cases) and (is_community or not case.is_compressed):
                yield case, ways


_ESSENTIAL = ("psql", "floor", "default", "stream", "binary")
_SHORT = ("psql", "default", "stream")
_STAGED = ("staging", "psql-staging")
_FORKY, _OTHERS, _COMMUNITY = ("forky",), ("trixie", "community"), ("community",)

PLANS: dict[str, tuple[Step, ...]] = {
    # Enough to see what a change has done.
    "usual": (
        Step((_SMALL,), ways=(*_ESSENTIAL, *_STAGED)),
        Step((_MIDDLE,), cases=("key",), ways=(*_ESSENTIAL, "parallel-2")),
    ),
    # The newest TimescaleDB shows everything, and how it grows; the others show where they differ from it.
    "docs": (
        Step((_SMALL,), cases=("key",), servers=_FORKY),
        Step((_SMALL,), cases=("none",), ways=_ESSENTIAL, servers=_FORKY),
        Step((_MIDDLE,), cases=("key",), ways=(*_ESSENTIAL, *_STAGED, "spool", "parallel-2"), servers=_FORKY),
        Step((_MIDDLE,), cases=("unique", "five", "holds", "replace"), ways=_SHORT, servers=_FORKY),
        Step((_LARGE,), cases=("key",), ways=(*_ESSENTIAL, *_STAGED, "parallel-2"), servers=_FORKY),
        Step((_LARGE,), cases=("unique", "five"), ways=_SHORT, servers=_FORKY),
        Step((_LARGEST,), cases=("key",), ways=("psql", "floor", "stream", "binary"), servers=_FORKY),
        Step((_SMALL,), cases=("key",), ways=_SHORT, servers=_OTHERS),
        Step((_MIDDLE,), cases=("key",), ways=(*_ESSENTIAL, *_STAGED), servers=_OTHERS),
        Step((_MIDDLE,), cases=("unique", "five"), ways=_SHORT, servers=_COMMUNITY),
        Step((_MIDDLE,), cases=("holds",), ways=_SHORT, servers=_OTHERS),
        Step((_MIDDLE,), cases=("compressed",), servers=_COMMUNITY),
        Step((_SMALL,), cases=("beside", "compressed-replace"), servers=_COMMUNITY),
        Step((_MIDDLE,), 1, cases=("beside", "compressed-replace"), servers=_COMMUNITY),
        Step((_LARGE,), 1, cases=("key",), ways=_SHORT, servers=_OTHERS),
    ),
}


@dataclass(frozen=True)
class BenchConfig:
    """The arguments, checked. docs/performance.md describes them.

    Figures of a choice of ways are not kept: they would stand beside others of another hour.
    """

    steps: tuple[Step, ...]
    servers: tuple[str, ...]
    root: Path
    is_kept: bool
    prints_only: bool

    def steps_on(self, server: str) -> list[Step]:
        """Return what is measured on a server."""
        return [step for step in self.steps if not step.servers or server in step.servers]


def load_bench_config(arguments: Sequence[str] | None = None) -> BenchConfig:
    """Read the arguments, by default the process's own.

    Raises:
        SystemExit: one of them is not valid; the message is on the screen.
    """
    parser = argparse.ArgumentParser("python -m benchmarks", description="Time a restore beside its rivals.")
    parser.add_argument("--report", action="store_true", help="measure nothing; print the report again")
    parser.add_argument("--plan", choices=PLANS, help="what is measured, instead of a choice by the next four")
    parser.add_argument("--sizes", nargs="+", type=float, metavar="MILLIONS", help="of rows")
    parser.add_argument("--runs", type=int, help="of each way")
    parser.add_argument("--cases", nargs="+", choices=[case.name for case in CASES])
    parser.add_argument("--ways", nargs="+", choices=sorted({way.name for case in CASES for way in case.ways}))
    parser.add_argument("--servers", nargs="+", choices=(*SUITES, *FOREIGN_SERVERS))
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="another work tree, whose function is measured")
    given = parser.parse_args(arguments)
    own = [f"--{name}" for name in ("sizes", "runs", "cases", "ways") if getattr(given, name)]
    if given.plan and own:
        parser.error(f"--plan {given.plan} says what is measured; leave out {', '.join(own)}")
    sizes = sorted({round(millions * MILLION) for millions in given.sizes or ()}) or ALL_SIZES[:2]
    if sizes[0] < 1:
        parser.error("--sizes: a day has at least one row")
    suites = (os.environ["PG"],) if os.environ.get("PG") else SUITES
    community = ("community",) if os.environ.get(FOREIGN_SERVERS["community"]) else ()
    servers = tuple(given.servers or (*suites, *community))
    for server in servers:
        if server in FOREIGN_SERVERS and not os.environ.get(FOREIGN_SERVERS[server]):
            parser.error(f"the server {server} needs its DSN in {FOREIGN_SERVERS[server]}")
    step = Step(tuple(sizes), given.runs or 3, tuple(given.cases or ()), tuple(given.ways or ()))
    steps = (step,) if own else PLANS[given.plan or "usual"]
    return BenchConfig(steps, servers, given.root.resolve(), not given.ways, given.report)
