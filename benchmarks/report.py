"""The report as Markdown: the targets with the figures beside them, and all figures. A person pastes it into docs/."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.cases import CASES, Case, Way
from benchmarks.config import BENCH
from benchmarks.plan import MILLION
from benchmarks.plot import draw
from benchmarks.results import Result, Series, Spread, of_case, ratios, spread
from benchmarks.targets import MIB, Judgement, judge
from tools.config import REPOSITORY

_Row = TypeVar("_Row")
_NOTHING = "-"


@dataclass(frozen=True)
class Line:
    """One way at one size on one server, timed."""

    case: Case
    result: Result
    way: Way
    series: Series


def write_report(results: Sequence[Result]) -> None:
    """Print the report, and keep it and its chart in `.work/bench`."""
    text = report(results)
    BENCH.mkdir(parents=True, exist_ok=True)
    (BENCH / "report.md").write_text(text + "\n")
    chart = draw(results)
    if chart:
        (BENCH / "performance.svg").write_text(chart)
    print(f"\n{text}\n\n-- {'report.md, performance.svg' if chart else 'report.md'} in {BENCH.relative_to(REPOSITORY)}")


def report(results: Sequence[Result]) -> str:
    """Return the whole report."""
    parts = {
        "Conditions": conditions(results),
        "Targets": targets_table(judge(results)),
        "Figures": all_figures(results),
    }
    return "\n\n".join(f"## {title}\n\n{part}" for title, part in parts.items())


def conditions(results: Sequence[Result]) -> str:
    """Return how it was measured: when, of which commit, and with which settings."""
    if not results:
        return "Nothing was measured yet."
    commits, days = sorted({result.commit for result in results}), sorted({result.when[:10] for result in results})
    warning = " **The figures are of different code.**" if len(commits) > 1 else ""
    lines = [f"Measured {' to '.join(dict.fromkeys((days[0], days[-1])))}, commit {', '.join(commits)}.{warning}", ""]
    for title, result in sorted({result.title: result for result in reversed(results)}.items()):
        settings = ", ".join(f"{name} {value}" for name, value in sorted(result.settings.items()))
        lines.append(f"- {title}, {result.cores} cores: {settings}")
    return "\n".join(lines)


def targets_table(judgements: Iterable[Judgement]) -> str:
    """Return the targets with the figures beside them."""
    columns: dict[str, Callable[[Judgement], str]] = {
        "target": lambda one: one.target.title,
        "server": lambda one: one.server,
        "rows, millions": lambda one: (
            " and ".join(_millions(rows) for rows in dict.fromkeys((*one.sizes[:1], *one.sizes[-1:]))) or _NOTHING
        ),
        "way": lambda one: one.way or _NOTHING,
        "bound": lambda one: one.target.measure.bound.format(one.target.bound),
        "measured (least - most)": _figure,
        "by the server's CPU": lambda one: _number(one.by_cpu),
        "verdict": lambda one: one.verdict,
    }
    return _table(columns, judgements)


def _figure(judgement: Judgement) -> str:
    figure, measure = judgement.figure, judgement.target.measure
    if figure is None:
        return _NOTHING
    if measure.kind == "most":
        return f"{figure.middle:.0f}{measure.unit}"
    return f"{figure.middle:.2f}{measure.unit} ({figure.low:.2f} - {figure.high:.2f})"


def _seen(name: str) -> Callable[[Line], str]:
    return lambda line: _number(line.series.usual(name))


def _share(name: str) -> Callable[[Line], str]:
    return lambda line: _NOTHING if (share := line.series.usual(name)) is None else f"{share:.0%}"


def _most_mib(name: str) -> Callable[[Line], str]:
    return lambda line: _NOTHING if (most := line.series.most(name)) is None else f"{most / MIB:.0f}"


def _times_as_fast(line: Line) -> str:
    first = line.result.timed(line.case.ways[0].name)
    return _spread(ratios(first.seconds, line.series.seconds)) if first else _NOTHING


_COLUMNS: dict[str, Callable[[Line], str]] = {
    "rows, millions": lambda line: _millions(line.result.rows),
    "way": lambda line: line.way.title,
    "seconds (least - most)": lambda line: _spread(spread(line.series.seconds)),
    "times as fast as the first": _times_as_fast,
    "seconds a million rows": lambda line: _number(spread(line.series.seconds).middle / line.result.rows * MILLION),
    "memory, MiB": _most_mib("memory_bytes"),
    "disk, MiB": _most_mib("disk_bytes"),
    "CPU of server, s": _seen("server_seconds"),
    "of process, s": _seen("process_seconds"),
    "COPY, s": _seen("copy_seconds"),
    "backend busy": _share("backend_busy"),
    "kept from a core": _share("backend_ready"),
    "idle": _share("backend_idle"),
    "COPY waited for a block, s": _seen("copy_waited"),
    "cores of the process": _seen("process_busy"),
}


def all_figures(results: Sequence[Result]) -> str:
    """Return a table for each case and server."""
    parts = []
    for case in CASES:
        for found in of_case(results, case.name):
            title = f"{case.title[:1].upper()}{case.title[1:]}, {found[0].title}"
            text = f"### {title}\n\n{_table(_COLUMNS, _lines(case, found))}"
            titles = {way.name: way.title for way in case.ways}
            missing = {
                f"{titles.get(name, name)} ({series.missing})": None
                for result in found
                for name, series in result.ways.items()
                if series.missing
            }
            parts.append(text + (f"\n\nNot timed: {'; '.join(missing)}." if missing else ""))
    return "\n\n".join(parts)


def _lines(case: Case, found: Iterable[Result]) -> Iterator[Line]:
    for result in found:
        for way in case.ways:
            series = result.timed(way.name)
            if series is not None:
                yield Line(case, result, way, series)


def _table(columns: Mapping[str, Callable[[_Row], str]], rows: Iterable[_Row]) -> str:
    cells = [[column(row).replace("|", "\\|") for column in columns.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in ([*columns], ["---"] * len(columns), *cells))


def _millions(rows: int) -> str:
    return f"{rows / MILLION:g}"


def _number(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.2f}"


def _spread(figure: Spread) -> str:
    return f"{figure.middle:.2f} ({figure.low:.2f} - {figure.high:.2f})"
