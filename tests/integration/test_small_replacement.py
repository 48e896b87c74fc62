"""`replace` by much less than there was: `destination.min_rows_ratio`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.fix_app import Answer, App

COLUMNS = "time timestamptz NOT NULL, v int, PRIMARY KEY (time)"
HEADER = b"time,v\n"
MODES = pytest.mark.parametrize("mode", ["direct", "staging"])
VERIFY = pytest.mark.parametrize("verify", [True, False])
TRANSFERS = pytest.mark.parametrize("transfer", ["spool", "stream"])


@pytest.fixture(params=["app", pytest.param("community_app", marks=pytest.mark.community)])
def full(request: pytest.FixtureRequest) -> App:
    """On each edition: a day of 30 rows, and its neighbours."""
    app: App = request.getfixturevalue(request.param)
    app.database.hypertable("t", COLUMNS)
    app.database.execute(
        "INSERT INTO {s}.t SELECT '2024-12-31 23:59Z'::timestamptz, -1 UNION ALL"
        " SELECT '2025-01-01Z'::timestamptz + i * interval '1 minute', 100 + i FROM generate_series(1, 30) i UNION ALL"
        " SELECT '2025-01-02Z', -2"
    )
    return app


def rows(count: int) -> bytes:
    return HEADER + b"".join(b"2025-01-01 12:%02dZ,%d\n" % (n, n) for n in range(count))


def replace(app: App, csv: bytes, request: dict[str, Any] | None = None, **destination: Any) -> Answer:
    return app.restore(app.archive("t", csv), destination={"on_existing": "replace"} | destination, **(request or {}))


def old(app: App) -> bool:
    """Whether the day is as it was."""
    return app.database.fetch("SELECT count(*), sum(v) FROM {s}.t") == [(32, 30 * 100 + 465 - 3)]


@MODES
@VERIFY
@TRANSFERS
@pytest.mark.parametrize("count", [0, 1, 14])
def test_less_than_half_is_refused(full: App, mode: str, count: int, transfer: str, *, verify: bool) -> None:
    request = {"verify": verify, "copy": {"transfer": transfer}}
    answer = replace(full, rows(count), request, mode=mode)
    assert (answer.status, answer.code) == (409, "ReplacementTooSmall"), answer.body
    (fault,) = answer.body["error"]["details"]
    assert (fault["rows_before"], fault["rows_in_archive"]) == (30, count)
    assert not answer.body["error"]["retryable"]
    assert old(full)


@VERIFY
@pytest.mark.parametrize(("ratio", "least"), [(None, 15), (0.1, 3), (0.7, 21), (1, 30), (0.0001, 1)])
def test_exactly_the_share_is_enough(full: App, ratio: float | None, least: int, *, verify: bool) -> None:
    destination = {} if ratio is None else {"min_rows_ratio": ratio}
    assert replace(full, rows(least - 1), {"verify": verify}, **destination).code == "ReplacementTooSmall"
    assert old(full)
    body = replace(full, rows(least), {"verify": verify}, **destination).body
    assert (body["rows_removed"], body["rows_loaded"]) == (30, least)
    assert [warning["code"] for warning in body["warnings"]] == ([] if least == 30 else ["ReplacedByFewer"])


@VERIFY
def test_zero_allows_a_header_alone(full: App, *, verify: bool) -> None:
    body = replace(full, HEADER, {"verify": verify}, min_rows_ratio=0).body
    assert (body["status"], body["rows_removed"], body["rows_loaded"]) == ("ok_with_warnings", 30, 0)
    assert [warning["code"] for warning in body["warnings"]] == ["ReplacedByNothing"]
    assert full.database.value("SELECT count(*) FROM {s}.t") == 2


def test_rows_of_another_day_do_not_count(full: App) -> None:
    """Nobody looks where they went with `verify: false`."""
    csv = rows(14) + b"".join(b"2025-03-01 12:%02dZ,0\n" % n for n in range(30))
    assert replace(full, csv).code == "RowsOutsideWindow"
    answer = replace(full, csv, {"verify": False})
    assert answer.code == "ReplacementTooSmall"
    assert answer.body["error"]["details"][0]["rows_in_archive"] == 44
    assert old(full)


def test_rows_that_a_trigger_drops_do_not_count(full: App) -> None:
    full.database.execute(
        "CREATE FUNCTION {s}.drop_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"
    )
    full.database.execute(
        "CREATE TRIGGER d BEFORE INSERT ON {s}.t FOR EACH ROW WHEN (NEW.v > 10) EXECUTE FUNCTION {s}.drop_it()"
    )
    assert replace(full, rows(30), {"verify": False}).code == "ReplacementTooSmall"
    assert old(full)


def test_rows_that_a_trigger_adds_do_not_count(full: App) -> None:
    full.database.execute(
        "CREATE FUNCTION {s}.more() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO {s}.t SELECT NEW.time + i * interval '1 second', 0 FROM generate_series(1, 20) i;"
        " RETURN NEW; END $$"
    )
    full.database.execute(
        "CREATE TRIGGER m AFTER INSERT ON {s}.t FOR EACH ROW WHEN (NEW.v > 0) EXECUTE FUNCTION {s}.more()"
    )
    assert replace(full, rows(3), {"verify": False}).code == "ReplacementTooSmall"
    assert old(full)


def test_duplicate_rows_count_once(full: App) -> None:
    csv = rows(14) + rows(14)[len(HEADER) :]
    answer = replace(full, csv, mode="staging")
    assert (answer.code, answer.body["error"]["details"][0]["rows_in_archive"]) == ("ReplacementTooSmall", 28)
    assert old(full)


def test_an_empty_day_takes_any_archive(full: App) -> None:
    full.database.execute("DELETE FROM {s}.t WHERE v > 0")
    body = replace(full, HEADER, min_rows_ratio=1).body
    assert (body["rows_loaded"], [warning["code"] for warning in body["warnings"]]) == (0, ["NoRows"])
    assert replace(full, rows(1), min_rows_ratio=1).body["status"] == "ok"


@pytest.mark.parametrize("policy", ["append", "skip"])
def test_it_concerns_replace_alone(full: App, policy: str) -> None:
    assert replace(full, rows(1), on_existing=policy, min_rows_ratio=1).status == 200


@pytest.mark.parametrize("dry_run", [True, "full"])
@pytest.mark.parametrize(
    ("count", "ratio", "problems", "warnings"),
    [
        (3, 0.5, ["ReplacementTooSmall"], []),
        (3, 0.1, [], ["ReplacedByFewer"]),
        (3, 0, [], ["ReplacedByFewer"]),
        (30, 0.5, [], []),
        (0, 0.5, ["ReplacementTooSmall"], ["NoRows"]),
        (0, 0, [], ["ReplacedByNothing"]),
    ],
)
def test_the_dry_run_says_it(
    full: App, count: int, ratio: float, problems: list[str], warnings: list[str], *, dry_run: bool | str
) -> None:
    body = replace(full, rows(count), {"dry_run": dry_run}, min_rows_ratio=ratio).body
    assert [problem["code"] for problem in body["dry_run"]["problems"]] == problems
    found = [warning["code"] for warning in body["warnings"]]
    assert [code for code in found if code != "NotChecked"] == warnings


@pytest.mark.community
@MODES
def test_a_compressed_day(community_app: App, mode: str) -> None:
    app = community_app
    app.database.hypertable("t", COLUMNS, interval="interval '7 days'")
    app.database.execute(
        "INSERT INTO {s}.t SELECT '2025-01-01Z'::timestamptz + i * interval '1 minute', i FROM generate_series(1, 30) i"
    )
    app.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress)")
    app.database.execute("SELECT public.compress_chunk(c) FROM public.show_chunks('{s}.t') c")
    assert replace(app, rows(14), mode=mode).code == "ReplacementTooSmall"
    assert app.database.fetch("SELECT count(*), sum(v) FROM {s}.t") == [(30, 465)]
    assert [warning["code"] for warning in replace(app, rows(15), mode=mode).body["warnings"]] == ["ReplacedByFewer"]
