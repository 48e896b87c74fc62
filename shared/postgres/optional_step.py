"""Steps that may fail without failing the restore: those in autocommit, and what the log says of one.

Those in a transaction are in `savepoint.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import psycopg2
from psycopg2 import sql

from shared.errors import DatabaseUnreachable, RestoreError
from shared.log_redaction import OUR_LOGGER
from shared.postgres.connect import Connection, Cursor, request_id_of
from shared.postgres.sqlstate import database_error, sqlstate_of

_log = logging.getLogger(OUR_LOGGER)

T = TypeVar("T")


def note_failed_step(connection: Connection, step: str, error: Exception) -> None:
    """Write to the log that a step failed.

    Args:
        connection: on which it ran. Its name says for which request.
        step: what it does.
        error: with which it failed.
    """
    request_id = request_id_of(connection)
    about = f"step={step}" if request_id is None else f"request_id={request_id} step={step}"
    sqlstate = sqlstate_of(error) if isinstance(error, RestoreError) else None
    _log.info("%s failed: %s", about, type(error).__name__ if sqlstate is None else f"sqlstate={sqlstate}")


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


def set_each(
    run_optional: Callable[[str, Callable[[Cursor], None]], tuple[object, RestoreError | None]],
    statements: Mapping[str, sql.Composed],
) -> None:
    """Change settings in one round trip. If the server refuses one, change each of the others.

    Args:
        run_optional: runs an action that may fail, as a step of this name.
        statements: each by the name of its setting.
    """
    is_one = len(statements) == 1
    step = f"setting {next(iter(statements))}" if is_one else "settings"
    _, error = run_optional(step, partial(_execute, sql.SQL("; ").join(statements.values())))
    if error is None or is_one or isinstance(error, DatabaseUnreachable):
        return
    for name, statement in statements.items():
        run_optional(f"setting {name}", partial(_execute, statement))


def _execute(statement: sql.Composed, cursor: Cursor) -> None:
    cursor.execute(statement)
