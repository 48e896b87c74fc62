"""A second restore of a day: it is told which one runs, before anything is downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, datetime, timezone
from typing import Any

import pytest

from shared.errors import RestoreInProgress
from shared.load.locks import find_running, restore_lock
from shared.model.results import RunningRestore
from shared.names import QualifiedName
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


def test_a_session_that_is_no_restore(app: App) -> None:
    """Anyone may take such a lock, under any name, and any name is not repeated."""
    name = QualifiedName(app.database.schema, "t")
    with closing(app.database.session()) as held, closing(app.database.session()) as asking:
        with held.cursor() as cursor:
            cursor.execute(
                "SET application_name = 'restore-chunk/secret'; BEGIN;"
                " SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
                (f"restore-chunk\n{app.database.schema}\nt\n2025-01-01",),
            )
        detail = second(app)
        assert (detail["request_id"], "secret" in detail["message"]) == (None, False)
        assert detail["since"] is not None
        with asking.cursor() as cursor:
            assert find_running(cursor, name, DAY) is not None
            assert find_running(cursor, name, date(2025, 1, 2)) is None
            # The look did not take it: another session can.
            with held.cursor() as holder:
                holder.execute("ROLLBACK")
            assert find_running(cursor, name, DAY) is None
    assert restore(app).status == 200


def take(database: Database, connection: Any, request_id: str) -> Any:
    """Take the lock of the day."""
    table = QualifiedName(database.schema, "t")
    return restore_lock(connection, table, DAY, request_id=request_id, connect_to_cancel=database.session)


def info(caught: pytest.ExceptionInfo[RestoreInProgress]) -> RunningRestore:
    found = dict(caught.value.details[0].info)
    since = found["since"]
    return RunningRestore(found["request_id"], since and datetime.fromisoformat(since.replace("Z", "+00:00")))


def test_the_lock_itself_names_it_too(app: App) -> None:
    """A restore that begins between the look and the lock."""
    database = app.database
    with closing(database.session()) as first, closing(database.session()) as late:
        with take(database, first, REQUEST_ID), pytest.raises(RestoreInProgress) as caught, take(database, late, "x"):
            pass
        assert info(caught).request_id == REQUEST_ID
        assert info(caught).since is not None


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
    assert info(caught).request_id == REQUEST_ID


@pytest.mark.parametrize("wrong", [{"database": "nowhere"}, {"port": 1}])
def test_a_server_that_does_not_let_us_look_is_told_after_the_archive(app: App, wrong: dict[str, Any]) -> None:
    pg = app.database.pg | wrong
    url = app.archive("t", CSV)
    assert app.restore(url.replace("/backups/", "/nowhere/"), pg=pg).code == "ArchiveNotFound"
    assert app.restore(url, pg=pg).code == ("DatabaseNotFound" if "database" in wrong else "DatabaseUnreachable")
