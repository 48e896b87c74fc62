"""Lists the chunks of a hypertable over a span of time, and their state."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2 import sql

from shared.model.window import TimeKind, Window
from shared.postgres.connect import Cursor
from shared.postgres.search_path import by_users_path
from shared.timescale.table import Table, inside

# Whether this transaction holds ACCESS EXCLUSIVE on the chunk with the oid `chunk`, as after CREATE TABLE and TRUNCATE.
# LOCK and decompress_chunk take it too, so the caller must know that it created or emptied the chunk.
IS_OWN = sql.SQL(
    "EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype = 'relation' AND relation = %(chunk)s"
    " AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
    " AND pid = pg_catalog.pg_backend_pid() AND mode = 'AccessExclusiveLock' AND granted)"
)

# Rows that this transaction has written, except in savepoints, which have transaction ids of their own.
OWN_ROWS = sql.SQL("xmin OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id()::pg_catalog.xid")


@dataclass(frozen=True)
class Chunk:
    """A chunk of a hypertable."""

    schema: str
    name: str
    is_compressed: bool

    def __str__(self) -> str:
        """Return the name for a person."""
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        """The qualified name, quoted for SQL."""
        return sql.Identifier(self.schema, self.name)


def chunks_overlapping(cursor: Cursor, table: Table, window: Window) -> tuple[Chunk, ...]:
    """List the chunks that overlap the window, oldest first.

    `show_chunks(newer_than, older_than)` lists only chunks that lie wholly inside: for one day in a 7-day chunk, none
    (measured on 2.19 - 2.31). So the ranges are compared here. `timescaledb_information.chunks` shows the
    ranges of `timestamp` and `date` columns as the timestamptz of the same UTC time.

    If a user's function cuts the chunks, their ranges are values of that function, so the chunks that hold any row of
    the window are listed. That needs the right to read the whole table.
    """
    if table.has_partitioning_function:
        return _chunks_with_rows(cursor, table, window)
    return _chunks_where(cursor, table, _OVERLAPS, window)


def chunks_inside(cursor: Cursor, table: Table, window: Window) -> tuple[Chunk, ...]:
    """List the chunks that lie wholly inside the window, oldest first; none if their ranges are not times."""
    if table.has_partitioning_function:
        return ()
    return _chunks_where(cursor, table, sql.SQL("{start} >= {lower} AND {end} <= {upper}"), window)


def chunk_ranges(cursor: Cursor, table: Table, window: Window) -> tuple[tuple[datetime | int, datetime | int], ...]:
    """Return the ranges of the chunks that overlap the window, oldest first, as `Window.chunk_bounds` has them.

    Nothing if a user's function cuts the chunks: their ranges are values of that function.
    """
    if table.has_partitioning_function:
        return ()
    # The chunks of a space partition share their range.
    return tuple(dict.fromkeys(_ask(cursor, table, sql.SQL("{start}, {end}"), _OVERLAPS, window)))


def chunk_oid(cursor: Cursor, chunk: Chunk) -> int | None:
    """Return a chunk's oid; None if this transaction does not see the chunk."""
    cursor.execute(
        "SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s",
        (chunk.schema, chunk.name),
    )
    row = cursor.fetchone()
    return None if row is None else row[0]


def is_own(cursor: Cursor, chunk: Chunk) -> bool:
    """Whether no other session can use the chunk: see `IS_OWN`."""
    cursor.execute(sql.SQL("SELECT {}").format(IS_OWN), {"chunk": chunk_oid(cursor, chunk)})
    return cursor.fetchone() == (True,)


# CHUNK_STATUS_FROZEN in TimescaleDB's src/ts_catalog/catalog.h.
_FROZEN = 4


@dataclass(frozen=True)
class FrozenChunk:
    """A chunk from which no row can be removed and to which none can be added (`freeze_chunk`).

    Attributes:
        chunk: the chunk.
        takes_whole_window: whether every row of the window belongs in it.
        holds_rows: whether it holds rows of the window.
    """

    chunk: Chunk
    takes_whole_window: bool
    holds_rows: bool


