"""What one transaction of a load does, from top to bottom: look and lock, clear, copy, verify, finish, commit."""

from __future__ import annotations

from collections.abc import Sequence

from shared.errors import DatabaseFailed, DataRejected
from shared.load.advice import advised
from shared.load.clear.clear import Cleared, clear_day, lock_target
from shared.load.commit import commit
from shared.load.copy.refused_row import Search
from shared.load.copy.rows import Transfer
from shared.load.day import Day, Loaded, Skipped
from shared.load.indexes import DayIndexes
from shared.load.inspect.acceptance import parts_refused
from shared.load.inspect.look_ahead import Ahead, look_ahead
from shared.load.locks.restore_lock import RestoreLock
from shared.load.notices import warn_of_retention, warn_of_rows, warn_of_sequences, warn_of_skipped, warn_of_unlogged
from shared.load.plan import LoadPlan, TargetChanged
from shared.load.refusals import day_not_empty, refuse
from shared.load.target.target import Target, chunks_of_day
from shared.load.verify.keys import Added, not_searched, refuse_unproved
from shared.load.verify.proof import Proof, Verified, warn_of_doubled, warn_of_hidden
from shared.model.answer import Outcomes
from shared.model.results import ChunkStep, Count, Notice, Transferred, summary, warnings_of
from shared.postgres.connect import Cursor
from shared.postgres.transaction import Transaction
from shared.timescale.chunks import Chunk, is_own
from shared.timescale.compression import compress_new_chunks
from shared.timescale.indexes.deferred import Build
from shared.timescale.privileges import comparable_sequences
from shared.timescale.removal import why_not_truncate
from shared.timescale.rows_of_days import count_window
from shared.timescale.sequences import Reached, find_reached


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
    with progress.interruptible(lock.cancel):
        with progress.stage("inspect"):
            day.limit(load)
            ahead = look_ahead(lock, day)
            if isinstance(ahead, Skipped):
                return ahead
            if ahead.target.window is None and day.policy != "append":
                # Such a table must be empty, whatever the day.
                lock.require(None)
            truncatable = lock_target(load, lock, day, ahead, plan)
            lock.hand_over_to(load)
            target = day.find_target(load)
        # A trigger may have been created since the look. From here on the locks prevent that.
        if target.chunks != ahead.target.chunks or why_not_truncate(load, target.table, truncatable) is not None:
            raise TargetChanged
        before, doubled = _count_before(load, day, ahead)
        with advised(day.request, target, day.csv, progress):
            cleared = clear_day(load, day, ahead, truncatable, before)
            proof = Proof(day.request, target, before, cleared.removed, day.csv)
            indexes = _defer_indexes(load, day, target, cleared, plan)
            skips_conflicts = _skips_conflicts(day, target, before, cleared, plan)
            if plan.refused is not None:
                raise _find_row(load, day, target, plan.refused, skips_conflicts)
            try:
                transferred = _copy(load, day, target, proof, indexes, skips_conflicts, plan)
            except DatabaseFailed as exc:
                raise (not_searched(lock, target, cleared.steps, exc) or exc) from exc.__cause__
        had_rows = before is None or (before.rows > 0 and cleared.removed is None)
        with progress.stage("verify"):
            verified = _verify(load, lock, day, target, proof, transferred, had_rows=had_rows)
            dropped_again = warn_of_retention(load, target, transferred, verified)
            numbers = _numbers_reached(load, target, transferred, verified)
        created, reached = _new_chunks(load, target)
        compressed, compress_outcome = _finish_chunks(load, day, target, created, indexes)
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
                *doubled,
                *verified.warnings,
                *warnings_of(cleared.steps),
                *warn_of_rows(transferred, cleared.removed),
                *warn_of_skipped(load, target, transferred),
                *dropped_again,
                *warn_of_unlogged(load, day, target, transferred),
                *warn_of_sequences(load, day, numbers),
                *warnings_of(compressed),
            ),
        )
    with progress.stage("commit"):
        return commit(tx, lock, day, loaded, proof, cleared.truncated, numbers)


def _count_before(load: Cursor, day: Day, ahead: Ahead) -> tuple[Count | None, tuple[Notice, ...]]:
    """Count the day's rows in the load's own snapshot, and warn where a default may double them or a policy hide some.

    Raises:
        TargetChanged: rows were added or removed since the look. The day may now be one to skip, or chunks may have
            to be decompressed that were not locked for that.
        WindowNotEmpty: rows were added since the look, and the request refuses such a day.
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


def _skips_conflicts(day: Day, target: Target, before: Count | None, cleared: Cleared, plan: LoadPlan) -> bool:
    """Whether staged rows in conflict, with each other or with rows that are in the table, are to be skipped.

    Direct mode refuses them, also where it goes through a staging table.
    """
    if day.request.destination.mode == "direct":
        return False
    is_empty = before is not None and (before.rows == 0 or cleared.removed is not None)
    return not plan.expect_no_conflicts or not target.expects_no_conflicts(day_is_empty=is_empty)


def _defer_indexes(load: Cursor, day: Day, target: Target, cleared: Cleared, plan: LoadPlan) -> DayIndexes:
    build = Build(day.settings.pg_index_memory_mib, day.settings.pg_index_workers)
    with day.progress.stage("index"):
        is_small = day.csv.probable_size < day.settings.pg_index_defer_min_bytes
        return DayIndexes(load, target, cleared.truncated, build, plan.keep_because, is_small=is_small)


def _copy(
    load: Cursor,
    day: Day,
    target: Target,
    proof: Proof,
    indexes: DayIndexes,
    skips_conflicts: bool,  # noqa: FBT001
    plan: LoadPlan,
) -> Transferred:
    transfer = Transfer(
        load,
        day.request,
        target,
        day.csv,
        day.progress,
        indexes,
        plan.text_because,
        token=day.token,
        skips_conflicts=skips_conflicts,
        errors=day.row_errors,
    )
    transferred = transfer.run(proof)
    transfer.refuse_unchecked(transferred)
    return transferred


def _find_row(load: Cursor, day: Day, target: Target, refused: DataRejected, skips_conflicts: bool) -> DataRejected:  # noqa: FBT001
    search = Search(
        load,
        day.request,
        target,
        day.csv,
        day.token,
        skips_conflicts=skips_conflicts,
        errors=day.row_errors,
        cpu_seconds=day.settings.prepare_cpu_seconds,
    )
    with day.progress.stage("copy"):
        return search.run(refused)


def _verify(
    load: Cursor,
    lock: RestoreLock,
    day: Day,
    target: Target,
    proof: Proof,
    transferred: Transferred,
    *,
    had_rows: bool,
) -> Verified:
    """Prove what was loaded, and that it went only where it may.

    Raises:
        DayNotLocked: rows went to a day whose lock was not held from the start.
        RestoreError: the proof failed.
    """
    refuse(parts_refused(load, target, day.settings))
    verified = proof.check(load, transferred)
    lock.require(verified.days)
    proof.check_replacement(load, transferred)
    refuse_unproved(load, lock, Added(target, transferred, verified, had_rows))
    return verified


def _numbers_reached(load: Cursor, target: Target, transferred: Transferred, verified: Verified) -> tuple[Reached, ...]:
    """Find how far the loaded values reach in those sequences of their columns that the role can read."""
    table, window, counts = target.table, target.window, verified.verification
    if not transferred.rows_loaded:
        return ()
    within = window if counts is not None and not counts.outside.rows else None
    return find_reached(load, table, comparable_sequences(load, table, target.columns.loaded), within)


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
