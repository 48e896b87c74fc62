"""What a restore writes into: the table, the file's columns, the day in its time column, and the rights it takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from psycopg2 import sql

from shared.csvfile.format_hints import columns_with_offsets, escapes_by_backslash
from shared.csvfile.head import read_records
from shared.errors import (
    DataRejected,
    Fault,
    HeaderInvalid,
    HeaderMismatch,
    MissingRight,
    OperationNotSupported,
    TargetNotATable,
    WindowUnknown,
)
from shared.load.columns import ColumnPlan, FileHeader, plan_columns
from shared.load.skipped_line import is_row
from shared.model.request import Copy, RestoreRequest
from shared.model.results import Notice
from shared.model.window import Window, day_window, units_per_second_of
from shared.postgres.connect import Cursor
from shared.postgres.search_path import by_users_path
from shared.timescale.chunks import Chunk, chunks_overlapping
from shared.timescale.keys import may_meet_unenforced
from shared.timescale.privileges import (
    Check,
    can_read,
    find_missing,
    missing_sequences,
    to_advance,
    to_compare,
    to_compress,
    to_delete,
    to_follow,
    to_read,
    to_read_rows,
    to_stage,
    to_write,
)
from shared.timescale.references import find_references
from shared.timescale.relations import refuse_materialization
from shared.timescale.sequences import find_sequences
from shared.timescale.table import Table, TimescaleDB, find_table, has_insert_rule
from shared.timescale.unchecked import may_leave_checks_out

# How many rows may come before the first one whose integer time can be read.
_ROWS_LOOKED_AT = 100


@dataclass(frozen=True)
class Target:
    """What the database said of the target before the load.

    Attributes:
        table: where the rows go.
        like: what a staging table is made like; `table`, unless the request names another one.
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

    def meets_none_of_its_time(self, request: RestoreRequest, rows_existing: int | None) -> bool:
        """Whether the chunks over the day surely hold no row of the times of the new ones.

        Args:
            request: what is restored, and how.
            rows_existing: rows of the day; None where they were not counted.
        """
        is_counted = self.window is not None and request.verify and request.destination.rows_outside_window == "error"
        return is_counted and (rows_existing == 0 or request.destination.existing_rows == "replace")


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
    plan = plan_columns(
        header.columns, table.columns, like.columns, options=options, staging=destination.mode == "staging"
    )
    if plan.by_staging and destination.mode == "direct" and has_insert_rule(cursor, table):
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
    window = _window(request, table, plan.file_columns, file)
    warnings = (
        *plan.warnings,
        *(() if window is not None else _do_without_window(cursor, request, table, plan.file_columns)),
        *_read_otherwise(request, plan, table, like, file),
    )
    chunks = chunks_of_day(cursor, table, window)
    return Target(table, like, plan, window, chunks, _has_rows(plan.file_columns, request.copy_, file), warnings)


def _has_rows(names: Sequence[str | None], copy: Copy, file: IO[bytes]) -> bool:
    try:
        return bool(_first_row(names, copy, file))
    except HeaderInvalid:
        # It cannot be read, and COPY will say why.
        return True


def _first_row(names: Sequence[str | None], copy: Copy, file: IO[bytes]) -> list[list[str]]:
    """Return a list with the first row; empty if the file has none."""
    header = int(copy.csv_options.has_header)
    first = read_records(file, copy.csv_options.dialect, header + 1)[header:]
    # A line `\.` alone ends the data before PostgreSQL 18; from 18 on COPY says what is wrong with it.
    return [] if first == [["\\."]] and len(names) > 1 else first


def _sample(
    table: Table, names: Sequence[str | None], copy: Copy, file: IO[bytes], *, is_needed: bool
) -> tuple[list[int], bool]:
    """Read the first integer time, and say whether the file has rows.

    A row that PostgreSQL will refuse must not determine the time unit. A later row determines it, and COPY then reports
    the bad line.

    Raises:
        DataRejected: it is needed, and the first rows have none, since the first one cannot be read.
    """
    options = copy.csv_options
    header = read_records(file, options.dialect, 1) if options.has_header else []
    first = _first_row(names, copy, file)
    if not first:
        return [], False
    times = [] if table.time_column not in names else [names.index(table.time_column)]
    rows = first
    if not _integers(rows, len(names), times):
        with suppress(HeaderInvalid):
            rows = read_records(file, options.dialect, len(header) + _ROWS_LOOKED_AT)[len(header) :]
    found = _integers(rows, len(names), times)
    if not found and is_needed:
        _refuse_unreadable(header, first[0], names, times, copy)
    return found[:1], True


def _integers(rows: Sequence[Sequence[str]], columns: int, times: Sequence[int]) -> list[int]:
    """Return the times of those rows in which they can be read."""
    found = []
    for row in rows:
        for place in times if len(row) == columns else ():
            with suppress(ValueError):
                found.append(int(row[place]))
    return found


