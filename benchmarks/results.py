"""What was measured, kept as JSON below `.work/bench/results`, one file for each server, case and size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from pydantic import TypeAdapter

from benchmarks.config import BENCH
from benchmarks.probe import Observed

RESULTS = BENCH / "results"


@dataclass(frozen=True)
class Spread:
    """Median, least and most of several runs."""

    middle: float
    low: float
    high: float

    def straddles(self, bound: float) -> bool:
        """Say whether the runs lie on both sides of a bound, so that another series might say otherwise."""
        return self.low < bound < self.high


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of values.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("a spread needs a value")
    return Spread(median(values), min(values), max(values))


def ratios(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Return the spread of the ratios of runs that followed each other, round by round.

    A disturbance of the machine affects both runs of a round, and cancels out.
    """
    return spread([one / other for one, other in zip(above, below, strict=False)])


@dataclass(frozen=True)
class Run:
    """One run, timed from the request, or the start of the program, to its end; and the function's answer."""

    seconds: float
    observed: Observed = field(default_factory=Observed)
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

    def most(self, name: str) -> float | None:
        """Return the largest value of a field of `Observed` over the runs, or None where it was not seen."""
        return max(self.seen(name), default=None)

    def usual(self, name: str) -> float | None:
        """Return the median of a field of `Observed`, or None where it was not seen."""
        seen = self.seen(name)
        return median(seen) if seen else None

    def seen(self, name: str) -> list[float]:
        """Return the values of a field of `Observed`, of the runs in which it was seen."""
        values = (getattr(run.observed, name) for run in self.runs)
        return [value for value in values if value is not None]


@dataclass(frozen=True)
class Result:
    """One case at one size on one server: what was measured, where, when (ISO 8601) and of which commit.

    `server` is the name in `BENCH_SERVERS`, `title` the server for a person, `version` TimescaleDB's, `cores` the
    measuring machine's.
    """

    server: str
    title: str
    version: str
    settings: Mapping[str, str]
    cores: int
    case: str
    rows: int
    when: str
    commit: str
    ways: Mapping[str, Series]

    def timed(self, name: str) -> Series | None:
        """Return the series of a way that was timed."""
        series = self.ways.get(name)
        return series if series is not None and series.runs else None

    @property
    def version_numbers(self) -> tuple[int, int]:
        """TimescaleDB's major and minor version."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)


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


def of_case(results: Iterable[Result], case: str) -> list[list[Result]]:
    """Return the results of a case: a list for each server, in order of the titles, the smallest day first."""
    found: dict[str, list[Result]] = {}
    for result in sorted(results, key=lambda one: one.rows):
        if result.case == case:
            found.setdefault(result.server, []).append(result)
    return sorted(found.values(), key=lambda one: one[0].title)
