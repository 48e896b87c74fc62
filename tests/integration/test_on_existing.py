"""A day that is there already: error, append, skip, replace; the proof; two calls at once."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from itertools import chain
from typing import Any

import pytest

from tests.integration.fix_site import Site
from tests.integration.fix_small_day import CSV, DAY_FILTER, TABLE, restore, slow_down, table_with_a_day, values
from tests.integration.fix_threads import Call, at_once


def test_error_is_the_default_of_direct_mode(site: Site) -> None:
    table_with_a_day(site)
    for answer in (
        restore(site),
        restore(site, on_existing="error"),
        restore(site, mode="staging", on_existing="error"),
    ):
        assert (answer.status, answer.code) == (409, "WindowNotEmpty")
        assert answer.body["error"]["details"][0]["rows"] == 2
        assert not answer.body["error"]["retryable"]
    assert values(site) == [-1, 7, 8, -2]


def test_the_same_request_twice_does_not_load_twice(site: Site) -> None:
    site.database.hypertable("t", TABLE.replace(", PRIMARY KEY (time)", ""))
    assert restore(site).status == 200
    assert restore(site).code == "WindowNotEmpty"
    assert values(site) == [1, 2]


def test_append_and_the_proof(site: Site) -> None:
    site.database.hypertable("t", TABLE.replace(", PRIMARY KEY (time)", ""))
    assert restore(site).body["verification"] == {
        "rows_before": 0,
        "rows_after": 2,
        "rows_loaded": 2,
        "rows_outside_window": 0,
        "min_time": "2025-01-01T00:00:00Z",
        "max_time": "2025-01-01T12:00:00Z",
    }
    body = restore(site, on_existing="append").body
    assert (body["verification"]["rows_before"], body["verification"]["rows_after"]) == (2, 4)
    assert values(site) == [1, 1, 2, 2]


def test_append_is_the_default_of_staging(site: Site) -> None:
    table_with_a_day(site)
    body = restore(site, mode="staging").body
    assert (body["rows_inserted"], body["rows_skipped"]) == (1, 1)
    assert body["verification"]["rows_loaded"] == 1
    assert values(site) == [-1, 1, 7, 8, -2]


def test_staging_without_a_unique_index_skips_nothing_and_says_so(site: Site) -> None:
    site.database.hypertable("t", TABLE.replace(", PRIMARY KEY (time)", ""))
    assert restore(site, mode="staging").body["status"] == "ok"
    body = restore(site, mode="staging").body
    assert (body["status"], [warning["code"] for warning in body["warnings"]]) == (
        "ok_with_warnings",
        ["MayHoldDuplicates"],
    )
    assert restore(site, mode="staging", on_existing="append").body["status"] == "ok"
    assert values(site) == [1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_skip(site: Site, mode: str) -> None:
    table_with_a_day(site)
    answer = restore(site, mode=mode, on_existing="skip")
    assert (answer.status, answer.body["status"], answer.body["rows_loaded"]) == (200, "skipped", 0)
    assert answer.body["verification"]["rows_before"] == 2
    assert values(site) == [-1, 7, 8, -2]
    site.database.execute("DELETE FROM {s}.t WHERE " + DAY_FILTER)
    assert restore(site, mode=mode, on_existing="skip").body["rows_loaded"] == 2


@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize(("interval", "how"), [("1 day", "truncate"), ("6 hours", "truncate"), ("7 days", "delete")])
def test_replace(site: Site, mode: str, interval: str, how: str) -> None:
    table_with_a_day(site, f"interval '{interval}'")
    body = restore(site, mode=mode, on_existing="replace").body
    assert (body["status"], body["rows_removed"], body["removed_by"]) == ("ok", 2, how), body
    assert (body["verification"]["rows_before"], body["verification"]["rows_after"]) == (2, 2)
    assert values(site) == [-1, 1, 2, -2]
    assert restore(site, mode=mode, on_existing="replace").body["rows_removed"] == 2
    assert values(site) == [-1, 1, 2, -2]


def test_replace_of_an_empty_day_is_a_plain_load(site: Site) -> None:
    site.database.hypertable("t", TABLE)
    body = restore(site, on_existing="replace").body
    assert body["rows_loaded"] == 2
    assert "rows_removed" not in body


def test_a_day_that_is_replaced_by_nothing_is_a_warning(site: Site) -> None:
    table_with_a_day(site)
    body = restore(site, b"time,v\n", on_existing="replace").body
    assert (body["status"], body["rows_removed"], body["rows_loaded"]) == ("ok_with_warnings", 2, 0)
    assert [warning["code"] for warning in body["warnings"]] == ["ReplacedByNothing"]
    assert values(site) == [-1, -2]


def test_a_failed_replace_leaves_the_old_day(site: Site) -> None:
    table_with_a_day(site)
    answer = restore(site, CSV + b"2025-01-01 13:00Z,oops\n", on_existing="replace")
    assert answer.code == "DataRejected"
    assert values(site) == [-1, 7, 8, -2]


def test_replace_without_the_right_to_truncate_deletes(site: Site) -> None:
    table_with_a_day(site)
    role = site.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT, DELETE ON {s}.t")
    body = site.restore(site.archive("t", CSV), pg=role, destination={"on_existing": "replace"}).body
    assert body["removed_by"] == "delete"
    role = site.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.t")
    answer = site.restore(site.archive("t", CSV), pg=role, destination={"on_existing": "replace"})
    assert answer.code == "DatabasePermissionDenied"
    assert values(site) == [-1, 1, 2, -2]


def test_a_reader_with_an_older_snapshot_sees_no_hole(site: Site) -> None:
    """TRUNCATE would make one: such a reader forces the DELETE."""
    table_with_a_day(site)
    count = f'SELECT sum(v) FROM "{site.database.schema}".t WHERE {DAY_FILTER}'
    with closing(site.database.session(autocommit=False)) as reader, reader.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SELECT 1")
        assert restore(site, on_existing="replace").body["removed_by"] == "delete"
        cursor.execute(count)
        assert cursor.fetchone() == (15,)
        cursor.execute("COMMIT")
        cursor.execute(count)
        assert cursor.fetchone() == (3,)


def test_readers_see_the_old_day_or_the_new_one(site: Site) -> None:
    table_with_a_day(site)
    seen, stop = set(), threading.Event()

    def read() -> None:
        with closing(site.database.session(autocommit=False)) as reader, reader.cursor() as cursor:
            while not stop.is_set():
                cursor.execute(f'SELECT count(*), sum(v) FROM "{site.database.schema}".t WHERE {DAY_FILTER}')
                seen.add(cursor.fetchone())
                reader.rollback()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for _ in range(10):
            assert restore(site, on_existing="replace").status == 200
    finally:
        stop.set()
        thread.join()
    assert seen <= {(2, 15), (2, 3)}
    assert (2, 3) in seen


def test_the_proof_is_exact_while_others_write(site: Site) -> None:
    site.database.hypertable("t", TABLE.replace(", PRIMARY KEY (time)", ""))
    stop, written = threading.Event(), []

    def write() -> None:
        with closing(site.database.session(autocommit=False)) as writer, writer.cursor() as cursor:
            while not stop.is_set():
                cursor.execute(f"INSERT INTO \"{site.database.schema}\".t VALUES ('2025-01-01 06:00Z', 100)")
                writer.commit()
                written.append(1)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(20):
            proof = restore(site, on_existing="append").body["verification"]
            assert proof["rows_after"] - proof["rows_before"] == proof["rows_loaded"] == 2
    finally:
        stop.set()
        thread.join()
    assert site.database.value("SELECT count(*) FROM {s}.t") == 40 + len(written)


OUTSIDE = b"time,v\n2024-12-31 23:00Z,1\n2025-01-01 00:00Z,2\n2025-03-01 00:00Z,3\n"


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_rows_outside_the_day_are_refused(site: Site, mode: str) -> None:
    site.database.hypertable("t", TABLE)
    answer = restore(site, OUTSIDE, mode=mode)
    assert (answer.status, answer.code) == (422, "RowsOutsideWindow")
    fault = answer.body["error"]["details"][0]
    assert (fault["rows"], fault["min_time"], fault["max_time"]) == (2, "2024-12-31T23:00:00Z", "2025-03-01T00:00:00Z")
    assert values(site) == []


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_rows_outside_the_day_may_be_allowed(site: Site, mode: str) -> None:
    site.database.hypertable("t", TABLE)
    body = restore(site, OUTSIDE, mode=mode, rows_outside_window="allow").body
    assert body["status"] == "ok"
    proof = body["verification"]
    assert (proof["rows_loaded"], proof["rows_after"], proof["rows_outside_window"]) == (3, 1, 2)
    assert (proof["min_time"], proof["max_time"]) == ("2024-12-31T23:00:00Z", "2025-03-01T00:00:00Z")
    assert values(site) == [1, 2, 3]


def test_without_verification_nothing_is_counted(site: Site) -> None:
    site.database.hypertable("t", TABLE)
    body = site.restore(site.archive("t", OUTSIDE), destination={"on_existing": "append"}, verify=False).body
    assert (body["rows_loaded"], body["verification"]) == (3, None)


def test_a_trigger_that_swallows_rows_is_found_out(site: Site) -> None:
    """COPY does not count them; a trigger that moves them elsewhere in time is what the recount shows."""
    site.database.hypertable("t", TABLE)
    site.database.execute(
        "CREATE FUNCTION {s}.twist() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO {s}.t VALUES (NEW.time + interval '1 minute', 0); RETURN NEW; END $$"
    )
    site.database.execute(
        "CREATE TRIGGER twist BEFORE INSERT ON {s}.t FOR EACH ROW WHEN (NEW.v > 0) EXECUTE FUNCTION {s}.twist()"
    )
    answer = restore(site)
    assert (answer.status, answer.code) == (422, "VerificationFailed")
    assert answer.body["error"]["details"][0]["rows_after"] == 4
    assert values(site) == []


def test_a_plain_table_with_and_without_a_time_column(site: Site) -> None:
    site.database.execute("CREATE TABLE {s}.t (time timestamp, v int, noted timestamp)")
    assert restore(site).body["verification"] is None
    # The day cannot be found in it: the same call again must not double it.
    policies: list[dict[str, Any]] = [{}, {"on_existing": "error"}, {"on_existing": "skip"}, {"on_existing": "replace"}]
    for policy in policies:
        answer = restore(site, **policy)
        assert (answer.status, answer.code) == (422, "WindowUnknown")
    assert restore(site, time_column="time").code == "WindowNotEmpty"
    assert restore(site, time_column="time", on_existing="replace").body["verification"]["rows_after"] == 2
    assert restore(site, time_column="v", on_existing="append").code == "WindowUnknown"
    assert restore(site, time_column="nix").code == "UnknownColumn"
    assert values(site) == [1, 2]
    # Of a table with one column of such a type it is plain which one it is.
    site.database.execute("ALTER TABLE {s}.t DROP COLUMN noted")
    assert restore(site).code == "WindowNotEmpty"


def test_two_restores_of_one_day_at_once(site: Site) -> None:
    """One works, the other one is told at once; another day runs beside them."""
    site.database.hypertable("t", TABLE)
    slow_down(site, 1)
    url = site.archive("t", CSV)
    other = site.archive("t", b"time,v\n2025-01-02 00:00Z,5\n", day="2025-01-02")
    first = Call(lambda: site.restore(url))
    site.database.wait_for_session("pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')")
    beside = Call(lambda: site.restore(other))
    begun = time.monotonic()
    second = site.restore(url)
    assert time.monotonic() - begun < 1.5
    assert (second.status, second.code) == (409, "RestoreInProgress")
    assert first.result().status == beside.result().status == 200
    assert values(site) == [1, 2, 5]
    assert site.restore(url).code == "WindowNotEmpty"


def test_a_hail_of_the_same_request_loads_once(site: Site) -> None:
    """The snapshot of whoever gets the guard next must be younger than the commit before: no day twice."""
    site.database.hypertable("t", TABLE.replace(", PRIMARY KEY (time)", ""))
    url = site.archive("t", CSV)
    answers = chain.from_iterable(at_once(6, lambda: [site.restore(url) for _ in range(10)]))
    codes = [answer.code for answer in answers]
    assert codes.count(None) == 1
    assert set(codes) == {None, "RestoreInProgress", "WindowNotEmpty"} or set(codes) == {None, "WindowNotEmpty"}
    assert values(site) == [1, 2]
