"""Which rights a load needs, and which of them the role lacks."""

from __future__ import annotations

from collections.abc import Iterator

from shared.errors import MissingRight
from shared.load.target.target import Target
from shared.model.request import RestoreRequest
from shared.postgres.connect import Cursor
from shared.timescale.keys import may_meet_unenforced
from shared.timescale.privileges import (
    Right,
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
from shared.timescale.sequences import find_sequences
from shared.timescale.unchecked import may_leave_checks_out


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
    rights = list(_rights(request, target, rows_existing))
    if not target.columns.by_staging and may_leave_checks_out(cursor, target.table):
        rights.append(to_read_rows(target.table))
    if _deletes(request, rows_existing):
        rights += to_follow(target.table, find_references(cursor, target.table).changed)
    if target.compression is not None and target.compressed:
        # Beside compressed rows, a query proves the keys.
        is_safe = target.meets_none_of_its_time(request, rows_existing)
        extension, table, chunks = target.compression, target.table, target.compressed
        if may_meet_unenforced(cursor, extension, table, chunks, meets_none_of_its_time=is_safe):
            rights.append(to_read_rows(table))
    advances = request.destination.sequences == "advance"
    sequences = find_sequences(cursor, target.table, target.columns.loaded)
    rights += to_compare(target.table, sequences, is_needed=advances)
    if advances:
        rights += to_advance(sequences)
    missing = find_missing(cursor, rights)
    missing += missing_sequences(cursor, target.table, target.columns.defaulted)
    if target.like.oid != target.table.oid:
        # The staging table has the defaults of the table that it is modeled on.
        defaulted = [column.name for column in target.like.columns if column.name not in target.columns.file_columns]
        missing += missing_sequences(cursor, target.like, defaulted)
    return missing


def _deletes(request: RestoreRequest, rows_existing: int | None) -> bool:
    return request.destination.existing_rows == "replace" and rows_existing != 0


def _rights(request: RestoreRequest, target: Target, rows_existing: int | None) -> Iterator[Right]:
    destination, table = request.destination, target.table
    policy = destination.existing_rows
    # Without a window, "error" checks whether the table is empty.
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
