"""Sessions with PostgreSQL: connect, and one transaction. Knows no TimescaleDB.

psycopg2's own transaction handling is off (autocommit), and BEGIN and COMMIT are statements like any other: only
so can the answer to a COMMIT be read. PostgreSQL answers `ROLLBACK`, and psycopg2 raises nothing, where a
COMMIT ends a transaction that had failed before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, TRANSACTION_STATUS_INERROR, TRANSACTION_STATUS_UNKNOWN

from shared.database.endpoint import Endpoint
from shared.database.entra import password_of
from shared.database.refusal import refusal_to_error
from shared.database.server_run import ServerRun, server_run
from shared.database.sqlstate import database_error
from shared.database.watchdog import LimitedCursor, limited_connection
from shared.errors import InternalError
from shared.secret import Secret, shown_to_server

Connection = psycopg2.extensions.connection
Cursor = psycopg2.extensions.cursor

# With these the server ends the session itself; it may have committed before, and waited for a replica.
_SESSION_ENDED = ("08", "57")

# How much later than the server this side gives a statement up.
_GRACE_SECONDS = 5

APPLICATION_NAME = "restore-chunk"

# With these a server notices within about a minute and a half that this side is gone, and gives its locks back.
# Linux' own default is two hours.
DEAD_CLIENT_SETTINGS = {
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "6",
    "tcp_user_timeout": "90000",
}

_NOTHING_TO_ROLL_BACK = (TRANSACTION_STATUS_IDLE, TRANSACTION_STATUS_UNKNOWN)


# What neither a URI nor a setting changes: the restore's own limits rest on them.
_PARAMETERS: dict[str, Any] = {
    # A peer that is gone without a word is noticed within about a minute and a half.
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 6,
    "tcp_user_timeout": 90_000,  # milliseconds; the same for what was sent and not acknowledged
    # The session's text is always UTF-8; the file's own encoding is an option of COPY.
    "client_encoding": "UTF8",
    "application_name": APPLICATION_NAME,
}


@dataclass(frozen=True)
class Limits:
    """How long a server may take, in seconds.

    Attributes:
        connect_seconds: for each host, to let us in.
        statement_seconds: what the server gives a statement. Some seconds later the connection is cut here.
    """

    connect_seconds: int
    statement_seconds: float


@contextmanager
def connect(endpoint: Endpoint, limits: Limits) -> Iterator[Connection]:
    """Open a connection in autocommit and close it at the end.

    Args:
        endpoint: the server, and the way in.
        limits: how long it may take.

    Raises:
        DatabaseUnreachable: no answer, or the server has no place or is starting.
        DatabaseAccessDenied: wrong user or password, or this client is not let in.
        DatabaseNotFound: the server has no such database.
    """
    # Held as long as the connection: it stays known as a secret.
    password = password_of(endpoint)
    with shown_to_server(password), closing(_open(endpoint, password, limits)) as connection:
        connection.autocommit = True
        try:
            yield connection
        except psycopg2.Error as exc:
            raise database_error(exc) from exc


def _open(endpoint: Endpoint, password: Secret | None, limits: Limits) -> Connection:
    # psycopg2 quotes the values; nothing is pasted together here.
    parameters = endpoint.with_password(password) | _PARAMETERS
    parameters["connect_timeout"] = limits.connect_seconds
    try:
        connection: Connection = psycopg2.connect(
            **parameters,
            connection_factory=limited_connection(limits.statement_seconds + _GRACE_SECONDS),
            cursor_factory=LimitedCursor,
        )
    except psycopg2.Error as exc:
        raise refusal_to_error(parameters, exc) from exc
    return connection


class Transaction:
    """One transaction. It is rolled back unless `commit()` was called and the server confirmed it."""

    def __init__(self, connection: Connection, cursor: Cursor) -> None:
        self._connection = connection
        self.cursor = cursor

    def commit(self, last_look: Callable[[], bool]) -> bool:
        """Commit, and believe it only when the server says so.

        Args:
            last_look: asked right before the COMMIT.

        Returns:
            False where `last_look` said so; then the transaction is still open.

        Raises:
            CommitInterruptedError: the connection broke while COMMIT was under way; it knows the transaction's id.
            InternalError: the transaction had failed before, or the server answered with a rollback.
        """
        if self._connection.info.transaction_status == TRANSACTION_STATUS_INERROR:
            raise InternalError("the transaction had failed before its COMMIT")
        self.cursor.execute("SELECT pg_catalog.pg_current_xact_id()::text")
        row = self.cursor.fetchone()
        run = server_run(self.cursor)
        if not last_look():
            return False
        try:
            self.cursor.execute("COMMIT")
        except psycopg2.Error as exc:
            if exc.pgcode is None or self._connection.closed or exc.pgcode.startswith(_SESSION_ENDED):
                raise CommitInterruptedError("" if row is None else row[0], run) from exc
            raise
        if self.cursor.statusmessage != "COMMIT":
            raise InternalError(f"the server answered COMMIT with {self.cursor.statusmessage!r:.100}")
        return True


class CommitInterruptedError(Exception):
    """The connection broke in the middle of a COMMIT.

    Attributes:
        xid: the transaction's id, as `pg_xact_status` takes it.
        server_run: of the server that gave the id.
    """

    def __init__(self, xid: str, server_run: ServerRun) -> None:
        super().__init__(xid)
        self.xid = xid
        self.server_run = server_run


@contextmanager
def transaction(
    connection: Connection, isolation: Literal["READ COMMITTED", "REPEATABLE READ", "REPEATABLE READ READ ONLY"]
) -> Iterator[Transaction]:
    """Begin a transaction; what the body did not commit is rolled back at its end."""
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("BEGIN ISOLATION LEVEL {}").format(sql.SQL(isolation)))
        try:
            yield Transaction(connection, cursor)
        finally:
            _roll_back(connection)


def _roll_back(connection: Connection) -> None:
    """End the transaction, if there is one; a broken connection has ended it already."""
    if connection.closed or connection.info.transaction_status in _NOTHING_TO_ROLL_BACK:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("ROLLBACK")
    except Exception:  # noqa: BLE001 - whatever it is, it must not take the place of the error or of the answer
        connection.close()
