from __future__ import annotations

import pytest

from benchmarks.cases import CASES
from benchmarks.results import Result, Spread, spread
from benchmarks.targets import TARGETS, Figure, Judgement, judge
from tests.unit.benchmarks.fix_bench import result, series


def judged(title: str, *results: Result) -> Judgement:
    (found,) = [one for one in judge(results) if one.target.title == title]
    return found


def figure(title: str, *results: Result) -> Figure:
    found = judged(title, *results).figure
    assert isinstance(found, Figure)
    return found


def test_median_and_spread() -> None:
    assert spread([3, 1, 9]) == Spread(3, 1, 9)
    assert spread([1, 2]) == Spread(1.5, 1, 2)


def test_ratios_are_of_the_same_round() -> None:
    # A machine that gets slower from round to round leaves them as they are.
    assert series(2, 4, 8).ratios(series(1, 2, 4)) == Spread(2, 2, 2)
    # A round that one side lacks is left out.
    assert series(2, 4).ratios(series(1)) == Spread(2, 2, 2)


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
    assert found.figure == Figure((1_000_000,), Spread(theirs[1] / 10, theirs[0] / 10, theirs[2] / 10))
    assert (found.way, found.verdict) == ("stream", verdict)


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
    found = figure("fresh day, text, against psql", *results)
    assert found == Figure((1_000_000,), Spread(4.4, 4.4, 4.4))


def test_several_runs_say_more_than_one_of_a_larger_day() -> None:
    often = result({"psql": (40, 40, 40), "stream": (10, 10, 10)}, rows=3_000_000)
    once = result({"psql": (50, 50, 50), "stream": (10,)}, rows=10_000_000)
    assert figure("fresh day, text, against psql", often, once).sizes == (3_000_000,)
    twice = result({"psql": (40, 40), "stream": (10, 10)}, rows=3_000_000)
    assert figure("fresh day, text, against psql", twice, once).sizes == (10_000_000,)


def test_the_first_way_that_was_timed_stands_for_ours() -> None:
    known = result({"psql": (10,), "stream": "failed", "spool": (5,), "default": (1,)})
    assert judged("fresh day, text, against psql", known).way == "spool"
    # What the function chooses may be binary.
    alone = result({"psql": (10,), "default": (1,)})
    assert judged("fresh day, text, against psql", alone).verdict == "not measured"


def test_what_was_not_timed_says_why() -> None:
    known = result({"psql": (10,), "binary": "the day does not end compressed"})
    assert judged("fresh day, binary, against psql", known).verdict == "the day does not end compressed"
    assert judged("fresh day, text, against psql", known).verdict == "not measured"
    alone = result({"binary": (1,)})
    assert judged("fresh day, binary, against psql", alone).verdict == "psql was not measured"


@pytest.mark.parametrize(("version", "fast"), [("2.28.0", True), ("2.27.3", False), ("2.9.1", False)])
def test_a_target_holds_for_its_versions(version: str, fast: bool) -> None:
    titles = {one.target.title for one in judge([result({"psql": (1,), "default": (1,)}, version=version)])}
    assert ("fresh day, text, against psql" in titles) is fast
    assert ("primary key before 2.28, text" in titles) is not fast


def test_each_server_is_judged_separately() -> None:
    results = [
        result({"psql": (44,), "stream": (10,)}, server="forky"),
        result({"psql": (10,), "stream": (10,)}, server="community", version="2.29.2"),
    ]
    verdicts = [one.verdict for one in judge(results) if one.target.title == "fresh day, text, against psql"]
    assert sorted(verdicts) == ["met", "missed by 55%"]


def test_memory_is_the_most_of_all_runs_and_sizes() -> None:
    small = result({"stream": series(1, memory=140)}, rows=300_000)
    big = result({"stream": series(1, memory=151)}, rows=3_000_000)
    found = judged("memory, stream, text", small, big)
    assert found.figure == Figure((300_000, 3_000_000), Spread(151, 140, 151))
    assert found.verdict == "missed by 1%; the runs lie on both sides"


@pytest.mark.parametrize(("idle", "verdict"), [(0.05, "met"), (0.1, "missed by 100%")])
def test_the_backend_must_be_busy_throughout_the_copy_of_the_largest_day(idle: float, verdict: str) -> None:
    small = result({"stream": series(1, 1, idle=0.5)}, rows=300_000)
    large = result({"stream": series(10, 10, idle=idle), "binary": series(9)}, rows=3_000_000)
    assert judged("idle backend, stream, text", small, large).verdict == verdict
    assert figure("idle backend, stream, text", small, large).sizes == (3_000_000,)
    assert judged("idle backend, stream, binary", small, large).verdict == "could not be seen"


@pytest.mark.parametrize(("cores", "verdict"), [(0.3, "met"), (1.14, "missed by 20%")])
def test_the_function_must_not_be_busy_throughout_the_copy(cores: float, verdict: str) -> None:
    known = result({"stream": series(10, cores=cores)})
    assert judged("function during the COPY, stream, text", known).verdict == verdict


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
    time = figure("growth of time, stream, text", *results)
    assert time.spread == pytest.approx((1.1, 1.0, 1.25))
    assert time.sizes == (1_000_000, 10_000_000)
    assert judged("growth of time, stream, text", *results).verdict == "met; the runs lie on both sides"
    memory = judged("growth of memory, stream, text", *results)
    assert memory.verdict == "missed by 9%"
    alone = judged("growth of time, stream, text", results[0])
    assert alone.verdict == "needs two sizes"


def test_a_busy_machine_is_named_and_the_servers_cpu_is_compared() -> None:
    known = result({"psql": series(40, cpu=9, ready=0.1), "stream": series(10, cpu=3, ready=0.61)})
    assert figure("fresh day, text, against psql", known).by_cpu == 3
    said = judged("fresh day, text, against psql", known).verdict
    assert said == "met; a busy machine kept the backend from a core for 61% of the COPY"
    quiet = result({"psql": series(40, ready=0.1), "stream": series(10, ready=0.2)})
    assert judged("fresh day, text, against psql", quiet).verdict == "met"
    assert figure("fresh day, text, against psql", quiet).by_cpu is None


def test_targets_name_cases_and_ways_that_exist() -> None:
    known = {case.name: {way.name for way in case.ways} for case in CASES}
    for target in TARGETS:
        assert {*target.ours, *filter(None, [target.theirs])} <= known[target.case], target.title
    assert all(len(case.ways) == len(known[case.name]) for case in CASES)
