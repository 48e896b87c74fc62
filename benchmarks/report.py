"""The report as Markdown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from benchmarks.cases import CASES, Case
from benchmarks.figures import Spread, ratios, spread
from benchmarks.plan import MILLION
from benchmarks.results import Result, Series, of_case, servers
from benchmarks.targets import MIB, Judgement, Measure

_UNITS: dict[Measure, str] = {
    "times as fast": " times as fast",
    "of the time": " of its time",
    "MiB": " MiB",
    "temporary bytes": " bytes",
    "time growth": " times as long",
    "memory growth": " times as much",
}
NOTHING = "-"


def targets_table(judgements: Iterable[Judgement]) -> str:
    """Return the targets with the figures beside them."""
    rows = [
        (
            judgement.target.title,
            judgement.server,
            " and ".join(millions(rows) for rows in dict.fromkeys((*judgement.sizes[:1], *judgement.sizes[-1:])))
            or NOTHING,
            judgement.way or NOTHING,
            judgement.target.bound_text,
            _figure(judgement),
            NOTHING if judgement.by_cpu is None else f"{judgement.by_cpu:.2f}",
            judgement.verdict,
        )
        for judgement in judgements
    ]
    header = ("", "server", "rows, millions", "way", "target", "measured (least - most)", "by the server's CPU", "")
    return table(header, rows)


def growth_table(results: Sequence[Result]) -> str:
    """Return how time, memory and disk grow with the day, for the ways whose memory is known."""
    rows = [
        (
            result.title,
            _title(case, name),
            millions(result.rows),
            f"{spread(series.seconds).middle / result.rows * MILLION:.2f}",
            _whole(series.most("memory_bytes"), MIB),
            _whole(series.most("disk_bytes"), MIB),
        )
        for case in CASES[:1]
        for found in of_case(results, case.name).values()
        for name in (way.name for way in case.ways)
        for result in found
        if (series := result.timed(name)) is not None and series.most("memory_bytes") is not None
    ]
    header = (
        "server",
        "way",
        "rows, millions",
        "seconds a million rows",
        "peak memory, MiB",
        "peak temporary disk, MiB",
    )
    return table(header, rows)


def all_figures(results: Sequence[Result]) -> str:
    """Return a table for each case and server."""
    return "\n\n".join(
        f"### {_sentence(case.title)}, {title}\n\n{_case_table(case, found[server])}"
        for server, title in servers(results)
        for case in CASES
        if server in (found := of_case(results, case.name))
    )


def conditions(results: Sequence[Result]) -> str:
    """Return how it was measured: when, of which commit, and with which settings."""
    if not results:
        return "Nothing was measured yet."
    commits, codes = sorted({result.commit for result in results}), {result.code for result in results}
    days = sorted({result.when[:10] for result in results})
    lines = [
        f"Measured {' to '.join(dict.fromkeys((days[0], days[-1])))}, commit {', '.join(commits)}."
        + (" **The figures are of different code.**" if len(codes) > 1 else ""),
        "",
    ]
    for server, title in servers(results):
        mine = [result for result in results if result.server == server]
        settings = ", ".join(f"{name} {value}" for name, value in sorted(mine[0].settings.items()))
        lines.append(f"- {title}, {mine[0].cores} cores: {settings}")
    return "\n".join(lines)


def _case_table(case: Case, found: Sequence[Result]) -> str:
    header = (
        *("rows, millions", "way", "seconds (least - most)", "times as fast as the first"),
        *("memory, MiB", "disk, MiB", "CPU of server, s", "of process, s"),
        *("backend busy", "kept from a core", "waits for data", "cores of the process"),
    )
    rows = [row for result in found for row in _case_rows(case, result)]
    missing = {
        _title(case, name): series.missing for result in found for name, series in result.ways.items() if series.missing
    }
    notes = "; ".join(f"{title} ({why})" for title, why in missing.items())
    return table(header, rows) + (f"\n\nNot timed: {notes}." if notes else "")


def _case_rows(case: Case, result: Result) -> Iterator[tuple[str, ...]]:
    first = result.timed(case.ways[0].name)
    for way in case.ways:
        series = result.timed(way.name)
        if series is None:
            continue
        yield (
            millions(result.rows),
            way.title,
            _spread(spread(series.seconds), 2),
            _spread(ratios(first.seconds, series.seconds), 2) if first else NOTHING,
            _whole(series.most("memory_bytes"), MIB),
            _whole(series.most("disk_bytes"), MIB),
            *(number(series, name) for name in ("server_seconds", "process_seconds")),
            *(share(series, name) for name in ("backend_busy", "backend_ready", "backend_starved")),
            number(series, "process_busy"),
        )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _title(case: Case, name: str) -> str:
    return next((way.title for way in case.ways if way.name == name), name)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def millions(rows: int) -> str:
    """Return a count of rows in millions."""
    return f"{rows / MILLION:g}"


def _spread(figure: Spread, digits: int) -> str:
    return f"{figure.middle:.{digits}f} ({figure.low:.{digits}f} - {figure.high:.{digits}f})"


def _figure(judgement: Judgement) -> str:
    figure, measure = judgement.figure, judgement.target.measure
    if figure is None:
        return NOTHING
    said = f"{judgement.figure_text}{_UNITS[measure]}"
    return said if measure in ("MiB", "temporary bytes") else f"{said} ({figure.low:.2f} - {figure.high:.2f})"


def _whole(value: float | None, unit: int) -> str:
    return NOTHING if value is None else f"{value / unit:.0f}"


def share(series: Series, name: str) -> str:
    """Return the median of a field of `Observed` as a percentage."""
    seen = series.usual(name)
    return NOTHING if seen is None else f"{seen.middle:.0%}"


def number(series: Series, name: str) -> str:
    """Return the median of a field of `Observed` with two digits."""
    seen = series.usual(name)
    return NOTHING if seen is None else f"{seen.middle:.2f}"
