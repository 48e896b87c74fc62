from __future__ import annotations

import re

from benchmarks.page import sections
from benchmarks.results import Result
from benchmarks.summary import _SENTENCES, summary
from benchmarks.targets import TARGETS, judge
from tests.unit.benchmarks.fix_bench import result, series


def some() -> list[Result]:
    old = result(
        {"psql": (7, 7), "default": (6, 6), "staging": (1,), "psql-staging": (9,)}, server="a", version="2.19.3"
    )
    new = result(
        {
            "psql": (30, 33, 31),
            "floor": (12, 13, 12.5),
            "stream": series(11, 13, 12, memory=140.4, disk=0),
            "binary": series(12, 13, 12.5, memory=201, disk=0),
        },
        rows=3_000_000,
    )
    return [old, new]


def test_the_sentences() -> None:
    results = some()
    psql = r"`zcat | psql \copy`"
    assert summary(results, judge(results)).splitlines() == [
        "Medians of runs in turns, on 2 cores.",
        "",
        "PostgreSQL 18 / TimescaleDB 2.31.0 apache:",
        "",
        (
            f"- A fresh day, primary key and time index, against {psql} (3 million rows): text 2.58 times as fast, "
            "binary 2.50 times as fast (the target is missed: at least 3 times as fast)."
        ),
        (
            "- The same against the floor, a COPY into a plain table that builds its indexes afterwards (3 million "
            "rows): text 0.96 of its time, binary 1.00 of its time (the target is missed: at most 0.8 of its time)."
        ),
        "- Most memory of the process that streams (3 million rows): text 140 MiB, binary 201 MiB.",
        "- Temporary disk of the same (3 million rows): text 0 bytes, binary 0 bytes.",
        "",
        "PostgreSQL 18 / TimescaleDB 2.19.3 apache:",
        "",
        f"- A primary key on a version that cannot set it aside, against {psql} (1 million rows): 1.17 times as fast.",
        "- Staging, against an unlogged table and INSERT by psql (1 million rows): 9.00 times as fast.",
    ]


def test_every_figure_of_the_sentences_was_printed() -> None:
    results = some()
    printed = set(re.findall(r"[0-9]+(?:\.[0-9]+)*", "\n".join(sections(results).values())))
    quoted = set(re.findall(r"[0-9]+(?:\.[0-9]+)*", summary(results, judge(results))))
    assert len(quoted) > 10
    assert quoted <= printed


def test_the_newest_server_speaks() -> None:
    runs = {"psql": (4,), "stream": (1,)}
    both = [result(runs, server="b", version="2.29.2"), result(runs | {"psql": (5,)}, version="2.31.0")]
    for results in (both, both[::-1]):
        text = summary(results, judge(results))
        assert "2.31.0 apache:\n\n" in text
        assert "(1 million rows): text 5.00 times as fast." in text
        assert "2.29.2" not in text


def test_without_figures() -> None:
    assert summary([], []) == "Nothing was measured yet."


def test_each_sentence_is_about_a_target() -> None:
    titles = {target.title for target in TARGETS}
    assert {title for sentence in _SENTENCES for title, _ in sentence.parts} <= titles
