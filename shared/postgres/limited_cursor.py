"""Connections whose statements have a limit on this side too, and cursors that know how a statement ended.

The cursors also send each statement with the `search_path` that is its own (search_path.py).

The server's `statement_timeout` ends a statement that takes too long, and TCP's own timers find a dead peer. Neither
detects a network that accepts data and delivers nothing (a proxy or gateway that hangs): libpq would wait forever.

The server reports a timeout and a cancel by the same SQLSTATE, 57014, and distinguishes them only in its message, which
is in the server's language. So the cursor measures how long a statement ran.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any, Protocol

import psycopg2
import psycopg2.extensions
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from shared.postgres.libpq import take_in
from shared.postgres.search_path import Statement, with_path
from shared.postgres.watchdog import Watchdog

# How many seconds after the server's own limit this side gives up a statement.
GRACE_SECONDS = 5
# The clocks of two machines may run at different speeds: NTP corrects a clock by 0.05 % at most.
_CLOCKS_AGREE = 0.999

# A line of libpq's for an error of the server: "FATAL:  57P01". The severity is in the server's language.
_SQLSTATE_IN_LINE = re.compile(r"^[^\n]*:\s+([0-9A-Z]{5})$", re.MULTILINE)


class LimitedConnection(psycopg2.extensions.connection):
    """A connection that knows how long the server lets a statement run, in seconds."""

    statement_seconds: float


def limited_connection(statement_seconds: float) -> type[LimitedConnection]:
    """Make the class of connections with this limit."""
    return type("LimitedConnection", (LimitedConnection,), {"statement_seconds": statement_seconds})


def set_statement_limit(connection: psycopg2.extensions.connection, seconds: float) -> None:
    """Give the statements of a `LimitedConnection` another limit, in seconds."""
    if not isinstance(connection, LimitedConnection):
        raise TypeError(f"a connection without a limit: {type(connection).__name__}")
    connection.statement_seconds = seconds


class LimitedCursor(psycopg2.extensions.cursor):
    """A cursor whose statements are cut off some seconds after the limit; psycopg2 then raises without a SQLSTATE.

    Attributes:
        failed_after_seconds: how long the last statement that failed had run.
        lost_sqlstate: the SQLSTATE with which the server ended the connection, where psycopg2 raised another error.
    """

    connection: LimitedConnection
    failed_after_seconds = 0.0
    lost_sqlstate: str | None = None

    def execute(self, query: Statement, vars: Any = None) -> None:  # type: ignore[override] # noqa: A002 - psycopg2's own
        """Run a statement."""
        self._run(partial(super().execute, self._with_path(query), vars))

    def copy_expert(self, sql: Statement, file: Readable, size: int = 8192) -> None:  # type: ignore[override]
        """Run a COPY. Messages of the server are read meanwhile, so that libpq does not collect them in memory."""
        attentive: Any = _Attentive(file, self.connection)
        self._run(partial(super().copy_expert, self._with_path(sql), attentive, size))

    def _with_path(self, statement: Statement) -> Statement:
        in_transaction = self.connection.info.transaction_status != TRANSACTION_STATUS_IDLE
        return with_path(statement, in_transaction=in_transaction)

    def _run(self, statement: Callable[[], None]) -> None:
        failed = self._failure(statement)
        # Raised here, where no other exception is its context: a long error would be kept by it.
        if failed is not None:
            raise failed

    def _failure(self, statement: Callable[[], None]) -> psycopg2.Error | None:
        began = time.monotonic()
        try:
            with _limit(self.connection):
                statement()
        except psycopg2.Error as exc:
            self.failed_after_seconds = time.monotonic() - began
            if exc.pgcode is None:
                # libpq keeps all that a statement returned. Its texts hold no more than the SQLSTATE (libpq.py).
                found = _SQLSTATE_IN_LINE.search(self.connection.info.error_message or "")
                self.lost_sqlstate = found and found[1]
            return cut(exc)
        return None


class Readable(Protocol):
    """What a COPY reads."""

    def read(self, size: int = ..., /) -> bytes: ...  # noqa: D102 - a file's own


class _Attentive:
    """A file that gives a COPY no more data until the server can take it without a wait."""

    def __init__(self, file: Readable, connection: psycopg2.extensions.connection) -> None:
        self._file = file
        self._connection = connection

    def read(self, size: int) -> bytes:
        take_in(self._connection)
        return self._file.read(size)


# The most that is kept of a field of an error, in characters.
LONGEST_FIELD = 8192
_FIELDS = (
    *("severity", "severity_nonlocalized", "sqlstate", "message_primary", "message_detail", "message_hint", "context"),
    *("schema_name", "table_name", "column_name", "datatype_name", "constraint_name"),
    *("statement_position", "internal_position", "internal_query", "source_file", "source_line", "source_function"),
)


def cut(error: psycopg2.Error) -> psycopg2.Error:
    """Return an error whose fields are not too long: the same one, or one of its type with cut fields.

    A function may raise a message of any length, which would stay in memory as long as the error.
    """
    fields = {name: getattr(error.diag, name) for name in _FIELDS}
    if all(text is None or len(text) <= LONGEST_FIELD for text in fields.values()):
        return error
    kind = type(error)
    kept = SimpleNamespace(**{name: text and text[:LONGEST_FIELD] for name, text in fields.items()})
    attributes = {"diag": kept, "pgcode": error.pgcode, "pgerror": error.pgerror, "cursor": error.cursor}
    made: psycopg2.Error = type(kind.__name__, (kind,), attributes)(f"SQLSTATE {error.pgcode}")
    return made


def sqlstate_of_end(exc: psycopg2.Error) -> str | None:
    """Return the SQLSTATE of an error; None if the server sent none.

    If the server ends a session during a COPY, psycopg2 raises an error without it: that of the next look at the
    connection.
    """
    cursor = exc.cursor
    return exc.pgcode or (cursor.lost_sqlstate if isinstance(cursor, LimitedCursor) else None)


def limit_reached(exc: psycopg2.Error) -> float | None:
    """Return the limit in seconds if the failed statement had run at least as long as that."""
    cursor = exc.cursor
    if not isinstance(cursor, LimitedCursor):
        return None
    limit = cursor.connection.statement_seconds
    return limit if cursor.failed_after_seconds >= limit * _CLOCKS_AGREE else None


def own_socket(connection: psycopg2.extensions.connection) -> socket.socket:
    """Return a socket of our own to the server. Libpq's descriptor may be closed, and its number used again.

    Raises:
        OSError: no descriptor is left.
    """
    return socket.socket(fileno=os.dup(connection.fileno()))


_watchdog = Watchdog()


@contextmanager
def _limit(connection: LimitedConnection) -> Iterator[None]:
    with (
        own_socket(connection) as watched,
        _watchdog.watch(watched, connection.statement_seconds + GRACE_SECONDS),
    ):
        yield
