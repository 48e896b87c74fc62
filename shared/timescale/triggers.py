"""Which triggers are the user's, and which fire."""

from __future__ import annotations

from psycopg2 import sql

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
