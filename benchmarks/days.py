"""Many days: a backfill beside a loop of psql, timescaledb-parallel-copy and single restores, in turns.

    python -m benchmarks.days [--parts month week year] [--runs 3] [--servers forky community] [--small]

It prints a report as Markdown with the targets, and keeps it in `.work/bench/days.md`. Each way ends with the same rows
in each day, or the benchmark ends.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from benchmarks.cases import CASES
from benchmarks.database import Bench, WrongDataError, open_bench
from benchmarks.day import DATABASE, DAY, Day, Lake, make_day, open_lake
from benchmarks.plan import BENCH, FOREIGN_SERVERS
from benchmarks.race import (
    PARALLEL_COPY,
    PARALLEL_OPTIONS,
    PSQL_OPTIONS,
    UNPACKED,
    commit_of,
    environment,
    own_folder,
    psql,
)
from benchmarks.results import Run, Series, Spread, spread
from shared.jobs.operation import ENDED
from tools.config import LOGS, LOOPBACK, REPOSITORY, SUITES, ToolError, run_tool
from tools.host_process import HostProcess
from tools.local_server import free_port
from tools.sample_target import upload

_INDEXES = next(case for case in CASES if case.name == "key").indexes
_COPY = r"\copy silver.telemetry FROM pstdin WITH (FORMAT csv, HEADER)"
# The chunk of the week holds this day besides: chunks of eight days begin on it.
_DAY_BEFORE = "2024-12-31"
_POLL_SECONDS = 0.5
# If two loops of psql at once are not so much faster than one, the machine has no core to spare.
_SPARE = 1.5


@dataclass(frozen=True)
class DaysWay:
    """One way to load the days.

    Attributes:
        name: stable key, unique in its part.
        title: for a person.
        program: what loads them; `singles` are calls of `POST /api/restore`, one after the other.
        at_once: loops of psql; connections of timescaledb-parallel-copy; groups of a backfill.
        workers: processes that work on the queue.
    """

    name: str
    title: str
    program: Literal["psql", "parallel-copy", "singles", "backfill"]
    at_once: int = 1
    workers: int = 1

    @property
    def is_function(self) -> bool:
        """Whether this project loads the days."""
        return self.program in ("singles", "backfill")


@dataclass(frozen=True)
class Part:
    """Days of one size on one kind of table, and the ways that are timed in turns. The first one is compared with.

    Attributes:
        days: how many, from 1 January 2025 on.
        rows: of each day.
        chunk_days: days of a chunk.
        is_compressed: the days' chunk holds compressed rows of the day before, and ends compressed.
        servers: of `--servers`; it is timed on the first one that is there.
    """

    name: str
    title: str
    days: int
    rows: int
    chunk_days: int
    ways: tuple[DaysWay, ...]
    servers: tuple[str, ...]
    is_compressed: bool = False


@dataclass(frozen=True)
class DaysTarget:
    """The seconds of `theirs` over those of `ours`, round by round, are to be `bound` at least."""

    title: str
    part: str
    ours: str
    theirs: str
    bound: float
    needs_core: bool = False


def _backfill(groups: int, workers: int = 1, name: str = "") -> DaysWay:
    processes = f"{workers} worker process{'es' if workers > 1 else ''}"
    return DaysWay(
        name or f"backfill-{groups}", f"backfill, parallel {groups}, {processes}", "backfill", groups, workers
    )


_PSQL = DaysWay("psql", "a loop of zcat | psql", "psql")

PARTS = (
    Part(
        "month",
        "31 days of 300,000 rows, primary key + time index",
        31,
        300_000,
        1,
        (
            _PSQL,
            DaysWay("psql-2", "two loops of zcat | psql at once", "psql", 2),
            DaysWay("parallel-copy-2", "a loop of timescaledb-parallel-copy, 2 workers", "parallel-copy", 2),
            _backfill(1),
            _backfill(2),
            _backfill(2, 2, "backfill-2-workers"),
            _backfill(4, 4, "backfill-4-workers"),
        ),
        ("forky", "trixie", "given"),
    ),
    Part(
        "week",
        "7 days of 300,000 rows into one compressed chunk",
        7,
        300_000,
        8,
        (DaysWay("singles", "seven single restores", "singles"), _backfill(1)),
        ("community",),
        is_compressed=True,
    ),
    Part(
        "year",
        "365 days of 1,440 rows, chunks of 7 days",
        365,
        1_440,
        7,
        (
            _PSQL,
            _backfill(1),
            _backfill(2),
            _backfill(2, 2, "backfill-2-workers"),
            _backfill(4, 4, "backfill-4-workers"),
        ),
        ("forky", "trixie", "given"),
    ),
)

TARGETS = (
    DaysTarget("31 days, parallel 2, against the psql loop", "month", "backfill-2", "psql", 2.2),
    DaysTarget("31 days, parallel 2, against parallel 1", "month", "backfill-2", "backfill-1", 1.25, needs_core=True),
    DaysTarget("7 days into a compressed chunk, against single restores", "week", "backfill-1", "singles", 3),
    DaysTarget("365 days, parallel 2, against the psql loop", "year", "backfill-2", "psql", 1),
)
# From one day's end to the start of the next one in its group.
QUEUE_SECONDS = 0.2


@dataclass
class Figures:
    """What was measured of a part on one server."""

    part: Part
    server: str
    ways: dict[str, Series] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    planned: list[float] = field(default_factory=list)
    between: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Archives:
    """The days of a part as files, and in the lake. Each has the rows of one day, with its own date."""

    part: Part
    template: Day
    folder: Path

    @property
    def days(self) -> list[str]:
        """The days, as YYYY-MM-DD."""
        first = date.fromisoformat(DAY)
        return [(first + timedelta(days=number)).isoformat() for number in range(self.part.days)]

    def path(self, day: str) -> Path:
        """Return the file of a day."""
        return self.folder / f"{day}.csv.gz"

    def blob(self, day: str) -> str:
        """Return its path in the lake."""
        return f"days-{self.part.rows}/{DATABASE}/silver.telemetry.{day}.csv.gz"

    def url(self, lake: Lake, day: str) -> str:
        """Return its `adls_url`."""
        return lake.url(self.template).replace(lake.path(self.template), self.blob(day))

    def make(self, lake: Lake) -> None:
        """Write the files that are missing, and upload all of them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = gzip.decompress(self.template.path.read_bytes())
        for day in self.days:
            path = self.path(day)
            if not path.exists():
                partial = path.with_suffix(".partial")
                partial.write_bytes(gzip.compress(text.replace(DAY.encode(), day.encode()), 6))
                partial.replace(path)
            upload(lake.storage, path, self.blob(day), lake.filesystem)


