"""The warnings of a load whose rows are in."""

from __future__ import annotations

from collections.abc import Sequence

from shared.load.day import Day
from shared.load.target.target import chunks_of_day
from shared.load.verify.keys import Added
from shared.model.results import Notice, Removed
from shared.postgres.connect import Cursor
from shared.postgres.savepoint import attempt_in_savepoint
from shared.timescale.cagg_refresh import find_unlogged
from shared.timescale.caggs import caggs_available
from shared.timescale.retention import find_retention
from shared.timescale.sequences import Reached, find_behind
from shared.timescale.triggers import has_before_triggers


def warn_of_rows(
    load: Cursor, day: Day, added: Added, removed: Removed | None, numbers: Sequence[Reached]
) -> tuple[Notice, ...]:
    """Warn of what the caller should know of the rows that went in, and of those that did not.

    Args:
        load: in the load's transaction, after its rows.
        day: what is loaded.
        added: the rows.
        removed: those that were taken away before; None: none.
        numbers: how far the rows reach in the sequences of their columns.
    """
    return (
        *_of_rejected(added),
        *warn_of_few(
            in_archive=added.transferred.rows_seen,
            read=added.transferred.rows_read,
            before=0 if removed is None else removed.rows,
            in_place=added.in_place,
        ),
        *_of_skipped(load, added),
        *_of_retention(load, added),
        *_of_unlogged(load, day, added),
        *_of_sequences(load, day, numbers),
    )


def warn_of_few(*, in_archive: int, read: int, before: int, in_place: int | None) -> tuple[Notice, ...]:
    """Warn of an archive without a row, and of a day that holds less than it did.

    Args:
        in_archive: rows of the archive.
        read: those that are not left out.
        before: rows of the day that are removed; 0: none are.
        in_place: rows that replace those; None if that is not known.
    """
    if before and not read:
        found = "no row" if not in_archive else "no row that could be parsed"
        return (Notice("ReplacedByNothing", f"{before} rows of the day give way to none: the archive holds {found}"),)
    if not in_archive:
        return (Notice("NoRows", "the archive holds no row: its export may have failed"),)
    if before and in_place is not None and in_place < before:
        return (Notice("ReplacedByFewer", f"{before} rows of the day give way to {in_place}"),)
    return ()


def _of_rejected(added: Added) -> tuple[Notice, ...]:
    """Warn of rows of the archive that were left out."""
    rejected = added.transferred.rejected
    if rejected is None or not rejected.rows:
        return ()
    return (Notice("RowsRejected", f"{rejected.rows} rows could not be parsed and were left out"),)


def _of_skipped(load: Cursor, added: Added) -> tuple[Notice, ...]:
    """Warn of rows that were skipped where a trigger may have dropped them: the server counts both as one.

    Where no row can be in conflict, the load is refused instead (`Proof.check`).
    """
    target, transferred = added.target, added.transferred
    skipped = transferred.rows_skipped
    if not skipped or not transferred.skips_conflicts or not has_before_triggers(load, target.table.oid):
        return ()
    message = (
        f"{skipped} rows were skipped, and {target.table} has a trigger before INSERT: it may have dropped some of them"
    )
    return (Notice("SkippedOrDropped", f"{message}, which would not be in conflict"),)


def _of_retention(load: Cursor, added: Added) -> tuple[Notice, ...]:
    """Warn of the retention policies that will drop the rows at their next run."""
    target, window = added.target, added.target.window
    if window is None or target.compression is None or not added.transferred.rows_loaded:
        return ()
    chunks = (*chunks_of_day(load, target.table, window), *added.verified.chunks)
    if not chunks:
        return ()
    found, _ = attempt_in_savepoint(
        load, "retention", lambda asking: find_retention(asking, target.table, window, chunks)
    )
    return tuple(policy.notice for policy in found or ())


def _of_unlogged(load: Cursor, day: Day, added: Added) -> tuple[Notice, ...]:
    """Warn of aggregates that will not know of the rows, since COPY did not log them; an INSERT does."""
    target, window, transferred = added.target, added.target.window, added.transferred
    if window is None or not caggs_available(target.table):
        return ()
    if transferred.rows_inserted is not None or not transferred.rows_loaded:
        return ()
    chosen = day.request.timescaledb.refresh_caggs
    found, _ = attempt_in_savepoint(
        load, "unlogged", lambda asking: find_unlogged(asking, target.table, chosen, window)
    )
    return found or ()


def _of_sequences(load: Cursor, day: Day, numbers: Sequence[Reached]) -> tuple[Notice, ...]:
    """Warn of sequences that will give numbers of the loaded rows again, unless they are advanced."""
    if day.request.destination.sequences == "advance":
        return ()
    return tuple(behind.notice for behind in find_behind(load, numbers))
