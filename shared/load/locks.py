"""One restore at a time for one day of one table; other days run side by side.

The lock against a second restore is a transaction's advisory lock, on a connection of its own. It is not on the load's
connection: the load runs in REPEATABLE READ, and the statement that takes the lock would also fix its snapshot. A
restore whose snapshot is older than its lock does not see what the restore before it committed, and would load the day
twice. It is not a session's lock either: behind a pooler in transaction mode (Azure's PgBouncer) that would stay with a
server connection that others use.

If the lock's session is lost, the next restore could start while the load goes on. So the load's transaction takes a
second lock with a key of its own, and each restore checks first that no other load holds that one.

The load locks the chunks over the day before its first query, because that query fixes its snapshot. Some changes of a
chunk are not MVCC-safe: `decompress_chunk` and TRUNCATE in another session, committed after the snapshot but before the
count got its lock, make the chunk look empty (seen on 2.29.2: the day was loaded twice). So the chunks are locked by
statements that take no snapshot (SET, SAVEPOINT, LOCK), and what needs a query runs on the lock's own connection.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import date
from functools import partial
from typing import Literal, TypeAlias

from psycopg2 import sql

from shared.errors import DatabasePermissionDenied
from shared.load.refusals import in_progress
from shared.model.results import RunningRestore
from shared.names import QualifiedName
from shared.postgres.connect import (
    APPLICATION_NAME,
    DEAD_CLIENT_SETTINGS,
    Connection,
    Cursor,
    cancel_session,
    session_name,
)
from shared.postgres.savepoint import SavepointOutcome, attempt_in_savepoint, savepoint
from shared.postgres.session import no_transaction_timeout
from shared.postgres.transaction import transaction
from shared.timescale.chunks import Chunk
from shared.timescale.session import set_needed
from shared.timescale.table import Table

Connect: TypeAlias = Callable[[], AbstractContextManager[Connection]]

# Tells the sessions of locks, which keep no snapshot, from those that may. The request's id follows it.
LOCK_APPLICATION_NAME = f"{APPLICATION_NAME} guard"


class RestoreLock:
    """The lock against a second restore of one table's day, while it is held.

    Attributes:
        cursor: on the lock's own connection. In READ COMMITTED, so that each query sees the present.
    """

    def __init__(
        self, cursor: Cursor, table: QualifiedName, day: date, request_id: str, connect_to_cancel: Connect
    ) -> None:
        self.cursor = cursor
        self._request_id = request_id
        self._connect_to_cancel = connect_to_cancel
        self._is_reading = False
        # Held while a cancel uses the connection, so that no long query begins before it.
        self._use = threading.Lock()
        self._table, self._day = table, day
        self._key, self._load_key = _keys(table, day)

    def take(self) -> None:
        """Take the lock, and make sure that no load has outlived its own.

        Raises:
            RestoreInProgress: another restore holds it, or its load runs on without it. The error names it.
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
        """Query the current state on the lock's connection.

        Then release every lock that the query took: the load may need them.
        """
        with self._use:
            self._is_reading = True
        try:
            with savepoint(self.cursor) as step:
                yield self.cursor
                step.roll_back()
        finally:
            self._is_reading = False
        if step.error is not None:
            raise step.error

    def cancel(self) -> None:
        """End the statement that runs on the load's connection, or on the lock's own while that reads.

        Another thread calls it. While the lock's connection reads, the cancel needs a connection of its own.
        """
        with self._use:
            if not self._is_reading:
                with self.cursor.connection.cursor() as cursor:
                    cancel_session(cursor, session_name(self._request_id))
                return
        with self._connect_to_cancel() as connection, connection.cursor() as cursor:
            cancel_session(cursor, lock_session_name(self._request_id))

    def _lock(self, cursor: Cursor, key: str) -> None:
        cursor.execute("SELECT pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended(%s, 0))", (key,))
        if cursor.fetchone() != (True,):
            running, _ = attempt_in_savepoint(cursor, partial(_find_holder, keys=[key]))
            raise in_progress(self._table, self._day, running or RunningRestore())


