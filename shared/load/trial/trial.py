"""The full dry run's trial: loads the file into temporary copies of the tables, in a transaction that is rolled back.

So PostgreSQL itself says what is wrong with a row, as in a restore. What a copy (here called a double) lacks is
reported: see `double.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias

from psycopg2 import sql

from shared.errors import (
    CsvOptionRejected,
    DataRejected,
    MissingRight,
    OperationNotSupported,
    RestoreError,
    StagingTypeMismatch,
    TooManyRejectedRows,
)
from shared.load.copy.staging import (
    Rejectable,
    Staging,
    copy_into_staging,
    insert_staged,
    plan_staging,
    staging_name,
)
from shared.load.copy.text import copy_into
from shared.load.day import Day
from shared.load.refusals import keys_taken, no_partition, rows_outside
from shared.load.target.target import Target
from shared.load.trial.double import Double, drop_keys, make_double
from shared.load.verify.counts import (
    count_beside_staged,
    count_staged,
    count_staged_inside,
    count_staged_outside,
    count_with_same_key,
)
from shared.load.verify.proof import judge_beside
from shared.model.results import CheckName, Count, NotChecked, Notice
from shared.postgres.connect import Cursor
from shared.postgres.savepoint import attempt_in_savepoint, refusal_in_savepoint
from shared.postgres.search_path import by_users_path
from shared.postgres.sqlstate import RowErrors, is_conflict, names_a_line, translated
from shared.postgres.trusted_sql import trusted_sql
from shared.timescale.keys import Key, keys_of, unenforced_keys
from shared.timescale.partitions import in_no_partition, partitions_over
from shared.timescale.privileges import comparable_sequences, find_missing, to_try
from shared.timescale.sequences import find_behind, find_reached_in_copy
from shared.timescale.table import Table, has_unique_index
from shared.timescale.triggers import has_event_triggers, what_acts_on_rows
from shared.timescale.user_code import columns_that_run_code, runs_code_to_cast

# The errors of rows. Any other error ends the dry run as it would end the restore.
_OF_ROWS = (DataRejected, CsvOptionRejected, OperationNotSupported, StagingTypeMismatch, TooManyRejectedRows)

Load: TypeAlias = Callable[[], None]


@dataclass
class Trial:
    """What a trial showed.

    Attributes:
        refusals: the errors with which the load would end.
        times: all rows of the file, and their first and last time; None where they were not counted.
        rows_of_day: the rows that would come into the day; None where they were not counted.
        looked_at: what was looked at.
        left_out: what was not, or not wholly.
        notices: what the load would warn of because of its rows.
    """

    refusals: list[RestoreError] = field(default_factory=list)
    times: Count | None = None
    rows_of_day: int | None = None
    looked_at: set[CheckName] = field(default_factory=set)
    left_out: list[NotChecked] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)


def missing_for_trial(cursor: Cursor, target: Target) -> list[MissingRight]:
    """List the rights that the role lacks for a trial."""
    return find_missing(cursor, to_try(_modeled_on(target)))


def try_rows(cursor: Cursor, day: Day, target: Target, *, has_partition: bool, is_day_empty: bool) -> Trial:
    """Load the file into temporary doubles.

    Args:
        cursor: in a transaction that is rolled back.
        day: what would be loaded.
        target: where the rows would go.
        has_partition: whether some partition takes rows of the day, as far as is known.
        is_day_empty: whether the day has no rows when they come, as far as is known.

    Raises:
        RestoreError: the archive is not whole, or the server failed for a reason other than a row.
    """
    trial = Trial()
    if has_event_triggers(cursor):
        trial.left_out.append(NotChecked("values", "an event trigger would see the temporary table"))
        return trial
    _Rows(cursor, day, target, has_partition, is_day_empty, trial).run()
    return trial


def _modeled_on(target: Target) -> list[Table]:
    return [target.table, target.like] if target.columns.by_staging else [target.table]


@dataclass(frozen=True)
class _Rows:
    """The file's rows on trial."""

    cursor: Cursor
    day: Day
    target: Target
    has_partition: bool
    is_day_empty: bool
    trial: Trial

    def run(self) -> None:
        """Load the rows, and collect the errors that would end the load."""
        made, error = attempt_in_savepoint(self.cursor, "temporary tables", self._make_doubles)
        if made is None:
            why = "" if error is None else f": {error.message}"
            self.trial.left_out.append(NotChecked("values", f"the temporary table could not be made{why}"))
            return
        double, staged = made
        table, stages = self.target.table, self.target.columns.by_staging
        self.trial.left_out += double.left_out
        actors = what_acts_on_rows(self.cursor, table.oid, stages=stages)
        self.trial.left_out += [NotChecked("values", f"{actor} is left out") for actor in actors]
        if staged is None:
            self._bring_in(double, partial(self._copy, double))
        else:
            self.trial.left_out += staged.left_out
            self._bring_in_staged(double, staged)

    def _make_doubles(self, cursor: Cursor) -> tuple[Double, _Staged | None]:
        table, like, plan = self.target.table, self.target.like, self.target.columns
        may_default = self.day.request.copy_.csv_options.default is not None
        name = staging_name(self.day.token)
        if not plan.by_staging:
            return make_double(cursor, table, name, plan.loaded, is_staging=False, may_default=may_default), None
        staging, added = plan_staging(sql.Identifier("pg_temp", name), table, like, plan.file_columns)
        given = [column.name for column in like.columns if column.name in plan.file_columns]
        double = make_double(cursor, like, name, given, is_staging=True, may_default=may_default)
        with_code = columns_that_run_code(cursor, table.oid)
        for column, type_ in added.items():
            as_sql = sql.SQL("text") if column in with_code else trusted_sql(type_)  # format_type wrote it
            add = sql.SQL("ALTER TABLE {} ADD COLUMN {} {}")
            cursor.execute(add.format(double.identifier, sql.Identifier(column), as_sql))
        rows = make_double(
            cursor, table, f"{name}_rows", plan.loaded, is_staging=False, may_default=False, others=double.unknown
        )
        return rows, _Staged(staging, double.unknown, double.left_out)

    def _bring_in(self, double: Double, load: Load) -> None:
        """Load the rows into the double of the target, and look at them there."""
        refused = self._refusal_of(load)
        if refused is not None and self._is_direct and is_conflict(refused):
            self.trial.refusals.append(refused)
            drop_keys(self.cursor, double)
            refused = self._refusal_of(load)
        self.trial.looked_at.add("values")
        if refused is not None:
            self.trial.refusals.append(refused)
            return
        self.trial.looked_at.add("duplicates")
        self._look_for_unenforced_keys()
        self._look_for_taken_keys(double)
        if self._is_direct or self.target.table.time_column not in self.target.columns.loaded:
            self._count(double.identifier, double.unknown)
        self._look_for_partitions(double)
        self._look_at_sequences(double)
        if self.target.window is not None and self.target.table.time_column not in double.unknown:
            window = self.target.window
            self.trial.rows_of_day = count_staged_inside(self.cursor, self.target.table, double.identifier, window)

    def _bring_in_staged(self, double: Double, staged: _Staged) -> None:
        refused = self._refusal_of(partial(self._copy_staged, staged.staging))
        if refused is not None:
            self.trial.looked_at.add("values")
            self.trial.refusals.append(refused)
            return
        if runs_code_to_cast(self.cursor, self.target.like.oid, self.target.table.oid, self.target.columns.loaded):
            self.trial.left_out.append(NotChecked("values", "a cast from the staged type to the target's runs code"))
            return
        if not self._is_direct and self.target.table.time_column in self.target.columns.loaded:
            self._count(staged.staging.identifier, staged.unknown)
        self._bring_in(double, partial(self._insert, double, staged.staging))

    @property
    def _shown_errors(self) -> RowErrors:
        # The caller does not know the name of the double.
        return replace(self.day.row_errors, shown_as=self.target.table.name)

    @property
    def _is_direct(self) -> bool:
        return self.day.request.destination.is_direct

    def _copy(self, double: Double) -> None:
        names, options = self.target.columns.loaded, self.day.request.copy_.csv_options
        with self.day.csv.open() as reader:
            copy_into(self.cursor, double.identifier, names, options, reader, errors=self._shown_errors)

    def _copy_staged(self, staging: Staging) -> None:
        copy = self.day.request.copy_
        with self.day.csv.open() as reader:
            copy_into_staging(
                self.cursor,
                staging,
                copy.csv_options,
                reader,
                # The double is not a hypertable, so nothing has to be switched off.
                has_timescaledb=False,
                may_reject=Rejectable.of(copy, self.day.csv),
                errors=self.day.row_errors,
            )

    def _insert(self, double: Double, staging: Staging) -> None:
        """Insert as the load does: into the empty day of a hypertable at first without a look for conflicts."""
        if not self._is_direct and self.target.expects_no_conflicts(day_is_empty=self.is_day_empty):
            refused = self._refusal_of(partial(self._insert_rows, double, staging, skips=False))
            if refused is None:
                return
            if not is_conflict(refused):
                raise refused
        self._insert_rows(double, staging, skips=not self._is_direct)

    def _insert_rows(self, double: Double, staging: Staging, *, skips: bool) -> None:
        columns, errors = self.target.columns.loaded, self._shown_errors
        insert_staged(self.cursor, double.identifier, staging, columns, skips_conflicts=skips, errors=errors)

    def _refusal_of(self, load: Load) -> RestoreError | None:
        """Load rows. If they are refused, none of them stays, and the error is returned."""

        def load_and_check() -> None:
            load()
            with translated():
                # A constraint may wait for the COMMIT, which does not come.
                self.cursor.execute(by_users_path("SET CONSTRAINTS ALL IMMEDIATE"))

        return refusal_in_savepoint(self.cursor, "rows on trial", load_and_check, _of_rows)

    def _add(self, refusal: RestoreError | None) -> None:
        if refusal is not None:
            self.trial.refusals.append(refusal)

    def _count(self, rows: sql.Identifier, unknown: frozenset[str]) -> None:
        """Count the rows, and those outside the day."""
        request, table, window = self.day.request, self.target.table, self.target.window
        if window is None or table.time_column in unknown:
            return
        self.trial.times = count_staged(self.cursor, table, rows)
        self.trial.looked_at.add("window")
        outside = count_staged_outside(self.cursor, table, rows, window)
        if not outside.rows or not request.verify:
            return
        self._add(rows_outside(request, outside))
        count = partial(count_beside_staged, self.cursor, table, rows, window)
        judged = judge_beside(self.cursor, request, table, count)
        if isinstance(judged, Notice):
            self.trial.notices.append(judged)
        elif judged is not None and not self._is_direct and has_unique_index(self.cursor, table):
            reason = "rows outside the day meet rows that are there, unless staging skips them"
            self.trial.left_out.append(NotChecked("window", reason))
        else:
            self._add(judged)

    def _look_for_partitions(self, double: Double) -> None:
        """Look for rows that no partition takes."""
        table, window, times = self.target.table, self.target.window, self.trial.times
        if not self.has_partition or window is None or times is None or double.unknown:
            return
        partitions = partitions_over(self.cursor, table, window.widened(times.first, times.last))
        if partitions is None or not partitions.is_harmless:
            return
        self.trial.looked_at.add("partition")
        # A row without a time may go elsewhere than the partitions over these times.
        has_time = sql.SQL("{} IS NOT NULL").format(table.time_identifier)
        is_missing = sql.SQL("{} AND {}").format(has_time, in_no_partition(partitions))
        missing = count_staged(self.cursor, table, double.identifier, is_missing)
        self._add(no_partition(table, self.day.request.archive.day, missing))

    def _look_at_sequences(self, double: Double) -> None:
        """Look for sequences that would give numbers of the rows again, and are not to be advanced."""
        if self.day.request.destination.sequences == "advance":
            return
        if not self._is_direct and any(self._may_be_taken(key.columns) for key in self._keys()):
            # The greatest number may be that of a row that staging skips.
            return
        known = [name for name in self.target.columns.loaded if name not in double.unknown]
        sequences = comparable_sequences(self.cursor, self.target.table, known)
        reached = find_reached_in_copy(self.cursor, double.identifier, sequences)
        self.trial.notices += [behind.notice for behind in find_behind(self.cursor, reached)]

    def _look_for_unenforced_keys(self) -> None:
        """Look for keys that the restore proves when its rows are in, beside compressed ones."""
        extension, request = self.target.compression, self.day.request
        is_left = request.timescaledb.decompress_window is False and request.destination.existing_rows != "replace"
        if extension is None or not is_left:
            return
        for chunk, key in unenforced_keys(self.cursor, extension, self.target.compressed):
            reason = f'TimescaleDB does not enforce the key "{key.name}" on the compressed rows of {chunk}'
            self.trial.left_out.append(NotChecked("duplicates", f"{reason}: the restore may be KeyNotEnforced"))

    def _look_for_taken_keys(self, double: Double) -> None:
        """Look for rows whose key is in the table already. Staging skips them."""
        table = self.target.table
        if not self._is_direct:
            return
        replaced = self.target.window if self.day.request.destination.existing_rows == "replace" else None
        for key in self._keys():
            if double.unknown & set(key.columns) or not self._may_be_taken(key.columns):
                continue
            if not key.is_plain or not key.is_built_in:
                reason = f'the index "{key.name}" was not compared with the rows that are in the table'
                self.trial.left_out.append(NotChecked("duplicates", reason))
                continue
            rows = count_with_same_key(self.cursor, table, double.identifier, key, without=replaced)
            self._add(keys_taken(table, key.name, rows))

    def _keys(self) -> list[Key]:
        table = self.target.table
        return sorted(keys_of(self.cursor, table.schema, table.name, with_invalid=True), key=lambda key: key.name)

    def _may_be_taken(self, columns: Collection[str]) -> bool:
        """Whether rows that stay in the table may have the key of a row that comes: not if each key is of one day."""
        request, table = self.day.request, self.target.table
        is_by_day = self.target.window is not None and table.time_column in columns
        return request.destination.existing_rows == "append" or not is_by_day or not request.refuses_rows_outside


def _of_rows(error: RestoreError) -> RestoreError | None:
    return error if isinstance(error, _OF_ROWS) or names_a_line(error) else None


@dataclass(frozen=True)
class _Staged:
    """The double of the staging table: its place for each column, and what it does not know or lacks."""

    staging: Staging
    unknown: frozenset[str]
    left_out: tuple[NotChecked, ...]
