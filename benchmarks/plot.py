"""How time, memory and disk grow, as an SVG that Vega-Lite draws. Pure: the same results are the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import vl_convert

from benchmarks.cases import CASES
from benchmarks.plan import MILLION
from benchmarks.results import Line, Result, of_case, spread
from shared.process import MIB

# Fewer lines show more. Okabe and Ito's colours, which people with colour blindness can tell apart, and two more.
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
_LOGARITHMIC = {"type": "log", "nice": False, "padding": 14}
# Zero has a place on the scale of memory and disk. The seconds of ways show best by their ratios.
_PANELS: dict[str, dict[str, Any]] = {
    "seconds (logarithmic)": _LOGARITHMIC,
    "peak memory of the process, MiB": {"type": "linear"},
    "peak temporary disk, MiB": {"type": "linear"},
}
_SERVERS = {"row": {"field": "server", "title": None}}
_LEGEND = {"title": None, "orient": "top", "columns": 2, "labelLimit": 0}
_LOOK = {
    "background": "white",
    "resolve": {"scale": {"y": "independent"}},
    # Without ARIA labels, which would be a fifth of the file.
    "config": {"font": "sans-serif", "aria": False, "view": {"continuousWidth": 290, "continuousHeight": 220}},
}


def draw(results: Sequence[Result]) -> str:
    """Return the chart: a row of panels for each server, of the first case's ways; empty without figures."""
    lines = [line for found in of_case(results, CASES[0]) for line in found]
    points = [_point(line) for line in lines if line.series.runs and line.way.name in _COLOURS]
    if not points:
        return ""
    drawn = {point["way"] for point in points}
    colours = {way.title: _COLOURS[way.name] for way in CASES[0].ways if way.title in drawn}
    colour = {"field": "way", "legend": _LEGEND, "scale": {"domain": [*colours], "range": [*colours.values()]}}
    sizes = sorted({point["rows"] for point in points})
    # The same for each server, whatever was measured on it.
    scale = {**_LOGARITHMIC, "domain": [sizes[0], sizes[-1]]}
    axis = {"title": "million rows", "values": sizes, "format": "~g", "grid": False}
    x = {"field": "rows", "type": "quantitative", "scale": scale, "axis": axis}
    panels = [
        {
            "mark": {"type": "line", "point": True},
            "encoding": {"x": x, "y": {"field": title, "type": "quantitative", "scale": heights}, "color": colour},
        }
        for title, heights in _PANELS.items()
    ]
    chart = {"data": {"values": points}, "facet": _SERVERS, "spec": {"hconcat": panels}, **_LOOK}
    return vl_convert.vegalite_to_svg(chart)


def _point(line: Line) -> dict[str, Any]:
    point = {"server": line.result.title, "way": line.way.title, "rows": line.result.rows / MILLION}
    most = [line.series.most("memory_bytes"), line.series.most("disk_bytes")]
    values = [spread(line.series.seconds).middle, *(None if value is None else value / MIB for value in most)]
    return point | dict(zip(_PANELS, values, strict=True))
