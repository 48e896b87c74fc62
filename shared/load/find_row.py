"""Finds the line of a row that PostgreSQL refused without naming one: once more, in parts of the file."""

from __future__ import annotations

from shared.errors import DataRejected, RestoreCanceled, RestoreError
from shared.load.advice import advise_on_row
from shared.load.attempt import make_room, skips_conflicts
from shared.load.copy.halving import Search
from shared.load.day import Day, Skipped
from shared.load.locks.restore_lock import RestoreLock
from shared.load.plan import DayNotLocked, Fallback, LoadPlan, TargetChanged
from shared.postgres.connect import Connection, Cursor
from shared.postgres.optional_step import note_failed_step
from shared.postgres.sqlstate import translated


def find_refused_row(
    connection: Connection, lock: RestoreLock, day: Day, plan: LoadPlan, refused: DataRejected
) -> DataRejected:
    """Return the error of a refused row with its line. Nothing is committed.

    Args:
        connection: the load's, in autocommit.
        lock: is held.
        day: what is loaded.
        plan: with which the row was refused.
        refused: the error, which names no line.

    Returns:
        The error that names the line; `refused` if it cannot be known, or if the search failed.

    Raises:
        RestoreCanceled: the restore was canceled.
    """
    try:
        with translated(), day.transaction(connection, lock.cancel) as tx:
            return _search(tx.cursor, lock, day, plan, refused)
    except RestoreCanceled:
        raise
    # DataRejected as well: what is raised, not returned, is an error of something else, such as the DELETE.
    except (RestoreError, TargetChanged, DayNotLocked, Fallback) as exc:
        note_failed_step(connection, "find the line of a refused row", exc)
        return refused


def _search(load: Cursor, lock: RestoreLock, day: Day, plan: LoadPlan, refused: DataRejected) -> DataRejected:
    room = make_room(load, lock, day, plan)
    if isinstance(room, Skipped):
        return refused
    proof = room.proof
    search = Search(load, day, proof.target, skips_conflicts(day, proof, plan))
    with day.progress.stage("copy"):
        found = search.run(refused)
    advise_on_row(found, day, proof.target)
    return found
