"""Lets only one restore at a time load a day of a table. Restores of other days run in parallel.

The lock against a second restore is a transaction's advisory lock, on a connection of its own. It is not on the load's
connection: the load runs in REPEATABLE READ, and the statement that takes the lock would also fix its snapshot. A
restore whose snapshot is older than its lock does not see what the restore before it committed, and would load the day
twice. It is not a session's lock either: behind a pooler in transaction mode (Azure's PgBouncer) that would stay with a
server connection that others use.

The lock's key is derived from what is written, not from what the request names: the oid of the table's topmost
ancestor, and the day. So a partition and its parent share it. Each day that gets rows has a lock: `require` is called
before the COMMIT, and if rows went to a day whose lock was not held from the start, the load starts over with that lock
and a new snapshot. Beyond 31 days there is one lock for the whole table: each advisory lock takes room in the server's
lock table. Every restore also holds the table's key, shared unless it has locked the whole table.

If the lock's session is lost, the next restore could start while the load goes on. So the load's transaction takes a
second lock with a key of its own, and each restore checks first that no other load holds that one.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import TypeAlias

from psycopg2 import sql

from shared.load.plan import DayNotLocked
from shared.load.refusals import in_progress
from shared.model.results import RunningRestore
from shared.names import QualifiedName
from shared.postgres.connect import (
    APPLICATION_NAME,
    Connect,
    Connection,
    Cursor,
    cancel_session,
    session_name,
)
from shared.postgres.local_settings import set_local
from shared.postgres.savepoint import attempt_in_savepoint, savepoint
from shared.postgres.timeouts import SessionSettings
from shared.postgres.transaction import transaction
from shared.timescale.ancestry import Root, find_roots

# None: the whole table.
Days: TypeAlias = frozenset[date] | None

# Distinguishes the sessions of locks, which keep no snapshot, from sessions that may. The request's id follows it.
LOCK_APPLICATION_NAME = f"{APPLICATION_NAME} guard"


# Beyond this many days the whole table is locked.
MOST_DAYS = 31


class RestoreLock:
    """The lock against a second restore of a table's days, while it is held.

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
        self._table = table
        self._days: Days = frozenset({day})
        self._roots: tuple[Root, ...] = ()

    def take(self, more: Days = frozenset()) -> None:
        """Take the lock, and make sure that no load has outlived its own.

        Args:
            more: days to lock beside those that are locked already. No load of this restore may be open: it would
                keep the lock of the whole table from us.

        Raises:
            RestoreInProgress: another session holds it, or another load runs on without it. The error names it.
        """
        days = None if self._days is None or more is None else self._days | more
        self._days = None if days is None or len(days) > MOST_DAYS else days
        self._roots = find_roots(self.cursor, self._table)
        self._lock(self.cursor, self._keys(_OF_RESTORE))
        # Rolled back at once: the load itself must hold this one.
        with savepoint(self.cursor, "lock of the load") as step:
            self._lock(self.cursor, self._keys(_OF_LOAD))
            step.roll_back()

    def hand_over_to(self, load: Cursor) -> None:
        """Let the load's transaction hold its lock.

        Args:
            load: in the load's transaction, after its locks; this is its first query.

        Raises:
            RestoreInProgress: another load holds it.
            DayNotLocked: the table has become a part of another one.
            DatabaseUnreachable: the lock's own session was lost before the load had its lock.
        """
        self._lock(load, self._keys(_OF_LOAD))
        self._refuse_other_roots()

    def require(self, days: Days) -> None:
        """Make sure that the locks of days were held from the start.

        Args:
            days: those that get rows.

        Raises:
            DayNotLocked: one of them was not.
        """
        if self._days is not None and (days is None or not days <= self._days):
            raise DayNotLocked(days)

    def confirm(self) -> None:
        """Make sure, right before the COMMIT, that the table is still a part of what was locked.

        While the load has the table locked, nobody can give it a parent, or detach a partition above it. But the
        table's parent can still be detached from its own parent (NO INHERIT; run on PostgreSQL 15).

        Raises:
            DayNotLocked: it is not.
        """
        if any(root.name != self._table for root in self._roots):
            self._refuse_other_roots()

    def _refuse_other_roots(self) -> None:
        if find_roots(self.cursor, self._table) != self._roots:
            raise DayNotLocked(frozenset())

    def _keys(self, holder: str) -> list[_Key]:
        return _keys(self._roots, self._days, holder)

    @contextmanager
    def read_current(self) -> Iterator[Cursor]:
        """Query the current state on the lock's connection.

        Then release every lock that the query took: the load may need them.
        """
        with self._use:
            self._is_reading = True
        try:
            with savepoint(self.cursor, "look") as step:
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

    def _lock(self, cursor: Cursor, keys: Sequence[_Key]) -> None:
        cursor.execute(_TRY, _columns(keys))
        refused = [key for key, (is_taken,) in zip(keys, cursor.fetchall(), strict=True) if not is_taken]
        if refused:
            running, _ = attempt_in_savepoint(cursor, "holder of the lock", partial(_find_holder, keys=refused))
            raise in_progress(self._table, running or RunningRestore(refused[0].day, self._roots[0].name))


