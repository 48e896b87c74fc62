"""Which rights the role lacks for what a restore is about to do. Asked before anything is written."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg2 import sql

from shared.database.cagg_plan import PlannedRefresh
from shared.database.connection import Cursor
from shared.database.hypertable import Table


@dataclass(frozen=True)
class MissingRight:
    """A right that the role lacks.

    Attributes:
        right: as GRANT names it, or "ownership".
        target: what it is lacking on.
        is_needed: whether the restore fails without it; otherwise only a best-effort step does.
    """

    right: str
    target: str
    is_needed: bool


def missing_rights(
    cursor: Cursor, table: Table, *, staging: bool, reads: bool, deletes: bool, decompresses: bool
) -> list[MissingRight]:
    """List the rights on the target and its schema that the role lacks.

    Args:
        cursor: in any transaction.
        table: the target.
        staging: whether a staging table is made in its schema.
        reads: whether the day's rows are counted, or a table is made like it.
        deletes: whether the day's rows are removed.
        decompresses: whether chunks are decompressed and compressed again.
    """
    wanted = [("INSERT", True), ("SELECT", reads), ("DELETE", deletes)]
    missing = [
        MissingRight(right, str(table), is_needed=True)
        for right, is_wanted in wanted
        if is_wanted and not _holds(cursor, "has_table_privilege", table.oid, right)
    ]
    missing += [
        MissingRight(right, f"schema {table.schema}", is_needed=True)
        for right in ("USAGE", *(("CREATE",) if staging else ()))
        if not _holds(cursor, "has_schema_privilege", table.schema_oid, right)
    ]
    if decompresses and not _owns(cursor, table.identifier):
        missing.append(MissingRight("ownership", str(table), is_needed=False))
    return missing


def missing_for_refresh(cursor: Cursor, planned: list[PlannedRefresh]) -> list[MissingRight]:
    """List the aggregates that the role may not refresh: that takes their owner's rights."""
    names = [plan.cagg.name for plan in planned if plan.cagg is not None]
    return [
        MissingRight("ownership", str(name), is_needed=False)
        for name in names
        if not _owns(cursor, sql.Identifier(str(name.schema), name.name))
    ]


def _holds(cursor: Cursor, function: str, oid: int, right: str) -> bool:
    # By number: to read a name, PostgreSQL would want USAGE on its schema.
    cursor.execute(sql.SQL("SELECT pg_catalog.{}(%s::oid, %s)").format(sql.Identifier(function)), (oid, right))
    return cursor.fetchone() == (True,)


def _owns(cursor: Cursor, name: sql.Identifier) -> bool:
    cursor.execute(
        "SELECT pg_catalog.pg_has_role(c.relowner, 'USAGE') FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s",
        name.strings,
    )
    return cursor.fetchone() == (True,)