def _refuse_unreadable(
    header: Sequence[Sequence[str]],
    row: Sequence[str],
    names: Sequence[str | None],
    times: Sequence[int],
    copy: Copy,
) -> None:
    # As COPY counts lines: those inside of quotes too, and a record is named by its last one.
    records = [*header, row]
    line = copy.skip_lines + len(records)
    line += sum(max(cell.count("\n"), cell.count("\r")) for record in records for cell in record)
    where = f"line {line}"
    facts: dict[str, Any] = {"line": line}
    if len(row) != len(names):
        message = f"the row has {len(row)} cells, and the file {len(names)} columns"
    elif times and row[times[0]] != copy.csv_options.null:
        column = names[times[0]]
        where = f"{where}, column {column}"
        facts["column"] = column
        message = "the time is not an integer"
    else:
        return
    detail = Fault(DataRejected.code, message, info=tuple(facts.items()))
    raise DataRejected(f"{where}: {message}", target=where, details=[detail])


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
    sample, has_rows = _sample(table, names, request.copy_, file, is_needed=not now)
    units = units_per_second_of([*sample, *now], day)
    if units is None and has_rows and request.destination.rows_outside_window == "error":
        message = (
            f'the first row\'s "{table.time_column}" is not near {day.isoformat()}, be it in seconds, milliseconds,'
            " microseconds or nanoseconds"
        )
        if table.time_column not in names:
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
    # A staging table has the types of what it is made like.
    columns = {column.name: column for column in (*table.columns, *like.columns)}
    zoneless = {name for name in plan.loaded if columns[name].drops_offset}
    found = columns_with_offsets(file, options.dialect, plan.file_columns, zoneless, has_header=options.has_header)
    for name in found:
        message = f'"{name}" is of type {columns[name].type_sql}, and the file has values with an offset or a zone'
        yield Notice("OffsetsIgnored", f"{message} other than UTC, which PostgreSQL drops: another time is stored")


def _do_without_window(
    cursor: Cursor, request: RestoreRequest, table: Table, names: Sequence[str | None]
) -> tuple[Notice, ...]:
    policy = request.destination.existing_rows
    # Where nothing is there, the default has nothing to refuse. A role that may not look is refused for that.
    is_used = policy == "error" and can_read(cursor, table) and not _is_empty(cursor, table)
    if policy in ("skip", "replace") or is_used:
        why, hint = _why_no_window(table, names)
        raise WindowUnknown(f"on_existing {policy} needs the day's rows, and {why}", hint=hint)
    if table.hypertable_id is None:
        return ()
    return (Notice("WindowUnknown", "the archive's day could not be found in the time column's type"),)


def _unit_unknown(table: Table, names: Sequence[str | None]) -> str:
    why = "the file has no row" if table.time_column in names else "the file lacks that column"
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


def missing_rights(
    cursor: Cursor, request: RestoreRequest, target: Target, rows_existing: int | None
) -> list[MissingRight]:
    """List the rights that the role lacks to load the day, those of best-effort steps included.

    Args:
        cursor: in any transaction.
        request: what is to be done.
        target: what the database said of the table.
        rows_existing: rows of the day; None where they were not counted.
    """
    checks = list(_checks(request, target, rows_existing))
    if not target.columns.by_staging and may_leave_checks_out(cursor, target.table):
        checks.append(to_read_rows(target.table))
    if _deletes(request, rows_existing):
        checks += to_follow(target.table, find_references(cursor, target.table).changed)
    if target.compression is not None and target.compressed:
        # Beside compressed rows, a query proves the keys.
        is_safe = target.meets_none_of_its_time(request, rows_existing)
        extension, table, chunks = target.compression, target.table, target.compressed
        if may_meet_unenforced(cursor, extension, table, chunks, meets_none_of_its_time=is_safe):
            checks.append(to_read_rows(table))
    advances = request.destination.sequences == "advance"
    sequences = find_sequences(cursor, target.table, target.columns.loaded)
    checks += to_compare(target.table, sequences, is_needed=advances)
    if advances:
        checks += to_advance(sequences)
    missing = find_missing(cursor, checks)
    missing += missing_sequences(cursor, target.table, target.columns.defaulted)
    if target.like.oid != target.table.oid:
        # The staging table has the other one's defaults.
        defaulted = [column.name for column in target.like.columns if column.name not in target.columns.file_columns]
        missing += missing_sequences(cursor, target.like, defaulted)
    return missing


def _deletes(request: RestoreRequest, rows_existing: int | None) -> bool:
    return request.destination.existing_rows == "replace" and rows_existing != 0


def _checks(request: RestoreRequest, target: Target, rows_existing: int | None) -> Iterator[Check]:
    destination, table = request.destination, target.table
    policy = destination.existing_rows
    # Without a window, "error" looks whether the table is empty.
    if (request.verify or policy != "append") if target.window is not None else policy == "error":
        yield from to_read(table)
    yield from to_write(table, target.columns.loaded, target.chunks)
    if target.columns.by_staging:
        yield from to_stage(table, target.like)
    deletes = _deletes(request, rows_existing)
    if deletes:
        yield from to_delete(table, has_chunks=bool(target.chunks))
    wishes = request.timescaledb
    compresses = deletes or bool(wishes.decompress_window) or wishes.recompress_window
    if target.compression is not None and (wishes.compress_new_chunks or (target.compressed and compresses)):
        yield from to_compress(table, target.compression)
