"""What a restore takes the role's rights for, and the refusal of one that lacks them, before anything is written."""

from __future__ import annotations

from collections.abc import Iterator

from shared.database.connection import Cursor
from shared.database.missing_right import MissingRight, lacks
from shared.database.permissions import (
    Check,
    find_missing,
    missing_sequences,
    to_compress,
    to_delete,
    to_read,
    to_stage,
    to_write,
)
from shared.request import RestoreRequest
from shared.target import Target


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
    missing = find_missing(cursor, list(_checks(request, target, rows_existing)))
    missing += missing_sequences(cursor, target.table, target.plan.defaulted)
    if request.destination.mode == "staging" and target.like.oid != target.table.oid:
        # The staging table has the other one's defaults.
        defaulted = [column.name for column in target.like.columns if column.name not in target.plan.file_columns]
        missing += missing_sequences(cursor, target.like, defaulted)
    return missing


def refuse_missing(missing: list[MissingRight]) -> None:
    """Refuse the restore if a right is missing that it needs.

    Raises:
        DatabasePermissionDenied: its message and its details name each of them.
    """
    needed = [right for right in missing if right.is_needed]
    if needed:
        raise lacks(needed)


def _checks(request: RestoreRequest, target: Target, rows_existing: int | None) -> Iterator[Check]:
    destination, table = request.destination, target.table
    policy = destination.existing_rows
    # Without a window, "error" looks whether the table is empty.
    if (request.verify or policy != "append") if target.window is not None else policy == "error":
        yield from to_read(table)
    yield from to_write(table, target.plan.loaded, target.chunks)
    if destination.mode == "staging":
        yield from to_stage(table, target.like)
    deletes = policy == "replace" and rows_existing != 0
    if deletes:
        yield from to_delete(table, has_chunks=bool(target.chunks))
    wishes = request.timescaledb
    compresses = deletes or bool(wishes.decompress_window) or wishes.recompress_window
    if target.compression is not None and (wishes.compress_new_chunks or (target.compressed and compresses)):
        yield from to_compress(table, target.compression)
