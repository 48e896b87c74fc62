"""The race: each way in turn, round after round, on the same data and the same server."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.archive import Lake
from benchmarks.cases import Case, Way
from benchmarks.config import own_folder
from benchmarks.day import Day
from benchmarks.function import Host, request_body, running_function
from benchmarks.probe import watching
from benchmarks.results import Result, Run, Series
from benchmarks.rivals import PARALLEL_COPY, make_rival, running_rival
from benchmarks.server import Server
from benchmarks.table import DATABASE, Bench, WrongDataError
from tools.config import ToolError

# Parts of an answer that say nothing about the seconds, or are long.
_LEFT_OUT = ("columns_loaded", "columns_ignored", "columns_defaulted", "date_window", "source", "chunks", "caggs")


@dataclass
class Race:
    """One case at one size on one server; `failures` collects what went wrong in a way while the others go on.

    The day is in the lake already. `root` is the function app's folder, `host_port` the first port of its hosts.
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
        """Time the ways in turns, each once a round. A way that cannot be timed is not tried again.

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
                for way in [way for way in ways if way.name not in missing]:
                    outcome = self._turn(way, hosts.get(way.name))
                    if isinstance(outcome, Run):
                        runs[way.name].append(outcome)
                    else:
                        missing[way.name] = outcome
                    said = f"{outcome.seconds:8.2f} s" if isinstance(outcome, Run) else f"  {outcome}"
                    where = f"{self.case.name:<18} {self.day.rows:>10,} rows  round {turn + 1} of {rounds}"
                    print(f"   {where}  {way.name:<14}{said}", flush=True)
        return Result(
            server=self.server.name,
            title=self.bench.facts.title,
            version=self.bench.facts.timescaledb,
            settings=self.bench.facts.settings,
            cores=os.cpu_count() or 1,
            case=self.case.name,
            rows=self.day.rows,
            when=when,
            commit=commit_of(self.root),
            ways={name: Series([] if name in missing else runs[name], missing.get(name)) for name in runs},
        )

    def _turn(self, way: Way, host: Host | None) -> Run | str:
        """Run a way once on freshly made tables, and return the run or why there is none."""
        self.bench.prepare(self.case, self.day)
        try:
            run = self._function(way, host) if host is not None else self._rival(way)
            if run is None:
                return f"{PARALLEL_COPY} is not on the PATH"
            if not self.bench.check(self.case, way, self.day):
                return "the day does not end compressed"
        except WrongDataError:
            raise
        except ToolError as exc:
            self.failures.append(f"{self.server.name}, {self.case.name}, {self.day.rows} rows: {exc}")
            return "failed"
        return run

    def _function(self, way: Way, host: Host) -> Run:
        body = request_body(way, self.lake, self.day, self.bench.dsn)
        with watching(host.folder, DATABASE, self.bench.connection.info.backend_pid, host.pid) as probe:
            begin = time.monotonic()
            answer = host.restore(way, body)
            seconds = time.monotonic() - begin
        seen = replace(probe.observed, copy_waited=waited_seconds(answer))
        return Run(seconds, seen, {name: value for name, value in answer.items() if name not in _LEFT_OUT})

    def _rival(self, way: Way) -> Run | None:
        indexes = self.bench.index_statements(self.case)
        rival = make_rival(way, self.server, self.bench.dsn, self.lake, self.day, indexes)
        if rival is None:
            return None
        with own_folder() as name, watching(Path(name), DATABASE, self.bench.connection.info.backend_pid) as probe:
            begin = time.monotonic()
            with running_rival(rival, way, self.day, Path(name)) as program:
                if way.program == "recipe":
                    # The memory of the other rivals is of no interest.
                    probe.pid = program.pid
                program.wait()
                seconds = time.monotonic() - begin
        return Run(seconds, probe.observed)


def waited_seconds(answer: Mapping[str, Any]) -> float | None:
    """Return how long COPY waited for its next block, or None where an answer does not say."""
    return (answer.get("copy") or {}).get("waited_seconds")


def commit_of(root: Path) -> str:
    """Return the commit of a work tree, with `-dirty` where it was changed since; `unknown` without git."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    command = [git, "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip() or "unknown"
