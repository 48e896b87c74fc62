"""A restore up to its first write, and a report of what would happen. Runs in a READ ONLY transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from shared.csvfile.scan import rows_of
from shared.csvfile.source import CsvSource
from shared.errors import MissingRight, RestoreError
from shared.load.columns import FileHeader
from shared.load.counts import count_in_children, count_window
from shared.load.refusals import (
    day_in_children,
    day_not_empty,
    on_error_not_supported,
    replacement_too_small,
    rights_missing,
    wrong_row_count,
)
from shared.load.target import Target, find_target, missing_rights
from shared.model.answer import CaggWindow, PlannedCagg, PlannedChunk, Problem, failure
from shared.model.report import Report
from shared.model.request import RestoreRequest
from shared.model.results import Count
from shared.model.window import iso
from shared.postgres.connect import Cursor
from shared.postgres.savepoint import attempt_in_savepoint
from shared.postgres.transaction import set_transaction_limits
from shared.restore.report import note_target
from shared.settings import Settings
from shared.timescale.caggs import PlannedRefresh, caggs_available, names_of, plan_refresh
from shared.timescale.chunks import Chunk, chunks_inside
from shared.timescale.privileges import can_read, find_missing, to_refresh
from shared.timescale.removal import why_not_truncate


def examine(
    cursor: Cursor,
    request: RestoreRequest,
    settings: Settings,
    header: FileHeader,
    csv: CsvSource,
    report: Report,
) -> None:
    """Find out what a restore would do, and fill it into the report.

    Nothing is written, and no lock is taken that another session would wait for.

    Args:
        cursor: in a READ ONLY transaction.
        request: what would be restored, and how.
        settings: the function app's.
        header: what precedes the file's rows.
        csv: the archive, unpacked.
        report: gets `dry_run`.

    Raises:
        RestoreError: the restore would end with this error before it wrote anything.
    """
    options = request.copy_.csv_options
    # First: the session waits in its transaction while a streamed archive is read.
    set_transaction_limits(
        cursor,
        synchronous_commit_off=False,
        lock_timeout_seconds=settings.pg_lock_timeout_seconds,
        statement_timeout_seconds=settings.pg_statement_timeout_seconds,
    )
    with report.progress.stage("count"):
        csv.drain()
        rows = rows_of(csv.records or 0, has_header=options.has_header)
    with report.progress.stage("inspect"):
        target = find_target(cursor, request, header, csv.head)
        note_target(report, target)
        report.add_warnings(target.warnings)
        existing: Count | None = None
        in_children = 0
        if target.window is not None and can_read(cursor, target.table):
            existing = count_window(cursor, target.table, target.window)
            in_children = count_in_children(cursor, target.table, target.window)
        missing = missing_rights(cursor, request, target, None if existing is None else existing.rows)
        planned = _planned(cursor, request, target)
        if target.table.timescaledb is not None:
            missing += find_missing(cursor, to_refresh(names_of(planned), target.table.timescaledb))
    report.dry_run = {
        "rows_in_archive": rows,
        "rows_existing": None if existing is None else existing.rows,
        "on_existing": request.destination.existing_rows,
        "chunks": _chunks(cursor, request, target, existing),
        "caggs": [_cagg(plan) for plan in planned],
        "permissions_missing": [
            {"right": right.right, "on": right.target, "needed": right.is_needed} for right in missing
        ],
        "problems": [
            _problem(error)
            for error in _refusals(cursor, request, target, rows, existing, in_children, missing)
            if error is not None
        ],
    }


def _planned(cursor: Cursor, request: RestoreRequest, target: Target) -> list[PlannedRefresh]:
    wished = request.timescaledb.refresh_caggs
    if not wished or target.window is None or not caggs_available(target.table):
        return []
    return plan_refresh(partial(attempt_in_savepoint, cursor), target.table, target.window, wished)


def _chunks(cursor: Cursor, request: RestoreRequest, target: Target, existing: Count | None) -> list[PlannedChunk]:
    """Say for each chunk over the day what its state is and what would be done to it."""
    replaces = request.destination.existing_rows == "replace" and existing is not None and existing.rows > 0
    removals = _removals(cursor, target) if replaces else {}
    chunks: list[PlannedChunk] = []
    for chunk in target.chunks:
        would = [removals.get(chunk, "delete the day's rows")] if replaces else []
        if target.compression is not None and chunk.is_compressed:
            if request.timescaledb.decompress_window == "auto" and not replaces:
                would.append("decompress, or take the rows beside the compressed ones")
            elif request.timescaledb.decompress_window or replaces:
                would.append("decompress")
            if request.timescaledb.recompress_window:
                would.append("recompress")
        chunks.append({"name": str(chunk), "is_compressed": chunk.is_compressed, "would": would})
    return chunks


def _removals(cursor: Cursor, target: Target) -> dict[Chunk, str]:
    """Say how the rows of the chunks that lie wholly inside the day would be removed."""
    whole = () if target.window is None else chunks_inside(cursor, target.table, target.window)
    reason = why_not_truncate(cursor, target.table, whole)
    removal = "truncate, or delete its rows" if reason is None else f"delete its rows: there is {reason}"
    return dict.fromkeys(whole, removal)


def _cagg(plan: PlannedRefresh) -> PlannedCagg:
    window = None if plan.window is None else CaggWindow(start=iso(plan.window.lower), end=iso(plan.window.upper))
    return {"name": plan.name, "window": window, **failure(plan.error)}


def _refusals(
    cursor: Cursor,
    request: RestoreRequest,
    target: Target,
    rows: int,
    existing: Count | None,
    in_children: int,
    missing: Sequence[MissingRight],
) -> Iterator[RestoreError | None]:
    """Return the errors that the restore would answer with, as far as they can be known without writing."""
    destination, there = request.destination, 0 if existing is None else existing.rows
    if there and destination.existing_rows == "skip":
        # The day is left as it is, whatever the archive holds and whatever the role may not do.
        return
    yield wrong_row_count(request.copy_, rows)
    yield day_not_empty(request, target.table, there) or day_in_children(request, target.table, in_children)
    removed = there if destination.existing_rows == "replace" else 0
    yield replacement_too_small(destination, before=removed, by=rows, in_archive=rows)
    if request.copy_.on_error == "skip":
        yield on_error_not_supported(cursor.connection.server_version)
    yield rights_missing(missing)


def _problem(error: RestoreError) -> Problem:
    return {"code": error.code, "message": error.message}
