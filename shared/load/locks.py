"""One restore at a time for one day of one table; other days run side by side.

The guard is an advisory lock of a transaction on a connection of its own. Not on the load's: that runs in REPEATABLE
READ, and the statement that takes the lock would also fix its snapshot. A restore whose snapshot is older than the
lock does not see what the restore before it committed, and would load the day twice. And not a lock of a session:
behind a pooler in transaction mode (Azure's PgBouncer) it would stay with a server connection that others use.

A guard whose session is lost would let the next restore in while the load goes on. So the load's transaction takes a
second lock, under the guard's, and whoever has the guard looks first whether another load still holds it.

Before its first query the load locks the chunks over the day: what it counts must be what is there. The load's snapshot
is fixed by its first query. Some things that change a chunk are not MVCC-safe: `decompress_chunk` and TRUNCATE in
another session, committed after the snapshot but before the count got its lock, make the chunk look empty (seen on
2.29.2: the day was loaded twice). So the chunks are locked first, by statements that take no snapshot (SET, SAVEPOINT,
LOCK), and what needs a query is asked on the lock's own connection.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from typing import Literal

import psycopg2
from psycopg2 import sql

from shared.errors import DatabasePermissionDenied, RestoreInProgress
from shared.names import QualifiedName
from shared.postgres.connect import APPLICATION_NAME, DEAD_CLIENT_SETTINGS, Connection, Cursor
from shared.postgres.savepoint import SavepointOutcome, savepoint
from shared.postgres.transaction import transaction
from shared.timescale.chunks import Chunk
from shared.timescale.table import Table

# Tells the sessions of locks, which keep no snapshot, from those that may. The request's id follows it.
LOCK_APPLICATION_NAME = f"{APPLICATION_NAME} guard"


class RestoreLock:
    """The lock against a second restore of one table's day, while it is held.

    Attributes:
        cursor: on the lock's own connection. In READ COMMITTED, so that each query sees the present.
    """

    def __init__(self, cursor: Cursor, table: QualifiedName, day: date) -> None:
        self.cursor = cursor
        self._is_reading = False
        self._key = f"restore-chunk\n{table.schema}\n{table.name}\n{day.isoformat()}"
        self._running = f"a restore of {day.isoformat()} into {table} is running"

    def take(self) -> None:
        """Take the lock, and make sure that no load has outlived its own.

        Raises:
            RestoreInProgress: another restore holds it, or its load runs on without it.
        """
        self._lock(self.cursor, self._key)
        # Rolled back at once: the load is to hold this one.
        with savepoint(self.cursor) as step:
            self._lock(self.cursor, self._load_key)
            step.roll_back()

    def hand_over_to(self, load: Cursor) -> None:
        """Let the load's transaction hold its lock.

        Args:
            load: in the load's transaction, after its locks; this is its first query.

        Raises:
            RestoreInProgress: another load holds it.
            DatabaseUnreachable: the lock's own session was lost before the load had its lock.
        """
        self._lock(load, self._load_key)
        self.cursor.execute("SELECT 1")

    @contextmanager
    def read_current(self) -> Iterator[Cursor]:
        """Look at the present through the lock's connection, and keep no lock of it: the load may want that one."""
        self._is_reading = True
        try:
            with savepoint(self.cursor) as step:
                yield self.cursor
                step.roll_back()
        finally:
            self._is_reading = False
        if step.error is not None:
            raise step.error

    def cancel(self, load: Connection) -> None:
        """End the statement that runs on the load's connection, or on the lock's own while that is read through.

        For another thread. A server or a network that does not answer is left to the limits of the connections.

        Args:
            load: the load's connection.
        """
        with suppress(psycopg2.Error):
            if self._is_reading:
                self.cursor.connection.cancel()
                return
            with self.cursor.connection.cursor() as cursor:
                cursor.execute("SELECT pg_catalog.pg_cancel_backend(%s)", (load.info.backend_pid,))

    @property
    def _load_key(self) -> str:
        return f"{self._key}\nload"

    def _lock(self, cursor: Cursor, key: str) -> None:
        cursor.execute("SELECT pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended(%s, 0))", (key,))
        if cursor.fetchone() != (True,):
            raise RestoreInProgress(self._running)


