"""Lists the sessions that hold locks on a table, for the error of a restore that did not get its lock."""

from __future__ import annotations

from collections.abc import Sequence

from shared.names import QualifiedName
from shared.postgres.connect import Cursor

# Locks with which a session blocks writers. Weaker ones block only statements that need the whole table.
_WEAKER = ("AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock")
_OBSTACLES = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")


def find_lock_holders(cursor: Cursor, table: QualifiedName, *, own: Sequence[str], most: int) -> list[str]:
    """Name the sessions that hold locks on a table or on parts of it, the strongest locks first.

    Args:
        cursor: in any transaction.
        table: with its schema.
        own: the `application_name` of sessions that are left out.
        most: how many are named.

    Returns:
        The sessions, for a person. If one keeps others from writing, those that do not are left out.
    """
    cursor.execute(
        "WITH RECURSIVE part AS ("
        " SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        "  WHERE n.nspname = %(schema)s AND c.relname = %(name)s"
        " UNION ALL SELECT i.inhrelid FROM part p JOIN pg_catalog.pg_inherits i ON i.inhparent = p.oid),"
        " held AS (SELECT DISTINCT ON (l.pid) l.pid, l.mode, l.mode = ANY (%(obstacles)s) AS is_obstacle,"
        "   a.usename, a.application_name"
        "  FROM part p JOIN pg_catalog.pg_locks l ON l.relation = p.oid AND l.locktype = 'relation' AND l.granted"
        "  JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = pg_catalog.current_database()"
        "  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid"
        "  WHERE a.application_name IS NULL OR a.application_name <> ALL (%(own)s)"
        "  ORDER BY l.pid, pg_catalog.array_position(%(modes)s, l.mode) DESC NULLS LAST)"
        " SELECT pid, usename, application_name, mode FROM held"
        " WHERE is_obstacle OR NOT EXISTS (SELECT FROM held WHERE is_obstacle)"
        " ORDER BY pg_catalog.array_position(%(modes)s, mode) DESC NULLS LAST, pid LIMIT %(most)s",
        {
            "schema": table.schema,
            "name": table.name,
            "obstacles": list(_OBSTACLES),
            "modes": [*_WEAKER, *_OBSTACLES],
            "own": list(own),
            "most": most,
        },
    )
    return [_shown(*row) for row in cursor.fetchall()]


def _shown(pid: int | None, role: str | None, application: str | None, mode: str) -> str:
    if pid is None:
        # Two-phase commit: no session has it.
        return f"a prepared transaction ({mode})"
    facts = [f"role {role}" if role else "", application or "", mode]
    return f"pid {pid} ({', '.join(filter(None, facts))})"
