"""Locks on the target and its chunks over the day, against whatever rewrites or reads them while they are loaded.

The load locks the chunks over the day before its first query, because that query fixes its snapshot. Some changes of a
chunk are not MVCC-safe: `decompress_chunk` and TRUNCATE in another session, committed after the snapshot but before the
count got its lock, make the chunk look empty (seen on 2.29.2: the day was loaded twice). So the chunks are locked by
statements that take no snapshot (SET, SAVEPOINT, LOCK), and what needs a query runs on the lock's own connection.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

from psycopg2 import sql

from shared.errors import DatabasePermissionDenied
from shared.load.locks.restore_lock import LOCK_APPLICATION_NAME
from shared.postgres.connect import Cursor
from shared.postgres.savepoint import SavepointOutcome, savepoint
from shared.timescale.chunks import Chunk
from shared.timescale.table import Table

# How long to wait for other transactions to end, while the chunks to truncate are locked.
_PATIENCE_SECONDS = 0.5
_POLL_SECONDS = 0.05

# Each transaction holds a lock on its own virtual id, which every role may see. The lock sessions of other restores are
# left out: they keep no snapshot. So is autovacuum, which shows rows to no one. Only pg_read_all_stats sees that it is
# autovacuum, but every role sees that it has no role, unlike whatever else has a transaction in a database
# (pgstat_bestart in PostgreSQL's backend_status.c).
_OTHERS = (
    "SELECT count(*) FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid"
    " WHERE l.locktype = 'virtualxid' AND l.granted AND a.datname = pg_catalog.current_database()"
    " AND l.pid <> ALL (%s) AND NOT pg_catalog.starts_with(a.application_name, %s)"
    " AND a.usesysid IS NOT NULL"
)


def lock_chunks(load: Cursor, table: Table, chunks: Sequence[Chunk], *, rewritten: Sequence[Chunk]) -> None:
    """Lock the target and its chunks over the day against whatever rewrites them.

    Args:
        load: in the load's transaction, before its first query.
        table: the target.
        chunks: those over the day.
        rewritten: the chunks that the load will decompress. They get the stronger lock at once: two restores of
            neighbouring days would otherwise deadlock.

    Raises:
        TargetLocked: another session holds one of them for longer than the lock timeout.
    """
    _lock_tables(load, [table.identifier], "ROW EXCLUSIVE")
    if rewritten:
        with savepoint(load, "lock to decompress") as step:
            _lock_tables(load, [chunk.identifier for chunk in rewritten], "ACCESS EXCLUSIVE")
        _tolerate_missing_right(step)
    if chunks:
        _lock_tables(load, [chunk.identifier for chunk in chunks], "ROW EXCLUSIVE")


def try_lock_for_truncate(load: Cursor, lock: Cursor, chunks: Sequence[Chunk]) -> bool:
    """Lock chunks for TRUNCATE, if no session uses them and no other transaction is open.

    Args:
        load: in the load's transaction, before its first query.
        lock: on the lock's own connection.
        chunks: those that lie wholly inside the day.

    Returns:
        Whether they are locked; if not, no lock is kept.
    """
    if not chunks:
        return False
    with savepoint(load, "lock to truncate") as step:
        names = [chunk.identifier for chunk in chunks]
        _lock_tables(load, names, "ACCESS EXCLUSIVE", wait=False)
        if not no_other_transactions(lock, load):
            step.roll_back()
    return not step.was_rolled_back


def no_other_transactions(lock: Cursor, load: Cursor) -> bool:
    """Wait a moment for the other transactions of this database to end, and say whether they have.

    A transaction whose snapshot is older than a TRUNCATE's commit sees the chunk empty after it.

    Args:
        lock: on the lock's own connection; each of its queries sees the present.
        load: on the load's connection. No query runs on it.
    """
    own = [lock.connection.info.backend_pid, load.connection.info.backend_pid]
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        # pg_stat_activity stays as it was first seen for the length of a transaction, and the lock's is long.
        lock.execute("SELECT pg_catalog.pg_stat_clear_snapshot()")
        lock.execute(_OTHERS, (own, LOCK_APPLICATION_NAME))
        if lock.fetchone() == (0,):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)


def _lock_tables(
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
