from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cases import CASES
from benchmarks.config import FOREIGN_SERVERS, load_bench_config
from benchmarks.plan import PLANS, Step
from benchmarks.race import chosen, ways_of
from tools.config import REPOSITORY, SUITES, ToolError


def test_defaults() -> None:
    config = load_bench_config({})
    assert (config.steps, config.servers, config.root) == (PLANS["usual"], ("trixie", "forky"), REPOSITORY)
    assert (config.is_kept, config.is_fresh) == (True, False)


def test_all_sizes_are_everything() -> None:
    config = load_bench_config({"BENCH_SIZES": "all", "PG": "forky", "RESTORE_TEST_COMMUNITY_DSN": "host=x"})
    assert config.steps == (Step((300_000, 1_000_000, 3_000_000, 10_000_000)),)
    assert config.servers == ("forky", "community")


def test_every_variable() -> None:
    environ = {
        "BENCH_SIZES": " 3, 0.05,3",
        "BENCH_RUNS": "5",
        "BENCH_SERVERS": "given,trixie",
        "RESTORE_TEST_DSN": "host=x",
        "BENCH_CASES": "key, five",
        "BENCH_WAYS": "psql",
        "BENCH_FRESH": "1",
        "BENCH_PG_PORT": "1234",
        "BENCH_ROOT": "/tmp",  # noqa: S108 - only named
    }
    config = load_bench_config(environ)
    assert config.steps == (Step((50_000, 3_000_000), 5, ("key", "five"), ("psql",)),)
    assert (config.servers, config.pg_port, config.root) == (("given", "trixie"), 1234, Path("/tmp"))  # noqa: S108
    assert (config.is_kept, config.is_fresh) == (False, True)


@pytest.mark.parametrize("name", ["BENCH_SIZES", "BENCH_RUNS", "BENCH_CASES"])
def test_any_choice_makes_a_step_of_its_own(name: str) -> None:
    value = {"BENCH_SIZES": "1", "BENCH_RUNS": "1", "BENCH_CASES": "five"}[name]
    (step,) = load_bench_config({name: value}).steps
    assert step.sizes == ((1_000_000,) if name == "BENCH_SIZES" else (300_000, 1_000_000))
    assert (step.runs, step.cases) == (1 if name == "BENCH_RUNS" else 3, ("five",) if name == "BENCH_CASES" else ())


def test_a_plan_by_its_name() -> None:
    config = load_bench_config({"BENCH_PLAN": "docs", "RESTORE_TEST_COMMUNITY_DSN": "host=x"})
    assert config.steps == PLANS["docs"]
    assert {server for server in config.servers if config.steps_on(server)} == {"trixie", "forky", "community"}
    assert all("forky" in step.servers for step in config.steps_on("forky"))
    assert load_bench_config({"PG": "forky"}).steps_on("forky") == list(PLANS["usual"])


@pytest.mark.parametrize("step", [step for steps in PLANS.values() for step in steps], ids=str)
def test_a_plan_names_what_there_is(step: Step) -> None:
    cases = {case.name: case for case in CASES}
    assert set(step.cases) <= set(cases)
    assert set(step.servers) <= {*SUITES, *FOREIGN_SERVERS}
    assert list(step.sizes) == sorted(step.sizes)
    ways = {way.name for case in chosen(step, "community") for rows in step.sizes for way in ways_of(case, step, rows)}
    assert set(step.ways) <= ways
    # Each case has something to be compared with.
    for case in chosen(step, "community"):
        assert all(case.ways[0] in ways_of(case, step, rows) for rows in step.sizes if rows <= case.most_rows)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("BENCH_SIZES", "many", "BENCH_SIZES=many is no size"),
        ("BENCH_SIZES", "0.0000001", "BENCH_SIZES=0.0000001 is no size"),
        ("BENCH_SIZES", "NaN", "BENCH_SIZES=NaN is no size"),
        ("BENCH_SIZES", "1e9", "BENCH_SIZES=1e9 is no size"),
        ("BENCH_PLAN", "holiday", "the plan holiday of BENCH_PLAN is not known; choose among: usual, docs"),
        ("BENCH_CASES", "key,lock", "the case lock of BENCH_CASES is not known; choose among: key,"),
        ("BENCH_RUNS", "0", "BENCH_RUNS=0 is not a number from 1 to 99"),
        ("BENCH_RUNS", "٣", "BENCH_RUNS=٣ is not a number"),
        ("BENCH_SERVERS", "oracle", "the server oracle of BENCH_SERVERS is not known"),
        ("BENCH_SERVERS", "community", "needs its DSN in RESTORE_TEST_COMMUNITY_DSN"),
        ("PG", "sid", "the server sid of BENCH_SERVERS is not known"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str, message: str) -> None:
    with pytest.raises(ToolError, match=message):
        load_bench_config({name: value})


def test_a_plan_and_a_choice_contradict_each_other() -> None:
    with pytest.raises(ToolError, match="BENCH_PLAN=docs says itself what is measured; leave out BENCH_RUNS"):
        load_bench_config({"BENCH_PLAN": "docs", "BENCH_RUNS": "1"})
