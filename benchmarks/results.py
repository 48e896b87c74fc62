"""What was measured, kept as JSON below `.work/bench/results`, one file for each server, case and size."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.config import BENCH
from benchmarks.figures import Spread, spread
from benchmarks.probe import Observed

RESULTS = BENCH / "results"


@dataclass(frozen=True)
class Run:
    """One timed run.

    Attributes:
        seconds: from the request, or the start of the program, to its end.
        observed: what it cost beside its time.
        answer: of the function: its stages, warnings, and what became of the options.
    """

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
        """Return the largest of a field of `Observed` over the runs, or None where it was not seen."""
        return max(self._seen(name), default=None)

    def usual(self, name: str) -> Spread | None:
        """Return the spread of a field of `Observed`, or None where it was not seen."""
        seen = self._seen(name)
        return spread(seen) if seen else None

    @property
    def waited(self) -> Spread | None:
        """How many seconds COPY waited for its next block, as the function's answers say; None where none does."""
        told = (run.answer.get("copy") or {} for run in self.runs)
        seen = [copy["waited_seconds"] for copy in told if "waited_seconds" in copy]
        return spread(seen) if seen else None

    def _seen(self, name: str) -> list[float]:
        values = (getattr(run.observed, name) for run in self.runs)
        return [value for value in values if value is not None]


@dataclass(frozen=True)
class Result:
    """One case at one size on one server.

    Attributes:
        server: its name in `BENCH_SERVERS`.
        title: the server for a person.
        version: TimescaleDB's.
        settings: the server's.
        cores: of the machine that measured.
        case: name of the case.
        rows: rows of the day.
        csv_bytes: its size as unpacked.
        gzip_bytes: its size as stored.
        when: begin of the measurement, ISO 8601.
        commit: of the work tree that was measured.
        ways: by name.
        code: digest of what was measured, and of what measured it; empty where it is not known.
    """

    server: str
    title: str
    version: str
    settings: Mapping[str, str]
    cores: int
    case: str
    rows: int
    csv_bytes: int
    gzip_bytes: int
    when: str
    commit: str
    ways: Mapping[str, Series]
    code: str = ""

    def timed(self, name: str) -> Series | None:
        """Return the series of a way that was timed."""
        series = self.ways.get(name)
        return series if series is not None and series.runs else None

    @property
    def version_numbers(self) -> tuple[int, int]:
        """TimescaleDB's major and minor version."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)

    def goes_on(self, other: Result) -> bool:
        """Say whether the runs of another result may stand beside these: the same code on the same server."""
        return bool(self.code) and all(
            getattr(self, name) == getattr(other, name)
            for name in ("code", "title", "settings", "cores", "case", "rows", "csv_bytes")
        )


def save(result: Result, folder: Path = RESULTS) -> None:
    """Keep a result in place of an earlier one of the same server, case and size."""
    folder.mkdir(parents=True, exist_ok=True)
    path = _path(result.server, result.case, result.rows, folder)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(result), indent=1) + "\n")
    partial.replace(path)


def kept(server: str, case: str, rows: int, folder: Path = RESULTS) -> Result | None:
    """Return the result of a server, case and size, or None where there is none."""
    path = _path(server, case, rows, folder)
    return _result(json.loads(path.read_text())) if path.exists() else None


def load(folder: Path = RESULTS) -> list[Result]:
    """Return every result that was kept."""
    return [_result(json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]


def _path(server: str, case: str, rows: int, folder: Path) -> Path:
    return folder / f"{server}-{case}-{rows}.json"


def _result(known: Mapping[str, Any]) -> Result:
    ways = {
        name: Series([_run(run) for run in series["runs"]], series["missing"]) for name, series in known["ways"].items()
    }
    return Result(**{**known, "ways": ways})


def _run(known: Mapping[str, Any]) -> Run:
    return Run(known["seconds"], Observed(**known["observed"]), known["answer"])


def of_case(results: Iterable[Result], case: str) -> dict[str, list[Result]]:
    """Return the results of a case by server, each server's by size, smallest first."""
    found: dict[str, list[Result]] = {}
    for result in sorted(results, key=lambda one: one.rows):
        if result.case == case:
            found.setdefault(result.server, []).append(result)
    return found


def servers(results: Iterable[Result]) -> Iterator[tuple[str, str]]:
    """Yield each server's name and title, once, in order of the title."""
    yield from sorted({(result.server, result.title) for result in results}, key=lambda pair: pair[1])
