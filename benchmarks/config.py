"""The arguments of the benchmark, and where it keeps its files."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cases import CASES
from benchmarks.plan import ALL_SIZES, MILLION, PLANS, Step
from tools.config import REPOSITORY, SUITES, WORK

BENCH = WORK / "bench"
# Servers that run already, and the variable that holds the DSN of each.
FOREIGN_SERVERS = {"community": "RESTORE_TEST_COMMUNITY_DSN", "given": "RESTORE_TEST_DSN"}


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
