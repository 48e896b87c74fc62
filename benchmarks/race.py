"""The race: each way in turn, round after round, on the same data and the same server."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.archive import Lake
from benchmarks.cases import Case, Way
from benchmarks.config import own_folder
from benchmarks.day import Day
from benchmarks.function import Host, request_body, running_function
from benchmarks.probe import watching
from benchmarks.results import Result, Run, Series
from benchmarks.rivals import command_of, running_rival
from benchmarks.server import Server
from benchmarks.table import DATABASE, Bench, WrongDataError
from tools.config import ToolError


@dataclass
class Race:
    """One case at one size on one server; `failures` collects what went wrong in a way while the others go on.

    The day is in the lake already. `root` is the function app's folder.
    """

    server: Server
    bench: Bench
    lake: Lake
    case: Case
    day: Day
    root: Path
    failures: list[str]

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
                way.name: stack.enter_context(running_function(self.root, way, self.lake))
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
            title=self.bench.title,
            version=self.bench.version,
            conditions=self.bench.conditions,
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
            if isinstance(run, Run) and not self.bench.check(self.case, way, self.day):
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
        return Run(seconds, probe.seen | {"copy_waited": answer["copy"]["waited_seconds"]}, answer)

    def _rival(self, way: Way) -> Run | str:
        bench, indexes = self.bench, self.bench.index_statements(self.case)
        command = command_of(way, self.server, bench.dsn, self.lake, self.day, indexes)
        if isinstance(command, str):
            return command
        with own_folder() as folder, watching(Path(folder), DATABASE, bench.connection.info.backend_pid) as probe:
            begin = time.monotonic()
            with running_rival(command, way, bench.dsn, self.lake, folder) as program:
                # The memory of the other rivals is of no interest.
                probe.pid = program.pid if way.program == "recipe" else None
            seconds = time.monotonic() - begin
        return Run(seconds, probe.seen)


def commit_of(root: Path) -> str:
    """Return the commit of a work tree, with `-dirty` where it was changed since; `unknown` without git."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    command = [git, "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip() or "unknown"
