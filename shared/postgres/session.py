"""Settings of a transaction, changed for a while, and the statements in autocommit after the load's COMMIT."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import psycopg2

from shared.errors import RestoreError
from shared.postgres.connect import Connection, Cursor
from shared.postgres.optional_step import note_failed_step
from shared.postgres.sqlstate import database_error

T = TypeVar("T")


def attempt_in_autocommit(
    connection: Connection, step: str, action: Callable[[Cursor], T]
) -> tuple[T | None, RestoreError | None]:
    """Run an action in autocommit. Return its error, even a lost connection, instead of raising it.

    After the load its rows are committed, and an error answer would say that they are not.

    Args:
        connection: in autocommit.
        step: what the action does, for the log.
        action: what may fail.
    """
    try:
        with connection.cursor() as cursor:
            return action(cursor), None
    except psycopg2.Error as exc:
        error = database_error(exc)
        note_failed_step(connection, step, error)
        return None, error


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
