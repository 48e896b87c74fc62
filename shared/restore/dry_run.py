"""A restore up to its first write, and a report of what would happen. Runs in a READ ONLY transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from shared.csvfile.scan import rows_of
from shared.csvfile.source import CsvSource
from shared.errors import MissingRight, lacks
from shared.load.copy.text import is_supported
from shared.load.counts import count_in_children, count_window
from shared.load.target import Target, find_target, missing_rights
from shared.load.verify import inherited, too_small
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
    names: Sequence[str],
    csv: CsvSource,
    report: Report,
) -> None:
    """Find out what a restore would do, and fill it into the report.

    Nothing is written, and no lock is taken that another session would wait for.

    Args:
        cursor: in a READ ONLY transaction.
        request: what would be restored, and how.
        settings: the function app's.
        names: the file's columns, under the table's names.
        csv: the archive, unpacked.
        report: gets `dry_run`.

    Raises:
        RestoreError: the restore would end with this error before it wrote anything.
    """
    options = request.copy_.csv_options
    with report.progress.stage("count"):
        csv.drain()
        rows = rows_of(csv.records or 0, has_header=options.has_header)
    with report.progress.stage("inspect"):
        set_transaction_limits(
            cursor,
            synchronous_commit_off=False,
            lock_timeout_seconds=settings.pg_lock_timeout_seconds,
            statement_timeout_seconds=settings.pg_statement_timeout_seconds,
        )
        target = find_target(cursor, request, names, csv.head)
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
            *_problems(cursor, request, rows, existing, missing),
            *_inherited(request, target, existing, in_children),
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


def _inherited(request: RestoreRequest, target: Target, existing: Count | None, in_children: int) -> Iterator[Problem]:
    looks = request.destination.existing_rows in ("error", "skip")
    if looks and in_children and existing is not None and not existing.rows:
        yield {"code": "WindowNotEmpty", "message": inherited(target.table, in_children)}


def _problems(
    cursor: Cursor, request: RestoreRequest, rows: int, existing: Count | None, missing: Sequence[MissingRight]
) -> Iterator[Problem]:
    """Name the errors that the restore would answer with, as far as they can be known without writing."""
    expected = request.copy_.expected_rows
    if expected is not None and rows != expected:
        yield {"code": "RowCountMismatch", "message": f"the archive holds {rows} rows, expected_rows is {expected}"}
    if existing is not None and existing.rows and request.destination.existing_rows == "error":
        yield {"code": "WindowNotEmpty", "message": f"the table already holds {existing.rows} rows of the day"}
    destination = request.destination
    removed = existing.rows if existing is not None and destination.existing_rows == "replace" else 0
    if not destination.may_replace(removed, rows):
        message = too_small(removed, rows, destination.min_rows_ratio)
        yield {"code": "ReplacementTooSmall", "message": message}
    if request.copy_.on_error == "skip" and not is_supported(cursor.connection):
        yield {"code": "OnErrorNotSupported", "message": "copy.on_error takes PostgreSQL 17 or newer"}
    needed = [right for right in missing if right.is_needed]
    skips = existing is not None and existing.rows and request.destination.existing_rows == "skip"
    if needed and not skips:
        denied = lacks(needed)
        yield {"code": denied.code, "message": denied.message}
