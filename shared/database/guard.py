"""One restore at a time for one day of one table; other days run side by side.

The guard is an advisory lock of a transaction on a connection of its own. Not on the load's: that runs in REPEATABLE
READ, and the statement that takes the lock would also fix its snapshot. A restore whose snapshot is older than the
lock does not see what the restore before it committed, and would load the day twice. And not a lock of a session:
behind a pooler in transaction mode (Azure's PgBouncer) it would stay with a server connection that others use.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from shared.database.connection import Connection, transaction
from shared.errors import RestoreInProgress
from shared.names import QualifiedName


@contextmanager
def only_restore(connection: Connection, table: QualifiedName, day: date) -> Iterator[None]:
    """Hold the guard while the body runs.

    Args:
        connection: nothing else is done on it meanwhile. Its transaction holds no snapshot and no other lock.
        table: the target.
        day: the archive's day.

    Raises:
        RestoreInProgress: another restore holds it.
    """
    with transaction(connection, "READ COMMITTED") as guard:
        # The guard waits for the load in its transaction; that is no reason to end it.
        guard.cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        key = f"restore-chunk\n{table.schema}\n{table.name}\n{day.isoformat()}"
        guard.cursor.execute("SELECT pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended(%s, 0))", (key,))
        if guard.cursor.fetchone() != (True,):
            raise RestoreInProgress(f"a restore of {day.isoformat()} into {table} is running")
        yield
