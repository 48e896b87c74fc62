"""What became of a COMMIT whose answer was lost. The server knows it by the transaction's id; nobody has to guess."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import psycopg2

from shared.database.connection import Connection
from shared.errors import CommitOutcomeUnknown, DatabaseError, DatabaseUnreachable

_POLL_SECONDS = 0.5

# invalid_parameter_value: the id lies in the future. The server crashed and never wrote that transaction down.
_NEVER_HEARD_OF = "22023"


def find_out(
    connect_again: Callable[[], AbstractContextManager[Connection]], xid: str, *, patience_seconds: float
) -> None:
    """Return if the transaction was committed.

    Args:
        connect_again: opens a new connection to the same database.
        xid: what `pg_current_xact_id()` said in the transaction.
        patience_seconds: how long the server may be away, or still be at it.

    Raises:
        DatabaseUnreachable: the transaction was rolled back; the request can be sent again.
        CommitOutcomeUnknown: the server did not say in time.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        status = _status(connect_again, xid)
        if status == "committed":
            return
        if status == "aborted":
            raise DatabaseUnreachable("the connection broke at the COMMIT, and the server rolled the restore back")
        if time.monotonic() > deadline:
            raise CommitOutcomeUnknown(
                f"the connection broke at the COMMIT of transaction {xid}, and the server cannot be asked",
                hint=f"ask the server: SELECT pg_xact_status('{xid}') says committed or aborted",
            )
        time.sleep(_POLL_SECONDS)


def _status(connect_again: Callable[[], AbstractContextManager[Connection]], xid: str) -> str | None:
    try:
        with connect_again() as connection, connection.cursor() as cursor:
            try:
                cursor.execute("SELECT pg_catalog.pg_xact_status(%s::xid8)", (xid,))
            except psycopg2.Error as exc:
                if exc.pgcode == _NEVER_HEARD_OF:
                    return "aborted"
                raise
            row = cursor.fetchone()
            return None if row is None else row[0]
    except DatabaseError:
        return None
