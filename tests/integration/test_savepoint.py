"""Steps of a transaction that may fail: which errors they may fail with, and what is said of those."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from shared.errors import DataRejected, RestoreCanceled, RestoreError, StatementCanceled, TargetLocked
from shared.log_redaction import OUR_LOGGER
from shared.postgres.connect import Connection, Cursor, session_name
from shared.postgres.limited_cursor import LimitedCursor, limited_connection
from shared.postgres.optional_step import attempt_in_autocommit
from shared.postgres.savepoint import attempt_in_savepoint, refusal_in_savepoint, savepoint, set_accepted
from shared.postgres.sqlstate import as_refused_row
from shared.postgres.timeouts import SessionSettings, limit_session
from shared.postgres.transaction import transaction
from tests.integration.fix_database import Database

CANCEL = "SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(5)"
SLEEP = "SELECT pg_sleep(5)"
REQUEST_ID = "5fcaf84c-3a4c-4b0a-8f2b-5d1b7a1f0f11"


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """Of a request, in autocommit. Its statements may take a second."""
    pg = database.pg
    login = {name: pg[name] for name in ("host", "port", "user", "password")}
    connection = psycopg2.connect(
        dbname=database.name,
        application_name=session_name(REQUEST_ID),
        connection_factory=limited_connection(1),
        cursor_factory=LimitedCursor,
        **login,
    )
    with closing(connection):
        connection.autocommit = True
        yield connection


@pytest.fixture
def cursor(connection: Connection) -> Iterator[Cursor]:
    """In a transaction whose statements may take a second."""
    with transaction(connection, "READ COMMITTED", SessionSettings(1, 1)) as work:
        yield work.cursor


@pytest.mark.parametrize(("statement", "error"), [(CANCEL, RestoreCanceled), (SLEEP, StatementCanceled)])
def test_a_cancel_and_a_timeout_end_more_than_the_step(
    cursor: Cursor, statement: str, error: type[RestoreError]
) -> None:
    with pytest.raises(error):
        attempt_in_savepoint(cursor, "sleep", lambda asking: asking.execute(statement))
    # What else is in the transaction is as it was: the lock's connection keeps its locks.
    cursor.execute("SELECT 1")
    assert cursor.fetchone() == (1,)


@pytest.mark.parametrize(("statement", "error"), [(CANCEL, RestoreCanceled), (SLEEP, StatementCanceled)])
def test_a_step_may_ask_to_fail_alone(cursor: Cursor, statement: str, error: type[RestoreError]) -> None:
    with savepoint(cursor, "sleep", also_if_canceled=True) as step:
        cursor.execute(statement)
    assert (type(step.error), step.was_rolled_back) == (error, True)


def test_a_lock_that_is_not_there_in_time_is_a_failure_of_the_step(cursor: Cursor, database: Database) -> None:
    database.execute("CREATE TABLE {s}.t ()")
    with closing(database.session(autocommit=False)) as other, other.cursor() as holder:
        holder.execute(f"LOCK TABLE {database.schema}.t")
        _, error = attempt_in_savepoint(
            cursor, "lock", lambda asking: asking.execute(f"LOCK TABLE {database.schema}.t NOWAIT")
        )
    assert isinstance(error, TargetLocked)


def test_what_a_step_failed_with_is_in_the_log(cursor: Cursor, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, OUR_LOGGER)
    _, error = attempt_in_savepoint(cursor, "read a word", lambda asking: asking.execute("SELECT 'secret'::int"))
    assert error is not None
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (
        logging.INFO,
        f"request_id={REQUEST_ID} step=read a word failed: sqlstate=22P02",
    )


def test_an_error_of_ours_leaves_nothing_of_the_step_either(cursor: Cursor, database: Database) -> None:
    database.execute("CREATE TABLE {s}.t ()")

    def look() -> None:
        with savepoint(cursor, "look"):
            cursor.execute(f"LOCK TABLE {database.schema}.t")
            raise TargetLocked("another restore runs")

    with pytest.raises(TargetLocked):
        look()
    with closing(database.session(autocommit=False)) as other, other.cursor() as holder:
        holder.execute(f"LOCK TABLE {database.schema}.t NOWAIT")


def test_a_refusal_out_of_a_step_in_it_rolls_back_all(cursor: Cursor) -> None:
    cursor.execute("CREATE TEMP TABLE seen (v int)")

    def action() -> None:
        cursor.execute("INSERT INTO seen VALUES (1)")
        with savepoint(cursor, "look"):
            raise DataRejected("a row")

    refusal = refusal_in_savepoint(cursor, "rows", action, as_refused_row)
    cursor.execute("SELECT count(*) FROM seen")
    assert (type(refusal), cursor.fetchone()) == (DataRejected, (0,))


@pytest.mark.parametrize(("statement", "error"), [(CANCEL, RestoreCanceled), (SLEEP, StatementCanceled)])
def test_a_step_fails_alone_also_if_a_step_in_it_is_canceled(
    cursor: Cursor, statement: str, error: type[RestoreError]
) -> None:
    with savepoint(cursor, "compress", also_if_canceled=True) as step:
        attempt_in_savepoint(cursor, "sleep", lambda asking: asking.execute(statement))
    assert (type(step.error), step.was_rolled_back) == (error, True)


def test_the_log_names_the_setting_that_the_server_refuses(cursor: Cursor, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, OUR_LOGGER)
    set_accepted(cursor, {"work_mem": "1MB", "no_such_setting": "1"})
    assert said(caplog) == [
        "step=settings failed: sqlstate=42704",
        "step=setting no_such_setting failed: sqlstate=42704",
    ]
    cursor.execute("SHOW work_mem")
    assert cursor.fetchone() == ("1MB",)


def test_a_step_in_autocommit_is_in_the_log_as_well(connection: Connection, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, OUR_LOGGER)
    attempt_in_autocommit(connection, "read a word", lambda asking: asking.execute("SELECT 'secret'::int"))
    with limit_session(connection, SessionSettings(1, 1, others={"no_such_setting": "1"})):
        pass
    assert said(caplog) == [
        "step=read a word failed: sqlstate=22P02",
        *[f"step={name} failed: sqlstate=42704" for name in ("settings", "setting no_such_setting")] * 2,
    ]


def test_a_step_on_a_connection_that_broke_is_in_the_log_once(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, OUR_LOGGER)
    with limit_session(connection, SessionSettings(1, 1)):
        connection.close()
    assert [record.getMessage() for record in caplog.records] == ["step=settings failed: DatabaseUnreachable"]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines of the log, each of which names the request, without that."""
    about = f"request_id={REQUEST_ID} "
    lines = [record.getMessage() for record in caplog.records]
    assert all(line.startswith(about) for line in lines), lines
    return [line.removeprefix(about) for line in lines]