def frozen_chunks(cursor: Cursor, table: Table, chunks: Sequence[Chunk], window: Window) -> tuple[FrozenChunk, ...]:
    """Find the frozen ones among some chunks of a hypertable.

    Args:
        cursor: in any transaction. The role may read the time column.
        table: the hypertable.
        chunks: those over the window.
        window: the day.
    """
    if not chunks:
        return ()
    lower, upper = window.chunk_bounds
    # In 2.19 the function locks the chunk's row in the catalogue (`lock_chunk_tuple` in src/chunk.c). So it is
    # called only if some chunk is frozen. From 2.30 on, the catalogue names a chunk in another way.
    cursor.execute(
        sql.SQL(
            "SELECT chunk_schema, chunk_name, coalesce(is_compressed, false),"
            " {start} <= {lower} AND {end} >= {upper} AND NOT {by_function}"
            " AND (SELECT count(*) = 1 FROM _timescaledb_catalog.dimension WHERE hypertable_id = {id})"
            " FROM timescaledb_information.chunks JOIN ROWS FROM"
            " (pg_catalog.unnest({schemas}::name[]), pg_catalog.unnest({names}::name[])) asked(schema, name)"
            " ON chunk_schema = asked.schema AND chunk_name = asked.name"
            " WHERE hypertable_schema = {schema} AND hypertable_name = {name}"
            " AND CASE WHEN EXISTS (SELECT FROM _timescaledb_catalog.chunk"
            "  WHERE hypertable_id = {id} AND status & {frozen} <> 0)"
            " THEN _timescaledb_functions.chunk_status("
            "  pg_catalog.format('%I.%I', chunk_schema, chunk_name)::regclass) & {frozen} <> 0"
            " ELSE false END ORDER BY chunk_name"
        ).format(
            lower=sql.Literal(lower),
            upper=sql.Literal(upper),
            by_function=sql.Literal(table.has_partitioning_function),
            id=sql.Literal(table.hypertable_id),
            schemas=sql.Literal([chunk.schema for chunk in chunks]),
            names=sql.Literal([chunk.name for chunk in chunks]),
            schema=sql.Literal(table.schema),
            name=sql.Literal(table.name),
            frozen=sql.Literal(_FROZEN),
            **range_columns(window),
        )
    )
    found = [(Chunk(schema, name, is_compressed), takes_all) for schema, name, is_compressed, takes_all in cursor]
    return tuple(FrozenChunk(chunk, takes_all, _holds_rows(cursor, table, chunk, window)) for chunk, takes_all in found)


def _holds_rows(cursor: Cursor, table: Table, chunk: Chunk, window: Window) -> bool:
    name = chunk.identifier
    query = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {})").format(name, inside(table, window))
    cursor.execute(by_users_path(query))
    return cursor.fetchone() == (True,)


def all_chunks(cursor: Cursor, table: Table) -> tuple[Chunk, ...]:
    """List every chunk of the hypertable."""
    cursor.execute(
        "SELECT chunk_schema, chunk_name, coalesce(is_compressed, false) FROM timescaledb_information.chunks"
        " WHERE hypertable_schema = %s AND hypertable_name = %s",
        (table.schema, table.name),
    )
    return tuple(Chunk(*row) for row in cursor.fetchall())


def _chunks_with_rows(cursor: Cursor, table: Table, window: Window) -> tuple[Chunk, ...]:
    query = sql.SQL("SELECT DISTINCT tableoid FROM {} WHERE {}").format(table.identifier, inside(table, window))
    cursor.execute(by_users_path(query))
    oids = [oid for (oid,) in cursor.fetchall()]
    cursor.execute(
        "SELECT i.chunk_schema, i.chunk_name, coalesce(i.is_compressed, false) FROM timescaledb_information.chunks i"
        " JOIN pg_catalog.pg_namespace n ON n.nspname = i.chunk_schema"
        " JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = i.chunk_name"
        " WHERE i.hypertable_schema = %s AND i.hypertable_name = %s AND c.oid = ANY (%s::oid[]) ORDER BY c.oid",
        (table.schema, table.name, oids),
    )
    return tuple(Chunk(*row) for row in cursor.fetchall())


