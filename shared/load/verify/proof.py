"""Proves a load: compares the archive's rows, those that PostgreSQL accepted, and the day's rows before and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from psycopg2 import sql

from shared.csvfile.source import CsvSource, rows_in
from shared.errors import Fault, RestoreError, VerificationFailed
from shared.load.day import Day
from shared.load.locks.restore_lock import MOST_DAYS, Days
from shared.load.refusals import refuse, replacement_too_small, rows_beside, rows_outside
from shared.load.target.target import Target
from shared.load.verify.counts import (
    count_beside_own,
    count_own,
    count_own_by_chunk,
    count_staged_outside,
    days_of_own,
)
from shared.model.request import RestoreRequest
from shared.model.results import Count, Notice, Removed, Transferred, Verification
from shared.model.window import Window
from shared.postgres.connect import Cursor
from shared.timescale.chunks import Chunk
from shared.timescale.privileges import policies_apply
from shared.timescale.rows_of_days import count_window
from shared.timescale.table import Table, has_insert_triggers, has_unique_index


def refuse_difference(*, before: int, after: int, added: int) -> None:
    """Refuse a load if the recount does not show its rows.

    Raises:
        VerificationFailed: `after - before` is not `added`; the detail holds the counts.
    """
    if after - before != added:
        facts = {"rows_before": before, "rows_after": after, "rows_loaded": added}
        message = f"the day held {before} rows before and {after} after, but {added} were added"
        raise VerificationFailed(message, details=[Fault("VerificationFailed", message, info=tuple(facts.items()))])


def may_double_by_default(cursor: Cursor, request: RestoreRequest, table: Table) -> bool:
    """Whether rows are added to others although the request does not say so.

    Staging appends by default since it skips conflicts; without a unique index there are none to skip.
    """
    destination = request.destination
    is_default = destination.on_existing is None and destination.existing_rows == "append"
    return is_default and not has_unique_index(cursor, table)


def warn_of_doubled(cursor: Cursor, request: RestoreRequest, table: Table, before: Count | None) -> tuple[Notice, ...]:
    """Warn where a default may double the rows of the day.

    Args:
        cursor: in any transaction.
        request: what is restored, and how.
        table: the target.
        before: rows of the day before the load; None where they are not counted.
    """
    if before is None or not before.rows or not may_double_by_default(cursor, request, table):
        return ()
    return (_may_hold_duplicates(table, "of the day"),)


def warn_of_hidden(cursor: Cursor, target: Target, before: Count | None) -> tuple[Notice, ...]:
    """Warn where policies may hide rows of the day from the role: they are neither counted nor removed.

    Args:
        cursor: in any transaction.
        target: where the rows go. Under policies COPY is refused, so only staging is asked.
        before: rows of the day before the load; None where they are not counted.
    """
    if before is None or not target.columns.by_staging or not policies_apply(cursor, target.table.oid):
        return ()
    hidden = "rows of the day that a policy hides from it are neither counted nor removed"
    return (Notice("RowsMayBeHidden", f"row-level security of {target.table} applies to the role: {hidden}"),)


def judge_beside(
    cursor: Cursor, request: RestoreRequest, table: Table, count: Callable[[], int]
) -> RestoreError | Notice | None:
    """Judge rows outside the day that meet others: an error, a warning where a default may double them, or neither.

    Args:
        cursor: in any transaction.
        request: what is restored, and how.
        table: the target.
        count: counts the rows that the target holds at the times of those; is called only where that matters.
    """
    may_double = may_double_by_default(cursor, request, table)
    if request.destination.existing_rows == "append" and not may_double:
        return None
    beside = count()
    if may_double:
        return _may_hold_duplicates(table, "at the times of rows outside the day") if beside else None
    return rows_beside(table, request.archive.day, beside)


def _may_hold_duplicates(table: Table, of: str) -> Notice:
    return Notice("MayHoldDuplicates", f"{table} already held rows {of} and has no unique index: no row was skipped")


def ends_at_marker(csv: CsvSource, server_version: int) -> bool:
    r"""Whether the last record is a line `\.`, which PostgreSQL before 18 leaves out. After the CSV was read."""
    return csv.ends_with_marker is True and server_version < 180000  # noqa: PLR2004


@dataclass(frozen=True)
class Verified:
    """What the recount showed.

    Attributes:
        verification: the counts; None where nothing was counted.
        span: what was really loaded: the day, and further where rows outside it were allowed.
        spans: the same without what lies between: the day, and for each chunk the span of its rows outside the day.
        chunks: the chunks that got rows, those outside the day included; empty where it was not necessary to look.
        days: those outside the day that got rows; None: more than are locked one by one.
        warnings: what the caller should know although the rows are in.
    """

    verification: Verification | None
    span: Window | None
    spans: tuple[Window, ...]
    chunks: tuple[Chunk, ...] = ()
    days: Days = frozenset()
    warnings: tuple[Notice, ...] = ()


def _between(window: Window, counts: Sequence[Count]) -> list[Window]:
    """Return the spans of rows that were counted."""
    bounds = [(count.first, count.last) for count in counts]
    return [window.between(first, last) for first, last in bounds if first is not None and last is not None]


def _uncounted(window: Window | None) -> Verified:
    return Verified(None, window, () if window is None else (window,))


def rows_show_commit(cursor: Cursor, table: Table, window: Window, *, before: int, after: int) -> bool | None:
    """Tell by the rows of a window whether a load was committed; None where they do not tell.

    Args:
        cursor: in READ COMMITTED, and in a transaction that began after the load's ended.
        table: the target.
        window: the day.
        before: rows of the day before the load.
        after: rows of the day after it.
    """
    if before == after:
        return None
    rows = count_window(cursor, table, window).rows
    return {after: True, before: False}.get(rows)


@dataclass(frozen=True)
class Proof:
    """What is counted around a load. With `verify: false`, only the size of a replacement is checked.

    Attributes:
        day: what is loaded.
        target: where the rows go.
        before: the day's rows before the load; None where they were not counted.
        removed: those of them that were taken away; None: none.
    """

    day: Day
    target: Target
    before: Count | None
    removed: Removed | None

    @property
    def may_have_kept_rows(self) -> bool:
        """Whether the day may hold rows beside the loaded ones, that were there before and were not taken away."""
        return self.before is None or (self.before.rows > 0 and self.removed is None)

    def refuse_staged_outside(self, cursor: Cursor, staging: sql.Identifier) -> Count:
        """Count the staged rows that are not of the archive's day, before they go on.

        Raises:
            RowsOutsideWindow: there are some, and the request does not allow them.
        """
        target, request = self.target, self.day.request
        if not request.verify or target.window is None or target.table.time_column not in target.columns.loaded:
            return Count(0)
        outside = count_staged_outside(cursor, target.table, staging, target.window)
        refuse(rows_outside(request, outside))
        return outside

    def check(self, cursor: Cursor, transferred: Transferred) -> Verified:
        """Count the day's rows again, and compare.

        Raises:
            VerificationFailed: rows are missing, or there are more than were loaded.
            RowsOutsideWindow: some are not of the archive's day.
            WindowNotEmpty: the rows outside the day are there already.
        """
        window, table, before = self.target.window, self.target.table, self.before
        if not self.day.request.verify:
            return _uncounted(window)
        self._compare_with_archive(cursor, transferred)
        if window is None or before is None:
            return _uncounted(window)
        after = count_window(cursor, table, window)
        added, kept = transferred.rows_loaded, before.rows if self.removed is None else 0
        outside = Count(0)
        chunks: tuple[Chunk, ...] = ()
        spans = [window]
        days: Days = frozenset()
        warnings: tuple[Notice, ...] = ()
        # A shortfall means rows fell outside the day or were dropped. A trigger can hide a shortfall by adding rows.
        if after.rows - kept != added or transferred.staged_outside.rows or has_insert_triggers(cursor, table):
            outside, chunks = count_own(cursor, table, outside=window)
            warnings = self._judge_outside(cursor, outside, chunks)
            if outside.rows:
                spans += _between(window, count_own_by_chunk(cursor, table, chunks, outside=window))
                days = days_of_own(cursor, table, chunks, outside=window, most=MOST_DAYS)
        refuse_difference(before=kept, after=after.rows, added=added - outside.rows)
        verification = Verification(before.rows, after, added, outside)
        span = window.widened(outside.first, outside.last)
        return Verified(verification, span, tuple(spans), chunks, days, warnings)

    def check_replacement(
        self, cursor: Cursor, transferred: Transferred, verification: Verification | None
    ) -> int | None:
        """Refuse a day that would hold much less than it did. Not left out with `verify: false`.

        Args:
            cursor: in the load's transaction.
            transferred: how the rows got in.
            verification: the counts of `check`; None if it counted nothing.

        Returns:
            How many rows replace those of the day; None if none were removed.

        Raises:
            ReplacementTooSmall: the rows that came into the day are fewer than the request allows.
        """
        window, destination = self.target.window, self.day.request.destination
        if self.removed is None or self.before is None or window is None:
            return None
        after = count_window(cursor, self.target.table, window) if verification is None else verification.after
        # Rows of another day, or those that a trigger adds, are not the archive's rows of the day.
        came, before = min(transferred.rows_loaded, after.rows), self.before.rows
        refuse(replacement_too_small(destination, before=before, by=came, in_archive=self._rows_in_archive))
        return came

    @property
    def _rows_in_archive(self) -> int:
        return rows_in(self.day.csv, self.day.request.copy_.csv_options)

    def _compare_with_archive(self, cursor: Cursor, transferred: Transferred) -> None:
        """Refuse a load that took fewer rows than the archive holds. COPY does not count what a trigger drops."""
        seen, records = transferred.rows_seen, self._rows_in_archive
        at_marker = ends_at_marker(self.day.csv, cursor.connection.server_version)
        if seen != records and not (at_marker and seen == records - 1):
            self._refuse(f"the archive holds {records} rows, but PostgreSQL took {seen}", transferred, records)
        # A trigger or a rule drops rows as well.
        skips = transferred.skips_conflicts and has_unique_index(cursor, self.target.table)
        if transferred.rows_skipped and not skips:
            message = f"{transferred.rows_skipped} rows were dropped, although no row can be in conflict"
            self._refuse(message, transferred, records)

    def _refuse(self, message: str, transferred: Transferred, records: int) -> None:
        facts = {"rows_in_archive": records, "rows_read": transferred.rows_read}
        raise VerificationFailed(message, details=[Fault("VerificationFailed", message, info=tuple(facts.items()))])

    def _judge_outside(self, cursor: Cursor, outside: Count, chunks: tuple[Chunk, ...]) -> tuple[Notice, ...]:
        """Refuse rows outside the day, or those that meet others; or warn where a default may double them."""
        request, table, window = self.day.request, self.target.table, self.target.window
        refuse(rows_outside(request, outside))
        if not outside.rows or window is None:
            return ()
        judged = judge_beside(cursor, request, table, partial(count_beside_own, cursor, table, chunks, window))
        if isinstance(judged, Notice):
            return (judged,)
        refuse(judged)
        return ()
