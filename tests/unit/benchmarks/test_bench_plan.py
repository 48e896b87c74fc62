from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.plan import FOREIGN_SERVERS, PLANS, Step, load_bench_config
from tools.config import REPOSITORY, SUITES


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("PG", *FOREIGN_SERVERS.values()):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_defaults() -> None:
    config = load_bench_config([])
    assert (config.steps, config.servers, config.root) == (PLANS["usual"], ("trixie", "forky"), REPOSITORY)
    assert (config.is_kept, config.prints_only) == (True, False)


def test_every_argument(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("RESTORE_TEST_DSN", "host=x")
    choice = "--sizes 3 0.05 3 --runs 5 --cases key five --ways psql --servers given trixie --root /tmp"
    config = load_bench_config(choice.split())
    assert config.steps == (Step((50_000, 3_000_000), 5, ("key", "five"), ("psql",)),)
    assert (config.servers, config.root) == (("given", "trixie"), Path("/tmp"))  # noqa: S108 - only named
    assert not config.is_kept


@pytest.mark.parametrize(("choice", "value"), [("sizes", "1"), ("runs", "1"), ("cases", "five")])
def test_any_choice_makes_a_step_of_its_own(choice: str, value: str) -> None:
    (step,) = load_bench_config([f"--{choice}", value]).steps
    assert step.sizes == ((1_000_000,) if choice == "sizes" else (300_000, 1_000_000))
    assert (step.runs, step.cases) == (1 if choice == "runs" else 3, ("five",) if choice == "cases" else ())


def test_a_plan_by_its_name(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("RESTORE_TEST_COMMUNITY_DSN", "host=x")
    config = load_bench_config(["--plan", "docs"])
    assert config.steps == PLANS["docs"]
    assert {server for server in config.servers if config.steps_on(server)} == {"trixie", "forky", "community"}
    assert all("forky" in step.servers for step in config.steps_on("forky"))
    environ.setenv("PG", "forky")
    assert load_bench_config([]).servers == ("forky", "community")
    assert load_bench_config([]).steps_on("forky") == list(PLANS["usual"])


@pytest.mark.parametrize("step", [step for steps in PLANS.values() for step in steps], ids=str)
def test_a_plan_names_what_there_is(step: Step) -> None:
    assert set(step.servers) <= {*SUITES, *FOREIGN_SERVERS}
    assert list(step.sizes) == sorted(step.sizes)
    chosen = list(step.races(is_community=True))
    assert set(step.cases) <= {case.name for case, _ in chosen}
    assert set(step.ways) <= {way.name for _, ways in chosen for way in ways}
    # Each case has something to be compared with.
    for case, ways in chosen:
        assert case.ways[0] == ways[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--sizes many", "--sizes: invalid float value: 'many'"),
        ("--sizes 0.0000001", "--sizes: a day has at least one row"),
        ("--plan holiday", "--plan: invalid choice: 'holiday'"),
        ("--cases key lock", "--cases: invalid choice: 'lock'"),
        ("--ways teleport", "--ways: invalid choice: 'teleport'"),
        ("--servers oracle", "--servers: invalid choice: 'oracle'"),
        ("--servers community", "the server community needs its DSN in RESTORE_TEST_COMMUNITY_DSN"),
        ("--plan docs --runs 1", "--plan docs says what is measured; leave out --runs"),
    ],
)
def test_a_wrong_argument_is_named(arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        load_bench_config(arguments.split())
    assert message in capsys.readouterr().err
