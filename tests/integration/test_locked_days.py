"""Two restores at once that write the same rows by different names, or from the archives of different days."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from typing import Any

import pytest

from shared.load.locks.restore_lock import MOST_DAYS
from tests.integration.fix_app import Answer, App
from tests.integration.fix_small_day import values
from tests.integration.fix_threads import Call

GATE = 4711
FIRST, SECOND = "2025-01-01", "2025-01-02"
# The row of value 100 waits at the gate; so its load has its snapshot, and holds its locks.
SLOW = b"time,v\n2025-01-01 00:00Z,100\n"
QUICK = b"time,v\n2025-01-01 00:00Z,1\n2025-01-01 12:00Z,2\n"
OF_SECOND = b"time,v\n2025-01-02 01:00Z,11\n2025-01-02 02:00Z,12\n"
# A file of the first day with rows of the second one: the same rows, and others.
WITH_SAME = SLOW + b"2025-01-02 01:00Z,11\n"
WITH_OTHER = SLOW + b"2025-01-02 05:00Z,15\n"
ALLOW = {"rows_outside_window": "allow"}


@contextmanager
def waiting(
    app: App, begin: Callable[[], Answer], *, table: str = "t", when: str = "NEW.v = 100"
) -> Iterator[Call[Answer]]:
    """Let a restore wait in the middle of its rows; it goes on when the body ends."""
    app.database.execute(
        "CREATE OR REPLACE FUNCTION {s}.gate() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN PERFORM pg_advisory_xact_lock_shared({GATE}); RETURN NEW; END $$"
    )
    app.database.execute(
        f"CREATE TRIGGER gate BEFORE INSERT ON {{s}}.{table} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION {{s}}.gate()"
    )
    with closing(app.database.session()) as holder, holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (GATE,))
        call = Call(begin)
        app.database.wait_for_session("wait_event = 'advisory'")
        yield call


def send(app: App, table: str, csv: bytes, day: str = FIRST, **destination: Any) -> Answer:
    return app.restore(app.archive(table, csv, day=day), destination=destination)


def in_progress(answer: Answer, running: str | None = None) -> bool:
    """Whether an answer says that another restore is running, and which one."""
    if (answer.status, answer.code) != (409, "RestoreInProgress"):
        return False
    return running is None or answer.body["error"]["details"][0]["request_id"] == running


def partitioned(app: App, columns: str = "time timestamptz NOT NULL, v int") -> None:
    app.database.execute(f"CREATE TABLE {{s}}.t ({columns}) PARTITION BY RANGE (time)")
    app.database.execute(
        "CREATE TABLE {s}.middle PARTITION OF {s}.t FOR VALUES FROM ('2025-01-01Z') TO ('2026-01-01Z')"
        " PARTITION BY RANGE (time);"
        " CREATE TABLE {s}.leaf PARTITION OF {s}.middle FOR VALUES FROM ('2025-01-01Z') TO ('2025-02-01Z')"
    )


@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize(("first", "second"), [("leaf", "t"), ("t", "leaf"), ("middle", "leaf"), ("t", "middle")])
def test_a_partition_and_its_parent(app: App, first: str, second: str, mode: str) -> None:
    partitioned(app)
    with waiting(app, lambda: send(app, first, SLOW, mode=mode, on_existing="error"), table=first) as call:
        answer = send(app, second, QUICK, mode=mode, on_existing="error")
        (problem,) = app.restore(app.archive(second, QUICK), dry_run=True).body["dry_run"]["problems"]
    done = call.result()
    assert done.status == 200, done.body
    assert in_progress(answer, done.body["request_id"]), answer.body
    assert f"{app.database.schema}.t" in answer.body["error"]["message"]
    assert (problem["code"], values(app)) == ("RestoreInProgress", [100])


def test_a_table_and_one_that_inherits_from_it(app: App) -> None:
    app.database.execute(
        "CREATE TABLE {s}.t (time timestamptz, v int); CREATE TABLE {s}.u (LIKE {s}.t);"
        " CREATE TABLE {s}.child () INHERITS ({s}.t, {s}.u)"
    )
    with waiting(app, lambda: send(app, "child", SLOW), table="child") as call:
        assert [in_progress(send(app, table, QUICK)) for table in ("t", "u")] == [True, True]
    assert call.result().status == 200
    assert values(app) == [100]


def test_partitions_of_other_tables_are_free(app: App) -> None:
    partitioned(app)
    app.database.execute("CREATE TABLE {s}.leaf2 (LIKE {s}.t)")
    with waiting(app, lambda: send(app, "leaf", SLOW), table="leaf") as call:
        assert send(app, "leaf2", QUICK).status == 200
        assert send(app, "t", OF_SECOND, SECOND).status == 200
    assert call.result().status == 200


def test_a_table_that_becomes_a_partition(app: App) -> None:
    """Between the lock and the load: what was locked is not what is written any more."""
    partitioned(app)
    app.database.execute("ALTER TABLE {s}.middle DETACH PARTITION {s}.leaf")
    with closing(app.database.session()) as other, other.cursor() as cursor:
        schema = app.database.schema
        cursor.execute(
            f"BEGIN; ALTER TABLE {schema}.middle ATTACH PARTITION {schema}.leaf"
            " FOR VALUES FROM ('2025-01-01Z') TO ('2025-02-01Z')"
        )
        with waiting_for_table(app, lambda: send(app, "leaf", QUICK)) as call:
            cursor.execute("COMMIT")
        assert call.result().status == 200
    assert values(app) == [1, 2]


@contextmanager
def waiting_for_table(app: App, begin: Callable[[], Answer]) -> Iterator[Call[Answer]]:
    """Let a restore wait for a lock on a table, which the body releases."""
    call = Call(begin)
    app.database.wait_for_session("wait_event_type = 'Lock'")
    yield call


# Type, a time of the first day, one of the second.
KINDS = {
    "timestamptz": ("timestamptz", "2025-01-01 01:00Z", "2025-01-02 01:00Z"),
    "timestamp": ("timestamp", "2025-01-01 23:00", "2025-01-02 23:59:59.999999"),
    "date": ("date", "2025-01-01", "2025-01-02"),
    "seconds": ("bigint", "1735776000", "1735862399"),
    "nanoseconds": ("bigint", "1735689600000000000", "1735776000000000000"),
    "uuid": ("uuid", "01941f3a-2800-7000-8000-000000000000", "01942460-8400-7000-8000-000000000000"),
}
INTERVALS = {"seconds": "2592000", "nanoseconds": "2592000000000000"}


@pytest.mark.parametrize("is_hypertable", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_beside_the_other_days_own_restore(app: App, kind: str, is_hypertable: bool) -> None:
    """It runs, so nobody knows yet what the day will hold."""
    type_, before, time = KINDS[kind]
    columns = f"time {type_} NOT NULL, v int"
    if is_hypertable and kind == "uuid" and app.database.version < (2, 22):
        pytest.skip("TimescaleDB 2.22 partitions by uuids")
    if is_hypertable:
        app.database.hypertable("t", columns, interval=INTERVALS.get(kind, "interval '30 days'"))
        make_chunks(app, f"('{before}', 0), ('{time}', 0)")
    else:
        app.database.execute(f"CREATE TABLE {{s}}.t ({columns})")
    request = {"on_existing": "error"} | ({"time_column": "time"} if kind == "uuid" else {})
    if not is_hypertable:
        request["time_column"] = "time"
    with waiting(app, lambda: send(app, "t", f"time,v\n{time},100\n".encode(), SECOND, **request)) as call:
        answer = send(app, "t", f"time,v\n{before},0\n{time},1\n".encode(), **request, **ALLOW)
    done = call.result()
    assert done.status == 200, done.body
    assert in_progress(answer, done.body["request_id"]), answer.body
    assert f"a restore of {SECOND} into" in answer.body["error"]["message"]
    assert values(app) == [100]


def make_chunks(app: App, rows: str) -> None:
    """Make the chunks of rows. While a transaction makes one, no other one can."""
    app.database.execute(f"INSERT INTO {{s}}.t VALUES {rows}; DELETE FROM {{s}}.t")


@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize("is_hypertable", [True, False])
def test_beside_another_day_that_was_committed_meanwhile(app: App, is_hypertable: bool, mode: str) -> None:
    """The first attempt's snapshot does not show its rows; the second one's does."""
    table(app, is_hypertable)
    request = {"mode": mode, "on_existing": "error"} | ALLOW
    with waiting(app, lambda: send(app, "t", WITH_SAME, **request)) as call:
        assert send(app, "t", OF_SECOND, SECOND).status == 200
    assert call.result().code == "WindowNotEmpty", call.result().body
    assert values(app) == [11, 12]


@pytest.mark.parametrize("is_hypertable", [True, False])
def test_rows_at_other_times_come_beside(app: App, is_hypertable: bool) -> None:
    table(app, is_hypertable)
    with waiting(app, lambda: send(app, "t", WITH_OTHER, **ALLOW)) as call:
        assert send(app, "t", OF_SECOND, SECOND).status == 200
    assert call.result().status == 200, call.result().body
    assert values(app) == [100, 11, 12, 15]


def table(app: App, is_hypertable: bool) -> None:
    columns = "time timestamptz NOT NULL, v int"
    if is_hypertable:
        app.database.hypertable("t", columns)
        make_chunks(app, f"('{FIRST}Z', 0), ('{SECOND}Z', 0)")
    else:
        app.database.execute(f"CREATE TABLE {{s}}.t ({columns})")


def test_rows_that_a_trigger_moves(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.t (time timestamptz NOT NULL, v int)")
    app.database.execute(
        "CREATE FUNCTION {s}.move() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.time = NEW.time + interval '1 day'; RETURN NEW; END $$;"
        " CREATE TRIGGER move BEFORE INSERT ON {s}.t FOR EACH ROW WHEN (NEW.v = 2) EXECUTE FUNCTION {s}.move()"
    )
    slow = OF_SECOND.replace(b",11", b",100")
    with waiting(app, lambda: send(app, "t", slow, SECOND)) as call:
        answer = send(app, "t", QUICK, **ALLOW)
    assert call.result().status == 200
    assert in_progress(answer, call.result().body["request_id"]), answer.body
    assert values(app) == [100, 12]
    assert send(app, "t", QUICK, **ALLOW).status == 200
    assert values(app) == [1, 100, 12, 2]


@pytest.mark.parametrize("of", ["t", "leaf"])
@pytest.mark.parametrize("each", ["STATEMENT", "ROW"])
def test_rows_that_a_trigger_adds_to_another_day(app: App, each: str, of: str) -> None:
    partitioned(app)
    app.database.execute(
        "CREATE FUNCTION {s}.add() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF pg_trigger_depth() = 1 THEN INSERT INTO {s}.t VALUES ('2025-01-02 01:00Z', 0); END IF; RETURN NULL; END $$"
    )
    # For a COPY into the parent, no trigger of a partition fires but those for each row.
    app.database.execute(f"CREATE TRIGGER add AFTER INSERT ON {{s}}.{of} FOR EACH {each} EXECUTE FUNCTION {{s}}.add()")
    assert (
        send(app, "leaf" if of == "leaf" and each == "STATEMENT" else "t", QUICK, **ALLOW).code == "VerificationFailed"
    )
    assert values(app) == []


def many_days(number: int, value: int = 1) -> bytes:
    days = (date(2025, 1, 1) + timedelta(days=number) for number in range(number))
    return b"time,v\n" + b"".join(f"{day} 03:00Z,{value}\n".encode() for day in days)


@pytest.mark.parametrize(("number", "is_whole"), [(MOST_DAYS, False), (MOST_DAYS + 1, True), (400, True)])
def test_rows_of_many_days(app: App, number: int, is_whole: bool) -> None:
    """The server's lock table has room for some thousands of locks, of all sessions."""
    table(app, is_hypertable=False)
    csv = many_days(number)
    app.database.execute("CREATE TABLE {s}.seen (locks bigint)")
    app.database.execute(
        "CREATE FUNCTION {s}.look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO {s}.seen SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database()); RETURN NULL; END $$;"
        " CREATE TRIGGER look AFTER INSERT ON {s}.t FOR EACH STATEMENT EXECUTE FUNCTION {s}.look()"
    )
    answer = send(app, "t", csv, **ALLOW)
    assert answer.status == 200, answer.body
    assert len(values(app)) == number
    # The table's lock and those of days, of both sessions; with the whole table's, the two of the first attempt.
    most = app.database.value("SELECT max(locks) FROM {s}.seen")
    assert most == (4 if is_whole else 2 * (1 + number))