@dataclass(frozen=True)
class _Key:
    """An advisory lock.

    Attributes:
        name: what its number is made of.
        root: what its table is a part of.
        day: whose lock it is; None: the whole table's.
        is_shared: whether others may hold it in the same way.
    """

    name: str
    root: QualifiedName
    day: date | None
    is_shared: bool


# Which of a restore's two sessions holds it.
_OF_RESTORE, _OF_LOAD = "", "\nload"


def _keys(roots: Sequence[Root], days: Days, holder: str) -> list[_Key]:
    """Return the locks of some days, or of the whole table. This is the only place that makes their names."""
    found = []
    for root in roots:
        name = f"restore-chunk\n{root.oid}"
        found.append(_Key(f"{name}{holder}", root.name, None, is_shared=days is not None))
        found += [
            _Key(f"{name}\n{day.isoformat()}{holder}", root.name, day, is_shared=False) for day in sorted(days or ())
        ]
    return found


_KEYS = sql.SQL(
    "ROWS FROM (pg_catalog.unnest(%s::text[]), pg_catalog.unnest(%s::boolean[]))"
    " WITH ORDINALITY k(name, is_shared, place)"
)
_TRY = sql.SQL(
    "SELECT CASE WHEN k.is_shared THEN pg_catalog.pg_try_advisory_xact_lock_shared(h.hash)"
    " ELSE pg_catalog.pg_try_advisory_xact_lock(h.hash) END"
    " FROM {keys} CROSS JOIN LATERAL (SELECT pg_catalog.hashtextextended(k.name, 0)) h(hash) ORDER BY k.place"
).format(keys=_KEYS)


def _columns(keys: Sequence[_Key]) -> tuple[list[str], list[bool]]:
    return [key.name for key in keys], [key.is_shared for key in keys]


# A lock on one bigint: `classid` has its upper half, `objid` its lower one, and `objsubid` is 1. Of shared locks, only
# another one that is not shared keeps us out. A prepared transaction has no pid.
_HOLDERS = sql.SQL(
    "SELECT k.place, l.pid, a.usename, a.application_name, a.xact_start FROM pg_catalog.pg_locks l"
    " JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = pg_catalog.current_database()"
    " JOIN {keys} ON pg_catalog.hashtextextended(k.name, 0) = (l.classid::bigint << 32 | l.objid::bigint)"
    " LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid"
    " WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted"
    " AND (l.mode = 'ExclusiveLock' OR NOT k.is_shared) AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()"
    " ORDER BY k.place LIMIT 1"
).format(keys=_KEYS)
_SESSION_OF_RESTORE = re.compile(rf"(?:{APPLICATION_NAME}|{LOCK_APPLICATION_NAME})/([0-9a-f-]{{36}})")


def find_running(cursor: Cursor, table: QualifiedName, day: date) -> RunningRestore | None:
    """Check whether a restore of this day of this table is running. Takes no lock, and waits for none.

    Args:
        cursor: in any transaction, or in autocommit.
        table: the target.
        day: the archive's day.

    Returns:
        The restore, as far as the role may see it; None if there is none.
    """
    roots, days = find_roots(cursor, table), frozenset({day})
    return _find_holder(cursor, [*_keys(roots, days, _OF_RESTORE), *_keys(roots, days, _OF_LOAD)])


def _find_holder(cursor: Cursor, keys: Sequence[_Key]) -> RunningRestore | None:
    """Find another session that holds one of these locks; the first one that is held counts."""
    cursor.execute(_HOLDERS, _columns(keys))
    if cursor.fetchone() is None:
        return None
    # pg_stat_activity stays as it was first seen for the length of a transaction.
    cursor.execute("SELECT pg_catalog.pg_stat_clear_snapshot()")
    cursor.execute(_HOLDERS, _columns(keys))
    row = cursor.fetchone()
    if row is None:
        return None
    place, pid, user, application, since = row
    # Any role can take this lock, under any name.
    known = _SESSION_OF_RESTORE.fullmatch(application or "")
    key = keys[place - 1]
    return RunningRestore(key.day, key.root, None if known is None else known[1], since, pid, user, application)


@contextmanager
def restore_lock(
    connection: Connection,
    table: QualifiedName,
    day: date,
    session_settings: SessionSettings,
    *,
    request_id: str,
    connect_to_cancel: Connect,
) -> Iterator[RestoreLock]:
    """Hold the lock of a table's day while the body runs.

    Args:
        connection: the lock's own. Its transaction keeps no snapshot.
        table: the target.
        day: the archive's day.
        session_settings: of what is asked on that connection.
        request_id: is shown in the session's application_name.
        connect_to_cancel: opens a connection on which a statement of this one is canceled.

    Raises:
        RestoreInProgress: another restore holds it.
    """
    # The session is idle while the load runs. The server must not end it for that.
    with transaction(connection, "READ COMMITTED", replace(session_settings, idle_seconds=0)) as work:
        set_local(work.cursor, {"application_name": lock_session_name(request_id)})
        lock = RestoreLock(work.cursor, table, day, request_id, connect_to_cancel)
        lock.take()
        yield lock


def lock_session_name(request_id: str) -> str:
    """Return the `application_name` of the session that holds a restore's lock."""
    return f"{LOCK_APPLICATION_NAME}/{request_id}"
