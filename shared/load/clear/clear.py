"""Makes room for the day's rows: locks its chunks, decompresses them, and removes the rows that are to be replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg2 import errorcodes

from shared.errors import DataRejected, OperationNotSupported
from shared.load.clear.references import find_referenced, refused_by_server
from shared.load.clear.replace import delete_day, truncate
from shared.load.day import Day
from shared.load.inspect.look_ahead import Ahead
from shared.load.locks.chunk_locks import lock_chunks, try_lock_for_truncate
from shared.load.locks.restore_lock import RestoreLock
from shared.load.plan import LoadPlan
from shared.load.refusals import refuse, rows_referenced
from shared.load.target.target import Target
from shared.load.verify.keys import broken_by_deletion, refuse_inconsistent
from shared.model.answer import Outcomes
from shared.model.results import ChunkStep, Count, ReferringRows, Removed, summary
from shared.model.window import Window
from shared.postgres.connect import Cursor
from shared.postgres.sqlstate import sqlstate_of
from shared.timescale.chunks import Chunk
from shared.timescale.compression import decompress
from shared.timescale.table import Table


@dataclass(frozen=True)
class Cleared:
    """How room was made for the rows.

    Attributes:
        truncated: the chunks that were emptied whole.
        removed: the day's rows that were removed.
        steps: the chunks that were decompressed.
        decompress_window: the outcome of the request's option of this name.
    """

    truncated: tuple[Chunk, ...]
    removed: Removed | None
    steps: tuple[ChunkStep, ...]
    decompress_window: Outcomes


def lock_target(load: Cursor, lock: RestoreLock, day: Day, ahead: Ahead, plan: LoadPlan) -> tuple[Chunk, ...]:
    """Lock the chunks over the day, and let the load's transaction hold its lock against a second restore.

    Returns:
        The chunks that may be truncated, since no other session uses them.

    Raises:
        DayNotLocked: the table needs more locks than are held.
        RestoreInProgress: another load holds the lock.
    """
    if ahead.target.window is None and day.policy != "append":
        # Such a table must be empty, whatever the day.
        lock.require(None)
    truncates = ahead.has_rows and day.policy == "replace" and plan.truncate
    truncatable = ahead.whole if truncates and try_lock_for_truncate(load, lock.cursor, ahead.whole) else ()
    rewritten = [chunk for chunk in ahead.to_decompress if chunk not in truncatable]
    lock_chunks(load, ahead.target.table, ahead.target.chunks, rewritten=rewritten)
    lock.hand_over_to(load)
    return truncatable


def clear_day(load: Cursor, day: Day, ahead: Ahead, truncatable: tuple[Chunk, ...], before: Count | None) -> Cleared:
    """Decompress the chunks over the day, and remove its rows if they are to be replaced.

    Args:
        load: in the load's transaction.
        day: what is loaded.
        ahead: still holds for `before`.
        truncatable: the chunks that may be truncated.
        before: the day's rows in the load's own snapshot; None where they were not counted.

    Raises:
        ReferencedRows: that would change other rows, or the server does not let the rows go.
    """
    target, progress = ahead.target, day.progress
    extension = target.compression
    replaces = day.policy == "replace" and before is not None and before.rows > 0
    with progress.stage("replace"):
        referenced = find_referenced(load, target) if replaces else ()
        refuse(rows_referenced(day.request, referenced))
        # Without the right to truncate, the rows are deleted, and no reader can find the chunk empty.
        truncated = truncatable if truncatable and truncate(load, truncatable) else ()
    steps: list[ChunkStep] = []
    with progress.stage("decompress"):
        if extension is not None and ahead.to_decompress:
            steps = decompress(load, extension, target.table, ahead.to_decompress)
            refuse_inconsistent(steps)
    is_able = extension is not None and target.window is not None
    outcome = summary(steps, requested=ahead.decompresses or ahead.copies_beside, available=is_able)
    removed = None
    if replaces and target.window is not None and before is not None:
        with progress.stage("replace"):
            if truncated and steps:
                # A compressed chunk's first TRUNCATE leaves the rows that waited beside the compressed ones.
                truncate(load, truncated)
            is_deleted = _delete(load, day, target, target.window, referenced)
        removed = Removed(before.rows, "truncate" if truncated and not is_deleted else "delete", referenced)
    return Cleared(truncated, removed, tuple(steps), {"decompress_window": outcome})


def _delete(load: Cursor, day: Day, target: Target, window: Window, referenced: Sequence[ReferringRows]) -> bool:
    """Delete the rows of the day that are left, and say whether there were any."""
    try:
        return delete_day(load, target.table, window)
    except OperationNotSupported as exc:
        if sqlstate_of(exc) == errorcodes.OBJECT_NOT_IN_PREREQUISITE_STATE:
            exc.hint = _no_replica_identity(target.table)
        raise
    except DataRejected as exc:
        refused = refused_by_server(load, day.request.archive.day, target, referenced, exc)
        judged = refused or broken_by_deletion(target, exc)
        if judged is None:
            raise
        raise judged from exc


def _no_replica_identity(table: Table) -> str:
    return (
        f"a publication has the deletes of {table}, and cannot name its rows: give it a primary key, or say what names"
        " them (ALTER TABLE ... REPLICA IDENTITY; FULL needs no key, and each partition has its own); or publish no"
        " deletes (ALTER PUBLICATION ... SET (publish = 'insert, update, truncate'))"
    )
