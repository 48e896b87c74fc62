"""A restore up to its first write, and a report of what would happen. Runs in a READ ONLY transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import IO, Any

from shared.database.cagg_plan import PlannedRefresh, caggs_available, plan_refresh
from shared.database.chunk_catalog import chunks_inside
from shared.database.connection import Cursor
from shared.database.load import begin_session
from shared.database.optional import attempt_in_savepoint
from shared.database.permissions import MissingRight, missing_for_refresh, missing_rights
from shared.database.rejects import is_supported
from shared.database.verification import Count, count_window
from shared.database.window import iso
from shared.lake.csv_count import count_rows
from shared.report import Report
from shared.request import RestoreRequest
from shared.settings import Settings
from shared.target import Target, find_target


def examine(
    cursor: Cursor,
    request: RestoreRequest,
    settings: Settings,
    names: Sequence[str],
    file: IO[bytes],
    report: Report,
) -> None:
    """Find out what a restore would do, and fill it into the report.

    Nothing is written, and no lock is taken that another session would wait for.

    Args:
        cursor: in a READ ONLY transaction.
        request: what would be restored, and how.
        settings: the function app's.
        names: the file's columns, under the table's names.
        file: the CSV.
        report: gets `dry_run`.

    Raises:
        RestoreError: the restore would end with this error before it wrote anything.
    """
    options = request.copy_.csv_options
    with report.clock.stage("count"):
        rows = count_rows(file, options.dialect, has_header=options.has_header)
    with report.clock.stage("inspect"):
        begin_session(
            cursor,
            synchronous_commit_off=False,
            lock_timeout_seconds=settings.pg_lock_timeout_seconds,
            statement_timeout_seconds=settings.pg_statement_timeout_seconds,
        )
        target = find_target(cursor, request, names, file, report)
        existing: Count | None = None
        missing = _missing(cursor, request, target)
        if target.window is not None and not any(right.right in {"SELECT", "USAGE"} for right in missing):
            existing = count_window(cursor, target.table, target.window)
        planned = _planned(cursor, request, target)
        missing += missing_for_refresh(cursor, planned)
    report.dry_run = {
        "rows_in_archive": rows,
        "rows_existing": None if existing is None else existing.rows,
        "on_existing": request.destination.existing_rows,
        "chunks": _chunks(cursor, request, target, existing),
        "caggs": [_cagg(plan) for plan in planned],
        "permissions_missing": [
            {"right": right.right, "on": right.target, "needed": right.is_needed} for right in missing
        ],
        "problems": list(_problems(cursor, request, rows, existing, missing)),
    }


def _missing(cursor: Cursor, request: RestoreRequest, target: Target) -> list[MissingRight]:
    destination = request.destination
    return missing_rights(
        cursor,
        target.table,
        staging=destination.mode == "staging",
        # LIKE wants to read the table, too.
        reads=destination.mode == "staging" or request.verify or destination.existing_rows != "append",
        deletes=destination.existing_rows == "replace",
        decompresses=bool(target.compressed) and request.timescaledb.decompress_window,
    )


def _planned(cursor: Cursor, request: RestoreRequest, target: Target) -> list[PlannedRefresh]:
    wished = request.timescaledb.refresh_caggs
    if not wished or target.window is None or not caggs_available(target.table):
        return []
    return plan_refresh(partial(attempt_in_savepoint, cursor), target.table, target.window, wished)


def _chunks(cursor: Cursor, request: RestoreRequest, target: Target, existing: Count | None) -> list[dict[str, Any]]:
    """Say for each chunk over the day what its state is and what would be done to it."""
    replaces = request.destination.existing_rows == "replace" and existing is not None and existing.rows > 0
    whole = set()
    if replaces and target.window is not None:
        whole = set(chunks_inside(cursor, target.table, target.window))
    chunks = []
    for chunk in target.chunks:
        would = ["truncate, or delete its rows" if chunk in whole else "delete the day's rows"] if replaces else []
        if target.compression is not None and chunk.is_compressed:
            if request.timescaledb.decompress_window:
                would.append("decompress")
            if request.timescaledb.recompress_window:
                would.append("recompress")
        chunks.append({"name": str(chunk), "is_compressed": chunk.is_compressed, "would": would})
    return chunks


def _cagg(plan: PlannedRefresh) -> dict[str, Any]:
    window = None if plan.window is None else {"start": iso(plan.window.lower), "end": iso(plan.window.upper)}
    error = {} if plan.error is None else {"error": {"code": plan.error.code, "message": plan.error.message}}
    return {"name": plan.name, "window": window} | error


def _problems(
    cursor: Cursor, request: RestoreRequest, rows: int, existing: Count | None, missing: Sequence[MissingRight]
) -> Iterator[dict[str, str]]:
    """Name the errors that the restore would answer with, as far as they can be known without writing."""
    expected = request.copy_.expected_rows
    if expected is not None and rows != expected:
        yield {"code": "RowCountMismatch", "message": f"the archive holds {rows} rows, expected_rows is {expected}"}
    if existing is not None and existing.rows and request.destination.existing_rows == "error":
        yield {"code": "WindowNotEmpty", "message": f"the table already holds {existing.describe()}"}
    if request.copy_.on_error == "skip" and not is_supported(cursor.connection):
        yield {"code": "OnErrorNotSupported", "message": "copy.on_error takes PostgreSQL 17 or newer"}
    needed = [f"{right.right} on {right.target}" for right in missing if right.is_needed]
    if needed:
        yield {"code": "DatabasePermissionDenied", "message": "the role lacks " + ", ".join(needed)}
