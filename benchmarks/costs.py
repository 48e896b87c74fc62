"""What a cold instance, a small day and a busy process cost: each figure beside its target.

    python -m benchmarks.costs [--parts import zip cpu memory small] [--runs 5] [--server forky]

It prints a table as Markdown, and keeps it in `.work/bench/costs.md`.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from psycopg2 import sql

from benchmarks.cases import CASES, Way
from benchmarks.database import Bench, WrongDataError, open_bench
from benchmarks.day import DATABASE, Lake, make_day, open_lake
from benchmarks.days import Archives, Part
from benchmarks.plan import BENCH, FOREIGN_SERVERS, MILLION
from benchmarks.probe import Probe, process_memory, watching
from benchmarks.race import PSQL_OPTIONS, UNPACKED, Host, Race, commit_of, environment, own_folder, psql
from deploy import package
from shared.process import MIB
from tools.config import LOGS, LOOPBACK, REPOSITORY, SUITES, ToolError, run_tool
from tools.installed import PYTHON, copy_installed

_KEY = next(case for case in CASES if case.name == "key")
_BINARY = next(way for way in _KEY.ways if way.name == "binary")
_AS_IT_COMES = next(way for way in _KEY.ways if way.name == "default")
_COPY = r"\copy silver.telemetry FROM pstdin WITH (FORMAT csv, HEADER)"
_AT_ONCE = 8
_WARM_DAYS = 3
_REST_SECONDS = 10
# The process's CPU seconds for the same day and way on PostgreSQL 18 / TimescaleDB 2.31.0 before the encoder was made
# cheaper: in docs/performance.md, "All figures", the row "3 | this project, stream, binary" of the first table for that
# server. `python -m benchmarks` took it, on a machine of its own: 60 % of it are a bound only on one that is as fast.
_CPU_BEFORE = 2.58

# In a new process, as the host loads the functions; the CPU seconds since the interpreter is up.
_IMPORT = """
import importlib, sys, time
begin = time.process_time()
for name in sys.argv[1:]:
    importlib.import_module(name)
