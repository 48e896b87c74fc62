"""Looks up a constraint that refused a row, and the triggers and rules that may refuse rows, in the catalogue."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg2 import sql

from shared.postgres.connect import Cursor
from shared.timescale.table import Table, has_insert_rule
from shared.timescale.triggers import IS_USERS


@dataclass(frozen=True)
class RefusingConstraint:
    """A constraint of a table, of one of its partitions or chunks.

    Attributes:
        is_known: whether the catalogue has it. It has none for NOT NULL or the bounds of a partition.
        is_deferred: whether it is checked at the COMMIT.
        refers_to_itself: whether it is a foreign key to the table itself, so a row may need another row of the file.
    """

    is_known: bool
    is_deferred: bool
    refers_to_itself: bool


# A chunk's constraint has the name of the hypertable's, and numbers before it.
_FIND = sql.SQL(
    "WITH RECURSIVE"
    " refused (oid) AS (SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
    "  ON n.oid = c.relnamespace WHERE n.nspname = %(schema)s AND c.relname = %(name)s),"
    " refused_up (oid) AS (SELECT oid FROM refused UNION"
    "  SELECT i.inhparent FROM pg_catalog.pg_inherits i JOIN refused_up u ON u.oid = i.inhrelid),"
    " target_up (oid) AS (SELECT %(table)s::oid UNION"
    "  SELECT i.inhparent FROM pg_catalog.pg_inherits i JOIN target_up u ON u.oid = i.inhrelid),"
    " found AS (SELECT con.condeferred, con.confrelid FROM pg_catalog.pg_constraint con"
    "  WHERE con.conrelid IN (SELECT oid FROM refused UNION SELECT %(table)s::oid)"
    "  AND (con.conname = %(constraint)s"
    "   OR pg_catalog.right(%(constraint)s::text, pg_catalog.length(con.conname::text) + 1)"
    "    = '_' || con.conname::text)),"
    " referenced_up (oid) AS (SELECT confrelid FROM found UNION"
    "  SELECT i.inhparent FROM pg_catalog.pg_inherits i JOIN referenced_up u ON u.oid = i.inhrelid)"
    " SELECT EXISTS (SELECT FROM found), coalesce((SELECT bool_or(condeferred) FROM found), false),"
    "  EXISTS (SELECT FROM referenced_up u WHERE u.oid = %(table)s)"
    "  OR EXISTS (SELECT FROM found f JOIN target_up u ON u.oid = f.confrelid)"
    " WHERE %(name)s::text IS NOT NULL AND (NOT EXISTS (SELECT FROM refused)"
    "  OR EXISTS (SELECT FROM refused_up u WHERE u.oid = %(table)s))"
)


# Bits 1, 2 and 4 of `tgtype`: row, before, insert.
_MAY_JUDGE_TOGETHER = sql.SQL(
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = %s AND NOT t.tgisinternal"
    " AND t.tgtype & 4 = 4 AND t.tgtype & 3 <> 3 AND {is_users})"
).format(is_users=IS_USERS)


def find_refusing_constraint(
    cursor: Cursor, table: Table, schema: str | None, name: str | None, constraint: str | None
) -> RefusingConstraint | None:
    """Look up the constraint that refused a row in a transaction that was rolled back.

    Args:
        cursor: in any transaction.
        table: the target.
        schema: the schema of the table that the error names: the target, or a part of it. A chunk that the transaction
            made is gone.
        name: that table's name; None if the error names none.
        constraint: the constraint's name; None if the error names none.

    Returns:
        The constraint; None if the error is about another table, to which a trigger may have written, or about none.
    """
    cursor.execute(_FIND, {"table": table.oid, "schema": schema, "name": name, "constraint": constraint})
    row = cursor.fetchone()
    return None if row is None else RefusingConstraint(*row)


def judges_rows_together(cursor: Cursor, table: Table) -> bool:
    """Whether something other than the row itself may decide if it is refused.

    A rule may, and so may the user's own statement-level and AFTER triggers.
    """
    cursor.execute(_MAY_JUDGE_TOGETHER, (table.oid,))
    return cursor.fetchone() == (True,) or has_insert_rule(cursor, table)
