"""The proof: the day's rows counted before and after the load, in one REPEATABLE READ snapshot.

In that isolation the load sees its own rows and nobody else's new ones, so the difference is exact while others write.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from psycopg2 import sql

from shared.database.chunk_catalog import Chunk
from shared.database.connection import Cursor
from shared.database.hypertable import Table
from shared.database.window import TimeValue, Window, iso
from shared.errors import Fault, RowsOutsideWindow, VerificationFailed


@dataclass(frozen=True)
class Count:
    """How many rows, and between which times. Both times are None where there are no rows."""

    rows: int
    first: TimeValue | None = None
    last: TimeValue | None = None

    def describe(self) -> str:
        """Say it in a message."""
        between = "" if self.first is None or self.last is None else f", from {iso(self.first)} to {iso(self.last)}"
        return f"{self.rows} rows{between}"


def count_window(cursor: Cursor, table: Table, window: Window) -> Count:
    """Count the target's rows in the archive's day."""
    cursor.execute(
        sql.SQL("SELECT count(*), min({time}), max({time}) FROM {table} WHERE {inside}").format(
            time=_time(table), table=table.identifier, inside=inside(table, window)
        )
    )
    return _count(cursor)


def count_staged_outside(cursor: Cursor, table: Table, staging: sql.Identifier, window: Window) -> Count:
    """Count the staged rows that are outside the day. A row without a time is none of them: the target decides."""
    cursor.execute(
        sql.SQL("SELECT count(*), min({time}), max({time}) FROM {table} WHERE NOT ({inside})").format(
            time=_time(table), table=staging, inside=inside(table, window)
        )
    )
    return _count(cursor)


def count_own(cursor: Cursor, table: Table, *, outside: Window | None = None) -> tuple[Count, tuple[Chunk, ...]]:
    """Count the rows that this very transaction copied or inserted, and name the chunks they went to.

    They are found by `xmin`, in those relations only that the transaction holds a writer's lock on. Rows that
    `decompress_chunk` moved have another `xmin`: it ran in a savepoint, which has a transaction id of its own.

    Args:
        cursor: in the load's transaction, outside savepoints.
        table: the target.
        outside: count only what is outside this window.
    """
    chunks = _written_chunks(cursor, table)
    # ONLY: the rows that a compressed chunk holds packed are not ours, and have no xmin.
    relations: list[sql.Composable] = [
        sql.SQL("ONLY {}").format(sql.Identifier(chunk.schema, chunk.name)) for chunk in chunks
    ]
    where = sql.SQL("") if outside is None else sql.SQL(" AND NOT ({})").format(inside(table, outside))
    own = sql.SQL("SELECT {time} AS t FROM {relation} WHERE xmin = pg_catalog.pg_current_xact_id()::xid{where}")
    parts = [
        own.format(time=_time(table), relation=relation, where=where) for relation in relations or [table.identifier]
    ]
    cursor.execute(
        sql.SQL("SELECT count(*), min(t), max(t) FROM ({}) AS own").format(sql.SQL(" UNION ALL ").join(parts))
    )
    return _count(cursor), chunks


def _written_chunks(cursor: Cursor, table: Table) -> tuple[Chunk, ...]:
    if table.hypertable_id is None:
        return ()
    cursor.execute(
        "SELECT i.chunk_schema, i.chunk_name, coalesce(i.is_compressed, false)"
        " FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " JOIN timescaledb_information.chunks i ON i.chunk_schema = n.nspname AND i.chunk_name = c.relname"
        " WHERE l.pid = pg_catalog.pg_backend_pid() AND l.mode = 'RowExclusiveLock' AND l.locktype = 'relation'"
        " AND i.hypertable_schema = %s AND i.hypertable_name = %s ORDER BY i.range_start, i.range_start_integer, 2",
        (table.schema, table.name),
    )
    return tuple(Chunk(*row) for row in cursor.fetchall())


def refuse_outside(outside: Count, day: date) -> None:
    """Refuse rows of another time than the archive's day.

    Raises:
        RowsOutsideWindow: there are some; the detail holds `rows`, `min_time` and `max_time`.
    """
    if outside.rows == 0:
        return
    facts = {
        "rows": outside.rows,
        "min_time": None if outside.first is None else iso(outside.first),
        "max_time": None if outside.last is None else iso(outside.last),
    }
    message = f"the archive holds {outside.describe()}, outside {day.isoformat()}"
    raise RowsOutsideWindow(message, details=[Fault("RowsOutsideWindow", message, info=tuple(facts.items()))])


def refuse_difference(*, before: int, after: int, added: int) -> None:
    """Refuse a load that the recount does not show.

    Raises:
        VerificationFailed: `after - before` is not `added`; the detail holds the counts.
    """
    if after - before != added:
        facts = {"rows_before": before, "rows_after": after, "rows_added": added}
        message = f"the day held {before} rows before and {after} after, but {added} were added"
        raise VerificationFailed(message, details=[Fault("VerificationFailed", message, info=tuple(facts.items()))])


def inside(table: Table, window: Window) -> sql.Composed:
    """Write the condition that a row lies in the window.

    The values are literals: psycopg2 looks for parameters in the whole statement, a `%` in a name included.
    """
    return sql.SQL("{time} >= {lower} AND {time} < {upper}").format(
        time=_time(table), lower=sql.Literal(window.lower), upper=sql.Literal(window.upper)
    )


def _time(table: Table) -> sql.Identifier:
    return sql.Identifier(table.time_column or "")


def _count(cursor: Cursor) -> Count:
    row = cursor.fetchone()
    return Count(*row) if row is not None else Count(0)
