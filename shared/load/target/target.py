"""What a restore writes into: the table, the file's columns in it, and the day in its time column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from psycopg2 import sql

from shared.csvfile.format_hints import columns_with_offsets, escapes_by_backslash
from shared.errors import HeaderMismatch, OperationNotSupported, TargetNotATable, WindowUnknown
from shared.load.target.columns import ColumnPlan, plan_columns
from shared.load.target.file_header import FileHeader
from shared.load.target.first_rows import columns_with_times, has_rows, sample_times
from shared.load.target.skipped_line import is_row
from shared.model.request import RestoreRequest
from shared.model.results import Notice
from shared.model.window import Window, day_window, units_per_second_of
from shared.postgres.connect import Cursor
from shared.postgres.search_path import by_users_path
from shared.timescale.chunks import Chunk, chunks_overlapping
from shared.timescale.privileges import can_read
from shared.timescale.relations import refuse_materialization
from shared.timescale.table import Table, TimescaleDB, find_table, has_insert_rule, key_columns


@dataclass(frozen=True)
class Target:
    """What the database said of the target before the load.

    Attributes:
        table: where the rows go.
        like: the table that a staging table is modeled on; `table`, unless the request names another one.
        columns: where each column of the file goes, and whether by way of a staging table.
        window: the archive's day in the time column's type; None where the table has no such column.
        chunks: the chunks over the day.
        has_rows: whether the file has rows, as far as its beginning shows.
        warnings: what the caller should know of it although the rows are in.
    """

    table: Table
    like: Table
    columns: ColumnPlan
    window: Window | None
    chunks: tuple[Chunk, ...]
    has_rows: bool
    warnings: tuple[Notice, ...] = ()

    @property
    def compressed(self) -> tuple[Chunk, ...]:
        """The chunks over the day that are compressed."""
        return tuple(chunk for chunk in self.chunks if chunk.is_compressed)

    @property
    def compression(self) -> TimescaleDB | None:
        """The extension, where it can compress the target's chunks."""
        return self.table.compression

    def expects_no_conflicts(self, *, day_is_empty: bool) -> bool:
        """Whether staged rows are first inserted without a look for conflicts, with each other or with others.

        Every unique index of a hypertable contains the time. So in an empty day, rows of the file can only be in
        conflict with each other. That is rare, and a first attempt shows it.
        """
        return day_is_empty and self.table.hypertable_id is not None

    def meets_none_of_its_time(self, request: RestoreRequest, rows_existing: int | None) -> bool:
        """Whether the chunks over the day are known to hold no row at the times of the new rows.

        Args:
            request: what is restored, and how.
            rows_existing: rows of the day; None where they were not counted.
        """
        is_of_day = self.window is not None and request.refuses_rows_outside
        return is_of_day and (rows_existing == 0 or request.destination.existing_rows == "replace")


def find_target(cursor: Cursor, request: RestoreRequest, header: FileHeader, file: IO[bytes]) -> Target:
    """Ask the database what the target is, and match the file with it.

    Args:
        cursor: in the restore's transaction.
        request: what to restore, and how.
        header: what precedes the file's rows.
        file: the CSV. The first row tells the unit of an integer time column.

    Raises:
        HeaderMismatch: the request skips a line that is a row.
        OperationNotSupported: a column is to be left out in direct mode, and the table has a rule on INSERT.
        RestoreError: the table or a column is not there, or the request needs a time column that is not.
    """
    destination, options = request.destination, request.copy_.csv_options
    table = find_table(cursor, request.target_table, time_column=destination.time_column)
    refuse_materialization(cursor, str(table), table.hypertable_id, target="destination.target_table")
    if destination.existing_rows == "replace" and table.has_children:
        raise TargetNotATable(
            f"{table} has child tables (INHERITS), so it is unclear which table's rows to replace",
            target="destination.target_table",
            hint='on_existing "replace" works on a hypertable, a partitioned table, or a table without children',
        )
    like = table
    if request.staging_like != request.target_table:
        like = find_table(cursor, request.staging_like, target="destination.create_staging_like")
        refuse_materialization(cursor, str(like), like.hypertable_id, target="destination.create_staging_like")
    plan = plan_columns(header.columns, table.columns, like.columns, options=options, staging=not destination.is_direct)
    if plan.by_staging and destination.is_direct and has_insert_rule(cursor, table):
        raise OperationNotSupported(
            f"{table} has a rule on INSERT, which a COPY would not apply, and the INSERT from a staging table would",
            target="copy.column_map",
            hint='leave no column out, or use destination.mode "staging", where the rule applies',
        )
    if header.ignored is not None and is_row(cursor, request, table, plan.file_columns, header.ignored):
        raise HeaderMismatch(
            f"the last line that {header.ignored_by} skips is a row: its values are times of the table's columns",
            target=header.ignored_by,
            hint="check whether the file has this header, and how many lines precede it: a row would be lost",
        )
    _refuse_other_times(cursor, request, table, plan.file_columns, file)
    window = _window(request, table, plan.file_columns, file)
    warnings = (
        *plan.warnings,
        *(() if window is not None else _do_without_window(cursor, request, table, plan.file_columns)),
        *_read_otherwise(request, plan, table, like, file),
    )
    chunks = chunks_of_day(cursor, table, window)
    return Target(table, like, plan, window, chunks, has_rows(plan.file_columns, request.copy_, file), warnings)


def chunks_of_day(cursor: Cursor, table: Table, window: Window | None) -> tuple[Chunk, ...]:
    """List the chunks over the day, as far as they can be known."""
    # If chunks can be found only by their rows and the role may not read those, list none. Such a load neither counts
    # nor removes rows.
    if window is None or (table.has_partitioning_function and not can_read(cursor, table)):
        return ()
    return chunks_overlapping(cursor, table, window)


