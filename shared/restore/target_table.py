"""Opens the table that a request names, outside the load: to read it, or to maintain it.

Each connection begins with the settings that reading the table needs, whatever the role or the database has set.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from shared.model.request import RestoreRequest
from shared.postgres.connect import Connection, Cursor
from shared.postgres.session import limit_session
from shared.postgres.transaction import set_transaction_limits, transaction
from shared.restore.server import Server
from shared.settings import Settings
from shared.timescale.session import NEEDED_SETTINGS
from shared.timescale.table import Table, find_table


@contextmanager
def reading(server: Server, settings: Settings) -> Iterator[Cursor]:
    """Open one transaction that reads. It shows everything as it is at one moment.

    Args:
        server: the ways to it. A cancel of its progress ends what runs on it.
        settings: how long a statement may take and may wait for a lock.

    Yields:
        A cursor in the transaction.

    Raises:
        RestoreError: the server cannot be reached.
    """
    with (
        server.connect() as connection,
        server.progress.interruptible(server.cancel),
        transaction(connection, "REPEATABLE READ READ ONLY") as work,
    ):
        _limit(work.cursor, settings)
        yield work.cursor


def _limit(cursor: Cursor, settings: Settings) -> None:
    """Give a transaction that looks at a table the limits of a restore, and the settings that reading needs."""
    set_transaction_limits(
        cursor,
        synchronous_commit_off=False,
        lock_timeout_seconds=settings.pg_lock_timeout_seconds,
        statement_timeout_seconds=settings.pg_statement_timeout_seconds,
        further=NEEDED_SETTINGS,
    )


@contextmanager
def table_to_read(server: Server, request: RestoreRequest, settings: Settings) -> Iterator[tuple[Cursor, Table]]:
    """Look at the table that a request names.

    Args:
        server: as of `reading`.
        request: names the table.
        settings: as of `reading`.

    Yields:
        A cursor in the transaction, and what the table is.

    Raises:
        RestoreError: the server cannot be reached, or the table is not there.
    """
    with reading(server, settings) as cursor:
        yield cursor, _find(cursor, request)


@contextmanager
def table_to_maintain(
    server: Server, request: RestoreRequest, settings: Settings
) -> Iterator[tuple[Connection, Table]]:
    """Open a connection in autocommit, as compression and aggregates need it.

    Args:
        server: as of `reading`.
        request: names the table.
        settings: how long a step may take and may wait for a lock.

    Yields:
        The connection, and what the table is.

    Raises:
        RestoreError: as `table_to_read`.
    """
    with server.connect() as connection, server.progress.interruptible(server.cancel):
        table = read_table(connection, request, settings)
        with maintenance_session(connection, settings):
            yield connection, table


def read_table(connection: Connection, request: RestoreRequest, settings: Settings) -> Table:
    """Read what the table of a request is, on a connection in autocommit.

    Raises:
        RestoreError: it is not there.
    """
    # It calls the table's `integer_now_func` in a savepoint.
    with transaction(connection, "READ COMMITTED") as work:
        _limit(work.cursor, settings)
        return _find(work.cursor, request)


def maintenance_session(connection: Connection, settings: Settings) -> AbstractContextManager[None]:
    """Limit statements in autocommit, and give them the settings that they need."""
    return limit_session(
        connection,
        NEEDED_SETTINGS,
        lock_timeout_seconds=settings.pg_lock_timeout_seconds,
        statement_timeout_seconds=settings.pg_statement_timeout_seconds,
    )


def _find(cursor: Cursor, request: RestoreRequest) -> Table:
    return find_table(cursor, request.target_table, time_column=request.destination.time_column)
