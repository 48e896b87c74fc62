"""A second restore of a day: its error names the one that runs, before anything is downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, datetime, timezone
from typing import Any

import psycopg2
import pytest

from shared.errors import RestoreInProgress
from shared.load.locks.restore_lock import find_running, restore_lock
from shared.load.plan import DayNotLocked
from shared.names import QualifiedName
from shared.settings import load_settings
from shared.timescale.needed_settings import session_settings_of
from tests.integration.fix_app import Answer, App
from tests.integration.fix_database import PATIENCE_SECONDS, Database
from tests.integration.fix_small_day import CSV, TABLE, restore, values
from tests.integration.fix_threads import Call
from tools.process import wait_until

REQUEST_ID = "5ad4a7d8-2b8c-4b8e-9d51-0f3a4f9f7d11"
DAY = date(2025, 1, 1)


@contextmanager
def running_restore(app: App) -> Iterator[Call[Answer]]:
    """Let a restore of the day wait for the table; it goes on when the body ends."""
    with closing(app.database.session()) as other, other.cursor() as cursor:
        cursor.execute(f'BEGIN; LOCK TABLE "{app.database.schema}".t IN ACCESS EXCLUSIVE MODE')
        call = Call(lambda: restore(app))
        app.database.wait_for_session("pid IN (SELECT pid FROM pg_locks WHERE locktype = 'relation' AND NOT granted)")
        yield call


def second(app: App, **request: Any) -> dict[str, Any]:
    """Send a request for the same day of the same table whose archive is not there; return the detail of the 409."""
    answer = app.restore(app.archive("t", CSV).replace("/backups/", "/nowhere/"), **request)
    assert (answer.status, answer.code) == (409, "RestoreInProgress"), answer.body
    (detail,) = answer.body["error"]["details"]
    assert answer.body["error"]["message"] == detail["message"]
    found: dict[str, Any] = detail
    return found


@pytest.fixture(autouse=True)
def table(app: App) -> None:
    app.database.hypertable("t", TABLE)


def test_it_is_named_before_the_archive_is_downloaded(app: App) -> None:
    begun = datetime.now(timezone.utc)
    with running_restore(app) as call:
        detail = second(app)
        now = datetime.now(timezone.utc)
    first = call.result()
    assert first.status == 200
    assert detail["request_id"] == first.body["request_id"] == first.headers["x-ms-request-id"]
    assert begun <= datetime.fromisoformat(detail["since"].replace("Z", "+00:00")) <= now
    assert detail["message"].endswith(f"since {detail['since']}, with the request_id {detail['request_id']}")
    assert values(app) == [1, 2]


def test_another_role_does_not_see_since_when(app: App) -> None:
    with running_restore(app) as call:
        detail = second(app, pg=app.database.role())
    assert (detail["request_id"], detail["since"]) == (call.result().body["request_id"], None)


def test_another_day_and_another_table_are_free(app: App) -> None:
    app.database.hypertable("u", TABLE)
    with running_restore(app) as call:
        url = app.archive("t", CSV.replace(b"01-01", b"01-02"), day="2025-01-02")
        assert app.restore(url.replace("/backups/", "/nowhere/")).code == "ArchiveNotFound"
        assert app.restore(app.archive("u", CSV)).status == 200
    assert call.result().status == 200


def key(app: App, *, day: str | None = "2025-01-01", table: str = "t") -> str:
    """What the number of a lock is made of: the lock of a day of a table, or that of the whole table."""
    oid = app.database.value(f"SELECT '{{s}}.{table}'::regclass::oid")
    return "\n".join(filter(None, ("restore-chunk", str(oid), day)))


def session_of(app: App, role: dict[str, Any]) -> Any:
    """Open a session of a role, in autocommit."""
    named = {name: role[name] for name in ("host", "port", "user", "password")}
    connection = psycopg2.connect(dbname=app.database.name, **named)
    connection.autocommit = True
    return connection


@pytest.mark.parametrize("day", ["2025-01-01", None])
def test_a_session_that_is_not_a_restore(app: App, day: str | None) -> None:
    """Any role may take such a lock. The answer names the session."""
    name = QualifiedName(app.database.schema, "t")
    role = app.database.role()
    with (
        closing(session_of(app, role)) as held,
        closing(app.database.session()) as asking,
        held.cursor() as holder,
        asking.cursor() as cursor,
    ):
        holder.execute("SET application_name = 'restore-chunk/of-mine'; BEGIN")
        holder.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (key(app, day=day),))
        detail = second(app)
        found = (detail["request_id"], detail["pid"], detail["user"], detail["application_name"])
        assert found == (None, held.info.backend_pid, role["user"], "restore-chunk/of-mine")
        assert detail["since"] is not None
        answer = restore(app)
        assert f"pid {held.info.backend_pid} (role {role['user']}, restore-chunk/of-mine)" in detail["message"]
        assert f"pg_terminate_backend({held.info.backend_pid})" in answer.body["error"]["hint"]
        assert find_running(cursor, name, DAY) is not None
        assert (find_running(cursor, name, date(2025, 1, 2)) is None) == (day is not None)
        # The look did not take it: another session can.
        holder.execute("ROLLBACK")
        assert find_running(cursor, name, DAY) is None
    assert restore(app).status == 200


def test_a_prepared_transaction(app: App) -> None:
    if app.database.value("SHOW max_prepared_transactions") == "0":
        pytest.skip("the server has no prepared transactions")
    app.database.execute("BEGIN")
    app.database.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", key(app))
    app.database.execute("PREPARE TRANSACTION 'of-mine'")
    try:
        assert (second(app)["pid"], restore(app).code) == (None, "RestoreInProgress")
    finally:
        app.database.execute("ROLLBACK PREPARED 'of-mine'")
    assert restore(app).status == 200


def take(database: Database, connection: Any, request_id: str) -> Any:
    """Take the lock of the day."""
    table = QualifiedName(database.schema, "t")
    session_settings = session_settings_of(load_settings())
    return restore_lock(
        connection, table, DAY, session_settings, request_id=request_id, connect_to_cancel=database.session
    )


def test_what_its_connection_reads_has_the_restores_timeouts(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found there decides, and the role may have a timeout that is too short for it, or none."""
    monkeypatch.setenv("PG_LOCK_TIMEOUT_SECONDS", "7")
    monkeypatch.setenv("PG_STATEMENT_TIMEOUT_SECONDS", "11")
    with closing(app.database.session()) as own:
        with own.cursor() as cursor:
            cursor.execute("SET statement_timeout = '300ms'; SET lock_timeout = 0; SET timezone = 'Asia/Tokyo'")
        names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout", "timezone")
        with take(app.database, own, REQUEST_ID) as lock, lock.read_current() as cursor:
            cursor.execute("SELECT " + ", ".join(f"current_setting('{name}')" for name in names))
            assert cursor.fetchone() == ("7s", "11s", "0", "UTC")