@contextmanager
def restore_lock(connection: Connection, table: QualifiedName, day: date, *, request_id: str) -> Iterator[RestoreLock]:
    """Hold the lock of a table's day while the body runs.

    Args:
        connection: only looked through meanwhile. Its transaction keeps no snapshot.
        table: the target.
        day: the archive's day.
        request_id: is shown in the session's application_name.

    Raises:
        RestoreInProgress: another restore holds it.
    """
    with transaction(connection, "READ COMMITTED") as work:
        # The lock waits for the load in its transaction; that is no reason to end it.
        settings = DEAD_CLIENT_SETTINGS | {
            "idle_in_transaction_session_timeout": "0",
            "application_name": f"{LOCK_APPLICATION_NAME}/{request_id}",
        }
        for name, value in settings.items():
            work.cursor.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, value))
        guard = RestoreLock(work.cursor, table, day)
        guard.take()
        yield guard


# How long other transactions may take to end, while chunks are locked that are to be truncated.
_PATIENCE_SECONDS = 0.5
_POLL_SECONDS = 0.05

# Whoever is in a transaction holds a lock on its own virtual id, which every role may see. The guards of other restores
# are left out: they keep no snapshot.
_OTHERS = (
    "SELECT count(*) FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid"
    " WHERE l.locktype = 'virtualxid' AND l.granted AND a.datname = pg_catalog.current_database()"
    " AND l.pid <> ALL (%s) AND NOT pg_catalog.starts_with(a.application_name, %s)"
)


def lock_chunks(load: Cursor, table: Table, chunks: Sequence[Chunk], *, rewritten: Sequence[Chunk]) -> None:
    """Lock the target and its chunks over the day against whatever rewrites them.

    Args:
        load: in the load's transaction, before its first query.
        table: the target.
        chunks: those over the day.
        rewritten: those of them that the load will decompress: they are locked for it at once, since two restores of
            neighbouring days would otherwise wait for each other.

    Raises:
        TargetLocked: another session holds one of them for longer than the lock timeout.
    """
    _lock(load, [table.identifier], "ROW EXCLUSIVE")
    names = {chunk: sql.Identifier(chunk.schema, chunk.name) for chunk in chunks}
    if rewritten:
        with savepoint(load) as step:
            _lock(load, [names[chunk] for chunk in rewritten], "ACCESS EXCLUSIVE")
        _tolerate_missing_right(step)
    if names:
        _lock(load, list(names.values()), "ROW EXCLUSIVE")


def try_lock_for_truncate(load: Cursor, guard: Cursor, chunks: Sequence[Chunk]) -> bool:
    """Lock chunks for their TRUNCATE, if nobody uses them and no other transaction is open.

    Args:
        load: in the load's transaction, before its first query.
        guard: on the guard's connection.
        chunks: those that hold nothing but the day.

    Returns:
        Whether they are locked; if not, no lock is kept.
    """
    if not chunks:
        return False
    with savepoint(load) as step:
        names = [sql.Identifier(chunk.schema, chunk.name) for chunk in chunks]
        _lock(load, names, "ACCESS EXCLUSIVE", wait=False)
        if not no_other_transactions(guard, load):
            step.roll_back()
    return not step.was_rolled_back


def no_other_transactions(guard: Cursor, load: Cursor) -> bool:
    """Wait a moment for the other transactions of this database to end.

    A transaction whose snapshot is older than a TRUNCATE's commit sees the chunk empty after it.

    Args:
        guard: on the guard's connection; each of its queries sees the present.
        load: on the load's connection, which is not asked.
    """
    own = [guard.connection.info.backend_pid, load.connection.info.backend_pid]
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        # pg_stat_activity is kept as it was first seen for as long as a transaction lasts, and the guard's lasts.
        guard.execute("SELECT pg_catalog.pg_stat_clear_snapshot()")
        guard.execute(_OTHERS, (own, LOCK_APPLICATION_NAME))
        if guard.fetchone() == (0,):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)


def _lock(
    load: Cursor,
    names: Sequence[sql.Identifier],
    mode: Literal["ROW EXCLUSIVE", "ACCESS EXCLUSIVE"],
    *,
    wait: bool = True,
) -> None:
    # ONLY: a hypertable has thousands of chunks, and the locks of a server are counted.
    statement = sql.SQL("LOCK TABLE {} IN {} MODE{}").format(
        sql.SQL(", ").join(sql.SQL("ONLY {}").format(name) for name in names),
        sql.SQL(mode),
        sql.SQL("" if wait else " NOWAIT"),
    )
    load.execute(statement)


def _tolerate_missing_right(step: SavepointOutcome) -> None:
    """Go on without the stronger lock where the role may not take it: it may not decompress either."""
    if step.error is not None and not isinstance(step.error, DatabasePermissionDenied):
        raise step.error