def _window(request: RestoreRequest, table: Table, names: Sequence[str | None], file: IO[bytes]) -> Window | None:
    """Find the archive's day in the time column's own type. An integer's unit is read off the file's first row."""
    day = request.archive.day
    if table.time_kind is None:
        return None
    if table.time_kind != "integer":
        return day_window(day, table.time_kind)
    now = [] if table.integer_now is None else [table.integer_now]
    sample, has_rows = sample_times(table, names, request.copy_, file, is_needed=not now)
    units = units_per_second_of([*sample, *now], day)
    # Also with `verify` false: without the unit, the day's own rows cannot be found.
    if units is None and has_rows and request.destination.rows_outside_window == "error":
        message = (
            f'the first row\'s "{table.time_column}" is not near {day.isoformat()}, be it in seconds, milliseconds,'
            " microseconds or nanoseconds"
        )
        if not sample:
            message = _unit_unknown(table, names)
        raise WindowUnknown(
            message,
            target="destination.rows_outside_window",
            hint='if that is right, set rows_outside_window to "allow" and on_existing to "append" in destination',
        )
    return None if units is None else day_window(day, "integer", units)


def _read_otherwise(
    request: RestoreRequest, plan: ColumnPlan, table: Table, like: Table, file: IO[bytes]
) -> Iterator[Notice]:
    """Warn if the file's beginning holds values that PostgreSQL accepts but reads differently from what was meant."""
    options = request.copy_.csv_options
    if options.escape is None and escapes_by_backslash(file, options.dialect):
        message = (
            "the file seems to write a backslash before a quote inside quotes, and copy.csv_options.ESCAPE is not"
            " given: to PostgreSQL such a quote ends the quoted part, so quotes are lost and fields are cut or joined"
        )
        yield Notice("BackslashQuotes", message)
    # A staging table has the types of the table that it is modeled on.
    columns = {column.name: column for column in (*table.columns, *like.columns)}
    zoneless = {name for name in plan.loaded if columns[name].drops_offset}
    found = columns_with_offsets(file, options.dialect, plan.file_columns, zoneless, has_header=options.has_header)
    for name in found:
        message = f'"{name}" is of type {columns[name].type_sql}, and the file has values with an offset or a zone'
        yield Notice("OffsetsIgnored", f"{message} other than UTC, which PostgreSQL drops: another time is stored")


def _refuse_other_times(
    cursor: Cursor, request: RestoreRequest, table: Table, names: Sequence[str | None], file: IO[bytes]
) -> None:
    """Refuse to choose the time column by its type alone if another column holds times of the day as well.

    For example, a table may have seconds since 1970 beside a timestamptz of when each row came in. The two columns find
    different rows of the day. A unique key that contains only one of them tells which one is the time.
    """
    if table.hypertable_id is not None or table.time_column is None or request.destination.time_column is not None:
        return
    asked = {column.name for column in table.columns if column.name != table.time_column}
    others = columns_with_times(names, asked, request.copy_, file, request.archive.day)
    if others and table.time_column in (keys := key_columns(cursor, table)):
        others = [name for name in others if name in keys]
    if others and _needs_rows_of_day(cursor, request, table):
        policy = request.destination.existing_rows
        columns = " and ".join(f'"{name}"' for name in (*others, table.time_column))
        raise WindowUnknown(f"on_existing {policy} needs the day's rows, and {columns} hold times of {table}")


def _needs_rows_of_day(cursor: Cursor, request: RestoreRequest, table: Table) -> bool:
    """Whether the request cannot be served without knowing which rows are those of the day."""
    policy = request.destination.existing_rows
    # If the table is empty, the default has nothing to refuse. A role that may not read is refused elsewhere.
    is_used = policy == "error" and can_read(cursor, table) and not _is_empty(cursor, table)
    return policy in ("skip", "replace") or is_used


def _do_without_window(
    cursor: Cursor, request: RestoreRequest, table: Table, names: Sequence[str | None]
) -> tuple[Notice, ...]:
    if _needs_rows_of_day(cursor, request, table):
        why, hint = _why_no_window(table, names)
        policy = request.destination.existing_rows
        raise WindowUnknown(f"on_existing {policy} needs the day's rows, and {why}", hint=hint)
    if table.hypertable_id is None:
        return ()
    return (Notice("WindowUnknown", "the archive's day could not be found in the time column's type"),)


def _unit_unknown(table: Table, names: Sequence[str | None]) -> str:
    lacks_column = table.time_column not in names
    why = "the file lacks that column" if lacks_column else "no row at the beginning of the file has a time"
    return f'the unit of "{table.time_column}" is unknown, since {why}'


def _why_no_window(table: Table, names: Sequence[str | None]) -> tuple[str, str | None]:
    """Say why the day cannot be found, and what helps; None: the error's own hint."""
    if table.time_column is None:
        return f"{table} has no time column in which they can be found", None
    column = next(column for column in table.columns if column.name == table.time_column)
    append = 'set destination.on_existing to "append"'
    if table.time_kind == "integer":
        return _unit_unknown(table, names), append
    why = f'"{column.name}", the time column of {table}, is of type {column.type_sql}'
    if column.time_kind == "uuid":
        return why, f"if its values are UUIDs of version 7, name it in destination.time_column; otherwise {append}"
    return f"{why}, in which they cannot be found", append


def _is_empty(cursor: Cursor, table: Table) -> bool:
    cursor.execute(by_users_path(sql.SQL("SELECT NOT EXISTS (SELECT FROM {})").format(table.identifier)))
    return cursor.fetchone() == (True,)
