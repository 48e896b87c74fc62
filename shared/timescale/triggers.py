"""Tells the user's triggers from TimescaleDB's own."""

from __future__ import annotations

from psycopg2 import sql

# A trigger `t` that TimescaleDB has made calls a function of the extension; a name can be anybody's.
IS_USERS = sql.SQL(
    "NOT EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid"
    " AND e.extname = 'timescaledb' WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = t.tgfoid"
    " AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e')"
)