_OVERLAPS = sql.SQL("{start} < {upper} AND {end} > {lower}")
_CHUNK = sql.SQL("chunk_schema, chunk_name, coalesce(is_compressed, false)")


def _chunks_where(cursor: Cursor, table: Table, condition: sql.SQL, window: Window) -> tuple[Chunk, ...]:
    return tuple(Chunk(*row) for row in _ask(cursor, table, _CHUNK, condition, window))


def _ask(
    cursor: Cursor, table: Table, columns: sql.SQL, condition: sql.SQL, window: Window
) -> Sequence[tuple[Any, ...]]:
    """Return columns of the chunks whose range meets a condition, oldest first."""
    if table.hypertable_id is None:
        return ()
    lower, upper = window.chunk_bounds
    bounds = range_columns(window)
    cursor.execute(
        sql.SQL(
            "SELECT {} FROM timescaledb_information.chunks"
            " WHERE hypertable_schema = {} AND hypertable_name = {} AND {} ORDER BY {}, chunk_name"
        ).format(
            columns.format(**bounds),
            sql.Literal(table.schema),
            sql.Literal(table.name),
            condition.format(lower=sql.Literal(lower), upper=sql.Literal(upper), **bounds),
            bounds["start"],
        )
    )
    return cursor.fetchall()


_RANGE_BOUNDS: dict[TimeKind, sql.SQL] = {
    "integer": sql.SQL("{integer}"),
    # Up to 2.23 the view has a UUID's range as microseconds (read: sql/views.sql of 2.22.0 - 2.24.0).
    "uuid": sql.SQL("coalesce({time}, _timescaledb_functions.to_timestamp({integer}))"),
}


def range_columns(window: Window) -> dict[str, sql.Composable]:
    """Return the columns of `timescaledb_information.chunks` that hold a chunk's range, as `start` and `end`."""
    bound = _RANGE_BOUNDS.get(window.kind, sql.SQL("{time}"))
    return {
        name: bound.format(time=sql.Identifier(f"range_{name}"), integer=sql.Identifier(f"range_{name}_integer"))
        for name in ("start", "end")
    }


def written_chunks(cursor: Cursor, table: Table) -> tuple[Chunk, ...]:
    """List the chunks that this transaction wrote to, also those that another one created after the snapshot.

    So the names come from the locks, by way of the catalogue caches that `pg_identify_object` reads, and not from a
    query of the catalogue, which shows it as it was at the snapshot.
    """
    if table.hypertable_id is None:
        return ()
    cursor.execute(
        # Always with its schema, where `regclass` leaves that out if it is on the search_path.
        "SELECT pg_catalog.parse_ident(o.identity), EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = l.relation)"
        " FROM pg_catalog.pg_locks l"
        " CROSS JOIN LATERAL pg_catalog.pg_identify_object('pg_catalog.pg_class'::regclass, l.relation, 0) o"
        " WHERE l.pid = pg_catalog.pg_backend_pid() AND l.mode = 'RowExclusiveLock' AND l.locktype = 'relation'"
        " AND l.relation >= 16384"
        # A relation that has been dropped meanwhile has none.
        " AND o.identity IS NOT NULL"
    )
    visible = {tuple(parts): is_visible for parts, is_visible in cursor.fetchall()}
    cursor.execute(
        "SELECT associated_schema_name, associated_table_prefix FROM _timescaledb_catalog.hypertable WHERE id = %s",
        (table.hypertable_id,),
    )
    row = cursor.fetchone()
    known = {(chunk.schema, chunk.name): chunk for chunk in all_chunks(cursor, table)}
    # A chunk created after the snapshot is recognized only by its name. Names of indexes and compressed parts begin
    # with the same prefix but end differently. A relation that the snapshot shows, and that is not one of the chunks,
    # is a table.
    new = {
        name
        for name, is_visible in visible.items()
        if not is_visible
        and row is not None
        and name[0] == row[0]
        and re.fullmatch(rf"{re.escape(row[1])}_\d+_chunk", name[1])
    }
    found = sorted(new.union(known.keys() & visible.keys()))
    return tuple(known.get((schema, name), Chunk(schema, name, is_compressed=False)) for schema, name in found)
