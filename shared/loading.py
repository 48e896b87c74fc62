"""The load, inside its transaction: look at what is there, make room, copy, count again. Commits nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from shared.database.chunk_catalog import Chunk, chunks_inside, chunks_overlapping
from shared.database.chunks import decompress
from shared.database.connection import Cursor
from shared.database.hypertable import has_unique_index
from shared.database.load import begin_session, copy_into, copy_into_staging, insert_staged, make_staging
from shared.database.replace import remove_day, truncate
from shared.database.steps import ChunkStep, summary
from shared.database.verification import (
    Count,
    count_own,
    count_staged_outside,
    count_window,
    refuse_difference,
    refuse_outside,
)
from shared.database.window import Window
from shared.errors import Fault, RowCountMismatch, WindowNotEmpty
from shared.lake.csv_head import bom_length
from shared.report import Report, Verification
from shared.request import RestoreRequest
from shared.settings import Settings
from shared.target import Target, find_target


@dataclass(frozen=True)
class Loaded:
    """What the load leaves for the steps after the commit.

    Attributes:
        target: as it was before the load.
        span: what was really loaded: the day, and further where rows outside it were allowed.
        compressed: the chunks in that span that are to be compressed again.
    """

    target: Target
    span: Window | None
    compressed: tuple[Chunk, ...]


def load_day(
    cursor: Cursor,
    request: RestoreRequest,
    settings: Settings,
    names: Sequence[str],
    file: IO[bytes],
    report: Report,
) -> Loaded | None:
    """Load the file into the target.

    Args:
        cursor: in the load's REPEATABLE READ transaction.
        request: what to restore, and how.
        settings: the function app's.
        names: the file's columns, under the table's names.
        file: the CSV.
        report: filled in as the load goes on.

    Returns:
        What is left to do after the commit; None where the day was there already and is left as it is.

    Raises:
        RestoreError: the transaction is to be rolled back.
    """
    clock = report.clock
    with clock.stage("inspect"):
        begin_session(
            cursor,
            synchronous_commit_off=request.copy_.synchronous_commit_off,
            lock_timeout_seconds=settings.pg_lock_timeout_seconds,
            statement_timeout_seconds=settings.pg_statement_timeout_seconds,
        )
        target = find_target(cursor, request, names, file, report)
    before = None
    if target.window is not None and (request.verify or request.destination.existing_rows != "append"):
        with clock.stage("verify"):
            before = count_window(cursor, target.table, target.window)
            if not _go_on(request, before, report):
                return None
            if before.rows and request.destination.existing_rows == "append":
                _warn_of_duplicates(cursor, request, target, report)
    _make_room(cursor, request, target, before, report)
    outside = _copy(cursor, request, target, file, report)
    if report.rows_removed and not report.rows_loaded:
        report.warn("ReplacedByNothing", f"{report.rows_removed} rows were removed, and the archive holds none")
    span, written = _verify(cursor, request, target, before, outside, report)
    return Loaded(target, span, _chunks_to_compress(cursor, target, written, report))


def _go_on(request: RestoreRequest, before: Count, report: Report) -> bool:
    """Say whether the day may be loaded although it is not empty."""
    if before.rows == 0:
        return True
    policy = request.destination.existing_rows
    if policy == "error":
        message = f"{report.target_table} already holds {before.rows} rows of {request.archive.day.isoformat()}"
        raise WindowNotEmpty(message, details=[Fault("WindowNotEmpty", message, info=(("rows", before.rows),))])
    if policy == "skip":
        report.skip(before.rows)
        return False
    return True


def _warn_of_duplicates(cursor: Cursor, request: RestoreRequest, target: Target, report: Report) -> None:
    """Staging appends by default since it skips conflicts; without a unique index there are none to skip."""
    if request.destination.on_existing is None and not has_unique_index(cursor, target.table):
        report.warn(
            "MayHoldDuplicates",
            f"{target.table} already held rows of the day and has no unique index: no row was skipped",
        )


def _make_room(cursor: Cursor, request: RestoreRequest, target: Target, before: Count | None, report: Report) -> None:
    """Decompress the chunks over the day, and remove its rows where they are to be replaced."""
    clock, table, window = report.clock, target.table, target.window
    replaced = request.destination.existing_rows == "replace" and before is not None and before.rows > 0
    is_empty = False
    whole: tuple[Chunk, ...] = ()
    if replaced and window is not None:
        # What is truncated as a whole need not be unpacked before.
        with clock.stage("replace"):
            whole = chunks_inside(cursor, table, window)
            is_empty = truncate(cursor, whole)
    with clock.stage("decompress"):
        _decompress(cursor, request, target, report, must=replaced and not is_empty)
    if is_empty and any(chunk.is_compressed for chunk in whole):
        # A compressed chunk's first TRUNCATE leaves the rows that waited beside the compressed ones.
        with clock.stage("replace"):
            truncate(cursor, whole)
    if replaced and window is not None and before is not None:
        with clock.stage("replace"):
            deleted = remove_day(cursor, table, window)
        report.rows_removed = before.rows
        report.removed_by = "delete" if deleted else "truncate"


def _decompress(cursor: Cursor, request: RestoreRequest, target: Target, report: Report, *, must: bool) -> None:
    extension, requested = target.compression, request.timescaledb.decompress_window
    steps: list[ChunkStep] = []
    if extension is not None and (requested or must):
        steps = decompress(cursor, extension, target.compressed)
    report.add_chunk_steps(steps)
    is_able = extension is not None and target.window is not None
    report.options["decompress_window"] = summary(steps, requested=requested, available=is_able)


def _copy(cursor: Cursor, request: RestoreRequest, target: Target, file: IO[bytes], report: Report) -> Count | None:
    """Copy the file, and return what of it is staged outside the day, where that is known."""
    clock, options, plan = report.clock, request.copy_.csv_options, target.plan
    file.seek(bom_length(file, options.dialect))
    if request.destination.mode == "direct":
        with clock.stage("copy"):
            report.rows_loaded = copy_into(cursor, target.table.identifier, plan.file_columns, options, file)
        _check_expected(request, report)
        return None
    with clock.stage("copy"):
        staging = make_staging(cursor, target.table, target.like, plan.file_columns, report.request_id.replace("-", ""))
        copied = copy_into_staging(
            cursor,
            staging,
            options,
            file,
            has_timescaledb=target.table.timescaledb is not None,
            max_rejected_rows=request.copy_.max_rejected_rows,
        )
    report.rows_loaded, report.rejected = copied.rows, copied.rejected
    if copied.rejected is not None and copied.rejected.rows:
        report.warn("RowsRejected", f"{copied.rejected.rows} rows could not be parsed and were left out")
    _check_expected(request, report)
    outside = None
    if request.verify and target.window is not None and target.table.time_column in plan.loaded:
        with clock.stage("verify"):
            outside = count_staged_outside(cursor, target.table, staging.identifier, target.window)
            if request.destination.rows_outside_window == "error":
                refuse_outside(outside, request.archive.day)
    with clock.stage("insert"):
        report.rows_inserted = insert_staged(cursor, target.table, staging, plan.loaded)
        report.rows_skipped = report.rows_loaded - report.rows_inserted
    return outside


def _check_expected(request: RestoreRequest, report: Report) -> None:
    expected = request.copy_.expected_rows
    found = (report.rows_loaded or 0) + (0 if report.rejected is None else report.rejected.rows)
    if expected is not None and found != expected:
        raise RowCountMismatch(f"the archive holds {found} rows, but expected_rows is {expected}")


def _verify(
    cursor: Cursor,
    request: RestoreRequest,
    target: Target,
    before: Count | None,
    staged_outside: Count | None,
    report: Report,
) -> tuple[Window | None, tuple[Chunk, ...]]:
    """Count the day again. Return the span that was really loaded, and the chunks outside the day that got rows."""
    window, table = target.window, target.table
    if window is None or before is None or not request.verify:
        return window, ()
    with report.clock.stage("verify"):
        after = count_window(cursor, table, window)
        added = (report.rows_loaded if report.rows_inserted is None else report.rows_inserted) or 0
        kept = 0 if report.rows_removed is not None else before.rows
        outside = Count(0)
        chunks: tuple[Chunk, ...] = ()
        if after.rows - kept != added or (staged_outside is not None and staged_outside.rows):
            # Rows that are not in the day are elsewhere, or nowhere.
            outside, chunks = count_own(cursor, table, outside=window)
            if request.destination.rows_outside_window == "error":
                refuse_outside(outside, request.archive.day)
        refuse_difference(before=kept, after=after.rows, added=added - outside.rows)
    report.verification = Verification(before.rows, after, added, outside)
    return window.widened(outside.first, outside.last), chunks


def _chunks_to_compress(cursor: Cursor, target: Target, written: Sequence[Chunk], report: Report) -> tuple[Chunk, ...]:
    """Report the chunks that the load made for the day, and name those that are to be compressed again."""
    known = {str(chunk) for chunk in target.chunks}
    if target.window is not None:
        after = chunks_overlapping(cursor, target.table, target.window)
        report.add_chunk_steps([ChunkStep(str(chunk), "create", "done") for chunk in after if str(chunk) not in known])
    return (*target.compressed, *(chunk for chunk in written if chunk.is_compressed and str(chunk) not in known))
