"""Asks the server about an error, once its transaction has ended: what the caller would have to look up otherwise.

It says only what the role can see. A question that fails leaves the error as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from difflib import SequenceMatcher

import psycopg2

from shared.errors import DatabaseReadOnly, RestoreError, TableNotFound, TargetLocked
from shared.load.acceptance import look_at_server
from shared.load.locks import lock_session_name
from shared.model.request import RestoreRequest
from shared.names import QualifiedName
from shared.postgres.connect import Connection, Cursor, session_name
from shared.postgres.sqlstate import sqlstate_of, translated
from shared.postgres.transaction import set_transaction_limits, transaction
from shared.restore.access import INTERNAL_SCHEMAS
from shared.settings import Settings

# How long a question may take, and wait for a lock of the catalogue. An answer without it is better than a late one.
_SECONDS = 5
_MOST_TABLES = 1000
_MOST_NAMED = 3
# Of two names, how much must be the same.
_LIKENESS = 0.6

# With these a session keeps others from writing; with weaker ones, from what takes the whole table.
_WEAKER = ("AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock")
_OBSTACLES = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
_LOCK_NOT_AVAILABLE = "55P03"


@contextmanager
def explained(connection: Connection, request: RestoreRequest, settings: Settings, request_id: str) -> Iterator[None]:
    """Let an error of the body say more.

    Args:
        connection: is in autocommit again when the body has ended.
        request: what is restored.
        settings: say which tables the caller may hear of.
        request_id: names the restore's own sessions.

    Raises:
        RestoreError: the body's.
    """
    try:
        with translated():
            yield
    except (DatabaseReadOnly, TableNotFound, TargetLocked) as error:
        better: RestoreError | None = None
        # A closed connection answers with an error as well.
        with suppress(psycopg2.Error, RestoreError), transaction(connection, "READ COMMITTED") as asking:
            set_transaction_limits(
                asking.cursor,
                synchronous_commit_off=False,
                lock_timeout_seconds=_SECONDS,
                statement_timeout_seconds=_SECONDS,
            )
            better = _explain(asking.cursor, error, request, settings, request_id)
        if better is not None:
            raise better from error
        raise


def _explain(
    cursor: Cursor, error: RestoreError, request: RestoreRequest, settings: Settings, request_id: str
) -> RestoreError | None:
    """Add to an error, or return the one that replaces it."""
    if isinstance(error, DatabaseReadOnly) and sqlstate_of(error) is not None:
        # It came on the way: the server has turned read-only since the load looked.
        return look_at_server(cursor)
    if sqlstate_of(error) == _LOCK_NOT_AVAILABLE:
        holders = _holders(cursor, request.target_table, request_id)
        if holders:
            error.message += f"; locks on {request.target_table} are held by {', '.join(holders)}"
    elif isinstance(error, TableNotFound) and not error.details:
        is_like = error.target == "destination.create_staging_like"
        wanted = request.staging_like if is_like else request.target_table
        near = nearest(wanted, [name for name in _tables(cursor, wanted) if settings.allows(name)])
        if near:
            error.message += f"; did you mean {' or '.join(map(str, near))}?"
    return None


def nearest(wanted: QualifiedName, names: Sequence[QualifiedName]) -> list[QualifiedName]:
    """Return at most three names like the wanted one, the nearest first.

    The schema must be alike, too, unless the name of the table differs only in case.
    """
    found = []
    for name in names:
        alike, schemas_alike = _likeness(wanted.name, name.name), _likeness(wanted.schema or "", name.schema or "")
        if alike == 1 or (alike >= _LIKENESS and schemas_alike >= _LIKENESS):
            found.append((-alike - schemas_alike, str(name), name))
    return [name for _, _, name in sorted(found, key=lambda one: one[:2])[:_MOST_NAMED]]


def _likeness(wanted: str, name: str) -> float:
    """Return how much of two names is the same, from 0 to 1, whatever the case."""
    matcher = SequenceMatcher(None, wanted.lower(), name.lower())
    # The second one is quick, and never smaller than the real one.
    return matcher.ratio() if matcher.quick_ratio() >= _LIKENESS else 0.0


def _tables(cursor: Cursor, wanted: QualifiedName) -> list[QualifiedName]:
    """List tables that the role has a right on, those of a similar name first."""
    cursor.execute(
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition"
        "  AND NOT EXISTS (SELECT FROM pg_catalog.unnest(%(internal)s::text[]) i"
        "   WHERE pg_catalog.starts_with(n.nspname, i))"
        "  AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')"
        "  AND pg_catalog.has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')"
        " ORDER BY pg_catalog.lower(c.relname) = pg_catalog.lower(%(name)s) DESC, n.nspname = %(schema)s DESC,"
        "  pg_catalog.lower(pg_catalog.left(c.relname, 1)) = pg_catalog.lower(pg_catalog.left(%(name)s, 1)) DESC,"
        "  pg_catalog.abs(pg_catalog.length(c.relname) - pg_catalog.length(%(name)s)), n.nspname, c.relname"
        " LIMIT %(most)s",
        {"internal": list(INTERNAL_SCHEMAS), "name": wanted.name, "schema": wanted.schema, "most": _MOST_TABLES},
    )
    return [QualifiedName(*row) for row in cursor.fetchall()]


def _holders(cursor: Cursor, table: QualifiedName, request_id: str) -> list[str]:
    """Name the sessions that hold locks on a table or on parts of it, the strongest locks first."""
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
            "own": [session_name(request_id), lock_session_name(request_id)],
            "most": _MOST_NAMED,
        },
    )
    return [_shown(*row) for row in cursor.fetchall()]


def _shown(pid: int | None, role: str | None, application: str | None, mode: str) -> str:
    if pid is None:
        # Two-phase commit: no session has it.
        return f"a prepared transaction ({mode})"
    facts = [f"role {role}" if role else "", application or "", mode]
    return f"pid {pid} ({', '.join(filter(None, facts))})"
