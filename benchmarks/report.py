"""The report as Markdown: the targets with the figures beside them, and all figures. A person pastes it into docs/."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from benchmarks.cases import CASES
from benchmarks.plan import BENCH, MILLION
from benchmarks.plot import draw
from benchmarks.results import Line, Result, Spread, of_case, spread
from benchmarks.targets import Judgement, judge
from shared.process import MIB
from tools.config import REPOSITORY

_Row = TypeVar("_Row")


def write_report(results: Sequence[Result]) -> None:
    """Print the report, and keep it and its chart in `.work/bench`."""
    text, chart = report(results), draw(results)
    BENCH.mkdir(parents=True, exist_ok=True)
    (BENCH / "report.md").write_text(text + "\n")
    if chart:
        (BENCH / "performance.svg").write_text(chart)
    print(f"\n{text}\n\n-- {'report.md, performance.svg' if chart else 'report.md'} in {BENCH.relative_to(REPOSITORY)}")


def report(results: Sequence[Result]) -> str:
    """Return the whole report."""
    targets, parts = _table(_TARGET_COLUMNS, judge(results)), all_figures(results)
    return f"## Conditions\n\n{conditions(results)}\n\n## Targets\n\n{targets}\n\n## Figures\n\n{parts}"


def conditions(results: Sequence[Result]) -> str:
    """Return how it was measured: when, of which commit, and with which settings."""
    if not results:
        return "Nothing was measured yet."
    commits, days = sorted({result.commit for result in results}), sorted({result.when[:10] for result in results})
    warning = " **The figures are of different code.**" if len(commits) > 1 else ""
    said = f"Measured {' to '.join(dict.fromkeys((days[0], days[-1])))}, commit {', '.join(commits)}.{warning}"
    return "\n".join([said, "", *sorted({f"- {result.title}, {result.conditions}" for result in results})])


def all_figures(results: Sequence[Result]) -> str:
    """Return a table for each case and server."""
    parts = []
    for case in CASES:
        for found in of_case(results, case):
            timed = [line for line in found if line.series.runs]
            failed = dict.fromkeys(f"{way.title} ({series.missing})" for _, way, series in found if series.missing)
            title = f"### {case.title[:1].upper()}{case.title[1:]}, {found[0].result.title}"
            parts += [title, _table(_FIGURE_COLUMNS, timed)]
            parts += [f"Not timed: {'; '.join(failed)}."] if failed else []
    return "\n\n".join(parts)


def _table(columns: Mapping[str, Callable[[_Row], str | None]], rows: Iterable[_Row]) -> str:
    cells = [[(column(row) or "-").replace("|", "\\|") for column in columns.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in ([*columns], ["---"] * len(columns), *cells))


def _sizes(judgement: Judgement) -> str:
    sizes = () if isinstance(judgement.figure, str) else judgement.figure.sizes
    return " and ".join(f"{rows / MILLION:g}" for rows in dict.fromkeys((*sizes[:1], *sizes[-1:])))


def _measured(judgement: Judgement) -> str | None:
    if isinstance(judgement.figure, str):
        return None
    unit, (middle, low, high) = judgement.target.measure.unit, judgement.figure.spread
    # The most of all runs is one number.
    return f"{middle:.0f}{unit}" if unit in {" MiB", " bytes"} else f"{middle:.2f}{unit} ({low:.2f} - {high:.2f})"


_TARGET_COLUMNS: dict[str, Callable[[Judgement], str | None]] = {
    "target": lambda one: one.target.title,
    "server": lambda one: one.server,
    "rows, millions": _sizes,
    "way": lambda one: one.way,
    "bound": lambda one: one.target.measure.bound.format(one.target.bound),
    "measured (least - most)": _measured,
    "by the server's CPU": lambda one: None if isinstance(one.figure, str) else _number(one.figure.by_cpu),
    "verdict": lambda one: one.verdict,
}


def _times_as_fast(line: Line) -> str | None:
    (ways,) = [case.ways for case in CASES if case.name == line.result.case]
    first = line.result.timed(ways[0].name)
    return _spread(first.ratios(line.series)) if first else None


_FIGURE_COLUMNS: dict[str, Callable[[Line], str | None]] = {
    "rows, millions": lambda line: f"{line.result.rows / MILLION:g}",
    "way": lambda line: line.way.title,
    "seconds (least - most)": lambda line: _spread(spread(line.series.seconds)),
    "times as fast as the first": _times_as_fast,
    "seconds a million rows": lambda line: _number(spread(line.series.seconds).middle / line.result.rows * MILLION),
    "memory, MiB": lambda line: _number(line.series.most("memory_bytes"), ".0f", MIB),
    "disk, MiB": lambda line: _number(line.series.most("disk_bytes"), ".0f", MIB),
    "CPU of server, s": lambda line: _number(line.series.usual("server_seconds")),
    "of process, s": lambda line: _number(line.series.usual("process_seconds")),
    "COPY, s": lambda line: _number(line.series.usual("copy_seconds")),
    "backend busy": lambda line: _number(line.series.usual("backend_busy"), ".0%"),
    "kept from a core": lambda line: _number(line.series.usual("backend_ready"), ".0%"),
    "idle": lambda line: _number(line.series.usual("backend_idle"), ".0%"),
    "COPY waited for a block, s": lambda line: _number(line.series.usual("copy_waited")),
    "cores of the process": lambda line: _number(line.series.usual("process_busy")),
}


def _number(value: float | None, form: str = ".2f", unit: int = 1) -> str | None:
    return None if value is None else format(value / unit, form)


def _spread(figure: Spread) -> str:
    return f"{figure.middle:.2f} ({figure.low:.2f} - {figure.high:.2f})"
