"""Counts of the rows that the load itself brought: those in a staging table, and those in the target.

All counts of a load come from one REPEATABLE READ snapshot. In that isolation the load sees its own rows and no other
session's new ones, so the difference is exact while others write. Whether rows outside the day are an error is asked
in `rows_outside` of `load/refusals.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from psycopg2 import sql

from shared.model.results import Count
from shared.model.window import Window
from shared.postgres.connect import Cursor
from shared.postgres.search_path import by_users_path
from shared.timescale.chunks import OWN_ROWS, Chunk, written_chunks
from shared.timescale.keys import Key
from shared.timescale.rows_of_days import ask_count, read_count
from shared.timescale.table import Table, inside, instant, within


def count_staged_outside(cursor: Cursor, table: Table, staging: sql.Identifier, window: Window) -> Count:
    """Count the staged rows outside the day. A row without a time does not count: the target decides about it."""
    # The table that staging is modeled on may have another type for this column than the target.
    time = sql.SQL("{}::{}").format(table.time_identifier, table.time_sql)
    condition = within(table, sql.Identifier("t"), window)
    if table.takes_version_7_alone:
        # TimescaleDB will refuse a UUID of another version.
        condition = sql.SQL("{} OR {} IS NULL").format(condition, instant(table, sql.Identifier("t")))
    query = sql.SQL(
        "SELECT pg_catalog.count(*), {first}, {last} FROM (SELECT {time} AS t FROM {staging}) AS rows"
        " WHERE NOT ({condition})"
    ).format(time=time, staging=staging, condition=condition, **_bounds(table))
    return ask_count(cursor, query)


def count_staged(
    cursor: Cursor, table: Table, staging: sql.Identifier, condition: sql.Composable | None = None
) -> Count:
    """Count the staged rows that meet a condition, or all of them. The times are those of the rows that have one.

    The staging table is a temporary double (`trial/double.py`).
    """
    query = sql.SQL(
        "SELECT pg_catalog.count(*), {first}, {last}"
        " FROM (SELECT {time}::{type} AS t FROM {staging} WHERE {condition}) AS rows"
    ).format(
        time=table.time_identifier,
        type=table.time_sql,
        staging=staging,
        condition=sql.SQL("true") if condition is None else condition,
        **_bounds(table),
    )
    # With the product's own search_path: PostgreSQL wrote the condition, and it runs no user code.
    cursor.execute(query)
    return read_count(cursor)


def count_staged_inside(cursor: Cursor, table: Table, staging: sql.Identifier, window: Window) -> int:
    """Count the staged rows of the day."""
    query = sql.SQL("SELECT pg_catalog.count(*) FROM {} WHERE {}").format(staging, inside(table, window))
    return ask_count(cursor, query).rows


def count_beside_staged(cursor: Cursor, table: Table, staging: sql.Identifier, outside: Window) -> int:
    """Count the rows that the target holds at the times of staged rows outside a window."""
    query = sql.SQL(
        "SELECT pg_catalog.count(*) FROM {table}"
        " WHERE {time} OPERATOR(pg_catalog.=) ANY (SELECT {time} FROM {staging} WHERE NOT ({inside}))"
    ).format(table=table.own_rows, time=table.time_identifier, staging=staging, inside=inside(table, outside))
    return ask_count(cursor, query).rows


def count_with_same_key(
    cursor: Cursor, table: Table, staging: sql.Identifier, key: Key, *, without: Window | None
) -> int:
    """Count the staged rows whose key a row of the target has already.

    Args:
        cursor: in the load's transaction.
        table: the target.
        staging: where the rows are.
        key: plain, of PostgreSQL's own operators.
        without: rows of the target in this window do not count; None: all do.
    """
    same = sql.SQL("({old} OPERATOR(pg_catalog.=) {new}{nulls})")
    both_null = sql.SQL(" OR ({old} IS NULL AND {new} IS NULL)")
    conditions: list[sql.Composable] = []
    for column in key.columns:
        names = {"old": sql.Identifier("old", column), "new": sql.Identifier("new", column)}
        nulls = both_null.format(**names) if key.nulls_are_equal else sql.SQL("")
        conditions.append(same.format(nulls=nulls, **names))
    if without is not None:
        # In the innermost query, whose own column it names: that of the row that is there.
        conditions.append(sql.SQL("({}) IS NOT TRUE").format(inside(table, without)))
    query = sql.SQL("SELECT pg_catalog.count(*) FROM {} new WHERE EXISTS (SELECT FROM {} old WHERE {})")
    return ask_count(cursor, query.format(staging, table.own_rows, sql.SQL(" AND ").join(conditions))).rows


def count_own(cursor: Cursor, table: Table, *, outside: Window) -> tuple[Count, tuple[Chunk, ...]]:
    """Count the rows that this transaction brought outside a window, and name their chunks.

    They are found by `xmin`, only in relations on which the transaction holds a writer's lock. Rows that
    `decompress_chunk` or a DELETE decompressed have another `xmin`: both run in savepoints, which have transaction
    ids of their own.

    Args:
        cursor: in the load's transaction, outside savepoints.
        table: the target.
        outside: the window.
    """
    chunks = written_chunks(cursor, table)
    if table.hypertable_id is not None and not chunks:
        return Count(0), ()
    return _count_own(cursor, table, chunks, outside), chunks


def count_own_by_chunk(cursor: Cursor, table: Table, chunks: Sequence[Chunk], *, outside: Window) -> tuple[Count, ...]:
    """Count the rows that this transaction brought outside a window into each of some chunks. As `count_own`."""
    return tuple(_count_own(cursor, table, [chunk], outside) for chunk in chunks)


def _count_own(cursor: Cursor, table: Table, chunks: Sequence[Chunk], outside: Window) -> Count:
    query = sql.SQL("SELECT pg_catalog.count(*), {first}, {last} FROM ({own}) AS own").format(
        own=_own_times(table, chunks, outside), **_bounds(table)
    )
    return ask_count(cursor, query)


def days_of_own(
    cursor: Cursor, table: Table, chunks: Sequence[Chunk], *, outside: Window, most: int
) -> frozenset[date] | None:
    """List the UTC days of the rows that this transaction brought outside a window.

    Args:
        cursor: as for `count_own`.
        table: the target.
        chunks: those that `count_own` named.
        outside: the archive's day.
        most: how many days are listed.

    Returns:
        The days; None if there are more. A day that Python does not know counts as the first or the last one.
    """
    # A UUID of another version than 7 has no time.
    query = sql.SQL("SELECT DISTINCT {day} FROM ({own}) AS own WHERE {time} IS NOT NULL LIMIT {most}").format(
        day=_day(table, outside),
        own=_own_times(table, chunks, outside),
        time=instant(table, sql.Identifier("t")),
        most=sql.Literal(most + 1),
    )
    cursor.execute(by_users_path(query))
    days = frozenset(day for (day,) in cursor.fetchall())
    return days if len(days) <= most else None


def _own_times(table: Table, chunks: Sequence[Chunk], outside: Window) -> sql.Composed:
    """Write the query of the times `t` of this transaction's own rows outside a window."""
    # ONLY: the rows that a compressed chunk holds compressed are not ours, and have no xmin.
    relations: list[sql.Composable] = [sql.SQL("ONLY {}").format(chunk.identifier) for chunk in chunks]
    own = sql.SQL("SELECT {time} AS t FROM {relation} WHERE {own} AND NOT ({inside})")
    return sql.SQL(" UNION ALL ").join(
        own.format(time=table.time_identifier, relation=relation, own=OWN_ROWS, inside=inside(table, outside))
        for relation in (relations or [table.own_rows])
    )


