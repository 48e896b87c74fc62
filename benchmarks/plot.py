"""How time, memory and disk grow, as an SVG that Vega-Lite draws. Pure: the same results are the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import vl_convert

from benchmarks.cases import CASES
from benchmarks.plan import MILLION
from benchmarks.results import Result, Series, of_case, spread
from benchmarks.targets import MIB

# Okabe and Ito's colours, which people with colour blindness can tell apart, and a ninth. All show on white, and the
# chart has a white background, so a dark page changes nothing.
_COLOURS = {
    "psql": "#000000",
    "floor": "#E69F00",
    "default": "#56B4E9",
    "stream": "#009E73",
    "binary": "#D55E00",
    "staging": "#0072B2",
    "psql-staging": "#CC79A7",
    "recipe": "#7A7A7A",
    "parallel-2": "#882255",
}
# Lines may lie on each other: where the upper one is dashed, both show.
_DASHES = ([1, 0], [8, 4], [3, 3])
_TICKS = [step * 10.0**power for power in range(-3, 4) for step in (1, 2, 5)]
_WIDTH, _HEIGHT = 290, 220


def draw(results: Sequence[Result]) -> str:
    """Return the chart: a row of three panels for each server, of the first case's ways; empty without figures."""
    found = of_case(results, CASES[0].name)
    used = [name for name in _COLOURS if any(result.timed(name) for each in found for result in each)]
    if not used:
        return ""
    titles = {way.name: way.title for way in CASES[0].ways}
    names = [titles[name] for name in used]
    dashes = [_DASHES[number % len(_DASHES)] for number in range(len(used))]
    legend = {"title": None, "orient": "top", "columns": 2, "columnPadding": 40, "labelLimit": 0}
    legend |= {"symbolSize": 900, "symbolType": "stroke"}
    styles = {
        channel: {"field": "way", "type": "nominal", "legend": legend, "scale": {"domain": names, "range": values}}
        for channel, values in {"color": [_COLOURS[name] for name in used], "strokeDash": dashes}.items()
    }
    panels: dict[str, tuple[str, Callable[[Series], float | None]]] = {
        "seconds": ("log", lambda series: spread(series.seconds).middle),
        "peak memory of the process, MiB": ("linear", lambda series: _mib(series, "memory_bytes")),
        "peak temporary disk, MiB": ("linear", lambda series: _mib(series, "disk_bytes")),
    }
    rows = []
    for each in found:
        shown = []
        for title, (scale, value) in panels.items():
            points = [
                {"rows": result.rows / MILLION, "value": seen, "way": titles[name]}
                for name in used
                for result in each
                if (series := result.timed(name)) is not None and (seen := value(series)) is not None
            ]
            if points:
                shown.append(_panel(title, scale, points, styles))
        rows.append({"title": {"text": each[0].title, "anchor": "start", "fontSize": 13}, "hconcat": shown})
    # Without ARIA labels, which would be a fifth of the file.
    config = {"font": "sans-serif", "aria": False, "axis": {"ticks": False, "labelPadding": 5, "titlePadding": 8}}
    return vl_convert.vegalite_to_svg({"background": "white", "vconcat": rows, "config": config})


def _mib(series: Series, name: str) -> float | None:
    value = series.most(name)
    return None if value is None else value / MIB


def _panel(title: str, scale: str, points: Sequence[dict[str, Any]], styles: dict[str, Any]) -> dict[str, Any]:
    sizes = sorted({point["rows"] for point in points})
    # A range of zeros would have no height.
    heights: dict[str, Any] = {"type": "linear", "domain": [0, 1.1 * max(1, *(point["value"] for point in points))]}
    ticks: dict[str, Any] = {"title": title, "tickCount": 6}
    if scale == "log":
        heights = {"type": "log", "nice": False, "padding": 14}
        ticks = {"title": f"{title} (logarithmic)", "format": "~g", "values": _TICKS}
    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "data": {"values": points},
        "mark": {"type": "line", "point": {"size": 30}, "strokeWidth": 2},
        "encoding": {
            "x": {
                "field": "rows",
                "type": "quantitative",
                "scale": {"type": "log", "nice": False, "padding": 14},
                "axis": {"title": "million rows", "values": sizes, "format": "~g", "grid": False},
            },
            "y": {"field": "value", "type": "quantitative", "scale": heights, "axis": ticks},
            **styles,
        },
    }
