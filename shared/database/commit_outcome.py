"""What became of a COMMIT whose answer was lost. The server knows it by the transaction's id; nobody has to guess.

A server that was restarted in between (a crash, a failover) may have lost the transaction and given its id to another
one. Then the day's rows are counted: they are as many as before the load, or as many as after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import psycopg2

from shared.database.connection import CommitInterruptedError, Connection, Cursor
from shared.database.server_run import server_run
from shared.errors import CommitOutcomeUnknown, DatabaseError, DatabaseUnreachable

_POLL_SECONDS = 0.5


def find_out(
    connect_again: Callable[[], AbstractContextManager[Connection]],
    interrupted: CommitInterruptedError,
    landed: Callable[[Cursor], bool | None],
    *,
    patience_seconds: float,
) -> None:
    """Return if the transaction was committed.

    Args:
        connect_again: opens a new connection to the same database.
        interrupted: what is known of the transaction.
        landed: tells by the day's rows whether it was committed; None where they do not tell.
        patience_seconds: how long the server may be away, or still be at it.

    Raises:
        DatabaseUnreachable: the transaction was rolled back; the request can be sent again.
        CommitOutcomeUnknown: the server did not say in time.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        is_committed = _ask(connect_again, interrupted, landed)
        if is_committed:
            return
        if is_committed is False:
            raise DatabaseUnreachable("the connection broke at the COMMIT, and the server rolled the restore back")
        if time.monotonic() > deadline:
            raise CommitOutcomeUnknown(
                f"the connection broke at the COMMIT of transaction {interrupted.xid}, and the server does not tell",
                hint=f"count the day's rows, or ask: SELECT pg_xact_status('{interrupted.xid}'), if the server started"
                f" at {interrupted.server_run.start} has not crashed since",
            )
        time.sleep(_POLL_SECONDS)


def _ask(
    connect_again: Callable[[], AbstractContextManager[Connection]],
    interrupted: CommitInterruptedError,
    landed: Callable[[Cursor], bool | None],
) -> bool | None:
    try:
        with connect_again() as connection, connection.cursor() as cursor:
            if not interrupted.server_run.is_same(server_run(cursor)):
                return landed(cursor)
            cursor.execute("SELECT pg_catalog.pg_xact_status(%s::xid8)", (interrupted.xid,))
            row = cursor.fetchone()
            return None if row is None else {"committed": True, "aborted": False}.get(row[0])
    except (DatabaseError, psycopg2.Error):
        return None