class DaysRace:
    """One part on one server."""

    def __init__(self, part: Part, bench: Bench, lake: Lake, archives: Archives) -> None:
        self._part, self._bench, self._lake, self._archives = part, bench, lake, archives
        self.figures = Figures(part, bench.title)

    def run(self, rounds: int) -> Figures:
        """Time each way once a round.

        Raises:
            WrongDataError: a way left other rows.
            ToolError: a way failed.
        """
        for turn in range(rounds):
            for way in self._part.ways:
                if way.program == "parallel-copy" and shutil.which(PARALLEL_COPY) is None:
                    self.figures.missing[way.name] = f"{PARALLEL_COPY} is not on the PATH"
                    continue
                self._prepare()
                seconds = self._by_function(way) if way.is_function else self._by_rival(way)
                self._check(way)
                runs = self.figures.ways.get(way.name, Series()).runs
                self.figures.ways[way.name] = Series([*runs, Run(seconds)])
                print(
                    f"   {self._part.name:<6} round {turn + 1} of {rounds}  {way.name:<20}{seconds:8.2f} s", flush=True
                )
        return self.figures

    def _prepare(self) -> None:
        part = self._part
        self._bench.make_table(chunk_days=part.chunk_days, is_compressed=part.is_compressed)
        if part.is_compressed:
            self._bench.insert_other_rows(part.rows, _DAY_BEFORE)
        self._bench.finish_table(_INDEXES, is_compressed=part.is_compressed)

    def _check(self, way: DaysWay) -> None:
        found = self._bench.counters_by_day()
        if self._part.is_compressed:
            found.pop(_DAY_BEFORE, None)
            if not self._bench.is_compressed():
                raise WrongDataError(f"{self._part.name}, {way.name}: not all chunks are compressed")
        day = self._archives.template
        if found != dict.fromkeys(self._archives.days, (day.rows, day.counters)):
            wrong = [name for name in self._archives.days if found.get(name) != (day.rows, day.counters)]
            raise WrongDataError(
                f"{self._part.name}, {way.name}: wrong or missing are {wrong[:5]}, {len(wrong)} in all"
            )

    def _by_rival(self, way: DaysWay) -> float:
        log = LOGS / f"bench-days-{way.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        program: list[str] = [*psql(), *PSQL_OPTIONS, "--command", _COPY]
        if way.program == "parallel-copy":
            program = [PARALLEL_COPY, "--connection", self._bench.dsn, "--workers", str(way.at_once), *PARALLEL_OPTIONS]

        def load(days: Sequence[str]) -> None:
            for day in days:
                command = [*UNPACKED, str(self._archives.path(day)), *program]
                done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, env=environ)
                if done.returncode:
                    raise ToolError(f"{way.name} failed: {done.stderr.decode(errors='replace')[-500:]}")

        days, loops = self._archives.days, way.at_once if way.program == "psql" else 1
        with own_folder() as folder, ThreadPoolExecutor(loops) as pool:
            environ = environment(self._bench, self._lake, folder)
            begin = time.monotonic()
            list(pool.map(load, [days[number::loops] for number in range(loops)]))
            return time.monotonic() - begin

    def _by_function(self, way: DaysWay) -> float:
        with self._host(way) as ask:
            return self._singles(ask) if way.program == "singles" else self._backfill(way, ask)

    @contextmanager
    def _host(self, way: DaysWay) -> Iterator[Callable[..., dict[str, Any]]]:
        """Run the function app in fresh processes; yields what asks it."""
        server = HostProcess(free_port())
        command = [sys.executable, "-m", "tools.host", "--port", str(server.port), "--workers", str(way.workers)]
        with own_folder() as folder:
            environ = environment(self._bench, self._lake, folder) | {"BACKFILL_MAX_PARALLEL": str(way.at_once)}
            server.run(command, seconds=60, log=LOGS / f"bench-days-{way.name}.log", environ=environ)
            try:
                with closing(http.client.HTTPConnection(LOOPBACK, server.port, timeout=3600)) as connection:

                    def ask(method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
                        text = None if body is None else json.dumps(body)
                        connection.request(method, path, text, {"Content-Type": "application/json"})
                        found: dict[str, Any] = json.loads(connection.getresponse().read())
                        if "error" in found and "status" not in found:
                            raise ToolError(f"{way.name} answered {found}")
                        return found

                    yield ask
            finally:
                server.stop()

    def _singles(self, ask: Callable[..., dict[str, Any]]) -> float:
        begin = time.monotonic()
        for day in self._archives.days:
            ask("POST", "/api/restore", {"adls_url": self._archives.url(self._lake, day)})
        return time.monotonic() - begin

    def _backfill(self, way: DaysWay, ask: Callable[..., dict[str, Any]]) -> float:
        days = self._archives.days
        body = {
            "adls_url": self._archives.url(self._lake, "{date}"),
            "dates": {"from": days[0], "to": days[-1]},
            "parallel": way.at_once,
        }
        begin = time.monotonic()
        groups = ask("POST", "/api/backfills", body | {"dry_run": True})["groups"]
        self.figures.planned.append(time.monotonic() - begin)
        taken = ask("POST", "/api/backfills", body)
        # The list reads one record, and the backfill's own times count: looking takes nothing from it.
        while (state := ask("GET", "/api/backfills?top=1")["value"][0])["status"] not in ENDED:
            time.sleep(_POLL_SECONDS)
        found = ask("GET", f"/api/backfills/{taken['id']}?top=1000")
        if state["id"] != taken["id"] or state["status"] != "Succeeded":
            raise ToolError(f"{way.name} ended as {found}")
        times = {one["day"]: (_time(one["started"]), _time(one["ended"])) for one in found["value"]}
        self.figures.between.setdefault(way.name, []).extend(
            (times[after][0] - times[before][1]).total_seconds()
            for group in groups
            for before, after in pairwise(group)
        )
        return (_time(state["ended"]) - _time(state["created"])).total_seconds()


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def report(all_figures: Sequence[Figures]) -> str:
    """Return the report: the targets, then each part."""
    lines = [f"{os.cpu_count()} cores, commit {commit_of(REPOSITORY)}.", ""]
    lines += ["| target | bound | measured (least - most) | |", "| --- | --- | --- | --- |"]
    lines += [line for figures in all_figures for line in _judged(figures)]
    for figures in all_figures:
        lines += ["", f"### {figures.part.title}, {figures.server}", ""]
        lines += ["| way | seconds (least - most) | rows a second | times as fast as the first |"]
        lines += ["| --- | --- | --- | --- |"]
        first = figures.ways[figures.part.ways[0].name]
        rows = figures.part.days * figures.part.rows
        for way in figures.part.ways:
            series = figures.ways.get(way.name)
            if series is None:
                lines.append(f"| {way.title} | {figures.missing[way.name]} | - | - |")
                continue
            seconds = spread(series.seconds)
            title = way.title.replace("|", "\\|")
            lines.append(
                f"| {title} | {_shown(seconds)} | {rows / seconds.middle:,.0f} | {_shown(first.ratios(series))} |"
            )
        if figures.planned:
            lines += ["", f"Planned by a dry run in {_shown(spread(figures.planned))} s."]
    return "\n".join(lines)


def _judged(figures: Figures) -> Iterator[str]:
    ways = figures.ways
    for target in TARGETS:
        if target.part != figures.part.name or not {target.ours, target.theirs} <= ways.keys():
            continue
        ratio = ways[target.theirs].ratios(ways[target.ours])
        verdict = "met" if ratio.middle >= target.bound else f"missed by {1 - ratio.middle / target.bound:.0%}"
        if target.needs_core:
            core = ways["psql"].ratios(ways["psql-2"])
            verdict += f"; two loops of psql at once are {_shown(core)} times as fast as one"
            verdict += "" if core.middle >= _SPARE else ": no core to spare"
        bound = f"at least {target.bound:g} times as fast"
        yield f"| {target.title} | {bound} | {_shown(ratio)} times as fast | {verdict} |"
    for name, seconds in figures.between.items():
        if seconds:
            middle = spread(seconds)
            verdict = "met" if middle.middle < QUEUE_SECONDS else "missed"
            title = f"{figures.part.name}, {name}: from a day's end to the next one's start in its group"
            yield f"| {title} | less than {QUEUE_SECONDS:g} s | {_shown(middle, '.3f')} s | {verdict} |"


def _shown(figure: Spread, form: str = ".2f") -> str:
    return f"{figure.middle:{form}} ({figure.low:{form}} - {figure.high:{form}})"


def main() -> None:
    """Measure what the arguments ask for, and print the report.

    Raises:
        ToolError: a way failed or left wrong data.
    """
    parser = argparse.ArgumentParser("python -m benchmarks.days", description="Time many days beside their rivals.")
    parser.add_argument(
        "--parts", nargs="+", choices=[part.name for part in PARTS], default=[part.name for part in PARTS]
    )
    parser.add_argument("--runs", type=int, default=3, help="of each way")
    parser.add_argument("--servers", nargs="+", choices=(*SUITES, *FOREIGN_SERVERS), default=["forky", "community"])
    parser.add_argument("--small", action="store_true", help="a tenth of the days and of the rows: only to try it")
    given = parser.parse_args()
    found = []
    with open_lake() as lake:
        for part in PARTS:
            server = next((name for name in part.servers if name in given.servers), None)
            if part.name not in given.parts or server is None:
                continue
            if server in FOREIGN_SERVERS and not os.environ.get(FOREIGN_SERVERS[server]):
                print(f"-- {part.name} needs the DSN of a server in {FOREIGN_SERVERS[server]}", flush=True)
                continue
            found.append(_measure(_smaller(part) if given.small else part, server, lake, given.runs))
    text = report(found)
    BENCH.mkdir(parents=True, exist_ok=True)
    (BENCH / "days.md").write_text(text + "\n")
    print(f"\n{text}\n\n-- days.md in {BENCH.relative_to(REPOSITORY)}")


def _smaller(part: Part) -> Part:
    return replace(part, days=max(3, part.days // 10), rows=max(100, part.rows // 10))


def _measure(part: Part, server: str, lake: Lake, rounds: int) -> Figures:
    template = make_day(BENCH, part.rows)
    archives = Archives(part, template, BENCH / f"days-{part.rows}")
    print(f"-- {part.title}", flush=True)
    archives.make(lake)
    with ExitStack() as stack:
        bench = stack.enter_context(open_bench(server))
        print(f"-- {bench.title}", flush=True)
        return DaysRace(part, bench, lake, archives).run(rounds)


if __name__ == "__main__":
    run_tool(main)
