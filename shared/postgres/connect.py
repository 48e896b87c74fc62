"""Connects to PostgreSQL, with a password or a token.

psycopg2's own transaction handling is off (autocommit); `transaction.py` says why.

A token of the function's own identity is sent as the password, over TLS, and the role has the identity's name:
https://learn.microsoft.com/azure/postgresql/flexible-server/security-entra-concepts. Each connection asks for a token;
azure-identity caches it while it is valid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import psycopg2
import psycopg2.extensions

from shared.identity import token_for_postgres
from shared.postgres.connect_error import connect_error
from shared.postgres.endpoint import Endpoint
from shared.postgres.libpq import hide_texts, without_c_stderr
from shared.postgres.limited_cursor import LimitedCursor, limited_connection
from shared.postgres.sqlstate import translated
from shared.process import wait_for
from shared.secret import Secret, shown_to_server
from shared.settings import hide_from_libpq

Connection = psycopg2.extensions.connection
# Opens a connection, which is closed at the end of the body.
Connect: TypeAlias = Callable[[], AbstractContextManager[Connection]]
Cursor = psycopg2.extensions.cursor


def password_of(endpoint: Endpoint) -> Secret | None:
    """Return what is sent to the server as the password: the password itself, or a valid token.

    Raises:
        RestoreError: as `token_for_postgres`.
    """
    if endpoint.auth == "password":
        return endpoint.password
    return token_for_postgres(endpoint.cloud, endpoint.scope)


APPLICATION_NAME = "restore-chunk"

# Neither a URI nor a setting changes these: the restore's own limits depend on them.
_PARAMETERS: dict[str, Any] = {
    # A peer that vanishes silently is noticed within about a minute and a half.
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 6,
    "tcp_user_timeout": 90_000,  # milliseconds; the same for what was sent and not acknowledged
    # The session's text is always UTF-8; the file's own encoding is an option of COPY.
    "client_encoding": "UTF8",
}


def session_name(request_id: str) -> str:
    """Return the `application_name` of a restore's session."""
    return f"{APPLICATION_NAME}/{request_id}"


def request_id_of(connection: Connection) -> str | None:
    """Return the id of the request whose session this is, by its name; None if the name is another one.

    No query is needed: the server reports each change of `application_name` to its client
    (https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-ASYNC).
    """
    name = connection.info.parameter_status("application_name")
    kind, _, request_id = (name or "").partition("/")
    return request_id if request_id and kind.startswith(APPLICATION_NAME) else None


def cancel_session(cursor: Cursor, name: str) -> None:
    """End the statement that runs in another session of this role.

    The session is found by its name: behind a pooler, libpq does not know the process id of the server. psycopg2's own
    `connection.cancel()` is not used: it holds Python's lock while it waits for the network (read: psyco_conn_cancel in
    psycopg/connection_type.c).

    Args:
        cursor: of another session.
        name: the `application_name` of the session that runs the statement.
    """
    # pg_stat_activity stays as it was first seen for the length of a transaction.
    cursor.execute("SELECT pg_catalog.pg_stat_clear_snapshot()")
    cursor.execute(
        "SELECT pg_catalog.pg_cancel_backend(pid) FROM pg_catalog.pg_stat_activity WHERE application_name = %s", (name,)
    )


@dataclass(frozen=True)
class Limits:
    """How long a server may take, in seconds.

    Attributes:
        connect_seconds: for each host, to accept the connection.
        statement_seconds: what the server gives a statement. Some seconds later this side cuts the connection.
    """

    connect_seconds: int
    statement_seconds: float


@dataclass(frozen=True)
class Opened:
    """A connection that is open, in autocommit.

    Attributes:
        connection: the connection.
        hidden: the secret that the server was sent and may repeat; None: there is none that is to be taken out.
        password: what was sent as the password. Held as long as the connection: it stays known as a secret.
    """

    connection: Connection
    hidden: Secret | None
    password: Secret | None

    @contextmanager
    def in_use(self) -> Iterator[Connection]:
        """Let the body use the connection; its errors become ours."""
        with shown_to_server(self.hidden), translated():
            yield self.connection


def open_session(
    endpoint: Endpoint, limits: Limits, *, application_name: str, check: Callable[[], None] = lambda: None
) -> Opened:
    """Open a connection in autocommit. The caller closes it.

    Args:
        endpoint: the server, and the way in.
        limits: how long it may take.
        application_name: what `pg_stat_activity` shows of the session.
        check: is called while the server is waited for. What it raises ends the wait.

    Raises:
        DatabaseUnreachable: no answer, or the server has no free slot or is starting.
        DatabaseAccessDenied: wrong user or password, or the server does not admit this client.
        DatabaseNotFound: the server has no such database.
    """
    password = wait_for(partial(password_of, endpoint), check=check)
    # Redacted in what the server says. Not the function's own password: an operator's server does not repeat it, and if
    # a name in the request equaled it, the redaction would confirm that guess.
    hidden = None if endpoint.is_own else password
    with shown_to_server(hidden):
        connection = wait_for(
            partial(open_connection, endpoint, password, limits, application_name),
            check=check,
            discard=Connection.close,
        )
    connection.autocommit = True
    return Opened(connection, hidden, password)


def open_connection(endpoint: Endpoint, password: Secret | None, limits: Limits, application_name: str) -> Connection:
    """Open one connection, and wait for it."""
    # psycopg2 quotes the values; nothing is pasted together here.
    parameters = endpoint.with_password(password) | _PARAMETERS | {"application_name": application_name}
    parameters["connect_timeout"] = limits.connect_seconds
    # Right before libpq reads it: by construction, it gets nothing that was not decided here.
    hide_from_libpq()
    try:
        with without_c_stderr():
            connection: Connection = psycopg2.connect(
                **parameters,
                connection_factory=limited_connection(limits.statement_seconds),
                cursor_factory=LimitedCursor,
            )
    except psycopg2.Error as exc:
        raise connect_error(parameters) from exc
    hide_texts(connection)
    return connection
