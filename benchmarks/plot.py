"""How time, memory and disk grow, as an SVG drawn by hand: lines and their axes need no library. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmarks.cases import CASES
from benchmarks.figures import spread
from benchmarks.plan import MILLION
from benchmarks.results import Result, Series, of_case, servers
from benchmarks.targets import MIB

# Okabe and Ito's colours, which people tell apart who see few of them, and a ninth. All of them show on white, and
# the picture brings its white along, so that a dark page changes nothing.
_COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7", "#7A7A7A", "#882255")
# A line that lies upon others lets them show through.
_DASHES = ("", "9 9", "5 13", "3 15")
_NEAR_PIXELS = 2.5
_PLOTTED = ("psql", "floor", "default", "stream", "binary", "staging", "psql-staging", "recipe", "parallel-2")
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _GAP = 300, 220, 52, 52, 44, 30
_LEGEND_LINE, _LEGEND_COLUMNS = 20, 2
_STEPS = (1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Line:
    """A way on one panel: `points` are rows and a value above zero, or zero on a scale that is not logarithmic."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Panel:
    """One picture: its title names the unit."""

    title: str
    lines: tuple[Line, ...]
    is_logarithmic: bool = False


@dataclass(frozen=True)
class Row:
    """The panels of one server."""

    title: str
    panels: tuple[Panel, ...]


def rows(results: Sequence[Result]) -> list[Row]:
    """Return a row of three panels for each server: seconds, memory and disk of the first case's ways."""
    found = of_case(results, CASES[0].name)
    return [
        Row(
            title,
            (
                Panel("seconds (both scales logarithmic)", _lines(found[server], _seconds), is_logarithmic=True),
                Panel("peak memory of the process, MiB", _lines(found[server], lambda one: _mib(one, "memory_bytes"))),
                Panel("peak temporary disk, MiB", _lines(found[server], lambda one: _mib(one, "disk_bytes"))),
            ),
        )
        for server, title in servers(results)
        if server in found
    ]


