from __future__ import annotations

from typing import Any

import pytest

from benchmarks.busy import busy_section
from benchmarks.results import Run, Series
from tests.unit.benchmarks.fix_bench import result, series


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "The server's backend was the only thing that was busy all the time."),
        ({"busy": 0.94}, "The backend was not busy all the time."),
        ({"busy": 0.5, "ready": 0.46}, "The server's backend was the only thing that was busy all the time."),
        ({"cores": 1.2}, "The backend was busy all the time, and so was the function."),
    ],
)
def test_the_sentence_says_who_was_busy(change: dict[str, Any], verdict: str) -> None:
    seen = {"copying": 9.5, "busy": 0.95, "ready": 0.0, "cores": 0.3, "waited": 0.25} | change
    first, *_ = busy_section([result({"stream": series(10, **seen)})]).splitlines()
    assert first.startswith(
        "- PostgreSQL 18 / TimescaleDB 2.31.0 apache, 1 million rows, this project, stream, text: of the 9.50 s"
    )
    assert first.endswith(verdict)
    assert "COPY waited 0.25 s for a block of data" in first


def test_what_was_not_seen_is_not_judged() -> None:
    first, *_ = busy_section([result({"stream": series(10, copying=9)})]).splitlines()
    assert first.endswith("it could not be seen who was busy.")


def test_each_way_stands_there_at_its_largest_day() -> None:
    seen = {"copying": 9, "busy": 1, "ready": 0, "cores": 0.3, "waited": 0.25}
    small = result(
        {"psql": series(5, copying=4), "stream": series(1, **seen), "spool": series(2, **seen)}, rows=300_000
    )
    large = result({"stream": series(10, **(seen | {"copying": 8})), "spool": "failed"}, rows=3_000_000)
    lines = busy_section([small, large]).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")][2:]
    assert [row[1:] for row in rows] == [
        ["0.3", "this project, spool, text", "9.00", "100%", "0%", "-", "0.25", "0.30"],
        ["3", "this project, stream, text", "8.00", "100%", "0%", "-", "0.25", "0.30"],
    ]
    # The sentences are about what streams.
    assert [line for line in lines if line.startswith("- ")] == [lines[0]]


def test_an_answer_need_not_tell_how_long_copy_waited() -> None:
    runs = [Run(1, answer={"copy": None}), Run(1), Run(1, answer={"copy": {"waited_seconds": 3}})]
    waited = Series(runs).waited
    assert waited is not None
    assert (waited.low, waited.high) == (3, 3)
    assert Series(runs[:2]).waited is None
