"""The settings of a restore's sessions: lock_timeout and the other timeouts, and what else it needs.

A role or a database may have timeouts that are right for its users, and too short for a day, or none at all. So every
transaction begins with those of the restore (transaction.py), and so do the steps after the COMMIT. Within a
transaction, only the restart of a sequence waits less long for its lock (timescale/sequences.py). On this side,
`limited_cursor.py` cuts a connection that does not answer in time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from psycopg2 import sql

from shared.postgres.connect import Connection, Cursor
from shared.postgres.optional_step import attempt_in_autocommit, set_each
from shared.postgres.savepoint import set_accepted

# With these a server notices within about a minute and a half that this side is gone, and releases its locks.
# Linux' own default is two hours.
DEAD_CLIENT_SETTINGS = {
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "6",
    "tcp_user_timeout": "90000",
}

_FIRST_TRANSACTION_TIMEOUT = 170000


@dataclass(frozen=True)
class SessionSettings:
    """What the statements of a session begin with: how long they may take, in whole seconds, and what else they need.

    Attributes:
        lock_seconds: how long a statement waits for a lock.
        statement_seconds: how long one may take.
        idle_seconds: how long the session may be idle in its transaction; 0: without end, None: as long as a statement.
        others: settings of any other kind, such as those without which rows are not seen. A server may refuse each.
    """

    lock_seconds: int
    statement_seconds: int
    idle_seconds: int | None = None
    others: Mapping[str, str] = field(default_factory=dict)

    @property
    def of_statements(self) -> dict[str, str]:
        """The settings for statements."""
        return {"lock_timeout": f"{self.lock_seconds}s", "statement_timeout": f"{self.statement_seconds}s"}


def set_transaction_limits(cursor: Cursor, session_settings: SessionSettings) -> None:
    """Set the transaction's timeouts, time zone and other settings, the same everywhere. Takes no snapshot.

    A timestamp without an offset is read as UTC, since the archive's day is the UTC day. `array_nulls` and `xmloption`
    are those with which PostgreSQL reads what it wrote: where the first is off, a NULL in an array becomes the text
    "NULL"; with DOCUMENT, XML that is not a document is refused (pg_dump sets this one too). The server checks every
    two seconds whether the client is still there, even while a statement runs. Without the check it would go on with a
    long statement or a wait for a lock, and keep its own locks, until it has something to send (PostgreSQL 14 and
    newer).

    Args:
        cursor: in the transaction.
        session_settings: what its statements begin with.
    """
    idle = (
        session_settings.statement_seconds if session_settings.idle_seconds is None else session_settings.idle_seconds
    )
    settings = {
        "timezone": "UTC",
        "array_nulls": "on",
        "xmloption": "content",
        # A trigger may raise a notice for each row, and no one reads it.
        "client_min_messages": "error",
        **session_settings.of_statements,
        "idle_in_transaction_session_timeout": f"{idle}s",
        **_no_transaction_timeout(cursor.connection),
        **DEAD_CLIENT_SETTINGS,
    }
    # SET takes no snapshot: the chunks are locked before the first query fixes it.
    cursor.execute(
        sql.SQL("; ").join(
            sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(name), sql.Literal(value))
            for name, value in settings.items()
        )
    )
    set_accepted(cursor, {"client_connection_check_interval": "2s", **session_settings.others})


@contextmanager
def limit_session(connection: Connection, session_settings: SessionSettings) -> Iterator[None]:
    """Set what statements in autocommit begin with, and reset it, since a pooler may reuse the session.

    Args:
        connection: in autocommit.
        session_settings: what its statements begin with.
    """
    settings = {**session_settings.of_statements, **_no_transaction_timeout(connection), **session_settings.others}
    names = {name: sql.Identifier(*name.split(".")) for name in settings}
    run_optional = partial(attempt_in_autocommit, connection)
    set_each(
        run_optional,
        {name: sql.SQL("SET {} = {}").format(names[name], sql.Literal(value)) for name, value in settings.items()},
    )
    try:
        yield
    finally:
        set_each(run_optional, {name: sql.SQL("RESET {}").format(quoted) for name, quoted in names.items()})


def _no_transaction_timeout(connection: Connection) -> dict[str, str]:
    """Return the setting that keeps `transaction_timeout` from ending a restore; none before PostgreSQL 17."""
    return {"transaction_timeout": "0"} if connection.server_version >= _FIRST_TRANSACTION_TIMEOUT else {}
