"""Who is busy while the rows go in: the server's backend, the function, or nobody. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.cases import CASES
from benchmarks.report import NOTHING, millions, number, share, table
from benchmarks.results import Result, Series, of_case, servers

# From here on it is called busy all the time: the rest is the begin and the end, and waits for the disk.
_ALL_THE_TIME = 0.95
_CASE = CASES[0]


def busy_section(results: Sequence[Result]) -> str:
    """Return a sentence for each of the function's ways through which a day streams, and a table of them all."""
    found = list(_largest(results))
    sentences = [f"- {_sentence(*one)}" for one in found if one[1] in ("stream", "binary")]
    header = (
        *("server", "rows, millions", "way", "COPY, s", "backend busy", "kept from a core", "waits for data"),
        *("COPY waited for a block, s", "cores of the process"),
    )
    rows = [
        (
            *(result.title, millions(result.rows), _title(name), number(series, "copy_seconds")),
            *(share(series, of) for of in ("backend_busy", "backend_ready", "backend_starved")),
            NOTHING if series.waited is None else f"{series.waited.middle:.2f}",
            number(series, "process_busy"),
        )
        for result, name, series in found
    ]
    return "\n\n".join(part for part in ("\n".join(sentences), table(header, rows)) if part)


def _largest(results: Sequence[Result]) -> Iterator[tuple[Result, str, Series]]:
    """Yield each of the function's ways on each server, at its largest day in which a COPY was seen."""
    by_server = of_case(results, _CASE.name)
    for server, _ in servers(results):
        for way in _CASE.ways:
            if way.program != "function":
                continue
            for result in reversed(by_server.get(server, [])):
                series = result.timed(way.name)
                if series is not None and series.usual("copy_seconds") is not None:
                    yield result, way.name, series
                    break


def _sentence(result: Result, name: str, series: Series) -> str:
    copying, cores = series.usual("copy_seconds"), series.usual("process_busy")
    busy, ready = series.usual("backend_busy"), series.usual("backend_ready")
    waited = series.waited
    said = f"{result.title}, {millions(result.rows)} million rows, {_title(name)}"
    if copying is None or busy is None or ready is None or cores is None or waited is None:
        return f"{said}: it could not be seen who was busy."
    facts = (
        f"of the {copying.middle:.2f} s of the COPY the backend had a core for {busy.middle:.0%} and was kept from one "
        f"for {ready.middle:.0%}; COPY waited {waited.middle:.2f} s for a block of data, and the function's process "
        f"used {cores.middle:.2f} cores"
    )
    if busy.middle + ready.middle < _ALL_THE_TIME:
        verdict = "The backend was not busy all the time"
    elif cores.middle < _ALL_THE_TIME:
        verdict = "The server's backend was the only thing that was busy all the time"
    else:
        verdict = "The backend was busy all the time, and so was the function"
    return f"{said}: {facts}. {verdict}."


def _title(name: str) -> str:
    return next(way.title for way in _CASE.ways if way.name == name)
