"""The race: each way in turn, round after round, on the same data and the same server."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.archive import Lake
from benchmarks.cases import CASES, Case, Way
from benchmarks.code import commit_of, digest
from benchmarks.config import own_folder
from benchmarks.day import Day
from benchmarks.function import Host, NotAvailableError, request_body, running_function
from benchmarks.plan import Step
from benchmarks.probe import watching
from benchmarks.results import Result, Run, Series
from benchmarks.rivals import PARALLEL_COPY, make_rival, running_rival
from benchmarks.server import Server
from benchmarks.table import DATABASE, Bench, WrongDataError
from tools.config import ToolError

# Of an answer, what says nothing about the seconds, or is long.
_LEFT_OUT = ("columns_loaded", "columns_ignored", "columns_defaulted", "date_window", "source", "chunks", "caggs")
_NOT_COMPRESSED = "the day does not end compressed"


@dataclass
class Race:
    """One case at one size on one server.

    Attributes:
        server: which one.
        bench: its database.
        lake: where the archive lies; the day is uploaded.
        case: what is compared.
        day: what is put in.
        root: the function app's folder.
        host_port: first port that the function's hosts may take.
        failures: what went wrong; the other ways went on.
    """

    server: Server
    bench: Bench
    lake: Lake
    case: Case
    day: Day
    root: Path
    host_port: int
    failures: list[str] = field(default_factory=list)

    def begin(self) -> Result:
        """Return a result without figures."""
        return Result(
            server=self.server.name,
            title=self.bench.facts.title,
            version=self.bench.facts.timescaledb,
            settings=self.bench.facts.settings,
            cores=os.cpu_count() or 1,
            case=self.case.name,
            rows=self.day.rows,
            csv_bytes=self.day.csv_bytes,
            gzip_bytes=self.day.gzip_bytes,
            when=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            commit=commit_of(self.root),
            ways={},
            code=digest(self.root),
        )

    def run(
        self,
        ways: Sequence[Way],
        rounds: int,
        known: Result | None = None,
        keep: Callable[[Result], None] | None = None,
    ) -> Result:
        """Time the ways in turns.

        Args:
            ways: which.
            rounds: how many runs each of them is to have.
            known: figures that stand already. A way goes on from its runs; one that has none is tried again.
            keep: told the result after each run, so that nothing is lost where the next one is interrupted.

        Returns:
            All that is known now.

        Raises:
            WrongDataError: a run left other data than the archive's.
        """
        result = known or self.begin()
        left = unfinished(ways, rounds, result)
        with ExitStack() as stack:
            hosts = {
                way.name: stack.enter_context(running_function(self.root, way, self.lake, self.host_port))
                for way in left
                if way.program == "function"
            }
            for turn in range(rounds):
                for way in [way for way in left if len(_series(result, way).runs) <= turn]:
                    outcome = self._turn(way, hosts.get(way.name))
                    self._tell(way, f"round {turn + 1} of {rounds}", outcome)
                    if isinstance(outcome, Run):
                        series = Series([*_series(result, way).runs, outcome])
                    else:
                        series = Series([], outcome)
                        left.remove(way)
                    result = replace(result, ways={**result.ways, way.name: series})
                    if keep:
                        keep(result)
        return result

    def _turn(self, way: Way, host: Host | None) -> Run | str:
        """Run a way once from the case's begin, and return the run or why there is none."""
        self.bench.prepare(self.case, self.day)
        try:
            run = self._function(way, host) if host is not None else self._rival(way)
            if run is None:
                return f"{PARALLEL_COPY} is not on the PATH"
            if not self.bench.check(self.case, way, self.day):
                return _NOT_COMPRESSED
        except NotAvailableError as exc:
            return f"not available: {exc}"
        except WrongDataError:
            raise
        except ToolError as exc:
            self.failures.append(f"{self.server.name}, {self.case.name}, {self.day.rows} rows: {exc}")
            return "failed"
        return run

    def _function(self, way: Way, host: Host) -> Run:
        body = request_body(way, self.lake, self.day, self.bench.dsn)
        with watching(host.folder, self.server.dsn, DATABASE, host.pid) as probe:
            begin = time.monotonic()
            answer = host.restore(way, body)
            seconds = time.monotonic() - begin
        return Run(seconds, probe.observed(), {name: value for name, value in answer.items() if name not in _LEFT_OUT})

    def _rival(self, way: Way) -> Run | None:
        indexes = self.bench.index_statements(self.case)
        rival = make_rival(way, self.server, self.bench.dsn, self.lake, self.day, indexes)
        if rival is None:
            return None
        with own_folder(way.name) as folder, watching(folder, self.server.dsn, DATABASE) as probe:
            begin = time.monotonic()
            with running_rival(rival, way, self.day, folder) as program:
                if way.program == "recipe":
                    # The others' memory is nobody's question.
                    probe.pid = program.pid
                program.wait()
                seconds = time.monotonic() - begin
        return Run(seconds, probe.observed())

    def _tell(self, way: Way, where: str, outcome: Run | str) -> None:
        said = f"{outcome.seconds:8.2f} s" if isinstance(outcome, Run) else f"  {outcome}"
        print(f"   {self.case.name:<18} {self.day.rows:>10,} rows  {where}  {way.name:<14}{said}", flush=True)


def unfinished(ways: Sequence[Way], rounds: int, known: Result | None) -> list[Way]:
    """Return the ways that lack runs, those that could not be timed included."""
    return [way for way in ways if known is None or len(_series(known, way).runs) < rounds]


def _series(result: Result, way: Way) -> Series:
    return result.ways.get(way.name, Series())


def chosen(step: Step, edition: str) -> Iterator[Case]:
    """Yield the cases of a step that an edition can run."""
    for case in CASES:
        if (not step.cases or case.name in step.cases) and not (case.is_compressed and edition != "community"):
            yield case


def ways_of(case: Case, step: Step, rows: int) -> list[Way]:
    """Return the ways of a case that belong to a step and that a size is not too large for."""
    return [
        way
        for way in case.ways
        if rows <= min(way.most_rows, case.most_rows) and (not step.ways or way.name in step.ways)
    ]
