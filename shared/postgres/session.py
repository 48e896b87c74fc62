"""Settings of a session, changed for a while, and the statements in autocommit after the load's COMMIT."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import psycopg2
from psycopg2 import sql

from shared.errors import RestoreError
from shared.postgres.connect import Connection, Cursor
from shared.postgres.sqlstate import database_error

T = TypeVar("T")


def attempt_in_autocommit(
    connection: Connection, action: Callable[[Cursor], T]
) -> tuple[T | None, RestoreError | None]:
    """Run an action in autocommit. Return its error, even a lost connection, instead of raising it.

    After the load its rows are committed, and an error answer would say that they are not.
    """
    try:
        with connection.cursor() as cursor:
            return action(cursor), None
    except psycopg2.Error as exc:
        return None, database_error(exc)


@contextmanager
def limit_session(
    connection: Connection, needed: Mapping[str, str], *, lock_timeout_seconds: int, statement_timeout_seconds: int
) -> Iterator[None]:
    """Set the timeouts for statements in autocommit, and reset them, since a pooler may reuse the session.

    Args:
        connection: in autocommit.
        needed: further settings. The server may refuse each.
        lock_timeout_seconds: how long a statement waits for a lock.
        statement_timeout_seconds: how long it may take.
    """
    settings = {
        "lock_timeout": f"{lock_timeout_seconds}s",
        "statement_timeout": f"{statement_timeout_seconds}s",
        **no_transaction_timeout(connection),
        **needed,
    }
    names = {name: sql.Identifier(*name.split(".")) for name in settings}
    _run(
        connection, [sql.SQL("SET {} = {}").format(names[name], sql.Literal(value)) for name, value in settings.items()]
    )
    try:
        yield
    finally:
        _run(connection, [sql.SQL("RESET {}").format(name) for name in names.values()])


def _run(connection: Connection, statements: Sequence[sql.Composed]) -> None:
    """Run statements in one round trip. If the server refuses one, run each of the others."""
    _, error = attempt_in_autocommit(connection, partial(_execute, sql.SQL("; ").join(statements)))
    for statement in statements if error is not None else ():
        attempt_in_autocommit(connection, partial(_execute, statement))


def _execute(statement: sql.Composed, cursor: Cursor) -> None:
    cursor.execute(statement)


_FIRST_TRANSACTION_TIMEOUT = 170000


def no_transaction_timeout(connection: Connection) -> dict[str, str]:
    """Return the setting that keeps `transaction_timeout` from ending a restore; none before PostgreSQL 17.

    A database or role may have a `transaction_timeout` that is right for its users, and too short for a day.
    """
    return {"transaction_timeout": "0"} if connection.server_version >= _FIRST_TRANSACTION_TIMEOUT else {}


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
