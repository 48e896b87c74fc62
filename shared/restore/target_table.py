"""Opens the table that a request names, outside the load: to read it, or to maintain it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shared.model.request import RestoreRequest
from shared.postgres.connect import Connection, Cursor
from shared.postgres.timeouts import limit_session
from shared.restore.server import Server
from shared.timescale.table import Table, find_table


@contextmanager
def reading(server: Server) -> Iterator[Cursor]:
    """Open one transaction that reads. It shows everything as it is at one moment.

    Args:
        server: the ways to it. A cancel of its progress ends what runs on it.

    Yields:
        A cursor in the transaction.

    Raises:
        RestoreError: the server cannot be reached.
    """
    with server.connect() as connection, server.transaction(connection, "REPEATABLE READ READ ONLY") as work:
        yield work.cursor


@contextmanager
def table_to_read(server: Server, request: RestoreRequest) -> Iterator[tuple[Cursor, Table]]:
    """Look at the table that a request names.

    Args:
        server: as of `reading`.
        request: names the table.

    Yields:
        A cursor in the transaction, and what the table is.

    Raises:
        RestoreError: the server cannot be reached, or the table is not there.
    """
    with reading(server) as cursor:
        yield cursor, table_of(cursor, request)


@contextmanager
def table_to_maintain(server: Server, request: RestoreRequest) -> Iterator[tuple[Connection, Table]]:
    """Open a connection in autocommit, as compression and aggregates need it.

    Args:
        server: as of `reading`.
        request: names the table.

    Yields:
        The connection, and what the table is.

    Raises:
        RestoreError: as `table_to_read`.
    """
    with server.connect() as connection:
        table = read_table(server, connection, request)
        with limit_session(connection, server.session_settings), server.interruptible():
            yield connection, table


def read_table(server: Server, connection: Connection, request: RestoreRequest) -> Table:
    """Read what the table of a request is.

    Args:
        server: as of `reading`.
        connection: to it, in autocommit.
        request: names the table.

    Raises:
        RestoreError: it is not there.
    """
    # It calls the table's `integer_now_func` in a savepoint.
    with server.transaction(connection, "READ COMMITTED") as work:
        return table_of(work.cursor, request)


def table_of(cursor: Cursor, request: RestoreRequest) -> Table:
    """Read what the table of a request is, in a transaction.

    Raises:
        RestoreError: it is not there.
    """
    return find_table(cursor, request.target_table, time_column=request.destination.time_column)
