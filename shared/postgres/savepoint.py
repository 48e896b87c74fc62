"""Steps that may fail without failing the restore, and settings changed for a while.

A step runs in a savepoint inside the load, or in autocommit after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import psycopg2

from shared.errors import RestoreError
from shared.postgres.connect import Connection, Cursor
from shared.postgres.sqlstate import database_error

T = TypeVar("T")


class Attempt(Protocol):
    """Runs an action; an error of the database ends the action alone, and comes back beside no result."""

    def __call__(self, action: Callable[[Cursor], T]) -> tuple[T | None, RestoreError | None]:
        """Run it."""


@dataclass
class SavepointOutcome:
    """What became of an optional step. `error` is None where it worked."""

    error: RestoreError | None = None
    was_rolled_back: bool = False

    def roll_back(self) -> None:
        """Take back what the step did, and end it."""
        raise _RolledBackError

    def fail(self, error: RestoreError) -> None:
        """Take back what the step did, and end it with an error."""
        self.error = error
        raise _RolledBackError


class _RolledBackError(Exception):
    """Ends an optional step that is to leave nothing behind."""


@contextmanager
def savepoint(cursor: Cursor) -> Iterator[SavepointOutcome]:
    """Run the body in a savepoint: its database error undoes it alone, and is in the outcome.

    Without the savepoint every later statement would fail (25P02) and the COMMIT would be a silent rollback.
    A broken connection is no outcome of a step: it ends the restore.
    """
    outcome = SavepointOutcome()
    cursor.execute("SAVEPOINT optional_step")
    try:
        yield outcome
    except (psycopg2.Error, _RolledBackError) as exc:
        if isinstance(exc, psycopg2.Error):
            if exc.pgcode is None or cursor.connection.closed:
                raise
            outcome.error = database_error(exc)
        cursor.execute("ROLLBACK TO SAVEPOINT optional_step")
        outcome.was_rolled_back = True
    cursor.execute("RELEASE SAVEPOINT optional_step")


def attempt_after_commit(connection: Connection, action: Callable[[Cursor], T]) -> tuple[T | None, RestoreError | None]:
    """Run an action in autocommit, after the load: no error of it is raised, a lost connection included.

    The rows are safe by then, and an error answer would say that they are not.
    """
    try:
        with connection.cursor() as cursor:
            return action(cursor), None
    except psycopg2.Error as exc:
        return None, database_error(exc)


def attempt_in_savepoint(cursor: Cursor, action: Callable[[Cursor], T]) -> tuple[T | None, RestoreError | None]:
    """Run an action in a savepoint of an open transaction."""
    result = None
    with savepoint(cursor) as step:
        result = action(cursor)
    return result, step.error


@contextmanager
def limit_session(
    connection: Connection, *, lock_timeout_seconds: int, statement_timeout_seconds: int
) -> Iterator[None]:
    """Set the timeouts for statements in autocommit, and take them back, since a pooler may hand the session on."""
    limits = {"lock_timeout": f"{lock_timeout_seconds}s", "statement_timeout": f"{statement_timeout_seconds}s"}

    def limit(cursor: Cursor) -> None:
        for name, value in limits.items():
            cursor.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, value))

    attempt_after_commit(connection, limit)
    try:
        yield
    finally:
        attempt_after_commit(connection, lambda cursor: cursor.execute("RESET lock_timeout; RESET statement_timeout"))


@contextmanager
def local_settings(cursor: Cursor, settings: Mapping[str, str]) -> Iterator[None]:
    """Change settings of the transaction for the body. An error in it leaves them.

    It ends the transaction, or rolls back to a savepoint: both put the settings back.
    """
    cursor.execute("SELECT n, pg_catalog.current_setting(n) FROM pg_catalog.unnest(%s::text[]) n", (list(settings),))
    before = dict(cursor.fetchall())
    set_local(cursor, settings)
    yield
    set_local(cursor, before)


def set_local(cursor: Cursor, settings: Mapping[str, str]) -> None:
    """Change settings until the transaction ends."""
    cursor.execute(
        "SELECT pg_catalog.set_config(n, v, true)"
        " FROM ROWS FROM (pg_catalog.unnest(%s::text[]), pg_catalog.unnest(%s::text[])) s(n, v)",
        (list(settings), list(settings.values())),
    )
