"""Locks that the load takes before it looks: what it counts must be what is there.

The load's snapshot is fixed by its first query. Some things that change a chunk are not MVCC-safe: `decompress_chunk`
and TRUNCATE in another session, committed after the snapshot but before the count got its lock, make the chunk look
empty (seen on 2.29.2: the day was loaded twice). So the chunks over the day are locked first, by statements that take
no snapshot (SET, SAVEPOINT, LOCK), and what needs a query is asked on the guard's connection.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

from psycopg2 import sql

from shared.database.chunk_catalog import Chunk
from shared.database.connection import Cursor
from shared.database.guard import GUARD_APPLICATION_NAME
from shared.database.hypertable import Table
from shared.database.optional import StepOutcome, optional_step
from shared.errors import DatabasePermissionDenied

# How long other transactions may take to end, while chunks are locked that are to be truncated.
_PATIENCE_SECONDS = 0.5
_POLL_SECONDS = 0.05

# Whoever is in a transaction holds a lock on its own virtual id, which every role may see. The guards of other restores
# are left out: they keep no snapshot.
_OTHERS = (
    "SELECT count(*) FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid"
    " WHERE l.locktype = 'virtualxid' AND l.granted AND a.datname = pg_catalog.current_database()"
    " AND l.pid <> ALL (%s) AND a.application_name <> %s"
)


def reserve(load: Cursor, table: Table, chunks: Sequence[Chunk], *, rewritten: Sequence[Chunk]) -> None:
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
        with optional_step(load) as step:
            _lock(load, [names[chunk] for chunk in rewritten], "ACCESS EXCLUSIVE")
        _tolerate_missing_right(step)
    if names:
        _lock(load, list(names.values()), "ROW EXCLUSIVE")


def reserve_whole(load: Cursor, guard: Cursor, chunks: Sequence[Chunk]) -> bool:
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
    with optional_step(load) as step:
        names = [sql.Identifier(chunk.schema, chunk.name) for chunk in chunks]
        _lock(load, names, "ACCESS EXCLUSIVE", wait=False)
        if not nobody_else(guard, load):
            step.undo()
    return not step.was_undone


def nobody_else(guard: Cursor, load: Cursor) -> bool:
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
        guard.execute(_OTHERS, (own, GUARD_APPLICATION_NAME))
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


def _tolerate_missing_right(step: StepOutcome) -> None:
    """Go on without the stronger lock where the role may not take it: it may not decompress either."""
    if step.error is not None and not isinstance(step.error, DatabasePermissionDenied):
        raise step.error
