"""One restore, from top to bottom: fetch the archive whole, load it in one transaction, then look after the rest.

This is the only file that opens a transaction. Each step's own rules are where it is imported from.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO

from shared.database.caggs import caggs_available, refresh
from shared.database.chunks import decompress, recompress
from shared.database.column_plan import ColumnPlan, file_columns, plan_columns
from shared.database.connection import Connection, Cursor, connect, transaction
from shared.database.hypertable import Chunk, Table, chunks_overlapping, find_table
from shared.database.load import (
    begin_session,
    copy_into,
    copy_into_staging,
    insert_staged,
    make_commit_durable,
    make_staging,
)
from shared.database.steps import ChunkStep, summary
from shared.database.window import Window, day_window, units_per_second_of
from shared.lake.archive import open_archive
from shared.lake.csv_head import bom_length, read_header, read_records
from shared.lake.gunzip import gunzip
from shared.lake.spool import SpooledCsv, spooled_csv
from shared.report import Report
from shared.request import RestoreRequest
from shared.settings import Settings


@dataclass(frozen=True)
class _Target:
    """What the database said of the target before the load."""

    table: Table
    like: Table
    plan: ColumnPlan
    window: Window | None
    chunks: tuple[Chunk, ...]

    @property
    def compressed(self) -> list[Chunk]:
        """The chunks over the day that were compressed before."""
        return [chunk for chunk in self.chunks if chunk.is_compressed]


def restore(request: RestoreRequest, settings: Settings, report: Report) -> None:
    """Put one archived day back.

    Args:
        request: what to restore, and how.
        settings: the function app's.
        report: filled in as the restore goes on.

    Raises:
        RestoreError: nothing was loaded; the target is as it was before.
    """
    clock = report.clock
    with _whole_csv(request, settings, report) as csv:
        names = _file_columns(request, csv.file)
        with ExitStack() as stack:
            with clock.stage("connect"):
                connection = stack.enter_context(
                    connect(
                        request.pg,
                        database=request.archive.database,
                        connect_timeout_seconds=settings.pg_connect_timeout_seconds,
                    )
                )
            target = _load(connection, request, names, csv.file, report)
            report.is_committed = True
            _after_commit(connection, request, target, report)


@contextmanager
def _whole_csv(request: RestoreRequest, settings: Settings, report: Report) -> Iterator[SpooledCsv]:
    """Fetch and unpack the archive. It is known to be whole before the database hears of it."""
    with ExitStack() as stack:
        with report.clock.stage("download"), open_archive(request.archive, settings) as archive:
            report.etag, report.compressed_bytes = archive.etag, archive.size
            csv = stack.enter_context(
                spooled_csv(
                    gunzip(archive.chunks()),
                    max_memory_bytes=settings.spool_max_memory_bytes,
                    dialect=request.copy_.csv_options.dialect,
                )
            )
            report.csv_bytes = csv.size
        yield csv


def _file_columns(request: RestoreRequest, file: IO[bytes]) -> tuple[str, ...]:
    options = request.copy_.csv_options
    header = read_header(file, options.dialect) if options.has_header else None
    return file_columns(header, request.copy_)


def _load(
    connection: Connection, request: RestoreRequest, names: tuple[str, ...], file: IO[bytes], report: Report
) -> _Target:
    """Load the file in one transaction, and commit it."""
    clock = report.clock
    with transaction(connection) as work:
        cursor = work.cursor
        with clock.stage("inspect"):
            begin_session(cursor, synchronous_commit_off=request.copy_.synchronous_commit_off)
            target = _find_target(cursor, request, names, file, report)
        with clock.stage("decompress"):
            _decompress(cursor, request, target, report)
        _copy(cursor, request, target, file, report)
        _note_new_chunks(cursor, target, report)
        with clock.stage("commit"):
            make_commit_durable(cursor)
            work.commit()
    return target


def _find_target(
    cursor: Cursor, request: RestoreRequest, names: tuple[str, ...], file: IO[bytes], report: Report
) -> _Target:
    table = find_table(cursor, request.target_table)
    report.target_table = str(table)
    if table.timescaledb is not None:
        report.edition, report.timescaledb_version = table.timescaledb.edition, table.timescaledb.version
    like = table
    if request.staging_like != request.target_table:
        like = find_table(cursor, request.staging_like, target="destination.create_staging_like")
    is_staging = request.destination.mode == "staging"
    plan = plan_columns(names, table.columns, options=request.copy_.csv_options, staging=is_staging)
    report.columns_loaded, report.columns_ignored = plan.loaded, plan.ignored
    report.columns_defaulted = plan.defaulted
    window = _window(request, table, names, file)
    if window is None and table.hypertable_id is not None:
        report.warn("WindowUnknown", "the archive's day could not be found in the time column's type")
    chunks = () if window is None else chunks_overlapping(cursor, table, window)
    return _Target(table, like, plan, window, chunks)


def _window(request: RestoreRequest, table: Table, names: tuple[str, ...], file: IO[bytes]) -> Window | None:
    """Find the archive's day in the time column's own type. An integer's unit is read off the file's first row."""
    day = request.archive.day
    if table.time_kind is None:
        return None
    if table.time_kind != "integer":
        return day_window(day, table.time_kind)
    samples: list[str | int] = [] if table.integer_now is None else [table.integer_now]
    options = request.copy_.csv_options
    records = read_records(file, options.dialect, 2)[1 if options.has_header else 0 :]
    if records and table.time_column in names and len(records[0]) == len(names):
        samples.insert(0, records[0][names.index(table.time_column)])
    units = units_per_second_of(samples, day)
    return None if units is None else day_window(day, "integer", units)


def _decompress(cursor: Cursor, request: RestoreRequest, target: _Target, report: Report) -> None:
    timescaledb = target.table.timescaledb
    available = _has_compression(target)
    requested = request.timescaledb.decompress_window
    steps: list[ChunkStep] = []
    if requested and available and timescaledb is not None:
        steps = decompress(cursor, timescaledb, target.compressed)
    report.add_chunk_steps(steps)
    report.options["decompress_window"] = summary(steps, requested=requested, available=available)


def _copy(cursor: Cursor, request: RestoreRequest, target: _Target, file: IO[bytes], report: Report) -> None:
    clock, options = report.clock, request.copy_.csv_options
    file.seek(bom_length(file, options.dialect))
    if request.destination.mode == "direct":
        with clock.stage("copy"):
            report.rows_loaded = copy_into(cursor, target.table.identifier, target.plan.file_columns, options, file)
        return
    with clock.stage("copy"):
        staging = make_staging(
            cursor, target.table, target.like, target.plan.file_columns, report.request_id.replace("-", "")
        )
        has_timescaledb = target.table.timescaledb is not None
        report.rows_loaded = copy_into_staging(cursor, staging, options, file, has_timescaledb=has_timescaledb)
    with clock.stage("insert"):
        report.rows_inserted = insert_staged(cursor, target.table, staging, target.plan.loaded)
        report.rows_skipped = report.rows_loaded - report.rows_inserted


def _note_new_chunks(cursor: Cursor, target: _Target, report: Report) -> None:
    if target.window is None:
        return
    known = {str(chunk) for chunk in target.chunks}
    after = chunks_overlapping(cursor, target.table, target.window)
    report.add_chunk_steps([ChunkStep(str(chunk), "create", "done") for chunk in after if str(chunk) not in known])


def _after_commit(connection: Connection, request: RestoreRequest, target: _Target, report: Report) -> None:
    """Compress again and refresh. The rows are safe; what fails here is reported."""
    wishes, timescaledb = request.timescaledb, target.table.timescaledb
    chunk_steps: list[ChunkStep] = []
    with report.clock.stage("recompress"):
        if wishes.recompress_window and _has_compression(target) and timescaledb is not None:
            chunk_steps = recompress(connection, timescaledb, target.compressed)
    report.add_chunk_steps(chunk_steps)
    report.options["recompress_window"] = summary(
        chunk_steps, requested=wishes.recompress_window, available=_has_compression(target)
    )

    cagg_steps = []
    requested = bool(wishes.refresh_caggs)
    with report.clock.stage("refresh"):
        if requested:
            cagg_steps = refresh(connection, target.table, target.window, wishes.refresh_caggs)
    report.add_cagg_steps(cagg_steps)
    report.options["refresh_caggs"] = summary(cagg_steps, requested=requested, available=caggs_available(target.table))


def _has_compression(target: _Target) -> bool:
    timescaledb = target.table.timescaledb
    return timescaledb is not None and timescaledb.is_community and target.table.hypertable_id is not None
