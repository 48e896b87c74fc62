"""What a restore is about to write into: the table, the file's columns against it, the day in its time column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from psycopg2 import sql

from shared.database.chunk_catalog import Chunk, chunks_overlapping
from shared.database.column_plan import ColumnPlan, plan_columns
from shared.database.connection import Cursor
from shared.database.extension import TimescaleDB
from shared.database.hypertable import Table, find_table
from shared.database.permissions import can_read
from shared.database.window import Window, day_window, units_per_second_of
from shared.errors import WindowUnknown
from shared.lake.csv_head import read_records
from shared.names import shown_name
from shared.report import Report
from shared.request import RestoreRequest


@dataclass(frozen=True)
class Target:
    """What the database said of the target before the load.

    Attributes:
        table: where the rows go.
        like: what a staging table is made like; `table`, unless the request names another one.
        plan: where each column of the file goes.
        window: the archive's day in the time column's type; None where the table has no such column.
        chunks: the chunks over the day.
    """

    table: Table
    like: Table
    plan: ColumnPlan
    window: Window | None
    chunks: tuple[Chunk, ...]

    @property
    def compressed(self) -> tuple[Chunk, ...]:
        """The chunks over the day that are compressed."""
        return tuple(chunk for chunk in self.chunks if chunk.is_compressed)

    @property
    def compression(self) -> TimescaleDB | None:
        """The extension, where it can compress the target's chunks."""
        extension = self.table.timescaledb
        is_able = extension is not None and extension.is_community and self.table.hypertable_id is not None
        return extension if is_able else None


def find_target(
    cursor: Cursor, request: RestoreRequest, names: Sequence[str], file: IO[bytes], report: Report
) -> Target:
    """Ask the database what the target is, and match the file with it.

    Args:
        cursor: in the restore's transaction.
        request: what to restore, and how.
        names: the file's columns, under the table's names.
        file: the CSV, of which an integer time column's unit is read off.
        report: is told what was found.

    Raises:
        RestoreError: the table or a column is not there, or the request needs a time column that is not.
    """
    destination, options = request.destination, request.copy_.csv_options
    table = find_table(cursor, request.target_table, time_column=destination.time_column)
    report.target_table = str(table)
    if table.timescaledb is not None:
        report.edition, report.timescaledb_version = table.timescaledb.edition, table.timescaledb.version
    like = table
    if request.staging_like != request.target_table:
        like = find_table(cursor, request.staging_like, target="destination.create_staging_like")
    plan = plan_columns(names, table.columns, options=options, staging=destination.mode == "staging")
    report.columns_loaded = plan.loaded
    report.columns_ignored = tuple(
        shown_name(name, place) for place, name in enumerate(names, 1) if name in plan.ignored
    )
    report.columns_defaulted = plan.defaulted
    window = _window(request, table, names, file)
    if window is None:
        _do_without_window(cursor, request, table, report)
    chunks = () if window is None else chunks_overlapping(cursor, table, window)
    return Target(table, like, plan, window, chunks)


def _window(request: RestoreRequest, table: Table, names: Sequence[str], file: IO[bytes]) -> Window | None:
    """Find the archive's day in the time column's own type. An integer's unit is read off the file's first row."""
    day = request.archive.day
    if table.time_kind is None:
        return None
    if table.time_kind != "integer":
        return day_window(day, table.time_kind)
    samples: list[str | int] = [] if table.integer_now is None else [table.integer_now]
    options = request.copy_.csv_options
    records = read_records(file, options.dialect, 2)[1 if options.has_header else 0 :]
    if records and len(records[0]) == len(names):
        first = [value for name, value in zip(names, records[0], strict=True) if name == table.time_column]
        samples = [*first, *samples]
    units = units_per_second_of(samples, day)
    if units is None and records and request.destination.rows_outside_window == "error":
        raise WindowUnknown(
            f'the first row\'s "{table.time_column}" is not near {day.isoformat()}, be it in seconds, milliseconds,'
            " microseconds or nanoseconds",
            target="destination.rows_outside_window",
            hint='if that is right, set rows_outside_window to "allow" and on_existing to "append" in destination',
        )
    return None if units is None else day_window(day, "integer", units)


def _do_without_window(cursor: Cursor, request: RestoreRequest, table: Table, report: Report) -> None:
    policy = request.destination.existing_rows
    # Where nothing is there, the default has nothing to refuse. A role that may not look is refused for that.
    is_used = policy == "error" and can_read(cursor, table) and not _is_empty(cursor, table)
    if policy in ("skip", "replace") or is_used:
        raise WindowUnknown(
            f"on_existing {policy} needs the day's rows, and {table} has no time column in which they can be found"
        )
    if table.hypertable_id is not None:
        report.warn("WindowUnknown", "the archive's day could not be found in the time column's type")


def _is_empty(cursor: Cursor, table: Table) -> bool:
    cursor.execute(sql.SQL("SELECT NOT EXISTS (SELECT FROM {})").format(table.identifier))
    return cursor.fetchone() == (True,)
