"""Finds rows that TimescaleDB's COPY has accepted into a hypertable, and that INSERT would have refused.

From 2.22 on, COPY skips every check of a chunk that has as many CHECK constraints as the hypertable has dimensions, and
no NOT NULL column besides those of the dimensions (read: can_skip_constraint_check in src/copy.c of 2.22 - 2.29; run on
2.24.0, 2.28.3 and 2.29.2). It assumes that these CHECK constraints are the chunk's own bounds, which hold for every row
that goes into the chunk. So these rows are accepted:

- a null in a NOT NULL column of a space dimension, also where the file lacks the column;
- a row that breaks a CHECK constraint of the user's, if a dimension has only one partition and so no bound;
- a row whose time or space column a BEFORE trigger changes: it stays in the chunk of its old value, where a query for
  the new one does not look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from psycopg2 import sql

from shared.postgres.connect import Cursor
from shared.postgres.search_path import after_catalog, by_users_path
from shared.postgres.trusted_sql import trusted_sql
from shared.timescale.chunks import OWN_ROWS, Chunk
from shared.timescale.table import Table
from shared.timescale.triggers import IS_USERS
from shared.timescale.user_code import reads_harmlessly

_LEAVES_CHECKS_OUT_SINCE = (2, 22)

# Bits 1, 2 and 4 of `tgtype`: row, before, insert. A chunk may have triggers of its own.
_MAY_LEAVE_OUT = sql.SQL(
    "SELECT (SELECT count(*) > 1 FROM _timescaledb_catalog.dimension WHERE hypertable_id = %(id)s)"
    " OR EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgtype & 7 = 7 AND {is_users} AND (t.tgrelid = %(table)s"
    "  OR t.tgrelid IN (SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = %(table)s)))"
).format(is_users=IS_USERS)

# What ExecConstraints checks: NOT NULL, and CHECK except where it is not enforced (`conenforced`, PostgreSQL 18).
_CHECKS = sql.SQL(
    "SELECT ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnotnull"
    "  AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),"
    " ARRAY(SELECT ARRAY[k.conname::text, pg_catalog.pg_get_expr(k.conbin, k.conrelid)] FROM pg_catalog.pg_constraint k"
    "  WHERE k.conrelid = c.oid AND k.contype = 'c'"
    "  AND coalesce((pg_catalog.to_jsonb(k) ->> 'conenforced')::boolean, true) ORDER BY k.conname),"
    " {is_harmless}"
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = %s AND c.relname = %s"
).format(is_harmless=reads_harmlessly(sql.Identifier("c", "oid")))


# A column without a default that a COPY does not name is null, and COPY asks no domain whether it may be (run on
# PostgreSQL 15 - 18, plain tables too). INSERT does.
_NULL_BY_DEFAULT = (
    "SELECT a.attname, a.atttypid FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid"
    " WHERE a.attrelid = %s AND a.attname = ANY (%s) AND t.typtype = 'd' AND t.typdefaultbin IS NULL"
    " AND NOT a.atthasdef AND a.attidentity = '' ORDER BY a.attnum"
)


@dataclass(frozen=True)
class Violation:
    """Rows that break a constraint.

    Attributes:
        column: the NOT NULL column, if it is that.
        constraint: the CHECK constraint, if it is that.
        rows: how many.
    """

    column: str | None
    constraint: str | None
    rows: int = 0


def may_leave_checks_out(cursor: Cursor, table: Table) -> bool:
    """Whether a COPY into the table may let rows in that break its constraints."""
    if table.timescaledb is None or table.hypertable_id is None:
        return False
    if not table.timescaledb.at_least(*_LEAVES_CHECKS_OUT_SINCE):
        return False
    cursor.execute(_MAY_LEAVE_OUT, {"id": table.hypertable_id, "table": table.oid})
    return cursor.fetchone() == (True,)


def find_violation(cursor: Cursor, chunk: Chunk) -> Violation | None:
    """Find a constraint of a chunk that rows of this transaction break.

    Args:
        cursor: in the load's transaction, outside savepoints.
        chunk: the chunk; the transaction's snapshot shows it.
    """
    cursor.execute(_CHECKS, (chunk.schema, chunk.name))
    ((columns, checks, is_harmless),) = cursor.fetchall()
    # From 17 on, PostgreSQL takes `IS NULL` of a NOT NULL column for false, and looks at no row.
    tests = [
        (Violation(name, None), sql.SQL("pg_catalog.num_nulls({}) > 0").format(sql.Identifier(name)))
        for name in columns
    ]
    # A CHECK that is NULL holds.
    tests += [
        (Violation(None, name), sql.SQL("({}) IS FALSE").format(trusted_sql(check)))  # pg_get_expr wrote it
        for name, check in checks
    ]
    query = sql.SQL("SELECT {} FROM ONLY {} WHERE {}").format(
        sql.SQL(", ").join(sql.SQL("pg_catalog.count(*) FILTER (WHERE {})").format(test) for _, test in tests),
        chunk.identifier,
        OWN_ROWS,
    )
    # A function in SQL or PL/pgSQL may look up names.
    cursor.execute(query if is_harmless else after_catalog(query))
    (counts,) = cursor.fetchall()
    found = [replace(broken, rows=rows) for (broken, _), rows in zip(tests, counts, strict=True) if rows]
    return found[0] if found else None


def ask_domains_for_null(cursor: Cursor, table: Table, columns: Sequence[str]) -> None:
    """Check the domains of columns that COPY leaves null: a domain may refuse null.

    Args:
        cursor: in any transaction.
        table: the table.
        columns: its columns that a COPY does not name.

    Raises:
        psycopg2.Error: a domain refuses null (23502, or 23514 by a CHECK).
    """
    cursor.execute(_NULL_BY_DEFAULT, (table.oid, list(columns)))
    for _, type_oid in cursor.fetchall():
        query = sql.SQL("SELECT pg_catalog.domain_in(NULL, {}::pg_catalog.oid, -1) IS NULL")
        cursor.execute(by_users_path(query.format(sql.Literal(type_oid))))
