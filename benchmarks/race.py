"""The race: each way in turn, round after round, on the same data and the same server."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.archive import Lake
from benchmarks.cases import CASES, Case, Way
from benchmarks.config import BenchConfig, own_folder
from benchmarks.day import Day
from benchmarks.function import Host, NotAvailableError, request_body, running_function
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

    def run(self, ways: Sequence[Way], rounds: int) -> Result:
        """Time the ways in turns.

        Raises:
            WrongDataError: a run left other data than the archive's.
        """
        when = datetime.now(timezone.utc).isoformat(timespec="seconds")
        runs: dict[str, list[Run]] = {way.name: [] for way in ways}
        missing: dict[str, str] = {}
        with ExitStack() as stack:
            hosts = {
                way.name: stack.enter_context(running_function(self.root, way, self.lake, self.host_port))
                for way in ways
                if way.program == "function"
            }
            for turn in range(rounds):
                for way in ways:
                    if way.name not in missing:
                        outcome = self._turn(way, hosts.get(way.name))
                        if isinstance(outcome, Run):
                            runs[way.name].append(outcome)
                        else:
                            missing[way.name] = outcome
                        self._tell(way, f"round {turn + 1} of {rounds}", outcome)
        series = {
            way.name: Series([], missing[way.name]) if way.name in missing else Series(runs[way.name]) for way in ways
        }
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
            when=when,
            commit=_commit(self.root),
            ways=series,
        )

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


def chosen(config: BenchConfig, edition: str) -> Iterator[Case]:
    """Yield the cases that are asked for and that an edition can run.

    Raises:
        ToolError: a case is asked for that does not exist.
    """
    known = [case.name for case in CASES]
    for name in config.cases:
        if name not in known:
            raise ToolError(f"the case {name} of BENCH_CASES is not known; choose among: {', '.join(known)}")
    for case in CASES:
        is_asked = not config.cases or case.name in config.cases
        if is_asked and not (case.is_compressed and edition != "community"):
            yield case


def ways_of(case: Case, config: BenchConfig, rows: int) -> list[Way]:
    """Return the ways of a case that are asked for and that a size is not too large for."""
    return [
        way
        for way in case.ways
        if rows <= min(way.most_rows, case.most_rows) and (not config.ways or way.name in config.ways)
    ]


def _commit(root: Path) -> str:
    git = shutil.which("git")
    if git is None:
        return "unknown"
    command = [git, "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip() or "unknown"
