"""The benchmark itself, on a day that takes no time: what it times is right, and what is wrong ends it."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.cases import CASES, Case, Way
from benchmarks.database import WrongDataError, open_bench, other_rows
from benchmarks.day import make_day, open_lake
from benchmarks.days import PARTS, Archives, DaysRace, Part, report
from benchmarks.race import Race, psql
from shared.process import MIB
from tools.config import REPOSITORY, ToolError

pytestmark = pytest.mark.any_server

KEY = next(case for case in CASES if case.name == "key")
UNKNOWN = Way("unknown", "of tomorrow", "function", {"copy": {"no_such_field": 1}})
BROKEN = Way("broken", "psql with an error", "psql", script=("SELECT 1 / 0",))


@pytest.fixture(scope="module")
def race(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Race]:
    if not os.environ.get("RESTORE_TEST_DSN") or not os.environ.get("RESTORE_TEST_STORAGE"):
        pytest.skip("RESTORE_TEST_DSN or RESTORE_TEST_STORAGE is not set")
    try:
        psql()
    except ToolError as exc:
        pytest.skip(str(exc))
    with ExitStack() as stack:
        lake = stack.enter_context(open_lake())
        day = make_day(tmp_path_factory.mktemp("day"), 2000)
        lake.upload(day)
        bench = stack.enter_context(open_bench("given"))
        yield Race(bench, lake, KEY, day, REPOSITORY)


def way(case: Case, name: str) -> Way:
    return next(one for one in case.ways if one.name == name)


def test_the_ways_are_timed_in_turns_and_checked(race: Race) -> None:
    names = ("psql", "floor", "default", "queued-0", "staging", "psql-staging", "recipe")
    result = race.run([way(KEY, name) for name in names], 2)
    assert {name for name, series in result.ways.items() if series.runs} == set(names)
    assert all(len(result.ways[name].runs) == 2 for name in names)
    memory = result.ways["default"].most("memory_bytes")
    assert memory is not None
    assert 30 * MIB < memory < 500 * MIB
    assert result.ways["default"].runs[0].answer["timings"]["total"] > 0
    assert (result.rows, result.case) == (2000, "key")
    assert result.title.startswith("PostgreSQL ")


@pytest.mark.parametrize("case", [case for case in CASES if not case.is_compressed], ids=lambda case: case.name)
def test_each_case_begins_and_ends_as_it_says(race: Race, case: Case) -> None:
    result = replace(race, case=case).run([case.ways[0], way(case, "default")], 1)
    assert all(len(series.runs) == 1 for series in result.ways.values()), result.ways
    # Only a day that was there can be taken away.
    assert ("removed_by" in result.ways["default"].runs[0].answer) is (case.state == "the day")


def test_a_way_that_fails_is_told_and_the_others_go_on(race: Race, capsys: pytest.CaptureFixture[str]) -> None:
    result = race.run([BROKEN, UNKNOWN, way(KEY, "psql")], 2)
    assert (result.ways["broken"].missing, result.ways["unknown"].missing) == ("failed", "failed")
    assert len(result.ways["psql"].runs) == 2
    said = capsys.readouterr().out
    assert "division by zero" in said
    assert "copy.no_such_field" in said


def test_wrong_data_ends_the_benchmark(race: Race) -> None:
    other = ("CREATE TABLE silver.other (LIKE silver.telemetry)", KEY.ways[0].script[0].replace("telemetry", "other"))
    nothing = Way("nothing", "loads another table", "psql", script=other)
    half = Way(
        "half", "changes a value", "psql", script=(*KEY.ways[0].script, "UPDATE silver.telemetry SET counter = 0")
    )
    bare = Way("bare", "drops an index", "psql", script=(*KEY.ways[0].script, "DROP INDEX silver.telemetry_time_idx"))
    for wrong in (nothing, half, bare):
        with pytest.raises(WrongDataError, match=wrong.name):
            race.run([wrong], 1)


def test_the_function_has_a_temporary_folder_of_its_own(race: Race) -> None:
    with race.running_function(way(KEY, "default")) as host:
        assert f"TMPDIR={host.folder}" in Path(f"/proc/{host.pid}/environ").read_text().split("\0")
        assert host.folder.is_dir()
    assert not host.folder.exists()


def test_a_missing_rival_is_not_a_failure(race: Race, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = race.run([way(KEY, "parallel-2")], 1)
    assert result.ways["parallel-2"].missing == "timescaledb-parallel-copy is not on the PATH"


def test_other_rows_are_a_tenth(race: Race) -> None:
    assert other_rows(race.day) == 200


def few_days(race: Race, folder: Path, *ways: str) -> DaysRace:
    year: Part = next(part for part in PARTS if part.name == "year")
    chosen = tuple(way for way in year.ways if way.name in ways)
    part = replace(year, days=3, rows=race.day.rows, ways=chosen)
    archives = Archives(part, race.day, folder)
    archives.make(race.lake)
    return DaysRace(part, race.bench, race.lake, archives)


def test_many_days_are_timed_in_turns_and_checked(race: Race, tmp_path: Path) -> None:
    figures = few_days(race, tmp_path, "psql", "backfill-2").run(1)
    assert {name: len(series.runs) for name, series in figures.ways.items()} == {"psql": 1, "backfill-2": 1}
    # The first of January is in a chunk of its own.
    assert len(figures.between["backfill-2"]) == 1
    text = report([figures])
    assert "| 365 days, parallel 2, against the psql loop |" in text
    assert "| less than 0.2 s |" in text


def test_a_wrong_day_ends_the_benchmark_of_many(race: Race, tmp_path: Path) -> None:
    days = few_days(race, tmp_path, "psql")
    wrong = tmp_path / "2025-01-02.csv.gz"
    lines = gzip.decompress(wrong.read_bytes()).splitlines(keepends=True)
    wrong.write_bytes(gzip.compress(b"".join(lines[:-1])))
    with pytest.raises(WrongDataError, match=r"wrong or missing are \['2025-01-02'\], 1 in all"):
        days.run(1)
