"""What one transaction of a load does, from top to bottom: look and lock, clear, copy, verify, finish, commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.errors import DatabaseFailed
from shared.load.advice import advised
from shared.load.clear.clear import Cleared, clear_day, lock_target
from shared.load.commit import commit
from shared.load.copy.rows import Transfer
from shared.load.day import Day, Loaded, Skipped
from shared.load.indexes import DayIndexes, defer_indexes
from shared.load.inspect.acceptance import parts_refused
from shared.load.inspect.look_ahead import Ahead, look_ahead
from shared.load.locks.restore_lock import RestoreLock
from shared.load.notices import warn_of_rows
from shared.load.plan import LoadPlan, TargetChanged
from shared.load.refusals import day_not_empty, refuse
from shared.load.target.target import Target, chunks_of_day
from shared.load.verify.keys import Added, not_searched, refuse_unproved
from shared.load.verify.proof import Proof, warn_of_doubled, warn_of_hidden
from shared.model.answer import Outcomes
from shared.model.results import ChunkStep, Count, Notice, Transferred, summary, warnings_of
from shared.postgres.connect import Cursor
from shared.postgres.transaction import Transaction
from shared.timescale.chunks import Chunk, is_own
from shared.timescale.compression import compress_new_chunks
from shared.timescale.privileges import comparable_sequences
from shared.timescale.removal import why_not_truncate
from shared.timescale.rows_of_days import count_window
from shared.timescale.sequences import Reached, find_reached


@dataclass(frozen=True)
class Room:
    """A day in which room was made for its rows, in the load's transaction.

    Attributes:
        proof: counts what comes; it knows the target, and the rows that were there.
        cleared: what was done to make room.
        warnings: what the caller should know of the rows that were there.
    """

    proof: Proof
    cleared: Cleared
    warnings: tuple[Notice, ...]


def attempt(tx: Transaction, lock: RestoreLock, day: Day, plan: LoadPlan) -> Loaded | Skipped:
    """Try one plan in one transaction.

    Args:
        tx: new, in REPEATABLE READ, without a snapshot yet.
        lock: is held.
        day: what is loaded.
        plan: what may be tried.

    Raises:
        TargetChanged: try the same plan again.
        DayNotLocked: try the same plan again, with more locks.
        Fallback: try a plainer plan.
        RestoreError: the load has failed. The transaction must be rolled back.
    """
    load, progress = tx.cursor, day.progress
    room = make_room(load, lock, day, plan)
    if isinstance(room, Skipped):
        return room
    proof, cleared = room.proof, room.cleared
    target = proof.target
    with advised(day, target):
        with progress.stage("index"):
            indexes = defer_indexes(load, day, target, cleared.truncated, plan.keep_because)
        transfer = Transfer(load, day, target, indexes, plan.text_because, skips_conflicts(day, proof, plan))
        try:
            transferred = transfer.run(proof)
        except DatabaseFailed as exc:
            raise (not_searched(lock, target, cleared.steps, exc) or exc) from exc.__cause__
    with progress.stage("verify"):
        added = _verify(load, lock, day, proof, transferred)
        numbers = _numbers_reached(load, added)
        noticed = warn_of_rows(load, day, added, cleared.removed, numbers)
    created, reached = _new_chunks(load, target)
    compressed, compress_outcome = _finish_chunks(load, day, target, created, indexes)
    verified = added.verified
    loaded = Loaded(
        target=target,
        transferred=transferred,
        indexes=indexes.outcome(created),
        removed=cleared.removed,
        verification=verified.verification,
        spans=verified.spans,
        chunk_steps=(*cleared.steps, *(ChunkStep(str(chunk), "create", "done") for chunk in created), *compressed),
        options=cleared.decompress_window | compress_outcome,
        to_recompress=_to_recompress(target, (*verified.chunks, *reached)),
        created=created,
        warnings=(
            *target.warnings,
            *room.warnings,
            *verified.warnings,
            *warnings_of(cleared.steps),
            *noticed,
            *warnings_of(compressed),
        ),
    )
    with progress.stage("commit"):
        return commit(tx, lock, day, loaded, cleared.truncated, numbers)


def make_room(load: Cursor, lock: RestoreLock, day: Day, plan: LoadPlan) -> Room | Skipped:
    """Look at the day, lock what is written, and take away what is to be replaced.

    Args:
        load: in the load's transaction, which has no snapshot yet.
        lock: is held.
        day: what is loaded.
        plan: what may be tried.

    Raises:
        TargetChanged, DayNotLocked, RestoreError: as `attempt`.
    """
    with day.progress.stage("inspect"):
        ahead = look_ahead(lock, day)
        if isinstance(ahead, Skipped):
            return ahead
        truncatable = lock_target(load, lock, day, ahead, plan)
        target = _find_same_target(load, day, ahead, truncatable)
    before, cautions = _count_before(load, day, ahead)
    with advised(day, target):
        cleared = clear_day(load, day, ahead, truncatable, before)
    return Room(Proof(day, target, before, cleared.removed), cleared, cautions)


def skips_conflicts(day: Day, proof: Proof, plan: LoadPlan) -> bool:
    """Whether staged rows in conflict, with each other or with rows that are in the table, are to be skipped.

    Direct mode refuses them, also where it goes through a staging table.
    """
    if day.request.destination.is_direct:
        return False
    is_empty = not proof.may_have_kept_rows
    return not plan.expect_no_conflicts or not proof.target.expects_no_conflicts(day_is_empty=is_empty)


def _find_same_target(load: Cursor, day: Day, ahead: Ahead, truncatable: Sequence[Chunk]) -> Target:
    """Look up the target in the load's own snapshot, now that its chunks are locked.

    Raises:
        TargetChanged: it has other chunks than at the look, or they may not be truncated any more.
    """
    target = day.find_target(load)
    # A trigger may have been created since the look. From here on the locks prevent that.
    if target.chunks != ahead.target.chunks or why_not_truncate(load, target.table, truncatable) is not None:
        raise TargetChanged
    return target


def _count_before(load: Cursor, day: Day, ahead: Ahead) -> tuple[Count | None, tuple[Notice, ...]]:
    """Count the day's rows in the load's own snapshot, and warn where a default may double them or a policy hide some.

    Raises:
        TargetChanged: rows have been added or removed since the look. The day may now be one to skip, or chunks may
            have to be decompressed that were not locked for that.
        WindowNotEmpty: rows have been added since the look, and the request refuses such a day.
    """
    target = ahead.target
    if target.window is None or not (day.request.verify or day.policy != "append"):
        return None, ()
    with day.progress.stage("verify"):
        before = count_window(load, target.table, target.window)
        refuse(day_not_empty(day.request, target.table, before.rows))
        if day.skips(before) or not ahead.still_holds(before):
            raise TargetChanged
        doubled = warn_of_doubled(load, day.request, target.table, before)
        return before, (*doubled, *warn_of_hidden(load, target, before))


def _verify(load: Cursor, lock: RestoreLock, day: Day, proof: Proof, transferred: Transferred) -> Added:
    """Prove what was loaded, and that it went only where it may.

    Raises:
        DayNotLocked: rows went to a day whose lock was not held from the start.
        RestoreError: the proof failed.
    """
    refuse(parts_refused(load, proof.target, day.settings))
    verified = proof.check(load, transferred)
    lock.require(verified.days)
    came = proof.check_replacement(load, transferred, verified.verification)
    added = Added(proof.target, transferred, verified, proof.may_have_kept_rows, came)
    refuse_unproved(load, lock, added)
    return added


def _numbers_reached(load: Cursor, added: Added) -> tuple[Reached, ...]:
    """Find how far the loaded values reach in those sequences of their columns that the role can read."""
    table, window, counts = added.target.table, added.target.window, added.verified.verification
    if not added.transferred.rows_loaded:
        return ()
    within = window if counts is not None and not counts.outside.rows else None
    return find_reached(load, table, comparable_sequences(load, table, added.target.columns.loaded), within)


def _new_chunks(load: Cursor, target: Target) -> tuple[tuple[Chunk, ...], tuple[Chunk, ...]]:
    """Return the chunks that the load made for the day, and older chunks that had no row of the day before."""
    known = {str(chunk) for chunk in target.chunks}
    after = chunks_of_day(load, target.table, target.window)
    new = tuple(chunk for chunk in after if str(chunk) not in known)
    if not target.table.has_partitioning_function:
        return new, ()
    # These chunks are found by their rows. So the list may include an older chunk that held only other days and has
    # just received its first row of this day.
    own = tuple(chunk for chunk in new if is_own(load, chunk))
    return own, tuple(chunk for chunk in new if chunk not in own)


def _finish_chunks(
    load: Cursor, day: Day, target: Target, new_chunks: Sequence[Chunk], indexes: DayIndexes
) -> tuple[list[ChunkStep], Outcomes]:
    """Compress the chunks that the load made, where the request asks for it, and rebuild the indexes."""
    progress, extension = day.progress, target.compression
    requested = day.request.timescaledb.compress_new_chunks
    steps: list[ChunkStep] = []
    if requested and extension is not None and new_chunks:
        with progress.stage("compress"):
            steps = compress_new_chunks(load, extension, target.table, new_chunks, indexes.rebuild)
    else:
        with progress.stage("index"):
            indexes.rebuild()
    is_able = extension is not None and target.window is not None
    return steps, {"compress_new_chunks": summary(steps, requested=requested, available=is_able)}


def _to_recompress(target: Target, written: Sequence[Chunk]) -> tuple[Chunk, ...]:
    """List the chunks that were compressed and have rows now that are not: over the day, and others."""
    known = {str(chunk) for chunk in target.chunks}
    further = {str(c): c for c in written if c.is_compressed and str(c) not in known}
    return (*target.compressed, *further.values())
