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
from benchmarks.database import DATABASE, Bench
from benchmarks.day import Day
from benchmarks.probe import Probe, watching
from benchmarks.programs import Host, NotTimedError, run_rival, running_function
from benchmarks.results import Result, Run, Series


@dataclass(frozen=True)
class Race:
    """One case at one size on one server. The day is in the lake already; `root` is the function app's folder."""

    bench: Bench
    lake: Lake
    case: Case
    day: Day
    root: Path

    def run(self, ways: Sequence[Way], rounds: int) -> Result:
        """Time the ways in turns, each once a round. A way that cannot be timed is not tried again.

        Raises:
            WrongDataError: a run left other data than the archive's.
        """
        when = datetime.now(timezone.utc).isoformat(timespec="seconds")
        found = {way.name: Series() for way in ways}
        with ExitStack() as stack:
            hosts = {
                way.name: stack.enter_context(running_function(self.root, way, self.bench, self.lake))
                for way in ways
                if way.program == "function"
            }
            for turn in range(rounds):
                for way in [way for way in ways if found[way.name].missing is None]:
                    try:
                        run = self._time(way, hosts.get(way.name))
                        found[way.name] = Series([*found[way.name].runs, run])
                        said = f"{run.seconds:8.2f} s"
                    except NotTimedError as exc:
                        found[way.name] = Series(missing=str(exc))
                        said = f"  {exc}"
                    where = f"{self.case.name:<18} {self.day.rows:>10,} rows  round {turn + 1} of {rounds}"
                    print(f"   {where}  {way.name:<14}{said}", flush=True)
        return Result(
            server=self.bench.name,
            title=self.bench.title,
            version=self.bench.version,
            conditions=self.bench.conditions,
            case=self.case.name,
            rows=self.day.rows,
            when=when,
            commit=commit_of(self.root),
            ways=found,
        )

    def _time(self, way: Way, host: Host | None) -> Run:
        """Run a way once on freshly made tables."""
        self.bench.prepare(self.case, self.day)
        with ExitStack() as stack:
            folder = host.folder if host else stack.enter_context(own_folder())
            backend_pid = self.bench.connection.info.backend_pid
            probe = stack.enter_context(watching(Probe(folder, DATABASE, backend_pid, host.pid if host else None)))
            begin = time.monotonic()
            if host:
                answer = host.restore(way, self.lake, self.day)
            else:
                answer = run_rival(way, self.case, self.bench, self.lake, self.day, folder, probe)
            seconds = time.monotonic() - begin
        if not self.bench.check(self.case, way, self.day):
            raise NotTimedError("the day does not end compressed")
        return Run(
            seconds, probe.seen() | ({"copy_waited": answer["copy"]["waited_seconds"]} if answer else {}), answer
        )


def commit_of(root: Path) -> str:
    """Return the commit of a work tree, with `-dirty` where it was changed since; `unknown` without git."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    command = [git, "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip() or "unknown"
