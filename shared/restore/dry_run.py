"""A restore up to its first write, and a report of what would happen. The transaction is always rolled back.

Asked for in full, it also loads the rows into temporary tables (`load/trial/`). Then the transaction is READ WRITE,
otherwise READ ONLY.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import get_args

from shared.csvfile.source import rows_in
from shared.errors import MissingRight, RestoreError
from shared.load.clear.references import find_referenced, find_refusing
from shared.load.day import Day
from shared.load.inspect.acceptance import CHECKS, Finding, Situation, look_at_server
from shared.load.inspect.look_ahead import asked_to_decompress
from shared.load.locks.restore_lock import find_running
from shared.load.notices import warn_of_few
from shared.load.refusals import (
    in_progress,
    on_error_not_supported,
    replacement_too_small,
    rows_referenced,
    wrong_row_count,
)
from shared.load.target.target import Target
from shared.load.trial.trial import Trial, missing_for_trial, try_rows
from shared.load.verify.proof import ends_at_marker, warn_of_doubled, warn_of_hidden
from shared.model.answer import CaggWindow, DryRunOutcome, PlannedCagg, PlannedChunk, Problem, failure, referenced_row
from shared.model.report import Report
from shared.model.results import CheckName, Count, NotChecked, ReferringRows
from shared.model.window import iso
from shared.postgres.connect import Cursor
from shared.postgres.savepoint import attempt_in_savepoint
from shared.timescale.caggs import PlannedRefresh, caggs_available, names_of, plan_refresh
from shared.timescale.chunks import Chunk, chunks_inside
from shared.timescale.privileges import can_read, find_missing, to_refresh
from shared.timescale.removal import why_not_truncate
from shared.timescale.retention import find_retention
from shared.timescale.rows_of_days import count_window

CHECK_NAMES: tuple[CheckName, ...] = get_args(CheckName)


@dataclass
class _Checks:
    """What was checked, and the errors that were found.

    Attributes:
        problems: the errors, in the order in which a restore would meet them.
        looked_at: what was checked.
        left_out: what was not checked, or not completely.
        refused: the checks that would end a restore.
        referenced: rows of other tables and other days that would be removed or changed.
    """

    problems: list[RestoreError] = field(default_factory=list)
    refused: set[CheckName] = field(default_factory=set)
    looked_at: set[CheckName] = field(default_factory=set)
    left_out: list[NotChecked] = field(default_factory=list)
    referenced: Sequence[ReferringRows] = ()

    def look(self, name: CheckName, refusal: RestoreError | None = None) -> None:
        """Note that something was looked at, and the error that it showed."""
        self.find(name, Finding(refusal))

    def find(self, name: CheckName | None, finding: Finding) -> None:
        """Note what a look at the target showed. The answer has no name for some of them."""
        if finding.refusal is not None:
            self.problems.append(finding.refusal)
        if name is not None:
            self.looked_at.add(name)
        if name is not None and finding.refusal is not None:
            self.refused.add(name)
        if finding.unsure is not None:
            self.left_out.append(finding.unsure)

    def add_trial(self, trial: Trial) -> None:
        """Note what the rows themselves showed. It is exact where a look at the catalogue left something open."""
        self.problems += trial.refusals
        self.looked_at |= trial.looked_at
        self.left_out = [one for one in self.left_out if one.name not in trial.looked_at] + trial.left_out

    @property
    def checked(self) -> list[CheckName]:
        """What was looked at wholly."""
        partly = {one.name for one in self.left_out}
        return [name for name in CHECK_NAMES if name in self.looked_at - partly]


@dataclass(frozen=True)
class DryRun:
    """A dry run of one request.

    Attributes:
        cursor: in a transaction that is rolled back. Asked for in full, it may write.
        day: what would be loaded.
        report: gets `dry_run`.
    """

    cursor: Cursor
    day: Day
    report: Report

    def run(self) -> None:
        """Find out what a restore would do, and fill it into the report.

        Nothing is written that stays, and no lock is taken that another session would wait for.

        Raises:
            RestoreError: the restore would end with this error before it wrote anything.
        """
        cursor, day, report = self.cursor, self.day, self.report
        checks, trial = _Checks(), Trial()
        with report.progress.stage("inspect"):
            self._look_at_lock(checks)
            target = day.find_target(cursor)
            report.add_warnings(target.warnings)
            existing = self._count_existing(target)
            now = Situation(cursor, day, target, existing)
            missing = [*now.missing]
            planned = self._planned(target)
            if target.table.timescaledb is not None:
                missing += find_missing(cursor, to_refresh(names_of(planned), target.table.timescaledb))
            is_skipped = existing is not None and day.skips(existing)
            if not is_skipped:
                # Otherwise the day is left as it is, regardless of the archive and of the role's rights.
                self._look_at_target(checks, now)
        if day.request.dry_run == "full" and not is_skipped:
            trial = self._try(checks, target, existing, missing)
        with report.progress.stage("count"):
            day.csv.drain()
        rows = rows_in(day.csv, day.request.copy_.csv_options)
        if not is_skipped:
            self._look_at_rows(checks, rows, existing, trial)
        for one in checks.left_out:
            report.warn("NotChecked", f"{one.name}: {one.reason}")
        report.dry_run = self._plan(checks, now, rows, trial.times, planned, missing)

    def _plan(
        self,
        checks: _Checks,
        now: Situation,
        rows: int,
        times: Count | None,
        planned: Sequence[PlannedRefresh],
        missing: Sequence[MissingRight],
    ) -> DryRunOutcome:
        """Write the answer: what was found, and what the restore would do."""
        checked = checks.checked
        return {
            "rows_in_archive": rows,
            "rows_existing": None if now.existing is None else now.existing.rows,
            "on_existing": self.day.policy,
            "min_time": None if times is None or times.first is None else iso(times.first),
            "max_time": None if times is None or times.last is None else iso(times.last),
            "chunks": self._chunks(now.target, now.existing),
            "caggs": [_cagg(plan) for plan in planned],
            "referenced_rows": [referenced_row(rows) for rows in checks.referenced],
            "permissions_missing": [
                {"right": right.right, "on": right.target, "needed": right.is_needed} for right in missing
            ],
            "problems": [_problem(error) for error in checks.problems],
            "checked": checked,
            "not_checked": [name for name in CHECK_NAMES if name not in checked],
        }

    def _look_at_lock(self, checks: _Checks) -> None:
        table, day = self.day.request.target_table, self.day.request.archive.day
        running, error = attempt_in_savepoint(
            self.cursor, "running restore", partial(find_running, table=table, day=day)
        )
        checks.look("lock", None if running is None else in_progress(table, running))
        if error is not None:
            checks.left_out.append(NotChecked("lock", "the role may not see the locks of the server"))

    def _count_existing(self, target: Target) -> Count | None:
        """Count the rows of the day; None if there is no day to find, or the role may not read."""
        if target.window is None or not can_read(self.cursor, target.table):
            return None
        return count_window(self.cursor, target.table, target.window)

    def _look_at_target(self, checks: _Checks, now: Situation) -> None:
        """Make the load's checks before its first row, in the load's order."""
        for name, look in CHECKS:
            finding = look(now)
            if finding is not None:
                checks.find(name, finding)
        self.report.add_warnings(
            warn_of_doubled(
                self.cursor, self.day.request, now.target.table, now.existing if self.day.request.verify else None
            )
        )
        self.report.add_warnings(warn_of_hidden(self.cursor, now.target, now.existing))
        self._look_at_references(checks, now.target, now.existing)
        self._look_at_retention(checks, now.target)
        if self.day.request.copy_.on_error == "skip":
            checks.find(None, Finding(on_error_not_supported(self.cursor.connection.server_version)))

    def _look_at_references(self, checks: _Checks, target: Target, existing: Count | None) -> None:
        """Look for rows of other tables that go or change with the day's."""
        if self.day.policy != "replace" or (existing is not None and not existing.rows):
            checks.look("referenced_rows")
            return
        attempt = partial(attempt_in_savepoint, self.cursor, "referenced rows")
        changed, error = attempt(partial(find_referenced, target=target))
        refusing, _ = attempt(partial(find_refusing, target=target))
        if error is not None:
            checks.left_out.append(
                NotChecked("referenced_rows", "the role may not read all tables that refer to the day")
            )
            return
        checks.referenced = changed or ()
        checks.look("referenced_rows", rows_referenced(self.day.request, checks.referenced))
        for rows in refusing or ():
            checks.left_out.append(
                NotChecked("referenced_rows", f"the server may refuse to delete the day's rows because of {rows}")
            )

    def _look_at_retention(self, checks: _Checks, target: Target) -> None:
        """Look for policies that will drop the day again. They end no restore, so they are warnings."""
        if target.window is None or not target.has_rows:
            checks.look("retention")
            return
        find = partial(find_retention, table=target.table, window=target.window, chunks=target.chunks)
        found, error = attempt_in_savepoint(self.cursor, "retention", find)
        if error is not None:
            checks.left_out.append(NotChecked("retention", "the role may not see the jobs of TimescaleDB"))
            return
        checks.look("retention")
        self.report.add_warnings([policy.notice for policy in found or ()])

    def _try(self, checks: _Checks, target: Target, existing: Count | None, missing: list[MissingRight]) -> Trial:
        """Load the rows into temporary tables, if they can be made."""
        lacking = missing_for_trial(self.cursor, target)
        missing += [right for right in lacking if right not in missing]
        if lacking or look_at_server(self.cursor) is not None:
            return Trial()
        if self.day.request.copy_.on_error == "skip" and on_error_not_supported(self.cursor.connection.server_version):
            return Trial()
        with self.report.progress.stage("copy"):
            trial = try_rows(
                self.cursor,
                self.day,
                target,
                has_partition="partition" not in checks.refused,
                is_day_empty=existing is not None and (not existing.rows or self.day.policy == "replace"),
            )
        checks.add_trial(trial)
        self.report.add_warnings(trial.notices)
        return trial

    def _look_at_rows(self, checks: _Checks, rows: int, existing: Count | None, trial: Trial) -> None:
        """Look at how many rows the archive holds, after it was read to its end."""
        destination, copy = self.day.request.destination, self.day.request.copy_
        seen = rows - ends_at_marker(self.day.csv, self.cursor.connection.server_version)
        checks.look("archive", wrong_row_count(copy, seen))
        by, replaced = seen if trial.rows_of_day is None else trial.rows_of_day, 0
        if destination.existing_rows != "replace":
            checks.look("replacement_size")
        elif existing is not None:
            refusal = replacement_too_small(destination, before=existing.rows, by=by, in_archive=rows)
            checks.look("replacement_size", refusal)
            replaced = existing.rows if refusal is None else 0
        self.report.add_warnings(warn_of_few(in_archive=seen, read=seen, before=replaced, in_place=by))

    def _planned(self, target: Target) -> list[PlannedRefresh]:
        wished = self.day.request.timescaledb.refresh_caggs
        if not wished or target.window is None or not caggs_available(target.table):
            return []
        attempt = partial(attempt_in_savepoint, self.cursor, "refresh")
        planned, left_out = plan_refresh(attempt, target.table, [target.window], wished)
        self.report.add_warnings(left_out)
        return planned

    def _chunks(self, target: Target, existing: Count | None) -> list[PlannedChunk]:
        """Say for each chunk over the day what its state is and what would be done to it."""
        request = self.day.request
        has_rows = existing is not None and existing.rows > 0
        replaces = request.destination.existing_rows == "replace" and has_rows
        asked = asked_to_decompress(request, has_rows=has_rows)
        removals = _removals(self.cursor, target) if replaces else {}
        chunks: list[PlannedChunk] = []
        for chunk in target.chunks:
            would = [removals.get(chunk, "delete the day's rows")] if replaces else []
            if target.compression is not None and chunk.is_compressed:
                if asked:
                    beside = ", or take the rows beside the compressed ones" if asked == "auto" else ""
                    would.append(f"decompress{beside}")
                if request.timescaledb.recompress_window:
                    would.append("recompress")
            chunks.append({"name": str(chunk), "is_compressed": chunk.is_compressed, "would": would})
        return chunks


def _removals(cursor: Cursor, target: Target) -> dict[Chunk, str]:
    """Say how the rows of the chunks that lie wholly inside the day would be removed."""
    whole = () if target.window is None else chunks_inside(cursor, target.table, target.window)
    reason = why_not_truncate(cursor, target.table, whole)
    removal = "truncate, or delete its rows" if reason is None else f"delete its rows: there is {reason}"
    return dict.fromkeys(whole, removal)


def _cagg(plan: PlannedRefresh) -> PlannedCagg:
    window = None if plan.window is None else CaggWindow(start=iso(plan.window.lower), end=iso(plan.window.upper))
    return {"name": plan.name, "window": window, **failure(plan.error)}


def _problem(error: RestoreError) -> Problem:
    return {"code": error.code, "message": error.message}