print(time.process_time() - begin)
"""
# Of these the app uses something at its first request in any case.
_LIBRARIES = ("azure.functions", "azure.storage.filedatalake", "psycopg2", "pydantic", "isal.isal_zlib")


@dataclass(frozen=True)
class Cost:
    """One line of the table: what was measured, and the most that it should be."""

    title: str
    measured: float
    unit: str
    bound: float
    note: str = ""

    @property
    def line(self) -> str:
        """The line, as Markdown."""
        verdict = "met" if self.measured <= self.bound else f"missed by {self.measured / self.bound - 1:.0%}"
        bound, measured = (f"{value:.4g} {self.unit}" for value in (self.bound, self.measured))
        return f"| {self.title} | at most {bound} | {measured} | {verdict} | {self.note} |"


def import_costs(runs: int) -> Iterator[Cost]:
    """Import all functions in new processes, with byte code on the disk and without, in turns with the libraries."""
    functions = sorted(path.parent.name for path in REPOSITORY.glob("*/function.json"))
    with own_folder() as cache:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        warm = environ | {"PYTHONPYCACHEPREFIX": str(cache / "warm")}
        cold = environ | {"PYTHONPYCACHEPREFIX": str(cache / "cold"), "PYTHONDONTWRITEBYTECODE": "1"}

        def seconds(names: tuple[str, ...] | list[str], environ: dict[str, str]) -> float:
            command = [sys.executable, "-c", _IMPORT, *names]
            done = subprocess.run(command, cwd=REPOSITORY, env=environ, check=True, capture_output=True, text=True)
            return float(done.stdout)

        seconds(functions, warm)
        found = [
            [seconds(names, how) for how in (cold, warm) for names in (functions, _LIBRARIES)] for _ in range(runs)
        ]
    cold_app, cold_libraries, warm_app, warm_libraries = (median(column) for column in zip(*found, strict=True))
    yield Cost("import of the app, no byte code", cold_app, "s of CPU", 0.7, f"libraries alone: {cold_libraries:.2f} s")
    yield Cost(
        "import of the app, with byte code", warm_app, "s of CPU", 0.3, f"libraries alone: {warm_libraries:.2f} s"
    )


def zip_costs() -> Iterator[Cost]:
    """Make the zip that is deployed, of the packages that are installed here, with pyarrow and pgpq and without."""
    sizes = []
    with own_folder() as folder:
        for text_only in (True, False):
            app, packed = folder / f"app-{text_only}", folder / "app.zip"
            package.copy_app(app)
            copy_installed(app / package.PACKAGES, text_only=text_only)
            package.finish(app, packed, python=PYTHON, text_only=text_only)
            sizes.append(packed.stat().st_size)
        with zipfile.ZipFile(packed) as entries:
            code = sum(entry.compress_size for entry in entries.infolist() if entry.filename.endswith(".pyc"))
    small, large = sizes
    note = f"{large / 1e6:.1f} MB; {code / MIB:.1f} MiB of it byte code; without pyarrow and pgpq {small / MIB:.1f} MiB"
    yield Cost("deployment zip, libraries included", large / MIB, "MiB", 45, note)


class Server:
    """The benchmark's database and the function beside it."""

    def __init__(self, bench: Bench, lake: Lake, runs: int) -> None:
        self._bench, self._lake, self._runs = bench, lake, runs

    def cpu_costs(self) -> Iterator[Cost]:
        """Restore 3 million rows in binary, in a warm process."""
        day = make_day(BENCH, 3 * MILLION)
        self._lake.upload(day)
        race = Race(self._bench, self._lake, _KEY, day, REPOSITORY)
        runs = race.run([_BINARY], self._runs + 1).ways[_BINARY.name].runs[1:]
        spent = median(run.seen["process_seconds"] for run in runs)
        note = f"60 % of {_CPU_BEFORE} s, which another machine took before; one of another speed has another bound"
        yield Cost("client CPU of a binary restore, 3 million rows", spent, "s", 0.6 * _CPU_BEFORE, note)

    def memory_costs(self) -> Iterator[Cost]:
        """Restore eight days at once, and look at the process some seconds after."""
        archives, kept, most = self._archives(300_000, _AT_ONCE + 1), [], []
        first, *days = archives.days
        with self._function(archives, _BINARY) as (host, restore):
            for _ in range(self._runs):
                self._new_table()
                restore(first)
                before = process_memory(host.pid)
                with ThreadPoolExecutor(_AT_ONCE) as threads:
                    list(threads.map(restore, days))
                time.sleep(_REST_SECONDS)
                self._check(archives, archives.days)
                kept.append(process_memory(host.pid).now / MIB)
                most.append(process_memory(host.pid).peak / MIB)
        note = (
            f"after one day {before.now / MIB:.0f}, at most {max(most):.0f}; {_REST_SECONDS} s after each of"
            f" {len(kept)} rounds {', '.join(f'{one:.0f}' for one in kept)}"
        )
        yield Cost("memory kept after eight binary days at once", max(kept), "MiB", 200, note)

    def small_costs(self) -> Iterator[Cost]:
        """Restore days of 1,440 rows, each into a chunk of its own, in turns with psql."""
        archives = self._archives(1440, 2 * (self._runs * 6 + _WARM_DAYS))
        ours: list[float] = []
        theirs: list[float] = []
        process: list[float] = []
        self._new_table()
        with self._function(archives, _AS_IT_COMES) as (host, restore), own_folder() as folder:
            environ = environment(self._bench, self._lake, folder)
            probe = Probe(folder, DATABASE, self._bench.connection.info.backend_pid, host.pid)
            days = iter(archives.days)
            for number, day in enumerate(days):
                with watching(probe):
                    begin, before = time.monotonic(), probe.seen()
                    restore(day)
                    seconds, after = time.monotonic() - begin, probe.seen()
                other = next(days)
                begin = time.monotonic()
                command = [*UNPACKED, str(archives.path(other)), *psql(), *PSQL_OPTIONS, "--command", _COPY]
                subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, env=environ)
                if number >= _WARM_DAYS:
                    ours.append(seconds)
                    theirs.append(time.monotonic() - begin)
                    process.append(after["process_seconds"] - before["process_seconds"])
            self._check(archives, archives.days)
        ratio = median(one / other for one, other in zip(ours, theirs, strict=True))
        note = f"{median(ours) * 1000:.0f} ms to {median(theirs) * 1000:.0f}"
        note += f"; CPU of the process {median(process) * 1000:.0f} ms"
        yield Cost(r"a day of 1,440 rows against `zcat \| psql`", ratio, "of its time", 1, note)
        yield from self._statements(archives)

    def _statements(self, archives: Archives) -> Iterator[Cost]:
        """Count what the server is asked for one small day, by its own log."""
        log = LOGS / f"postgres-{self._bench.name}-bench.log"
        if self._bench.name in FOREIGN_SERVERS or not log.exists():
            return
        self._new_table()
        logged = sql.SQL("ALTER DATABASE {} SET log_statement = {}")
        with self._function(archives, _AS_IT_COMES) as (_, restore), self._bench.connection.cursor() as cursor:
            restore(archives.days[0])
            cursor.execute(logged.format(sql.Identifier(DATABASE), sql.Literal("all")))
            size = log.stat().st_size
            restore(archives.days[1])
            cursor.execute(logged.format(sql.Identifier(DATABASE), sql.Literal("none")))
        # A message of several statements is one line with this word.
        asked = len(re.findall(rb" LOG:  (?:statement|execute [^:]*): ", log.read_bytes()[size:]))
        yield Cost("the same, messages to the server", asked, "", 76, "153 before")

    def _archives(self, rows: int, days: int) -> Archives:
        part = Part(f"costs-{rows}", "", days, rows, 1, (), ())
        archives = Archives(part, make_day(BENCH, rows), BENCH / f"days-{rows}")
        archives.make(self._lake)
        return archives

    def _new_table(self) -> None:
        self._bench.make_table(chunk_days=1)
        self._bench.finish_table(_KEY.indexes)

    def _check(self, archives: Archives, days: list[str]) -> None:
        day = archives.template
        if self._bench.counters_by_day() != dict.fromkeys(days, (day.rows, day.counters)):
            raise WrongDataError("the days do not hold what their archives hold")

    @contextmanager
    def _function(self, archives: Archives, way: Way) -> Iterator[tuple[Host, Callable[[str], None]]]:
        """Run the function in a new process; yields it, and what restores a day by a call."""
        with Race(self._bench, self._lake, _KEY, archives.template, REPOSITORY).running_function(way) as host:

            def restore(day: str) -> None:
                body = {"adls_url": archives.url(self._lake, day), **way.request}
                with closing(http.client.HTTPConnection(LOOPBACK, host.port, timeout=600)) as connection:
                    connection.request("POST", "/api/restore", json.dumps(body), {"Content-Type": "application/json"})
                    answer: dict[str, Any] = json.loads(connection.getresponse().read())
                if answer.get("status") not in ("ok", "ok_with_warnings"):
                    raise ToolError(f"the restore of {day} answered {answer}")

            yield host, restore


