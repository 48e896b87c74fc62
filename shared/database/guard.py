"""One restore at a time for one day of one table; other days run side by side.

The guard is an advisory lock of a transaction on a connection of its own. Not on the load's: that runs in REPEATABLE
READ, and the statement that takes the lock would also fix its snapshot. A restore whose snapshot is older than the
lock does not see what the restore before it committed, and would load the day twice. And not a lock of a session:
behind a pooler in transaction mode (Azure's PgBouncer) it would stay with a server connection that others use.

A guard whose session is lost would let the next restore in while the load goes on. So the load's transaction takes a
second lock, under the guard's, and whoever has the guard looks first whether another load still holds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from shared.database.connection import DEAD_CLIENT_SETTINGS, Connection, Cursor, transaction
from shared.database.optional import optional_step
from shared.errors import RestoreInProgress
from shared.names import QualifiedName

# Tells guards, which keep no snapshot, from sessions that may.
GUARD_APPLICATION_NAME = "restore-chunk guard"


class Guard:
    """The guard of one table's day, while it is held.

    Attributes:
        cursor: on the guard's connection. In READ COMMITTED, so that each query sees the present.
    """

    def __init__(self, cursor: Cursor, table: QualifiedName, day: date) -> None:
        self.cursor = cursor
        self._key = f"restore-chunk\n{table.schema}\n{table.name}\n{day.isoformat()}"
        self._running = f"a restore of {day.isoformat()} into {table} is running"

    def take(self) -> None:
        """Take the guard, and make sure that no load has outlived its own.

        Raises:
            RestoreInProgress: another restore holds it, or its load runs on without it.
        """
        self._lock(self.cursor, self._key)
        # Undone at once: it is the load that is to hold this one.
        with optional_step(self.cursor) as step:
            self._lock(self.cursor, self._load_key)
            step.undo()

    def cover(self, load: Cursor) -> None:
        """Let the load's transaction hold its lock.

        Args:
            load: in the load's transaction, after its locks; this is its first query.

        Raises:
            RestoreInProgress: another load holds it.
            DatabaseUnreachable: the guard's session was lost before the load had its lock.
        """
        self._lock(load, self._load_key)
        self.cursor.execute("SELECT 1")

    @contextmanager
    def glance(self) -> Iterator[Cursor]:
        """Look at the present through the guard's connection, and keep no lock of it: the load may want that one."""
        with optional_step(self.cursor) as step:
            yield self.cursor
            step.undo()
        if step.error is not None:
            raise step.error

    @property
    def _load_key(self) -> str:
        return f"{self._key}\nload"

    def _lock(self, cursor: Cursor, key: str) -> None:
        cursor.execute("SELECT pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended(%s, 0))", (key,))
        if cursor.fetchone() != (True,):
            raise RestoreInProgress(self._running)


@contextmanager
def only_restore(connection: Connection, table: QualifiedName, day: date) -> Iterator[Guard]:
    """Hold the guard while the body runs.

    Args:
        connection: only looked through meanwhile. Its transaction keeps no snapshot.
        table: the target.
        day: the archive's day.

    Raises:
        RestoreInProgress: another restore holds it.
    """
    with transaction(connection, "READ COMMITTED") as work:
        # The guard waits for the load in its transaction; that is no reason to end it.
        settings = DEAD_CLIENT_SETTINGS | {
            "idle_in_transaction_session_timeout": "0",
            "application_name": GUARD_APPLICATION_NAME,
        }
        for name, value in settings.items():
            work.cursor.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, value))
        guard = Guard(work.cursor, table, day)
        guard.take()
        yield guard
