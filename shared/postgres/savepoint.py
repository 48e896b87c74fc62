"""Savepoints: run steps of a transaction that may fail without failing the restore."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import TRANSACTION_STATUS_INERROR, TRANSACTION_STATUS_INTRANS

from shared.errors import RestoreCanceled, RestoreError, StatementCanceled
from shared.postgres.connect import Cursor
from shared.postgres.optional_step import note_failed_step, set_each
from shared.postgres.sqlstate import database_error, server_error

# By default these end the restore, not only the step: a caller, an administrator or a timeout means the restore.
_CANCELS = (RestoreCanceled, StatementCanceled)

# The transaction is still there.
_MAY_GO_ON = (TRANSACTION_STATUS_INTRANS, TRANSACTION_STATUS_INERROR)

T = TypeVar("T")
E = TypeVar("E", bound=RestoreError)


class RunsOptional(Protocol):
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
def savepoint(cursor: Cursor, step: str, *, also_if_canceled: bool = False) -> Iterator[SavepointOutcome]:
    """Run the body in a savepoint. A database error rolls back only the body, and is stored in the outcome.

    Without the savepoint every later statement would fail (25P02) and the COMMIT would be a silent rollback.
    Any other error rolls back the body as well, and is raised: who handles it goes on with neither its changes nor its
    locks. So does a broken connection, which ends the restore.

    Args:
        cursor: in the transaction.
        step: what the body does, for the log.
        also_if_canceled: whether the restore goes on even if a statement of the body was canceled, or took too long.

    Raises:
        RestoreCanceled, StatementCanceled: a statement was canceled, or took too long, and `also_if_canceled` is not
            set: the restore ends.
    """
    outcome = SavepointOutcome()
    cursor.execute("SAVEPOINT optional_step")
    cause: BaseException | None = None
    try:
        yield outcome
    except _RolledBackError:
        _roll_back(cursor)
        outcome.was_rolled_back = True
    except psycopg2.Error as exc:
        if exc.pgcode is None or cursor.connection.closed:
            raise
        _roll_back(cursor)
        cause, outcome.error, outcome.was_rolled_back = exc, database_error(exc), True
    except Exception as exc:
        if cursor.connection.info.transaction_status in _MAY_GO_ON:
            # If it fails, so does the next statement. The error that began it says more.
            with suppress(psycopg2.Error):
                _roll_back(cursor)
        # A statement of the body, in a savepoint of its own.
        if not (also_if_canceled and isinstance(exc, _CANCELS) and server_error(exc) is not None):
            raise
        cause, outcome.error, outcome.was_rolled_back = exc.__cause__, exc, True
    else:
        cursor.execute("RELEASE SAVEPOINT optional_step")
    if cause is None or outcome.error is None:
        return
    if isinstance(outcome.error, _CANCELS) and not also_if_canceled:
        raise outcome.error from cause
    note_failed_step(cursor.connection, step, outcome.error)


def _roll_back(cursor: Cursor) -> None:
    # Released too: what has the same name around it is the next one again.
    cursor.execute("ROLLBACK TO SAVEPOINT optional_step; RELEASE SAVEPOINT optional_step")


def set_accepted(cursor: Cursor, settings: Mapping[str, str]) -> None:
    """Change settings until the transaction ends, except those that the server refuses. Takes no snapshot.

    Args:
        cursor: in a transaction.
        settings: a name may have a prefix with a dot.
    """
    set_each(
        partial(attempt_in_savepoint, cursor),
        {
            name: sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(*name.split(".")), sql.Literal(value))
            for name, value in settings.items()
        },
    )


def attempt_in_savepoint(
    cursor: Cursor, step: str, action: Callable[[Cursor], T]
) -> tuple[T | None, RestoreError | None]:
    """Run an action in a savepoint of an open transaction. Errors as of `savepoint`."""
    result = None
    with savepoint(cursor, step) as outcome:
        result = action(cursor)
    return result, outcome.error


def refusal_in_savepoint(
    cursor: Cursor, step: str, action: Callable[[], object], as_refusal: Callable[[RestoreError], E | None]
) -> E | None:
    """Run an action in a savepoint. If it is refused, nothing of it stays, and the error is returned.

    Args:
        cursor: in the transaction.
        step: what the action does, for the log.
        action: what may be refused.
        as_refusal: returns the error if it is a refusal; None: it is another one, which is raised.

    Raises:
        RestoreError: the action failed otherwise.
    """
    refusal: E | None = None
    with savepoint(cursor, step) as outcome:
        try:
            action()
        except RestoreError as exc:
            refusal = as_refusal(exc)
            if refusal is None:
                raise
            outcome.roll_back()
    if outcome.error is not None:
        raise outcome.error
    return refusal
