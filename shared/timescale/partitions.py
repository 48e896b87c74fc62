"""The partitions of a partitioned table that may take rows of a span of time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg2 import sql

from shared.model.window import Window
from shared.names import QualifiedName
from shared.postgres.connect import Cursor
from shared.postgres.local_settings import local_settings
from shared.postgres.search_path import by_users_path
from shared.postgres.trusted_sql import trusted_sql
from shared.timescale.table import Table, inside

# All partitioned tables of the tree: is each cut by ranges of the time column alone, and does each compare values by
# PostgreSQL's own operator classes? Their numbers are given by initdb.
_KEYS = (
    "SELECT bool_and(k.partstrat = 'r' AND k.partnatts = 1 AND a.attname = %(time)s),"
    " bool_and(k.partexprs IS NULL"
    "  AND NOT EXISTS (SELECT FROM pg_catalog.unnest(k.partclass) c(oid) WHERE c.oid >= 16384))"
    " FROM pg_catalog.pg_partition_tree(%(table)s::oid::regclass) t"
    " JOIN pg_catalog.pg_partitioned_table k ON k.partrelid = t.relid"
    " LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = k.partrelid AND a.attnum = k.partattrs[0]"
)
_CONSTRAINTS = (
    "SELECT pg_catalog.pg_get_partition_constraintdef(c.oid) FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE (n.nspname, c.relname) IN"
    " (SELECT * FROM ROWS FROM (pg_catalog.unnest(%s::name[]), pg_catalog.unnest(%s::name[])) names)"
)


@dataclass(frozen=True)
class Partitions:
    """The partitions that may take rows of a span of time.

    Attributes:
        names: their names.
        constraints: the condition of each partition, as SQL that PostgreSQL wrote; None: it accepts every row.
        is_by_time: whether they are cut by ranges of the time column alone.
        is_harmless: whether the conditions can be evaluated without running user code.
    """

    names: tuple[QualifiedName, ...]
    constraints: tuple[str | None, ...]
    is_by_time: bool
    is_harmless: bool


def partitions_over(cursor: Cursor, table: Table, window: Window) -> Partitions | None:
    """Find the partitions that may take rows of the window; None where the table is not partitioned.

    The planner knows them: it omits the others from a query, whatever they are cut by, and on every level.

    Args:
        cursor: in any transaction. The role may read the time column.
        table: the table.
        window: the span, in its time column.
    """
    cursor.execute("SELECT EXISTS (SELECT FROM pg_catalog.pg_partitioned_table WHERE partrelid = %s)", (table.oid,))
    if cursor.fetchone() != (True,):
        return None
    with local_settings(cursor, {"enable_partition_pruning": "on", "constraint_exclusion": "off"}):
        query = sql.SQL("EXPLAIN (VERBOSE, COSTS off, FORMAT json) SELECT FROM {} WHERE {}")
        cursor.execute(by_users_path(query.format(table.identifier, inside(table, window))))
        ((plan,),) = cursor.fetchall()
    names = list(_relations(plan[0]["Plan"]))
    cursor.execute(_CONSTRAINTS, ([schema for schema, _ in names], [name for _, name in names]))
    constraints = tuple(constraint for (constraint,) in cursor.fetchall())
    cursor.execute(_KEYS, {"table": table.oid, "time": table.time_column})
    ((is_by_time, is_harmless),) = cursor.fetchall()
    return Partitions(tuple(QualifiedName(*name) for name in names), constraints, bool(is_by_time), bool(is_harmless))


def leaf_partitions(cursor: Cursor, table: Table) -> tuple[QualifiedName, ...]:
    """List the partitions that hold the rows of a partitioned table; nothing if it is not partitioned."""
    cursor.execute(
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_partition_tree(%s::oid::regclass) t"
        " JOIN pg_catalog.pg_class c ON c.oid = t.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE t.isleaf AND t.relid <> %s::oid ORDER BY n.nspname, c.relname",
        (table.oid, table.oid),
    )
    return tuple(QualifiedName(*name) for name in cursor.fetchall())


def _relations(plan: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "Relation Name" in plan:
        yield plan["Schema"], plan["Relation Name"]
    for part in plan.get("Plans", ()):
        yield from _relations(part)


def takes_whole_window(cursor: Cursor, table: Table, window: Window, partitions: Partitions) -> bool:
    """Whether one partition takes every row of the window."""
    if None in partitions.constraints:
        return True
    if not (partitions.is_by_time and partitions.is_harmless):
        return False
    time = table.time_identifier
    lower, last = (
        sql.SQL("(SELECT {} FROM (SELECT {}::{} AS {}) row)").format(
            sql.SQL("ARRAY[{}]").format(sql.SQL(", ").join(_asked(partitions))),
            sql.Literal(bound),
            table.time_sql,
            time,
        )
        for bound in window.column_ends
    )
    # A range that holds both ends holds what lies between them.
    cursor.execute(
        sql.SQL(
            "SELECT coalesce(bool_or(lower AND last), false)"
            " FROM ROWS FROM (pg_catalog.unnest({}), pg_catalog.unnest({})) bounds(lower, last)"
        ).format(lower, last)
    )
    return cursor.fetchone() == (True,)


def in_no_partition(partitions: Partitions) -> sql.Composed:
    """Return the SQL condition that no partition accepts a row, with the table's own names of columns."""
    if not partitions.constraints:
        return sql.Composed([sql.SQL("true")])
    return sql.SQL("({}) IS NOT TRUE").format(sql.SQL(" OR ").join(_asked(partitions)))


def _asked(partitions: Partitions) -> Iterator[sql.Composable]:
    for constraint in partitions.constraints:
        # pg_get_partition_constraintdef wrote it.
        yield sql.SQL("true") if constraint is None else sql.SQL("({})").format(trusted_sql(constraint))