def _keys(table: QualifiedName, day: date) -> tuple[str, str]:
    """Return the names of the lock of a table's day, and of that of the load."""
    key = f"restore-chunk\n{table.schema}\n{table.name}\n{day.isoformat()}"
    return key, f"{key}\nload"


# A lock on one bigint: `classid` has its upper half, `objid` its lower one, and `objsubid` is 1.
_HOLDERS = (
    "SELECT a.application_name, a.xact_start FROM pg_catalog.pg_locks l"
    " JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = pg_catalog.current_database()"
    " JOIN ROWS FROM (pg_catalog.unnest(%s::text[])) WITH ORDINALITY k(name, place)"
    " ON pg_catalog.hashtextextended(k.name, 0) = (l.classid::bigint << 32 | l.objid::bigint)"
    " LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid"
    " WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted ORDER BY k.place LIMIT 1"
)
_SESSION_OF_RESTORE = re.compile(rf"(?:{APPLICATION_NAME}|{LOCK_APPLICATION_NAME})/([0-9a-f-]{{36}})")


def find_running(cursor: Cursor, table: QualifiedName, day: date) -> RunningRestore | None:
    """Look whether a restore of this day of this table is running. Takes no lock, and waits for none.

    Args:
        cursor: in any transaction, or in autocommit.
        table: the target.
        day: the archive's day.

    Returns:
        The restore, as far as the role may see it; None if there is none.
    """
    return _find_holder(cursor, _keys(table, day))


def _find_holder(cursor: Cursor, keys: Sequence[str]) -> RunningRestore | None:
    """Find the restore whose session holds the lock of one of these names; the first one that is held counts."""
    # pg_stat_activity stays as it was first seen for the length of a transaction.
    cursor.execute("SELECT pg_catalog.pg_stat_clear_snapshot()")
    cursor.execute(_HOLDERS, (list(keys),))
    row = cursor.fetchone()
    if row is None:
        return None
    name, since = row
    # Any role can take this lock, under any name.
    known = _SESSION_OF_RESTORE.fullmatch(name or "")
    return RunningRestore(None if known is None else known[1], since)


@contextmanager
def restore_lock(
    connection: Connection, table: QualifiedName, day: date, *, request_id: str, connect_to_cancel: Connect
) -> Iterator[RestoreLock]:
    """Hold the lock of a table's day while the body runs.

    Args:
        connection: the lock's own. Its transaction keeps no snapshot.
        table: the target.
        day: the archive's day.
        request_id: is shown in the session's application_name.
        connect_to_cancel: opens a connection on which a statement of this one is canceled.

    Raises:
        RestoreInProgress: another restore holds it.
    """
    with transaction(connection, "READ COMMITTED") as work:
        # The lock's session is idle while the load runs. The server must not end it for that.
        settings = {
            **DEAD_CLIENT_SETTINGS,
            **no_transaction_timeout(connection),
            "idle_in_transaction_session_timeout": "0",
            "application_name": lock_session_name(request_id),
        }
        for name, value in settings.items():
            work.cursor.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, value))
        set_needed(work.cursor)
        lock = RestoreLock(work.cursor, table, day, request_id, connect_to_cancel)
        lock.take()
        yield lock


def lock_session_name(request_id: str) -> str:
    """Return the `application_name` of the session that holds a restore's lock."""
    return f"{LOCK_APPLICATION_NAME}/{request_id}"


# How long to wait for other transactions to end, while the chunks to truncate are locked.
_PATIENCE_SECONDS = 0.5
_POLL_SECONDS = 0.05

# Each transaction holds a lock on its own virtual id, which every role may see. The lock sessions of other restores are
# left out: they keep no snapshot.
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
        rewritten: those of them that the load will decompress. They get the stronger lock at once: two restores of
            neighbouring days would otherwise deadlock.

    Raises:
        TargetLocked: another session holds one of them for longer than the lock timeout.
    """
    _lock_tables(load, [table.identifier], "ROW EXCLUSIVE")
    if rewritten:
        with savepoint(load) as step:
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
    with savepoint(load) as step:
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