def main() -> None:
    """Measure what the arguments ask for, and print the table.

    Raises:
        ToolError: a restore failed or left wrong data.
    """
    parts = ("import", "zip", "cpu", "memory", "small")
    parser = argparse.ArgumentParser("python -m benchmarks.costs", description="Measure what the app costs.")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--server", choices=(*SUITES, *FOREIGN_SERVERS), default="forky")
    given = parser.parse_args()
    found: list[Cost] = []
    found += import_costs(given.runs) if "import" in given.parts else ()
    found += zip_costs() if "zip" in given.parts else ()
    title = "no server"
    if wanted := [part for part in ("cpu", "memory", "small") if part in given.parts]:
        with open_lake() as lake, open_bench(given.server) as bench:
            title, server = bench.title, Server(bench, lake, given.runs)
            for part in wanted:
                found += getattr(server, f"{part}_costs")()
    lines = [f"{os.cpu_count()} cores, {title}, commit {commit_of(REPOSITORY)}.", ""]
    lines += ["| | target | measured | | |", "| --- | --- | --- | --- | --- |", *(cost.line for cost in found)]
    text = "\n".join(lines)
    BENCH.mkdir(parents=True, exist_ok=True)
    (BENCH / "costs.md").write_text(text + "\n")
    print(f"\n{text}\n\n-- costs.md in {BENCH.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    run_tool(main)
