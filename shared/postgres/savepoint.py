"""Runs steps that may fail without failing the restore, and changes settings temporarily.

A step runs in a savepoint of the load's transaction, or in autocommit after it.
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
    """Runs an action. A database error ends only the action, and is returned instead of a result."""

    def __call__(self, action: Callable[[Cursor], T]) -> tuple[T | None, RestoreError | None]:
        """Run the action."""


@dataclass
class SavepointOutcome:
    """The outcome of an optional step. `error` is None if it did not fail."""

    error: RestoreError | None = None
    was_rolled_back: bool = False

    def roll_back(self) -> None:
        """End the step, and roll it back."""
        raise _RolledBackError

    def fail(self, error: RestoreError) -> None:
        """End the step with an error, and roll it back."""
        self.error = error
        raise _RolledBackError


class _RolledBackError(Exception):
    """Ends an optional step that is to be rolled back."""


@contextmanager
def savepoint(cursor: Cursor) -> Iterator[SavepointOutcome]:
    """Run the body in a savepoint. A database error rolls back only the body, and is stored in the outcome.

    Without the savepoint every later statement would fail (25P02) and the COMMIT would be a silent rollback.
    A broken connection is raised, since it ends the restore.
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
    """Run an action in autocommit, after the load. Return its error, even a lost connection, instead of raising it.

    The rows are committed by then, and an error answer would say that they are not.
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
    """Set the timeouts for statements in autocommit, and reset them, since a pooler may reuse the session."""
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
    """Change settings of the transaction for the body.

    They are not restored after an error: that ends the transaction or rolls back to a savepoint, which restores them.
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