@pytest.mark.parametrize("number", [2, MOST_DAYS + 1])
def test_many_days_beside_another_one(app: App, number: int) -> None:
    table(app, is_hypertable=False)
    with waiting(app, lambda: send(app, "t", SLOW.replace(FIRST.encode(), b"2025-01-02"), SECOND)) as call:
        answer = send(app, "t", many_days(number), **ALLOW)
    assert call.result().status == 200
    assert in_progress(answer, call.result().body["request_id"]), answer.body
    assert values(app) == [100]
    assert send(app, "t", many_days(number), **ALLOW).status == 200


def test_many_days_keep_the_others_out(app: App) -> None:
    """Also a day that is none of them."""
    table(app, is_hypertable=False)
    other = b"time,v\n2030-01-01 00:00Z,5\n"
    # The first attempt finds the days; the second one has all locks.
    app.database.execute(
        "CREATE SEQUENCE {s}.attempts; CREATE FUNCTION {s}.second() RETURNS boolean LANGUAGE sql AS"
        " $$ SELECT nextval('{s}.attempts') > 1 $$"
    )
    csv = many_days(MOST_DAYS) + b"2026-01-01Z,100\n"
    with waiting(app, lambda: send(app, "t", csv, **ALLOW), when="NEW.v = 100 AND {s}.second()") as call:
        answer = send(app, "t", other, "2030-01-01")
    assert call.result().status == 200, call.result().body
    assert in_progress(answer, call.result().body["request_id"]), answer.body
    assert send(app, "t", other, "2030-01-01").status == 200


