"""What was measured, kept as JSON below `.work/bench/results`, one file for each server, case and size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from benchmarks.cases import Case, Way
from benchmarks.plan import BENCH
from benchmarks.probe import Fact

RESULTS = BENCH / "results"


class Spread(NamedTuple):
    """Median, least and most of several runs."""

    middle: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of one value or more."""
    return Spread(median(values), min(values), max(values))


@dataclass(frozen=True)
class Run:
    """One run: seconds from the request, or the start of the program, to its end; what was seen; the whole answer."""

    seconds: float
    seen: Mapping[Fact, float] = field(default_factory=dict)
    answer: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Series:
    """The runs of one way, in order; or why there are none."""

    runs: Sequence[Run] = ()
    missing: str | None = None

    @property
    def seconds(self) -> list[float]:
        """The time of each run."""
        return [run.seconds for run in self.runs]

    def seen(self, fact: Fact) -> list[float]:
        """Return the values of a fact, of the runs in which it was seen."""
        return [run.seen[fact] for run in self.runs if fact in run.seen]

    def most(self, fact: Fact) -> float | None:
        """Return the largest value of a fact, or None where it was not seen."""
        return max(self.seen(fact), default=None)

    def usual(self, fact: Fact) -> float | None:
        """Return the median of a fact, or None where it was not seen."""
        return median(seen) if (seen := self.seen(fact)) else None

    def ratios(self, other: Series) -> Spread:
        """Divide the seconds by another way's, round by round: a disturbance affects both, and cancels out."""
        return spread([mine / theirs for mine, theirs in zip(self.seconds, other.seconds, strict=False)])


@dataclass(frozen=True)
class Result:
    """One case at one size on one server: what was measured, how, when (ISO 8601) and of which commit.

    `server` is the name in `--servers`, `title` the server for a person, `version` TimescaleDB's.
    """

    server: str
    title: str
    version: str
    conditions: str
    case: str
    rows: int
    when: str
    commit: str
    ways: Mapping[str, Series]

    def timed(self, name: str) -> Series | None:
        """Return the series of a way that was timed."""
        series = self.ways.get(name)
        return series if series is not None and series.runs else None


_FORM = TypeAdapter(Result)


def save(result: Result, folder: Path = RESULTS) -> None:
    """Keep a result; it replaces an earlier one of the same server, case and size."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.server}-{result.case}-{result.rows}.json"
    partial = path.with_suffix(".partial")
    partial.write_bytes(_FORM.dump_json(result, indent=1))
    partial.replace(path)


def load(folder: Path = RESULTS) -> list[Result]:
    """Return every result that was kept."""
    return [_FORM.validate_json(path.read_bytes()) for path in sorted(folder.glob("*.json"))]


class Line(NamedTuple):
    """One way in one race."""

    result: Result
    way: Way
    series: Series


def of_case(results: Iterable[Result], case: Case) -> list[list[Line]]:
    """Return what was measured of a case: a list for each server, in order of the titles, the smallest day first."""
    found = sorted((one for one in results if one.case == case.name), key=lambda one: (one.title, one.server, one.rows))
    return [
        [Line(day, way, day.ways[way.name]) for day in days for way in case.ways if way.name in day.ways]
        for _, days in groupby(found, key=lambda one: one.server)
    ]
