from __future__ import annotations

import pytest

from benchmarks.cases import CASES
from benchmarks.figures import Spread, ratios, spread
from benchmarks.results import Result
from benchmarks.targets import TARGETS, Judgement, judge
from tests.unit.benchmarks.fix_bench import result, series


def judged(title: str, *results: Result) -> Judgement:
    (found,) = [one for one in judge(results) if one.target.title == title]
    return found


def test_median_and_spread() -> None:
    assert spread([3, 1, 9]) == Spread(3, 1, 9)
    assert spread([1, 2]) == Spread(1.5, 1, 2)
    with pytest.raises(ValueError, match="needs a value"):
        spread([])


def test_ratios_are_of_the_same_round() -> None:
    # A machine that gets slower from round to round leaves them as they are.
    assert ratios([2, 4, 8], [1, 2, 4]) == Spread(2, 2, 2)
    # A round that one side lacks is left out.
    assert ratios([2, 4], [1]) == Spread(2, 2, 2)


@pytest.mark.parametrize(
    ("theirs", "verdict"),
    [
        ((22, 22, 22), "met"),
        ((21.9, 22, 30), "met; the runs lie on both sides"),
        ((11, 11, 11), "missed by 50%"),
        ((11, 11, 23), "missed by 50%; the runs lie on both sides"),
    ],
)
def test_times_as_fast(theirs: tuple[float, ...], verdict: str) -> None:
    found = judged("fresh day, text, against psql", result({"psql": theirs, "stream": (10, 10, 10)}))
    assert found.figure == Spread(theirs[1] / 10, theirs[0] / 10, theirs[2] / 10)
    assert (found.way, found.sizes, found.verdict) == ("stream", (1_000_000,), verdict)


@pytest.mark.parametrize(("ours", "verdict"), [(11.5, "met"), (13.8, "missed by 20%")])
def test_of_the_time(ours: float, verdict: str) -> None:
    found = judged("fresh day, text, against the floor", result({"floor": (10, 10), "stream": (ours, ours)}))
    assert found.verdict == verdict


def test_the_largest_size_counts_at_which_both_were_timed() -> None:
    results = [
        result({"psql": (44,), "stream": (10,)}, rows=1_000_000),
        result({"psql": (10,), "stream": (10,)}, rows=300_000),
        result({"psql": "failed", "stream": (100,)}, rows=3_000_000),
    ]
    found = judged("fresh day, text, against psql", *results)
    assert (found.sizes, found.figure) == ((1_000_000,), Spread(4.4, 4.4, 4.4))


def test_several_runs_say_more_than_one_of_a_larger_day() -> None:
    often = result({"psql": (40, 40, 40), "stream": (10, 10, 10)}, rows=3_000_000)
    once = result({"psql": (50, 50, 50), "stream": (10,)}, rows=10_000_000)
    assert judged("fresh day, text, against psql", often, once).sizes == (3_000_000,)
    twice = result({"psql": (40, 40), "stream": (10, 10)}, rows=3_000_000)
    assert judged("fresh day, text, against psql", twice, once).sizes == (10_000_000,)


def test_the_first_way_that_was_timed_stands_for_ours() -> None:
    known = result({"psql": (10,), "stream": "failed", "spool": (5,), "default": (1,)})
    assert judged("fresh day, text, against psql", known).way == "spool"
    # What the function chooses by itself may be binary.
    alone = result({"psql": (10,), "default": (1,)})
    assert judged("fresh day, text, against psql", alone).verdict == "not measured"


def test_what_was_not_timed_says_why() -> None:
    known = result({"psql": (10,), "binary": "not available: copy.format"})
    assert judged("fresh day, binary, against psql", known).verdict == "not available: copy.format"
    assert not judged("fresh day, binary, against psql", known).is_met
    assert judged("fresh day, text, against psql", known).verdict == "not measured"
    alone = result({"binary": (1,)})
    assert judged("fresh day, binary, against psql", alone).verdict == "psql was not measured"


@pytest.mark.parametrize(("version", "fast"), [("2.28.0", True), ("2.27.3", False), ("2.9.1", False)])
def test_a_target_holds_for_its_versions(version: str, fast: bool) -> None:
    titles = {one.target.title for one in judge([result({"psql": (1,), "default": (1,)}, version=version)])}
    assert ("fresh day, text, against psql" in titles) is fast
    assert ("primary key before 2.28, text" in titles) is not fast


def test_each_server_is_judged_by_itself() -> None:
    results = [
        result({"psql": (44,), "stream": (10,)}, server="forky"),
        result({"psql": (10,), "stream": (10,)}, server="community", version="2.29.2"),
    ]
    verdicts = [one.is_met for one in judge(results) if one.target.title == "fresh day, text, against psql"]
    assert sorted(verdicts) == [False, True]


def test_memory_is_the_most_of_all_runs_and_sizes() -> None:
    small = result({"stream": series(1, memory=140)}, rows=300_000)
    big = result({"stream": series(1, memory=151)}, rows=3_000_000)
    found = judged("memory, stream, text", small, big)
    assert (found.figure, found.verdict) == (Spread(151, 140, 151), "missed by 1%; the runs lie on both sides")


def test_temporary_disk_must_be_none() -> None:
    title = "temporary disk, stream, text"
    assert judged(title, result({"stream": series(1, disk=0)})).verdict == "met"
    used = judged(title, result({"stream": series(1, disk=1)}))
    assert used.verdict == "missed by 1048576"
    assert judged(title, result({"stream": (1,)})).verdict == "could not be seen"


def test_growth_is_from_one_million_rows_on() -> None:
    results = [
        result({"stream": series(9, memory=10)}, rows=300_000),
        result({"stream": series(4, memory=100)}, rows=1_000_000),
        result({"stream": series(50, 40, 44, memory=120)}, rows=10_000_000),
    ]
    time = judged("growth of time, stream, text", *results)
    assert time.figure is not None
    assert (time.figure.middle, time.figure.low, time.figure.high) == pytest.approx((1.1, 1.0, 1.25))
    assert (time.sizes, time.verdict) == ((1_000_000, 10_000_000), "met; the runs lie on both sides")
    memory = judged("growth of memory, stream, text", *results)
    assert memory.verdict == "missed by 9%"
    alone = judged("growth of time, stream, text", results[0])
    assert alone.verdict == "needs two sizes"


def test_a_busy_machine_is_named_and_the_servers_cpu_is_compared() -> None:
    known = result({"psql": series(40, cpu=9, ready=0.1), "stream": series(10, cpu=3, ready=0.61)})
    found = judged("fresh day, text, against psql", known)
    assert found.by_cpu == 3
    assert found.verdict == "met; a busy machine kept the backend from a core for 61% of the COPY"
    quiet = result({"psql": series(40, ready=0.1), "stream": series(10, ready=0.2)})
    assert judged("fresh day, text, against psql", quiet).verdict == "met"
    assert judged("fresh day, text, against psql", quiet).by_cpu is None


def test_targets_name_cases_and_ways_that_exist() -> None:
    known = {case.name: {way.name for way in case.ways} for case in CASES}
    for target in TARGETS:
        assert {*target.ours, *filter(None, [target.theirs])} <= known[target.case], target.title
    assert all(len(case.ways) == len(known[case.name]) for case in CASES)
