"""Tells which triggers are a user's, which fire, and which may change or drop a row before it is stored."""

from __future__ import annotations

from psycopg2 import sql

from shared.postgres.connect import Cursor

# A trigger `t` that TimescaleDB has made calls a function of the extension; a name can be anybody's.
IS_USERS = sql.SQL(
    "NOT EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid"
    " AND e.extname = 'timescaledb' WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = t.tgfoid"
    " AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e')"
)

_FIRES = sql.SQL(
    "CASE pg_catalog.current_setting('session_replication_role')"
    " WHEN 'replica' THEN {state} IN ('R', 'A') ELSE {state} IN ('O', 'A') END"
)


def fires(state: sql.Identifier) -> sql.Composed:
    """Write the condition that PostgreSQL fires a trigger or a rule.

    Args:
        state: the column that holds the state, which `session_replication_role` interprets.
    """
    return _FIRES.format(state=state)


# Whether an event trigger fires when a table or index is created or dropped. Those of two extensions only take notes.
HAS_EVENT_TRIGGERS = sql.SQL(
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_event_trigger t WHERE t.evtenabled <> 'D' AND t.evtevent <> 'login'"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid"
    "  WHERE d.classid = 'pg_catalog.pg_event_trigger'::regclass AND d.objid = t.oid AND d.deptype = 'e'"
    "  AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND e.extname IN ('timescaledb', 'pgaudit')))"
)

# Bits 1, 2 and 4 of `tgtype`: row, before, insert. A chunk or a partition may have triggers of its own.
_CHANGES_ROWS = sql.SQL(
    "WITH RECURSIVE tree(oid) AS (SELECT %s::oid UNION"
    " SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON tree.oid = i.inhparent)"
    " SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger t JOIN tree ON tree.oid = t.tgrelid"
    "  WHERE t.tgtype & 7 = 7 AND {fires} AND {is_users})"
).format(fires=fires(sql.Identifier("t", "tgenabled")), is_users=IS_USERS)


def has_event_triggers(cursor: Cursor) -> bool:
    """Whether an event trigger of the database sees tables and indexes being created and dropped."""
    cursor.execute(HAS_EVENT_TRIGGERS)
    return cursor.fetchone() == (True,)


def has_before_triggers(cursor: Cursor, oid: int) -> bool:
    """Whether a user's trigger may change a row before it is stored."""
    cursor.execute(_CHANGES_ROWS, (oid,))
    return cursor.fetchone() == (True,)


# Bits 1, 2 and 4 of `tgtype`: row, before, insert. Triggers that are disabled count as well.
_COPIES_ONE_BY_ONE = sql.SQL(
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE (t.tgtype & 7 = 7 AND t.tgrelid IN (SELECT %(table)s::oid"
    "  UNION ALL SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = %(table)s))"
    " OR (t.tgtype & 4 = 4 AND t.tgnewtable IS NOT NULL AND t.tgrelid = %(table)s))"
)


def copies_one_by_one(cursor: Cursor, oid: int) -> bool:
    """Whether COPY stores the rows of a hypertable one by one because of triggers (`choose_copy_method`, 2.28.3)."""
    cursor.execute(_COPIES_ONE_BY_ONE, {"table": oid})
    return cursor.fetchone() == (True,)


# Bit 4 of `tgtype`: insert. TimescaleDB's foreign keys on a chunk are those of the hypertable.
_ACTORS = sql.SQL(
    "WITH RECURSIVE tree(oid) AS (SELECT %(table)s::oid UNION"
    " SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON tree.oid = i.inhparent)"
    " SELECT DISTINCT pg_catalog.format('the trigger \"%%s\"', t.tgname) FROM pg_catalog.pg_trigger t"
    "  JOIN tree ON tree.oid = t.tgrelid"
    "  WHERE NOT t.tgisinternal AND t.tgtype & 4 = 4 AND {trigger_fires} AND {is_users}"
    " UNION ALL SELECT pg_catalog.format('the foreign key \"%%s\"', k.conname) FROM pg_catalog.pg_constraint k"
    "  WHERE k.conrelid = %(table)s AND k.contype = 'f'"
    " UNION ALL SELECT pg_catalog.format('the rule \"%%s\"', w.rulename) FROM pg_catalog.pg_rewrite w"
    "  WHERE %(stages)s AND w.ev_class = %(table)s AND w.ev_type = '3' AND {rule_fires}"
    " UNION ALL SELECT 'row-level security' WHERE %(stages)s AND pg_catalog.row_security_active(%(table)s::oid)"
).format(
    trigger_fires=fires(sql.Identifier("t", "tgenabled")),
    rule_fires=fires(sql.Identifier("w", "ev_enabled")),
    is_users=IS_USERS,
)


def what_acts_on_rows(cursor: Cursor, oid: int, *, stages: bool) -> tuple[str, ...]:
    """Name what may refuse or change a row on its way into a table, beside the table's constraints and indexes.

    Args:
        cursor: in any transaction.
        oid: the table.
        stages: whether the rows come by an INSERT, which rules and policies apply to.
    """
    cursor.execute(_ACTORS, {"table": oid, "stages": stages})
    return tuple(name for (name,) in cursor.fetchall())
