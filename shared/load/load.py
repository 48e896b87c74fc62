"""The load of one day: lock and look, clear, copy, verify, finish, commit. All in one transaction.

`load_day` starts over in a new transaction while the target's chunks keep changing, and whenever a quick way does not
hold for these rows. `attempt` is what one transaction does, from top to bottom.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from shared.csvfile.source import CsvSource
from shared.errors import DatabaseUnreachable, DataRejected, RestoreCanceled, RestoreError, TargetLocked
from shared.load.acceptance import LOOKS, look_at_parts, look_at_server, parts_refused
from shared.load.advice import advised
from shared.load.columns import FileHeader
from shared.load.copy.refused_row import Search
from shared.load.copy.rows import Transfer
from shared.load.counts import count_in_children, count_window
from shared.load.indexes import DayIndexes
from shared.load.keys import Added, broken_by_deletion, refuse_inconsistent, refuse_unproved
from shared.load.locks import Connect, RestoreLock, lock_chunks, no_other_transactions, try_lock_for_truncate
from shared.load.plan import DayNotLocked, Fallback, LoadPlan, TargetChanged
from shared.load.references import find_referenced, refused_by_server
from shared.load.refusals import day_in_children, day_not_empty, refuse, rights_missing, rows_referenced
from shared.load.replace import delete_day, truncate
from shared.load.target import Target, chunks_of_day, find_target, missing_rights
from shared.load.verify import Proof, Verified, may_double_by_default, may_hold_duplicates
from shared.model.answer import Outcomes
from shared.model.progress import Progress
from shared.model.request import RestoreRequest
from shared.model.results import (
    ChunkStep,
    Count,
    IndexOutcome,
    Notice,
    ReferringRows,
    Removed,
    Transferred,
    Verification,
    summary,
    warnings_of,
)
from shared.model.window import Window
from shared.postgres.connect import Connection, Cursor
from shared.postgres.savepoint import attempt_in_savepoint
from shared.postgres.sqlstate import CopiedRows, RowErrors, lacks_a_line, translated
from shared.postgres.transaction import (
    CommitId,
    CommitInterruptedError,
    Transaction,
    make_commit_durable,
    resolve_commit,
    set_transaction_limits,
    transaction,
)
from shared.settings import Settings
from shared.timescale.caggs import find_unlogged
from shared.timescale.chunks import Chunk, chunks_inside, is_own
from shared.timescale.compression import (
    compress_new_chunks,
    compressed_size,
    decompress,
    should_decompress,
)
from shared.timescale.indexes.deferred import Build
from shared.timescale.keys import may_meet_unenforced
from shared.timescale.privileges import can_read, comparable_sequences
from shared.timescale.removal import why_not_truncate
from shared.timescale.retention import find_retention
from shared.timescale.sequences import Reached, advance, find_behind, find_reached
from shared.timescale.session import set_needed

# How many attempts may find that the day's chunks or rows changed between the look at them and their lock, or that rows
# go to days that are not locked yet.
MAX_CHANGED_ATTEMPTS = 4


@dataclass(frozen=True)
class Day:
    """What a load is given.

    Attributes:
        request: what is restored, and how.
        settings: the function app's.
        header: what precedes the file's rows.
        csv: the archive, unpacked.
        token: makes the name of a staging table unique: lower-case hexadecimal digits.
        progress: is written, and asked whether to stop.
        connect_again: another connection to the same server.
        found: is called with the target each time it was looked up.
        before_commit: is called right before the COMMIT, with what the server can be asked for and with the result.
            What it raises rolls back.
        committed: is called with the result as soon as the server has confirmed the COMMIT.
    """

    request: RestoreRequest
    settings: Settings
    header: FileHeader
    csv: CsvSource
    token: str
    progress: Progress
    connect_again: Connect
    found: Callable[[Target], None]
    before_commit: Callable[[CommitId, Loaded], None]
    committed: Callable[[Loaded], None]

    @property
    def policy(self) -> str:
        """What happens to rows that are in the day already."""
        return self.request.destination.existing_rows

    def find_target(self, cursor: Cursor) -> Target:
        """Ask the database what the target is."""
        target = find_target(cursor, self.request, self.header, self.csv.head)
        self.found(target)
        return target


@dataclass(frozen=True)
class Skipped:
    """The day was there already and is left as it is: the target, and how many rows it holds of the day."""

    target: Target
    rows: int


@dataclass(frozen=True)
class Loaded:
    """What a load did, and what it leaves for the steps after its COMMIT.

    Attributes:
        target: as it was before the load.
        transferred: how the rows got in.
        indexes: what happened to the indexes.
        removed: the day's rows that were taken away before; None where there were none to take away.
        verification: the proof; None where nothing was counted.
        spans: what was really loaded: the day, and where rows outside it were allowed, the span of those of each chunk.
        chunk_steps: what was done to chunks.
        options: the outcomes of the request's options of these names.
        to_recompress: the chunks in that span that are to be compressed again.
        created: the chunks that the load made for the day.
        warnings: what the caller should know although the rows are in, in the order in which it happened.
    """

    target: Target
    transferred: Transferred
    indexes: IndexOutcome
    removed: Removed | None
    verification: Verification | None
    spans: tuple[Window, ...]
    chunk_steps: tuple[ChunkStep, ...]
    options: Outcomes
    to_recompress: tuple[Chunk, ...]
    created: tuple[Chunk, ...]
    warnings: tuple[Notice, ...]


@dataclass(frozen=True)
class _Ahead:
    """What the look at the target showed, before anything was locked.

    Attributes:
        target: the table and its chunks.
        before: rows of the day.
        whole: the chunks that lie wholly inside the day; empty if a TRUNCATE would bypass a trigger, rule, policy or
            publication.
        copies_beside: whether rows go beside compressed ones, which stay as they are.
    """

    target: Target
    before: Count
    whole: tuple[Chunk, ...]
    copies_beside: bool


@dataclass(frozen=True)
class _Cleared:
    """How room was made for the rows.

    Attributes:
        truncated: the chunks that were emptied whole.
        removed: the rows that were taken away.
        steps: the chunks that were decompressed.
        decompress_window: the outcome of the request's option of this name.
    """

    truncated: tuple[Chunk, ...]
    removed: Removed | None
    steps: tuple[ChunkStep, ...]
    decompress_window: Outcomes


def load_day(connection: Connection, lock: RestoreLock, day: Day) -> Loaded | Skipped:
    """Load one day, and commit it. This is the only loop that repeats a load.

    At most 4 attempts may find the target changed or a day not locked, and each of the 4 permissions of the plan is
    given up once at most. If a row was refused without its line, one more attempt looks for the line.

    Args:
        connection: the load's, in autocommit.
        lock: is held.
        day: what is loaded.

    Raises:
        TargetLocked: the chunks, or the days that get rows, kept changing.
        RestoreInProgress: another session holds the lock of a day that gets rows.
        RestoreCanceled: the restore was canceled.
        RestoreError: nothing was loaded; the target is as it was before.
    """
    plan, changes = LoadPlan.for_request(day.request), 0
    while True:
        day.progress.loads += 1
        try:
            with transaction(connection, "REPEATABLE READ") as tx:
                return attempt(tx, lock, day, plan)
        except (TargetChanged, DayNotLocked) as exc:
            changes += 1
            if changes == MAX_CHANGED_ATTEMPTS:
                when = day.request.archive.day.isoformat()
                what = f"the chunks over {when}" if isinstance(exc, TargetChanged) else "the days that get rows"
                raise TargetLocked(f"{what} kept changing") from exc
            if isinstance(exc, DayNotLocked):
                # The transaction has ended: what it held of the lock is free.
                lock.take(exc.days)
        except Fallback as exc:
            plan = plan.without(exc)
        except RestoreError as exc:
            plan = _looking_for_row(plan, exc)


def _looking_for_row(plan: LoadPlan, error: RestoreError) -> LoadPlan:
    """Return the plan that finds the line of a row that was refused without one. Raise any other error.

    Raises:
        RestoreError: the error; or, if the search for a row failed, the error of that row without its line.
    """
    if plan.refused is not None and not isinstance(error, (DataRejected, RestoreCanceled)):
        raise plan.refused from error
    if plan.refused is not None or not isinstance(error, DataRejected) or not lacks_a_line(error):
        raise error
    return plan.looking_for(error)


def attempt(tx: Transaction, lock: RestoreLock, day: Day, plan: LoadPlan) -> Loaded | Skipped:
    """Try one plan in one transaction.

    Args:
        tx: new, in REPEATABLE READ, without a snapshot yet.
        lock: is held.
        day: what is loaded.
        plan: what may be tried.

    Raises:
        TargetChanged: the same is to be tried again.
        DayNotLocked: the same is to be tried again, with more locks.
        Fallback: a plainer plan is to be tried.
        RestoreError: the transaction is to be rolled back for good.
    """
    load, progress = tx.cursor, day.progress
    with progress.interruptible(lock.cancel):
        with progress.stage("inspect"):
            _limit(load, day)
            set_needed(load)
            ahead = _look_ahead(lock, day)
            if isinstance(ahead, Skipped):
                return ahead
            if ahead.target.window is None and day.policy != "append":
                # Such a table must be empty, whatever the day.
                lock.require(None)
            truncatable = _lock_target(load, lock, day, ahead, plan)
            lock.hand_over_to(load)
            target = day.find_target(load)
        # A trigger may have been created since the look. From here on the locks prevent that.
        if target.chunks != ahead.target.chunks or why_not_truncate(load, target.table, truncatable) is not None:
            raise TargetChanged
        before, warnings = _count_before(load, day, target)
        with advised(day.request, target, day.csv, progress):
            cleared = _clear(load, day, ahead, truncatable, before)
            proof = Proof(day.request, target, before, cleared.removed, day.csv)
            indexes = _defer_indexes(load, day, target, cleared, plan)
            skips_conflicts = _skips_conflicts(day, target, before, cleared, plan)
            if plan.refused is not None:
                raise _find_row(load, day, target, plan.refused, skips_conflicts)
            transferred = _copy(load, day, target, proof, indexes, skips_conflicts, plan)
        with progress.stage("verify"):
            refuse(parts_refused(load, target, day.settings))
            verified = proof.check(load, transferred)
            lock.require(verified.days)
            proof.check_replacement(load, transferred)
            had_rows = before is None or (before.rows > 0 and cleared.removed is None)
            refuse_unproved(load, lock, Added(target, transferred, verified, had_rows))
            retention = _retention(load, target, transferred, verified)
            numbers = _numbers_reached(load, target, transferred, verified)
        new_chunks, reached = _new_chunks(load, target)
        compressed, compress_outcome = _finish_chunks(load, day, target, new_chunks, indexes)
        loaded = Loaded(
            target,
            transferred,
            indexes.outcome(new_chunks),
            cleared.removed,
            verified.verification,
            verified.spans,
            (*cleared.steps, *(ChunkStep(str(chunk), "create", "done") for chunk in new_chunks), *compressed),
            cleared.decompress_window | compress_outcome,
            _to_recompress(target, (*verified.chunks, *reached)),
            new_chunks,
            (
                *target.warnings,
                *warnings,
                *verified.warnings,
                *warnings_of(cleared.steps),
                *_warnings_of_rows(transferred, cleared.removed),
                *retention,
                *_unlogged(load, day, target, transferred),
                *_behind(load, day, numbers),
                *warnings_of(compressed),
            ),
        )
    with progress.stage("commit"):
        return _commit(tx, lock, day, loaded, proof, cleared.truncated, numbers)


def _limit(cursor: Cursor, day: Day) -> None:
    set_transaction_limits(
        cursor,
        synchronous_commit_off=day.request.copy_.synchronous_commit_off,
        lock_timeout_seconds=day.settings.pg_lock_timeout_seconds,
        statement_timeout_seconds=day.settings.pg_statement_timeout_seconds,
    )


def _look_ahead(lock: RestoreLock, day: Day) -> _Ahead | Skipped:
    """Look at the target on the lock's connection: a query on the load's would fix its snapshot before its locks."""
    before, seen = Count(0), None
    whole: tuple[Chunk, ...] = ()
    with lock.read_current() as looking:
        # A look waits for locks as well. The limits end with it.
        _limit(looking, day)
        target = day.find_target(looking)
        counts = day.policy != "append" or day.request.timescaledb.decompress_window == "auto"
        if target.window is not None and counts and can_read(looking, target.table):
            before = seen = count_window(looking, target.table, target.window)
            whole = chunks_inside(looking, target.table, target.window) if day.policy == "replace" else ()
            if why_not_truncate(looking, target.table, whole) is not None:
                whole = ()
        skips = _skips_or_refuses(day, target, before)
        if seen is not None and not skips and target.window is not None:
            in_children = count_in_children(looking, target.table, target.window)
            refuse(day_in_children(day.request, target.table, in_children))
        if not skips:
            copies_beside = _copies_beside(looking, day, target, seen)
            missing = missing_rights(looking, day.request, target, None if seen is None else seen.rows)
            refuse(rights_missing(missing))
            refuse(look_at_server(looking))
            for look in LOOKS.values():
                refuse(look(looking, day.request, target).refusal)
            refuse(look_at_parts(looking, day.request, target, day.settings).refusal)
    return Skipped(target, before.rows) if skips else _Ahead(target, before, whole, copies_beside)


def _skips_or_refuses(day: Day, target: Target, before: Count) -> bool:
    """Whether a day that is not empty is left as it is.

    Raises:
        WindowNotEmpty: the request refuses such a day.
    """
    refuse(day_not_empty(day.request, target.table, before.rows))
    return before.rows > 0 and day.policy == "skip"


def _copies_beside(looking: Cursor, day: Day, target: Target, before: Count | None) -> bool:
    """Whether the rows go beside those that are compressed, where the request leaves the choice."""
    extension, chunks = target.compression, target.compressed
    if day.request.timescaledb.decompress_window != "auto" or extension is None or not chunks:
        return False
    is_safe = target.meets_none_of_its_time(day.request, None if before is None else before.rows)
    if may_meet_unenforced(looking, extension, target.table, chunks, meets_none_of_its_time=is_safe):
        return False
    # Without the right to ask, there is none to decompress either.
    size, _ = attempt_in_savepoint(looking, lambda asking: compressed_size(asking, extension, target.table, chunks))
    return not should_decompress(size, day.csv.probable_size, day_is_empty=before is None or not before.rows)


def _decompresses(day: Day, *, copies_beside: bool, has_rows: bool) -> bool:
    """Whether compressed chunks are decompressed: on request, and always before rows are deleted."""
    if day.policy == "replace" and has_rows:
        return True
    return bool(day.request.timescaledb.decompress_window) and not copies_beside


def _lock_target(load: Cursor, lock: RestoreLock, day: Day, ahead: _Ahead, plan: LoadPlan) -> tuple[Chunk, ...]:
    """Lock the chunks over the day. Return those that may be truncated, since no other session uses them."""
    has_rows = ahead.before.rows > 0
    truncates = has_rows and day.policy == "replace" and plan.truncate
    truncatable = ahead.whole if truncates and try_lock_for_truncate(load, lock.cursor, ahead.whole) else ()
    target = ahead.target
    decompresses = target.compression is not None and _decompresses(
        day, copies_beside=ahead.copies_beside, has_rows=has_rows
    )
    rewritten = [chunk for chunk in target.compressed if chunk not in truncatable] if decompresses else []
    lock_chunks(load, target.table, target.chunks, rewritten=rewritten)
    return truncatable


def _count_before(load: Cursor, day: Day, target: Target) -> tuple[Count | None, tuple[Notice, ...]]:
    """Count the day's rows in the load's own snapshot, and warn where a default may double them.

    Raises:
        TargetChanged: rows came since the look, and the day is to be skipped now.
    """
    if target.window is None or not (day.request.verify or day.policy != "append"):
        return None, ()
    with day.progress.stage("verify"):
        before = count_window(load, target.table, target.window)
        if _skips_or_refuses(day, target, before):
            raise TargetChanged
        if before.rows and may_double_by_default(load, day.request, target.table):
            return before, (may_hold_duplicates(target.table, "of the day"),)
    return before, ()


def _clear(load: Cursor, day: Day, ahead: _Ahead, truncatable: tuple[Chunk, ...], before: Count | None) -> _Cleared:
    """Decompress the chunks over the day, and remove its rows where they are to be replaced.

    Raises:
        ReferencedRows: that would change other rows, or the server does not let the rows go.
    """
    target, progress = ahead.target, day.progress
    extension = target.compression
    replaces = day.policy == "replace" and before is not None and before.rows > 0
    with progress.stage("replace"):
        referenced = find_referenced(load, target) if replaces else ()
        refuse(rows_referenced(day.request, referenced))
        # Without the right to truncate, the rows are deleted, and no reader can see a hole.
        truncated = truncatable if truncatable and truncate(load, truncatable) else ()
    decompresses = _decompresses(day, copies_beside=ahead.copies_beside, has_rows=replaces)
    steps: list[ChunkStep] = []
    with progress.stage("decompress"):
        if extension is not None and decompresses:
            steps = decompress(load, extension, target.table, target.compressed)
            refuse_inconsistent(steps)
    is_able = extension is not None and target.window is not None
    outcome = summary(steps, requested=decompresses or ahead.copies_beside, available=is_able)
    removed = None
    if replaces and target.window is not None and before is not None:
        with progress.stage("replace"):
            if truncated and steps:
                # A compressed chunk's first TRUNCATE leaves the rows that waited beside the compressed ones.
                truncate(load, truncated)
            is_deleted = _delete(load, day, target, target.window, referenced)
        removed = Removed(before.rows, "truncate" if truncated and not is_deleted else "delete", referenced)
    return _Cleared(truncated, removed, tuple(steps), {"decompress_window": outcome})


def _delete(load: Cursor, day: Day, target: Target, window: Window, referenced: Sequence[ReferringRows]) -> bool:
    """Delete the rows of the day that are left, and say whether there were any."""
    try:
        return delete_day(load, target.table, window)
    except DataRejected as exc:
        refused = refused_by_server(load, day.request.archive.day, target, referenced, exc)
        judged = refused or broken_by_deletion(target, exc)
        if judged is None:
            raise
        raise judged from exc


def _skips_conflicts(day: Day, target: Target, before: Count | None, cleared: _Cleared, plan: LoadPlan) -> bool:
    """Whether staged rows in conflict, with each other or with rows that are in the table, are to be skipped.

    Direct mode refuses them, also where it goes through a staging table.

    Every unique index of a hypertable contains the time. So in an empty day, rows of the file can only be in conflict
    with each other. That is rare, and a former attempt has shown it if the plan does not expect no conflicts.
    """
    if day.request.destination.mode == "direct":
        return False
    is_empty = before is not None and (before.rows == 0 or cleared.removed is not None)
    return not plan.expect_no_conflicts or not is_empty or target.table.hypertable_id is None


def _defer_indexes(load: Cursor, day: Day, target: Target, cleared: _Cleared, plan: LoadPlan) -> DayIndexes:
    build = Build(day.settings.pg_index_memory_mib, day.settings.pg_index_workers)
    with day.progress.stage("index"):
        return DayIndexes(load, target, cleared.truncated, build, plan.keep_because)


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
        errors=_row_errors(day),
    )
    transferred = transfer.run(proof)
    transfer.refuse_unchecked(transferred)
    return transferred


def _row_errors(day: Day) -> RowErrors:
    return RowErrors(day.settings.show_row_data, day.csv.preamble.lines)


def _find_row(load: Cursor, day: Day, target: Target, refused: DataRejected, skips_conflicts: bool) -> DataRejected:  # noqa: FBT001
    errors = _row_errors(day)
    search = Search(load, day.request, target, day.csv, day.token, skips_conflicts=skips_conflicts, errors=errors)
    with day.progress.stage("copy"):
        return search.run(refused)


def _new_chunks(load: Cursor, target: Target) -> tuple[tuple[Chunk, ...], tuple[Chunk, ...]]:
    """Return the chunks that the load made for the day, and those there before that the day has only reached now."""
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


def _retention(load: Cursor, target: Target, transferred: Transferred, verified: Verified) -> tuple[Notice, ...]:
    """Warn of the retention policies that will drop the rows at their next run."""
    window = target.window
    if window is None or not transferred.rows_loaded:
        return ()
    chunks = (*chunks_of_day(load, target.table, window), *verified.chunks)
    if not chunks:
        return ()
    found, _ = attempt_in_savepoint(load, lambda asking: find_retention(asking, target.table, window, chunks))
    return tuple(policy.notice for policy in found or ())


def _unlogged(load: Cursor, day: Day, target: Target, transferred: Transferred) -> tuple[Notice, ...]:
    """Warn of aggregates that will not know of the rows, since COPY did not log them; an INSERT does."""
    window = target.window
    if window is None or transferred.rows_inserted is not None or not transferred.rows_loaded:
        return ()
    chosen = day.request.timescaledb.refresh_caggs
    found, _ = attempt_in_savepoint(load, lambda asking: find_unlogged(asking, target.table, chosen, window))
    return found or ()


def _numbers_reached(load: Cursor, target: Target, transferred: Transferred, verified: Verified) -> tuple[Reached, ...]:
    """Find how far the loaded values reach in the sequences of their columns, as far as the role can see it."""
    table, window, counts = target.table, target.window, verified.verification
    if not transferred.rows_loaded:
        return ()
    within = window if counts is not None and not counts.outside.rows else None
    return find_reached(load, table, comparable_sequences(load, table, target.columns.loaded), within)


def _behind(load: Cursor, day: Day, numbers: Sequence[Reached]) -> tuple[Notice, ...]:
    """Warn of sequences that will give numbers of the loaded rows again, unless they are advanced."""
    if day.request.destination.sequences == "advance":
        return ()
    return tuple(behind.notice for behind in find_behind(load, numbers))


def _to_recompress(target: Target, written: Sequence[Chunk]) -> tuple[Chunk, ...]:
    """List the chunks that were compressed and have rows now that are not: over the day, and others."""
    known = {str(chunk) for chunk in target.chunks}
    further = {str(c): c for c in written if c.is_compressed and str(c) not in known}
    return (*target.compressed, *further.values())


def _warnings_of_rows(transferred: Transferred, removed: Removed | None) -> list[Notice]:
    warnings = []
    if transferred.rejected is not None and transferred.rejected.rows:
        message = f"{transferred.rejected.rows} rows could not be parsed and were left out"
        warnings.append(Notice("RowsRejected", message))
    if removed is not None and not transferred.rows_read:
        warnings.append(
            Notice("ReplacedByNothing", f"{removed.rows} rows were removed, and the archive holds none"),
        )
    return warnings


def _commit(
    tx: Transaction,
    lock: RestoreLock,
    day: Day,
    loaded: Loaded,
    proof: Proof,
    truncated: Sequence[Chunk],
    numbers: Sequence[Reached],
) -> Loaded:
    """Commit, and believe it only when the server says so, on another connection if need be.

    Raises:
        Fallback: another transaction came since the chunks were truncated, and would see a hole.
        ReferencedRows: a deferred foreign key does not let the day's rows go.
        CommitOutcomeUnknown: the server cannot say whether the COMMIT took place.
    """
    make_commit_durable(tx.cursor)

    def last_look(commit_id: CommitId) -> None:
        day.before_commit(commit_id, loaded)
        lock.confirm()
        # Each may take a while, and what comes after it is not to wait for it.
        if day.request.destination.sequences == "advance":
            advance(tx.cursor, numbers)
        if truncated and not no_other_transactions(lock.cursor, tx.cursor):
            raise Fallback(readers=True)
        day.progress.begin_commit()

    try:
        # A deferred constraint refuses its rows now.
        with translated(CopiedRows(loaded.target.table.name, (), _row_errors(day))):
            tx.commit(last_look)
    except DataRejected as exc:
        day.progress.commit_was_refused()
        _judge_refused_commit(tx, day, loaded, exc)
        raise
    except CommitInterruptedError as exc:
        patience = day.settings.pg_lock_timeout_seconds
        if not resolve_commit(day.connect_again, exc.commit_id, proof.rows_show_commit, patience_seconds=patience):
            message = "the connection broke at the COMMIT, and the server rolled the restore back"
            raise DatabaseUnreachable(message) from exc
        message = "the connection broke at the COMMIT; the server confirmed it when asked again"
        loaded = replace(loaded, warnings=(*loaded.warnings, Notice("CommitConfirmedLate", message)))
    day.progress.is_committed = True
    day.committed(loaded)
    return loaded


def _judge_refused_commit(tx: Transaction, day: Day, loaded: Loaded, error: DataRejected) -> None:
    """Say so if the COMMIT was refused because rows refer to the day's, which the archive does not bring back.

    Raises:
        ReferencedRows: it was.
    """
    if loaded.removed is None:
        return
    with transaction(tx.cursor.connection, "READ COMMITTED") as asking:
        _limit(asking.cursor, day)
        set_needed(asking.cursor)
        refused = refused_by_server(
            asking.cursor, day.request.archive.day, loaded.target, loaded.removed.referenced, error, at_commit=True
        )
    if refused is not None:
        raise refused from error