def info(caught: pytest.ExceptionInfo[RestoreInProgress]) -> dict[str, Any]:
    return dict(caught.value.details[0].info)


def test_the_lock_itself_names_it_too(app: App) -> None:
    """A restore that begins between the look and the lock."""
    database = app.database
    with closing(database.session()) as first, closing(database.session()) as late:
        with take(database, first, REQUEST_ID), pytest.raises(RestoreInProgress) as caught, take(database, late, "x"):
            pass
        found = info(caught)
        assert (found["request_id"], found["pid"]) == (REQUEST_ID, first.info.backend_pid)
        assert found["since"] is not None


def test_a_load_that_runs_on_without_its_lock_is_named(app: App) -> None:
    """The late one holds the lock of the day while it looks for that of the load, and does not name itself."""
    database = app.database
    with (
        closing(database.session()) as lost,
        closing(database.session()) as load,
        closing(database.session()) as late,
        load.cursor() as cursor,
        take(database, lost, REQUEST_ID) as lock,
    ):
        cursor.execute(f"SET application_name = 'restore-chunk/{REQUEST_ID}'; BEGIN ISOLATION LEVEL REPEATABLE READ")
        lock.hand_over_to(cursor)
        pid = lost.info.backend_pid
        database.execute("SELECT pg_terminate_backend(%s)", pid)
        assert wait_until(lambda: not database.has_session(f"pid = {pid}"), PATIENCE_SECONDS)
        with pytest.raises(RestoreInProgress) as caught, take(database, late, REQUEST_ID.replace("5", "6")):
            pass
        assert (info(caught)["request_id"], info(caught)["pid"]) == (REQUEST_ID, load.info.backend_pid)


def test_a_parent_that_is_detached(app: App) -> None:
    """With INHERITS, the load's lock on a table does not keep its parent from leaving a parent of its own."""
    database = app.database
    database.execute(
        "DROP TABLE {s}.t; CREATE TABLE {s}.top (time timestamptz, v int);"
        " CREATE TABLE {s}.middle () INHERITS ({s}.top); CREATE TABLE {s}.t () INHERITS ({s}.middle)"
    )
    with (
        closing(database.session()) as first,
        closing(database.session()) as load,
        closing(database.session()) as late,
        load.cursor() as cursor,
        take(database, first, REQUEST_ID) as lock,
    ):
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        cursor.execute(f'LOCK TABLE ONLY "{database.schema}".t IN ROW EXCLUSIVE MODE')
        lock.hand_over_to(cursor)
        lock.confirm()
        database.execute("SET lock_timeout = '10s'; ALTER TABLE {s}.middle NO INHERIT {s}.top; RESET lock_timeout")
        # From now on, restores through the parent have another lock.
        with take(database, late, REQUEST_ID.replace("5", "6")):
            pass
        with pytest.raises(DayNotLocked):
            lock.confirm()
        cursor.execute("ROLLBACK")
        lock.take()
        with pytest.raises(RestoreInProgress), take(database, late, REQUEST_ID.replace("5", "6")):
            pass
        lock.confirm()


@pytest.mark.parametrize("wrong", [{"database": "nowhere"}, {"port": 1}])
def test_a_server_that_does_not_let_us_look_is_told_after_the_archive(app: App, wrong: dict[str, Any]) -> None:
    pg = app.database.pg | wrong
    url = app.archive("t", CSV)
    assert app.restore(url.replace("/backups/", "/nowhere/"), pg=pg).code == "ArchiveNotFound"
    assert app.restore(url, pg=pg).code == ("DatabaseNotFound" if "database" in wrong else "DatabaseUnreachable")