def draw(drawn: Sequence[Row]) -> str:
    """Return the SVG of the rows, with one legend above them."""
    used = {line.name for row in drawn for panel in row.panels for line in panel.lines}
    names = [name for name in _PLOTTED if name in used]
    legend = _LEGEND_LINE * math.ceil(len(names) / _LEGEND_COLUMNS) + 12
    width = 3 * (_LEFT + _WIDTH + _GAP)
    height = legend + len(drawn) * (_TOP + _HEIGHT + _BOTTOM)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12" role="img">',
        "<title>Seconds, memory and temporary disk by rows</title>",
        f'<rect width="{width}" height="{height}" fill="#FFFFFF"/>',
        *_legend(names, width),
    ]
    for number, row in enumerate(drawn):
        y = legend + _TOP + number * (_TOP + _HEIGHT + _BOTTOM)
        parts.append(f'<text x="{_LEFT}" y="{y - 30}" font-weight="bold">{escape(row.title)}</text>')
        for column, panel in enumerate(row.panels):
            x = _LEFT + column * (_LEFT + _WIDTH + _GAP)
            parts += [f'<g transform="translate({x},{y})">', *_panel(panel), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def ticks(low: float, high: float, *, is_logarithmic: bool) -> list[float]:
    """Return round values that enclose a range; on a scale that is not logarithmic, from zero on."""
    if is_logarithmic:
        powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
        values = [step * 10.0**power for power in powers for step in _STEPS]
        first = max(value for value in values if value <= low * 1.0001)
        last = min(value for value in values if value >= high / 1.0001)
        chosen = [value for value in values if first <= value <= last]
        # A range of one value would have no width.
        return chosen if len(chosen) > 1 else [first, values[values.index(first) + 1]]
    rough = max(high, 1) / 5
    step = min(s * 10.0**p for p in range(-1, 12) for s in _STEPS if s * 10.0**p >= rough)
    return [number * step for number in range(math.ceil(max(high, 1) / step) + 1)]


def _lines(found: Sequence[Result], value: Callable[[Series], float | None]) -> tuple[Line, ...]:
    made = []
    for name in _PLOTTED:
        points = [
            (float(result.rows), seen)
            for result in found
            if (series := result.timed(name)) is not None and (seen := value(series)) is not None
        ]
        if points:
            made.append(Line(name, tuple(points)))
    return tuple(made)


def _seconds(series: Series) -> float:
    return spread(series.seconds).middle


def _mib(series: Series, name: str) -> float | None:
    value = series.most(name)
    return None if value is None else value / MIB


def _legend(names: Sequence[str], width: int) -> Iterator[str]:
    titles = {way.name: way.title for way in CASES[0].ways}
    for number, name in enumerate(names):
        x = 20 + number % _LEGEND_COLUMNS * (width - 20) / _LEGEND_COLUMNS
        y = 18 + number // _LEGEND_COLUMNS * _LEGEND_LINE
        yield f'<path d="M{x:.0f},{y} h24" {_stroke(name)}/>'
        yield f'<text x="{x + 30:.0f}" y="{y + 4}">{escape(titles.get(name, name))}</text>'


def _stroke(name: str, above: int = 0) -> str:
    dashes = f' stroke-dasharray="{_DASHES[min(above, len(_DASHES) - 1)]}"' if above else ""
    return f'stroke="{_COLOURS[_PLOTTED.index(name)]}" stroke-width="2" fill="none"{dashes}'


def _upon(points: Sequence[tuple[float, float]], drawn: Sequence[Sequence[tuple[float, float]]]) -> int:
    """Return how many of the lines that were drawn cannot be told from this one; all are in pixels."""
    return sum(all(any(math.dist(one, other) < _NEAR_PIXELS for other in line) for one in points) for line in drawn)


def _panel(panel: Panel) -> Iterator[str]:
    yield f'<text x="0" y="-10">{escape(panel.title)}</text>'
    yield f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#999999"/>'
    points = [point for line in panel.lines for point in line.points]
    if not points:
        yield f'<text x="{_WIDTH / 2:.0f}" y="{_HEIGHT / 2:.0f}" text-anchor="middle">not measured</text>'
        return
    sizes = sorted({rows for rows, _ in points})
    values = [value for _, value in points]
    marks = ticks(min(values), max(values), is_logarithmic=panel.is_logarithmic)

    def x(rows: float) -> float:
        if len(sizes) == 1:
            return _WIDTH / 2
        margin = 14
        share = math.log(rows / sizes[0]) / math.log(sizes[-1] / sizes[0])
        return margin + share * (_WIDTH - 2 * margin)

    def y(value: float) -> float:
        if panel.is_logarithmic:
            return _HEIGHT * (1 - math.log(value / marks[0]) / math.log(marks[-1] / marks[0]))
        return _HEIGHT * (1 - value / marks[-1])

    for mark in marks:
        yield f'<path d="M0,{y(mark):.1f} h{_WIDTH}" stroke="#E4E4E4"/>'
        yield f'<text x="-6" y="{y(mark) + 4:.1f}" text-anchor="end">{mark:g}</text>'
    for rows in sizes:
        yield f'<path d="M{x(rows):.1f},{_HEIGHT} v5" stroke="#999999"/>'
        yield f'<text x="{x(rows):.1f}" y="{_HEIGHT + 18}" text-anchor="middle">{rows / MILLION:g}</text>'
    yield f'<text x="{_WIDTH / 2:.0f}" y="{_HEIGHT + 34}" text-anchor="middle">million rows</text>'
    drawn: list[list[tuple[float, float]]] = []
    for line in panel.lines:
        pixels = [(x(rows), y(value)) for rows, value in line.points]
        above = _upon(pixels, drawn)
        drawn.append(pixels)
        path = " L".join(f"{right:.1f},{down:.1f}" for right, down in pixels)
        yield f'<path d="M{path}" {_stroke(line.name, above)}/>'
        for right, down in pixels:
            radius, colour = max(3.5 - above, 1), _COLOURS[_PLOTTED.index(line.name)]
            yield f'<circle cx="{right:.1f}" cy="{down:.1f}" r="{radius}" fill="{colour}"/>'