def test_a_table_without_a_time_column(app: App) -> None:
    """Such a table must be empty, whatever the day."""
    app.database.execute("CREATE TABLE {s}.t (time text, v int)")
    with waiting(app, lambda: send(app, "t", SLOW)) as call:
        answer = send(app, "t", OF_SECOND, SECOND)
    assert call.result().status == 200, call.result().body
    assert in_progress(answer, call.result().body["request_id"]), answer.body
    assert send(app, "t", OF_SECOND, SECOND).code == "WindowUnknown"
    # Rows that are added in any case need no such lock.
    app.database.execute("DROP TRIGGER gate ON {s}.t")
    with waiting(app, lambda: send(app, "t", SLOW, on_existing="append")) as call:
        assert send(app, "t", OF_SECOND, SECOND, on_existing="append").status == 200
    assert call.result().status == 200


@pytest.mark.community
@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_day_that_was_compressed_meanwhile(community_app: App, mode: str) -> None:
    """The rows of the other day, and of its restore, are compressed when the load starts over."""
    app = community_app
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    app.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress)")
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-02 20:00Z', 20)")
    app.database.execute("SELECT public.compress_chunk(c) FROM public.show_chunks('{s}.t') c")
    with waiting(app, lambda: send(app, "t", WITH_SAME, mode=mode, on_existing="error", **ALLOW)) as call:
        answer = send(app, "t", OF_SECOND, SECOND, mode=mode, on_existing="append")
        assert answer.status == 200, answer.body
        chunks = "SELECT is_compressed FROM timescaledb_information.chunks WHERE hypertable_schema = %s"
        assert app.database.value(chunks, app.database.schema)
    assert call.result().code == "WindowNotEmpty", call.result().body
    assert values(app) == [11, 12, 20]


