"""The load, inside its transaction: lock and look, make room, copy, count again. Commits nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.csvfile.source import CsvSource
from shared.errors import Fault, TargetLocked, WindowNotEmpty
from shared.load.copy.rows import Transfer
from shared.load.indexes import DayIndexes
from shared.load.locks import Guard, nobody_else, reserve, reserve_whole
from shared.load.plan import BeginAnew
from shared.load.replace import delete_day, truncate
from shared.load.target import Target, find_target, missing_rights, refuse_missing
from shared.load.verify import Proof, count_window
from shared.model.report import Report
from shared.model.request import RestoreRequest
from shared.model.results import ChunkStep, Count, Kept, summary
from shared.model.window import Window
from shared.postgres.connect import Cursor
from shared.postgres.savepoint import attempt_in_savepoint
from shared.postgres.transaction import begin_session
from shared.settings import Settings
from shared.timescale.chunks import Chunk, chunks_inside, chunks_overlapping
from shared.timescale.compression import beside_is_cheaper, compress_fresh, decompress, packed_bytes
from shared.timescale.indexes.deferred import Build
from shared.timescale.privileges import can_read
from shared.timescale.table import has_unique_index

_ATTEMPTS = 4


@dataclass(frozen=True)
class Loaded:
    """What the load leaves for the COMMIT and the steps after it.

    Attributes:
        target: as it was before the load.
        span: what was really loaded: the day, and further where rows outside it were allowed.
        compressed: the chunks in that span that are to be compressed again.
        proof: how to tell by the day's rows whether the COMMIT happened.
    """

    target: Target
    span: Window | None
    compressed: tuple[Chunk, ...]
    proof: Proof


class DayLoad:
    """The load of one day, in as many transactions as it takes to find the target standing still."""

    def __init__(
        self, request: RestoreRequest, settings: Settings, names: Sequence[str], csv: CsvSource, report: Report
    ) -> None:
        self._request = request
        self._settings = settings
        self._names = names
        self._csv = csv
        self._report = report
        self._policy = request.destination.existing_rows
        self._attempt = 0
        self._may_truncate = True
        self._ahead: Target | None = None
        self._truncated: tuple[Chunk, ...] = ()
        # What a former attempt has shown.
        self._text_because: str | None = None
        self._keep: Kept | None = None
        self._has_conflicts = False
        self._copies_beside = False

    def prepare(self, load: Cursor, guard: Guard) -> bool:
        """Look at the target on the guard's connection, and lock on the load's what is not to change.

        Args:
            load: in a new REPEATABLE READ transaction, which has no snapshot yet.
            guard: is held.

        Returns:
            False where the day was there already and is left as it is.

        Raises:
            RestoreError: the transaction is to be rolled back.
        """
        self._attempt += 1
        if self._attempt > _ATTEMPTS:
            raise TargetLocked(f"the chunks over {self._request.archive.day.isoformat()} kept changing")
        self._report.begin_load()
        with self._report.clock.stage("inspect"):
            self._begin_session(load)
            before = Count(0)
            whole: tuple[Chunk, ...] = ()
            with guard.glance() as looking:
                # A look waits for locks as well. The limits end with it.
                self._begin_session(looking)
                self._ahead = target = self._find(looking)
                seen: Count | None = None
                counts = self._policy != "append" or self._request.timescaledb.decompress_window == "auto"
                if target.window is not None and counts and can_read(looking, target.table):
                    before = seen = count_window(looking, target.table, target.window)
                    whole = chunks_inside(looking, target.table, target.window)
                goes_on = self._go_on(before)
                if goes_on:
                    self._copies_beside = self._is_cheaper_beside(looking, target, before)
                    refuse_missing(missing_rights(looking, self._request, target, None if seen is None else seen.rows))
            if not goes_on:
                return False
            self._reserve(load, guard, target, whole, has_rows=before.rows > 0)
            guard.cover(load)
        return True

    def _begin_session(self, cursor: Cursor) -> None:
        begin_session(
            cursor,
            synchronous_commit_off=self._request.copy_.synchronous_commit_off,
            lock_timeout_seconds=self._settings.pg_lock_timeout_seconds,
            statement_timeout_seconds=self._settings.pg_statement_timeout_seconds,
        )

    def _reserve(self, load: Cursor, guard: Guard, target: Target, whole: tuple[Chunk, ...], *, has_rows: bool) -> None:
        """Lock the chunks over the day, those that are to be truncated if nobody uses them."""
        truncates = has_rows and self._policy == "replace" and self._may_truncate
        self._truncated = whole if truncates and reserve_whole(load, guard.cursor, whole) else ()
        unpacks = target.compression is not None and self._unpacks(has_rows=has_rows)
        rewritten = [chunk for chunk in target.compressed if chunk not in self._truncated] if unpacks else []
        reserve(load, target.table, target.chunks, rewritten=rewritten)

    def run(self, load: Cursor) -> Loaded | None:
        """Load the file into the target.

        Args:
            load: in the transaction that was prepared.

        Returns:
            What is left to do; None where the transaction is to be rolled back and begun anew, since the chunks
            changed before they were locked.

        Raises:
            RestoreError: the transaction is to be rolled back.
        """
        clock, report = self._report.clock, self._report
        with clock.stage("inspect"):
            target = self._find(load)
        if self._ahead is None or target.chunks != self._ahead.chunks:
            return None
        before = None
        if target.window is not None and (self._request.verify or self._policy != "append"):
            with clock.stage("verify"):
                before = count_window(load, target.table, target.window)
                if not self._go_on(before):
                    return None
                self._warn_of_duplicates(load, target, before)
        self._make_room(load, target, before)
        proof = Proof(self._request, target, before, self._csv, report)
        try:
            indexes = self._fill(load, target, proof, self._may_conflict(target, before))
            if report.rows_removed and not report.rows_loaded:
                report.warn("ReplacedByNothing", f"{report.rows_removed} rows were removed, and the archive holds none")
            with clock.stage("verify"):
                span, written = proof.check(load)
            made = self._report_made(load, target)
            self._finish_chunks(load, target, made, indexes)
        except BeginAnew as exc:
            # Not one of the attempts to find the target standing still. Each reason comes once.
            self._attempt -= 1
            self._text_because = self._text_because or exc.text
            self._keep = self._keep or exc.keep
            self._has_conflicts = self._has_conflicts or exc.conflicts
            return None
        return Loaded(target, span, self._chunks_to_compress(target, written), proof)

    def _may_conflict(self, target: Target, before: Count | None) -> bool:
        """Whether staged rows may be in conflict with others, or a former attempt has shown that any are.

        Every unique index of a hypertable has the time in it, so in an empty day only rows of the file itself are left.
        """
        is_empty = before is not None and (before.rows == 0 or self._report.rows_removed is not None)
        return self._has_conflicts or not is_empty or target.table.hypertable_id is None

    def _fill(self, load: Cursor, target: Target, proof: Proof, may_conflict: bool) -> DayIndexes:  # noqa: FBT001
        settings = self._settings
        build = Build(settings.pg_index_memory_mib, settings.pg_index_workers)
        with self._report.clock.stage("index"):
            indexes = DayIndexes(load, self._request, target, self._truncated, build, self._keep, self._report)
        transfer = Transfer(
            load,
            self._request,
            target,
            self._csv,
            self._report,
            indexes,
            self._text_because,
            may_conflict=may_conflict,
            show_row_data=settings.show_row_data,
        )
        transfer.run(proof)
        return indexes

    def _finish_chunks(self, load: Cursor, target: Target, made: Sequence[Chunk], indexes: DayIndexes) -> None:
        """Compress the chunks that the load made, where that is wished, and put the indexes back."""
        clock, report, extension = self._report.clock, self._report, target.compression
        indexes.note_later(made)
        wishes = self._request.timescaledb.compress_new_chunks
        steps: list[ChunkStep] = []
        if wishes and extension is not None and made:
            with clock.stage("compress"):
                steps = compress_fresh(load, extension, target.table, made, indexes.put_back)
            report.add_chunk_steps(steps)
        else:
            with clock.stage("index"):
                indexes.put_back()
        is_able = extension is not None and target.window is not None
        report.options["compress_new_chunks"] = summary(steps, requested=wishes, available=is_able)

    def may_commit(self, guard: Guard, load: Cursor) -> bool:
        """Look once more whether anybody would see a hole; if so, the next attempt deletes in place of truncating."""
        if self._truncated and not nobody_else(guard.cursor, load):
            self._may_truncate = False
            return False
        return True

    def _find(self, cursor: Cursor) -> Target:
        return find_target(cursor, self._request, self._names, self._csv.head, self._report)

    def _go_on(self, before: Count) -> bool:
        """Say whether the day may be loaded although it is not empty."""
        if before.rows == 0:
            return True
        if self._policy == "error":
            day = self._request.archive.day.isoformat()
            message = f"{self._report.target_table} already holds {before.rows} rows of {day}"
            raise WindowNotEmpty(message, details=[Fault("WindowNotEmpty", message, info=(("rows", before.rows),))])
        if self._policy == "skip":
            self._report.skip(before.rows)
            return False
        return True

    def _warn_of_duplicates(self, cursor: Cursor, target: Target, before: Count) -> None:
        """Staging appends by default since it skips conflicts; without a unique index there are none to skip."""
        is_default = self._request.destination.on_existing is None and self._policy == "append"
        if before.rows and is_default and not has_unique_index(cursor, target.table):
            self._report.warn(
                "MayHoldDuplicates",
                f"{target.table} already held rows of the day and has no unique index: no row was skipped",
            )

    def _unpacks(self, *, has_rows: bool) -> bool:
        """Whether compressed chunks are decompressed: on request, and always before rows are deleted."""
        if self._policy == "replace" and has_rows:
            return True
        return bool(self._request.timescaledb.decompress_window) and not self._copies_beside

    def _is_cheaper_beside(self, looking: Cursor, target: Target, before: Count) -> bool:
        """Whether the rows go beside those that are compressed, where the request leaves the choice."""
        extension, chunks = target.compression, target.compressed
        if self._request.timescaledb.decompress_window != "auto" or extension is None or not chunks:
            return False
        # Without the right to ask, there is none to decompress either.
        packed, _ = attempt_in_savepoint(looking, lambda asking: packed_bytes(asking, extension, target.table, chunks))
        return beside_is_cheaper(packed, self._report.probable_csv_bytes, day_is_empty=not before.rows)

    def _make_room(self, cursor: Cursor, target: Target, before: Count | None) -> None:
        """Decompress the chunks over the day, and remove its rows where they are to be replaced."""
        clock, report, extension = self._report.clock, self._report, target.compression
        replaces = self._policy == "replace" and before is not None and before.rows > 0
        with clock.stage("replace"):
            if self._truncated and not truncate(cursor, self._truncated):
                # Without the right to: the rows are deleted, and no reader can see a hole.
                self._truncated = ()
        unpacks = self._unpacks(has_rows=replaces)
        steps: list[ChunkStep] = []
        with clock.stage("decompress"):
            if extension is not None and unpacks:
                steps = decompress(cursor, extension, target.table, target.compressed)
        report.add_chunk_steps(steps)
        is_able = extension is not None and target.window is not None
        report.options["decompress_window"] = summary(
            steps, requested=unpacks or self._copies_beside, available=is_able
        )
        if not replaces or target.window is None or before is None:
            return
        with clock.stage("replace"):
            if self._truncated and steps:
                # A compressed chunk's first TRUNCATE leaves the rows that waited beside the compressed ones.
                truncate(cursor, self._truncated)
            deleted = delete_day(cursor, target.table, target.window)
        report.rows_removed = before.rows
        report.removed_by = "truncate" if self._truncated and not deleted else "delete"

    def _report_made(self, cursor: Cursor, target: Target) -> tuple[Chunk, ...]:
        """Report the chunks that the load made for the day."""
        if target.window is None:
            return ()
        known = {str(chunk) for chunk in target.chunks}
        after = chunks_overlapping(cursor, target.table, target.window)
        made = tuple(chunk for chunk in after if str(chunk) not in known)
        self._report.add_chunk_steps([ChunkStep(str(chunk), "create", "done") for chunk in made])
        return made

    def _chunks_to_compress(self, target: Target, written: Sequence[Chunk]) -> tuple[Chunk, ...]:
        """Name the chunks that are to be compressed again."""
        known = {str(chunk) for chunk in target.chunks}
        return (*target.compressed, *(c for c in written if c.is_compressed and str(c) not in known))