def _day(table: Table, day: Window) -> sql.Composable:
    """Write the UTC day of a time `t`, brought to what Python can hold.

    Args:
        table: has the time column.
        day: any day in that column: it tells the unit of an integer.
    """
    time = sql.Identifier("t")
    held = sql.SQL("least(greatest({}, '0001-01-02'), '9999-12-30')")
    if table.time_kind == "integer":
        lower, upper = day.column_bounds
        # Adding a number of days to a date is an error if the result is out of range.
        number = sql.SQL(
            "least(greatest(pg_catalog.floor({}::numeric OPERATOR(pg_catalog./) {}::numeric), -719161), 2932895)::int"
        ).format(time, sql.Literal(upper - lower))  # type: ignore[operator] # both are integers
        return sql.SQL("pg_catalog.date '1970-01-01' OPERATOR(pg_catalog.+) {}").format(number)
    at: sql.Composable = instant(table, time)
    if table.time_kind in ("timestamptz", "uuid"):
        at = sql.SQL("pg_catalog.timezone('UTC', {})").format(at)
    return sql.SQL("{}::pg_catalog.date").format(held.format(at))


def count_beside_own(cursor: Cursor, table: Table, chunks: Sequence[Chunk], outside: Window) -> int:
    """Count the rows that were there before at the times of this transaction's own rows outside a window."""
    total = 0
    relations: list[tuple[sql.Composable, Sequence[Chunk]]] = [(chunk.identifier, [chunk]) for chunk in chunks]
    # A plain table has no chunks.
    for relation, parts in relations or [(table.own_rows, [])]:
        query = sql.SQL(
            "SELECT (SELECT pg_catalog.count(*) FROM {relation} WHERE {time} OPERATOR(pg_catalog.=) ANY ({own}))"
            " OPERATOR(pg_catalog.-) (SELECT pg_catalog.count(*) FROM ({own}) AS mine)"
        ).format(relation=relation, time=table.time_identifier, own=_own_times(table, parts, outside))
        total += ask_count(cursor, query).rows
    return total


def _bounds(table: Table) -> dict[str, sql.Composable]:
    """Write the first and last time `t`, brought to what Python can hold: no infinity, no year 0 or 10000."""
    time = instant(table, sql.Identifier("t"))
    bounds = {
        "first": sql.SQL("pg_catalog.min({})").format(time),
        "last": sql.SQL("pg_catalog.max({})").format(time),
    }
    if table.time_kind == "integer":
        return {**bounds}
    held = sql.SQL("CASE WHEN {time} IS NOT NULL THEN least(greatest({time}, '0001-01-02'), '9999-12-30') END")
    return {name: held.format(time=bound) for name, bound in bounds.items()}
