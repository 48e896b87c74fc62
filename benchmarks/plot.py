"""How time, memory and disk grow, as an SVG that Vega-Lite draws. Pure: the same results are the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import vl_convert

from benchmarks.cases import CASES
from benchmarks.plan import MILLION
from benchmarks.results import Result, of_case, spread
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
# Zero has a place on the scale of memory and disk. The seconds of ways show best by their ratios.
_PANELS: dict[str, dict[str, Any]] = {
    "seconds (logarithmic)": {"type": "log", "nice": False, "padding": 14},
    "peak memory of the process, MiB": {"type": "linear"},
    "peak temporary disk, MiB": {"type": "linear"},
}


def draw(results: Sequence[Result]) -> str:
    """Return the chart: a row of panels for each server, of the first case's ways; empty without figures."""
    points = [point for found in of_case(results, CASES[0].name) for result in found for point in _points(result)]
    if not points:
        return ""
    used = [way for way in CASES[0].ways if any(point["way"] == way.title for point in points)]
    legend = {"title": None, "orient": "top", "columns": 2, "labelLimit": 0}
    scale = {"domain": [way.title for way in used], "range": [_COLOURS[way.name] for way in used]}
    sizes: dict[str, Any] = {"field": "rows", "type": "quantitative", "title": "million rows"}
    sizes |= {"scale": {"type": "log", "nice": False, "padding": 14}}
    sizes |= {"axis": {"values": sorted({point["rows"] for point in points}), "format": "~g", "grid": False}}
    panels = [
        {
            "facet": {"row": {"field": "server", "title": None, "header": {"labels": title == next(iter(_PANELS))}}},
            "resolve": {"scale": {"y": "independent"}},
            "spec": {
                "transform": [{"filter": {"field": "panel", "equal": title}}],
                "width": 290,
                "height": 220,
                "mark": {"type": "line", "point": True},
                "encoding": {
                    "x": sizes,
                    "y": {"field": "value", "type": "quantitative", "title": title, "scale": heights},
                    "color": {"field": "way", "type": "nominal", "legend": legend, "scale": scale},
                },
            },
        }
        for title, heights in _PANELS.items()
    ]
    # Without ARIA labels, which would be a fifth of the file.
    look = {"background": "white", "config": {"font": "sans-serif", "aria": False}}
    return vl_convert.vegalite_to_svg({"data": {"values": points}, "hconcat": panels, **look})


def _points(result: Result) -> list[dict[str, Any]]:
    points = []
    for way in CASES[0].ways:
        series = result.timed(way.name)
        if series is not None and way.name in _COLOURS:
            values = (spread(series.seconds).middle, series.most("memory_bytes"), series.most("disk_bytes"))
            common = {"server": result.title, "way": way.title, "rows": result.rows / MILLION}
            points += [
                common | {"panel": panel, "value": value if scale["type"] == "log" else value / MIB}
                for (panel, scale), value in zip(_PANELS.items(), values, strict=True)
                if value is not None
            ]
    return points
