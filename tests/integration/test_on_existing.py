"""A day that is there already: error, append, skip, replace; the proof; two calls at once."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from itertools import chain
from typing import Any

import pytest

from tests.integration.fix_app import App
from tests.integration.fix_small_day import CSV, DAY_FILTER, TABLE, restore, slow_down, table_with_a_day, values
from tests.integration.fix_threads import Call, at_once


def test_error_is_the_default_of_direct_mode(app: App) -> None:
    table_with_a_day(app)
    for answer in (
        restore(app),
        restore(app, on_existing="error"),
        restore(app, mode="staging", on_existing="error"),
    ):
        assert (answer.status, answer.code) == (409, "WindowNotEmpty")
        assert answer.body["error"]["details"][0]["rows"] == 2
        assert not answer.body["error"]["retryable"]
    assert values(app) == [-1, 7, 8, -2]


def test_the_same_request_twice_does_not_load_twice(app: App) -> None:
    app.database.hypertable("t", TABLE.replace(", PRIMARY KEY (time)", ""))
    assert restore(app).status == 200
    assert restore(app).code == "WindowNotEmpty"
    assert values(app) == [1, 2]


def test_append_and_the_proof(app: App) -> None:
    app.database.hypertable("t", TABLE.replace(", PRIMARY KEY (time)", ""))
    assert restore(app).body["verification"] == {
        "rows_before": 0,
        "rows_after": 2,
        "rows_loaded": 2,
        "rows_outside_window": 0,
        "min_time": "2025-01-01T00:00:00Z",
        "max_time": "2025-01-01T12:00:00Z",
    }
    body = restore(app, on_existing="append").body
    assert (body["verification"]["rows_before"], body["verification"]["rows_after"]) == (2, 4)
    assert values(app) == [1, 1, 2, 2]


def test_append_is_the_default_of_staging(app: App) -> None:
    table_with_a_day(app)
    body = restore(app, mode="staging").body
    assert (body["rows_loaded"], body["rows_skipped"]) == (1, 1)
    assert body["verification"]["rows_loaded"] == 1
    assert values(app) == [-1, 1, 7, 8, -2]


def test_staging_without_a_unique_index_skips_nothing_and_says_so(app: App) -> None:
    app.database.hypertable("t", TABLE.replace(", PRIMARY KEY (time)", ""))
    assert restore(app, mode="staging").body["status"] == "ok"
    body = restore(app, mode="staging").body
    assert (body["status"], [warning["code"] for warning in body["warnings"]]) == (
        "ok_with_warnings",
        ["MayHoldDuplicates"],
    )
    assert restore(app, mode="staging", on_existing="append").body["status"] == "ok"
    assert values(app) == [1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_skip(app: App, mode: str) -> None:
    table_with_a_day(app)
    answer = restore(app, mode=mode, on_existing="skip")
    assert (answer.status, answer.body["status"], answer.body["rows_loaded"]) == (200, "skipped", 0)
    assert answer.body["verification"]["rows_before"] == 2
    assert values(app) == [-1, 7, 8, -2]
    app.database.execute("DELETE FROM {s}.t WHERE " + DAY_FILTER)
    assert restore(app, mode=mode, on_existing="skip").body["rows_loaded"] == 2


@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize(("interval", "how"), [("1 day", "truncate"), ("6 hours", "truncate"), ("7 days", "delete")])
def test_replace(app: App, mode: str, interval: str, how: str) -> None:
    table_with_a_day(app, f"interval '{interval}'")
    body = restore(app, mode=mode, on_existing="replace").body
    assert (body["status"], body["rows_removed"], body["removed_by"]) == ("ok", 2, how), body
    assert (body["verification"]["rows_before"], body["verification"]["rows_after"]) == (2, 2)
    assert values(app) == [-1, 1, 2, -2]
    assert restore(app, mode=mode, on_existing="replace").body["rows_removed"] == 2
    assert values(app) == [-1, 1, 2, -2]


@pytest.mark.parametrize(("day", "of_day"), [("2025-01-01", 1), ("2025-01-02", 2)])
def test_a_longer_chunk_that_begins_or_ends_with_the_day_is_not_truncated(app: App, day: str, of_day: int) -> None:
    """Chunks are counted from 1970-01-01 on: one of 2 days ends with 2025-01-01, the next begins with 2025-01-02."""
    app.database.hypertable("t", "time timestamptz NOT NULL, v int", interval="interval '2 days'")
    app.database.execute(
        "INSERT INTO {s}.t SELECT '2024-12-31 12:00Z'::timestamptz + n * interval '1 day', n"
        " FROM generate_series(0, 3) n"
    )
    assert app.database.value("SELECT count(*) FROM public.show_chunks('{s}.t')") == 2
    url = app.archive("t", f"time,v\n{day} 01:00Z,9\n".encode(), day=day)
    body = app.restore(url, destination={"on_existing": "replace"}).body
    assert (body["status"], body["rows_removed"], body["removed_by"]) == ("ok", 1, "delete"), body
    assert sorted(values(app)) == sorted({0, 1, 2, 3, 9} - {of_day})


def test_replace_of_an_empty_day_is_a_plain_load(app: App) -> None:
    app.database.hypertable("t", TABLE)
    body = restore(app, on_existing="replace").body
    assert body["rows_loaded"] == 2
    assert "rows_removed" not in body


def test_a_day_that_is_replaced_by_nothing_is_a_warning(app: App) -> None:
    table_with_a_day(app)
    body = restore(app, b"time,v\n", on_existing="replace", min_rows_ratio=0).body
    assert (body["status"], body["rows_removed"], body["rows_loaded"]) == ("ok_with_warnings", 2, 0)
    assert [warning["code"] for warning in body["warnings"]] == ["ReplacedByNothing"]
    assert values(app) == [-1, -2]


@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize("request_", [{}, {"verify": False}, {"copy": {"transfer": "stream"}}, {"dry_run": True}])
def test_an_archive_without_a_row_is_a_warning(app: App, mode: str, request_: dict[str, Any]) -> None:
    """Mostly its export has failed. It may be a day without rows as well, so it is no error."""
    app.database.hypertable("t", TABLE)
    url = app.archive("t", b"time,v\n")
    body = app.restore(url, destination={"mode": mode}, **request_).body
    assert [warning["code"] for warning in body["warnings"]] == ["NoRows"]
    assert body["status"] == ("dry_run" if "dry_run" in request_ else "ok_with_warnings")


def test_a_failed_replace_leaves_the_old_day(app: App) -> None:
    table_with_a_day(app)
    answer = restore(app, CSV + b"2025-01-01 13:00Z,oops\n", on_existing="replace")
    assert answer.code == "DataRejected"
    assert values(app) == [-1, 7, 8, -2]


def test_replace_without_the_right_to_truncate_deletes(app: App) -> None:
    table_with_a_day(app)
    role = app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT, DELETE ON {s}.t")
    body = app.restore(app.archive("t", CSV), pg=role, destination={"on_existing": "replace"}).body
    assert body["removed_by"] == "delete"
    role = app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.t")
    answer = app.restore(app.archive("t", CSV), pg=role, destination={"on_existing": "replace"})
    assert answer.code == "DatabasePermissionDenied"
    assert values(app) == [-1, 1, 2, -2]


def test_a_reader_with_an_older_snapshot_sees_no_hole(app: App) -> None:
    """TRUNCATE would make one: such a reader forces the DELETE."""
    table_with_a_day(app)
    count = f'SELECT sum(v) FROM "{app.database.schema}".t WHERE {DAY_FILTER}'
    with closing(app.database.session(autocommit=False)) as reader, reader.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SELECT 1")
        assert restore(app, on_existing="replace").body["removed_by"] == "delete"
        cursor.execute(count)
        assert cursor.fetchone() == (15,)
        cursor.execute("COMMIT")
        cursor.execute(count)
        assert cursor.fetchone() == (3,)


def test_readers_see_the_old_day_or_the_new_one(app: App) -> None:
    table_with_a_day(app)
    seen, stop = set(), threading.Event()

    def read() -> None:
        with closing(app.database.session(autocommit=False)) as reader, reader.cursor() as cursor:
            while not stop.is_set():
                cursor.execute(f'SELECT count(*), sum(v) FROM "{app.database.schema}".t WHERE {DAY_FILTER}')
                seen.add(cursor.fetchone())
                reader.rollback()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for _ in range(10):
            assert restore(app, on_existing="replace").status == 200
    finally:
        stop.set()
        thread.join()
    assert seen <= {(2, 15), (2, 3)}
    assert (2, 3) in seen


def test_the_proof_is_exact_while_others_write(app: App) -> None:
    app.database.hypertable("t", TABLE.replace(", PRIMARY KEY (time)", ""))
    stop, written = threading.Event(), []

    def write() -> None:
        with closing(app.database.session(autocommit=False)) as writer, writer.cursor() as cursor:
            while not stop.is_set():
                cursor.execute(f"INSERT INTO \"{app.database.schema}\".t VALUES ('2025-01-01 06:00Z', 100)")
                writer.commit()
                written.append(1)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(20):
            proof = restore(app, on_existing="append").body["verification"]
            assert proof["rows_after"] - proof["rows_before"] == proof["rows_loaded"] == 2
    finally:
        stop.set()
        thread.join()
    assert app.database.value("SELECT count(*) FROM {s}.t") == 40 + len(written)


OUTSIDE = b"time,v\n2024-12-31 23:00Z,1\n2025-01-01 00:00Z,2\n2025-03-01 00:00Z,3\n"


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_rows_outside_the_day_are_refused(app: App, mode: str) -> None:
    app.database.hypertable("t", TABLE)
    answer = restore(app, OUTSIDE, mode=mode)
    assert (answer.status, answer.code) == (422, "RowsOutsideWindow")
    fault = answer.body["error"]["details"][0]
    assert (fault["rows"], fault["min_time"], fault["max_time"]) == (2, "2024-12-31T23:00:00Z", "2025-03-01T00:00:00Z")
    assert values(app) == []


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_rows_outside_the_day_may_be_allowed(app: App, mode: str) -> None:
    app.database.hypertable("t", TABLE)
    body = restore(app, OUTSIDE, mode=mode, rows_outside_window="allow").body
    assert body["status"] == "ok"
    proof = body["verification"]
    assert (proof["rows_loaded"], proof["rows_after"], proof["rows_outside_window"]) == (3, 1, 2)
    assert (proof["min_time"], proof["max_time"]) == ("2024-12-31T23:00:00Z", "2025-03-01T00:00:00Z")
    assert values(app) == [1, 2, 3]


def test_without_verification_nothing_is_counted(app: App) -> None:
    app.database.hypertable("t", TABLE)
    body = app.restore(app.archive("t", OUTSIDE), destination={"on_existing": "append"}, verify=False).body
    assert (body["rows_loaded"], body["verification"]) == (3, None)


def test_a_trigger_that_swallows_rows_is_found_out(app: App) -> None:
    """COPY does not count them; a trigger that moves them elsewhere in time is what the recount shows."""
    app.database.hypertable("t", TABLE)
    app.database.execute(
        "CREATE FUNCTION {s}.twist() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO {s}.t VALUES (NEW.time + interval '1 minute', 0); RETURN NEW; END $$"
    )
    app.database.execute(
        "CREATE TRIGGER twist BEFORE INSERT ON {s}.t FOR EACH ROW WHEN (NEW.v > 0) EXECUTE FUNCTION {s}.twist()"
    )
    answer = restore(app)
    assert (answer.status, answer.code) == (422, "VerificationFailed")
    assert answer.body["error"]["details"][0]["rows_after"] == 4
    assert values(app) == []


@pytest.mark.parametrize("trigger", ["none", "after", "before"])
def test_rows_that_a_trigger_may_have_dropped_are_not_called_conflicts_without_a_word(app: App, trigger: str) -> None:
    table_with_a_day(app)
    app.database.execute(
        "CREATE FUNCTION {s}.sieve() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RETURN CASE WHEN tg_when = 'AFTER' OR NEW.v <> 1 THEN NEW END; END $$"
    )
    if trigger != "none":
        app.database.execute(
            f"CREATE TRIGGER sieve {trigger} INSERT ON {{s}}.t FOR EACH ROW EXECUTE FUNCTION {{s}}.sieve()"
        )
    body = restore(app, mode="staging").body
    codes = [warning["code"] for warning in body["warnings"]]
    assert (body["rows_loaded"], body["rows_skipped"]) == ((0, 2) if trigger == "before" else (1, 1))
    assert codes == (["SkippedOrDropped"] if trigger == "before" else [])


def test_a_plain_table_with_and_without_a_time_column(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.t (time timestamp, v int, noted timestamp)")
    assert restore(app).body["verification"] is None
    # The day cannot be found in it: the same call again must not double it.
    policies: list[dict[str, Any]] = [{}, {"on_existing": "error"}, {"on_existing": "skip"}, {"on_existing": "replace"}]
    for policy in policies:
        answer = restore(app, **policy)
        assert (answer.status, answer.code) == (422, "WindowUnknown")
    assert restore(app, time_column="time").code == "WindowNotEmpty"
    assert restore(app, time_column="time", on_existing="replace").body["verification"]["rows_after"] == 2
    assert restore(app, time_column="v", on_existing="append").code == "WindowUnknown"
    assert restore(app, time_column="nix").code == "UnknownColumn"
    assert values(app) == [1, 2]
    # Of a table with one column of such a type it is plain which one it is.
    app.database.execute("ALTER TABLE {s}.t DROP COLUMN noted")
    assert restore(app).code == "WindowNotEmpty"


def test_two_restores_of_one_day_at_once(app: App) -> None:
    """One loads, the other one is refused at once; another day runs beside them."""
    app.database.hypertable("t", TABLE)
    slow_down(app, 1)
    url = app.archive("t", CSV)
    other = app.archive("t", b"time,v\n2025-01-02 00:00Z,5\n", day="2025-01-02")
    first = Call(lambda: app.restore(url))
    app.database.wait_for_session("pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')")
    beside = Call(lambda: app.restore(other))
    begun = time.monotonic()
    second = app.restore(url)
    assert time.monotonic() - begun < 1.5
    assert (second.status, second.code) == (409, "RestoreInProgress")
    assert first.result().status == beside.result().status == 200
    assert values(app) == [1, 2, 5]
    assert app.restore(url).code == "WindowNotEmpty"


def test_a_hail_of_the_same_request_loads_once(app: App) -> None:
    """The next snapshot under the lock must be younger than the COMMIT before: no day is loaded twice."""
    app.database.hypertable("t", TABLE.replace(", PRIMARY KEY (time)", ""))
    url = app.archive("t", CSV)
    answers = chain.from_iterable(at_once(6, lambda: [app.restore(url) for _ in range(10)]))
    codes = [answer.code for answer in answers]
    assert codes.count(None) == 1
    assert set(codes) == {None, "RestoreInProgress", "WindowNotEmpty"} or set(codes) == {None, "WindowNotEmpty"}
    assert values(app) == [1, 2]