@pytest.mark.parametrize("is_hypertable", [True, False])
@pytest.mark.parametrize("policy", ["error", "skip", "append", None])
@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_rows_that_meet_those_of_the_other_day(app: App, mode: str, policy: str | None, is_hypertable: bool) -> None:
    """One after the other. `on_existing` holds for rows outside the day too, and no default doubles silently."""
    table(app, is_hypertable)
    assert send(app, "t", OF_SECOND, SECOND).status == 200
    csv = WITH_SAME.replace(b"100", b"1")
    request = {"mode": mode} | ALLOW | ({} if policy is None else {"on_existing": policy})
    tried = app.restore(app.archive("t", csv), destination=request, dry_run="full").body
    found, foreseen = tried["dry_run"], [warning["code"] for warning in tried["warnings"]]
    answer = send(app, "t", csv, **request)
    if policy == "append" or (policy is None and mode == "staging"):
        assert answer.status == 200, answer.body
        warned = [warning["code"] for warning in answer.body["warnings"]]
        assert (warned, found["problems"]) == ([] if policy else ["MayHoldDuplicates"], [])
        assert [code for code in foreseen if code != "NotChecked"] == warned
        assert values(app) == [1, 11, 11, 12]
    else:
        assert answer.code == "WindowNotEmpty"
        problem = {name: answer.body["error"][name] for name in ("code", "message")}
        assert (found["problems"], values(app)) == ([problem], [11, 12])


@pytest.mark.parametrize("dry_run", [True, "full"])
@pytest.mark.parametrize("verify", [True, False])
def test_a_dry_run_warns_of_a_day_that_a_default_doubles(app: App, dry_run: bool | str, *, verify: bool) -> None:
    table(app, is_hypertable=True)
    assert send(app, "t", OF_SECOND, SECOND).status == 200
    request: dict[str, Any] = {"destination": {"mode": "staging"}, "verify": verify}
    url = app.archive("t", OF_SECOND, day=SECOND)
    foreseen = app.restore(url, dry_run=dry_run, **request)
    answer = app.restore(url, **request)
    assert (foreseen.status, answer.status) == (200, 200), (foreseen.body, answer.body)
    doubled = [warning for warning in answer.body["warnings"] if warning["code"] == "MayHoldDuplicates"]
    assert [warning for warning in foreseen.body["warnings"] if warning["code"] == "MayHoldDuplicates"] == doubled
    assert bool(doubled) is verify
