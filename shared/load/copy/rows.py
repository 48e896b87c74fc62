"""Copies the rows of the file into the target: directly, or through a staging table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from psycopg2 import errorcodes

from shared.csvfile.head import bom_length, first_row_length
from shared.csvfile.source import CopyReader, FirstRow
from shared.errors import DatabaseFailed, DataRejected, OperationNotSupported, RestoreError
from shared.load.copy.binary import columns_of_file, copy_in_binary, reason_for_text_before_copy
from shared.load.copy.staging import (
    Rejectable,
    Staging,
    copy_into_staging,
    drop_staging,
    first_staged,
    insert_staged,
    make_staging,
)
from shared.load.copy.text import copy_into
from shared.load.copy.unchecked import refuse_unchecked
from shared.load.day import Day
from shared.load.indexes import DayIndexes
from shared.load.plan import Fallback
from shared.load.refusals import refuse, wrong_row_count
from shared.load.target.target import Target
from shared.load.verify.proof import Proof
from shared.model.results import Count, KeptIndex, Transferred
from shared.postgres.connect import Cursor
from shared.postgres.sqlstate import is_conflict, is_of_foreign_key, names_a_line, sqlstate_of
from shared.timescale.table import Column

_KEY_IS_DEFERRABLE = (
    'rows in conflict cannot be skipped by a deferrable key: use destination.mode "direct", which refuses them,'
    " or make the key NOT DEFERRABLE"
)


@dataclass(frozen=True)
class Transfer:
    """One attempt to copy the rows into the target.

    Attributes:
        cursor: in the load's transaction.
        day: what is loaded.
        target: where the rows go.
        indexes: the indexes of the chunks that receive rows.
        text_because: why the file is copied as text; None: binary is permitted.
        skips_conflicts: whether to skip staged rows in conflict. Otherwise direct mode refuses them, and in staging
            mode a conflict raises `Fallback`.
    """

    cursor: Cursor
    day: Day
    target: Target
    indexes: DayIndexes
    text_because: str | None
    skips_conflicts: bool

    def run(self, proof: Proof) -> Transferred:
        """Copy the rows into the target.

        Args:
            proof: counts the staged rows outside the day.

        Raises:
            Fallback: the transaction must be rolled back, and the load repeated with a plainer plan.
            TargetChanged: the transaction cannot tell whether COPY has let in a row that INSERT would have refused.
            RestoreError: PostgreSQL refused a row, or would have refused one, or the number of rows is not the expected
                one.
        """
        with self.day.progress.stage("copy"):
            text_because = self.text_because or self._reason_for_text()
        try:
            if self.target.columns.by_staging:
                # The INSERT from there checks all that COPY does not.
                return self._by_staging(text_because, proof)
            transferred = self._copy_direct(text_because)
        except RestoreError as exc:
            may_be_a_rows = isinstance(exc, (DataRejected, OperationNotSupported, DatabaseFailed)) or names_a_line(exc)
            if is_of_foreign_key(exc) or not (may_be_a_rows and self.indexes.names_another_line):
                raise
            # With indexes dropped, the reported line can be wrong. Retry with them in place to get PostgreSQL's own
            # error.
            raise Fallback(keep_because=KeptIndex(None, "RowRefused", "a row was refused")) from exc
        if transferred.rows_read:
            with self.day.progress.stage("verify"):
                refuse_unchecked(self.cursor, self.day, self.target)
        return transferred

    def _reason_for_text(self) -> str | None:
        """Return why the file is copied as text, as far as is known before the COPY; None if it is copied in binary."""
        copy = self.day.request.copy_
        size = None if copy.format == "binary" else self.day.csv.probable_size
        return reason_for_text_before_copy(self.cursor, self._columns, copy.csv_options, self.day.csv, csv_bytes=size)

    @property
    def _columns(self) -> tuple[Column, ...]:
        return columns_of_file(self.target.columns.file_columns, self.target.table, self.target.like)

    @property
    def _is_direct(self) -> bool:
        return self.day.request.destination.is_direct

    def _copy_direct(self, text_because: str | None) -> Transferred:
        with self.day.progress.stage("copy"):
            transferred = self._copy_into_target(text_because)
        refuse(wrong_row_count(self.day.request.copy_, transferred.rows_seen))
        return transferred

    def _copy_into_target(self, text_because: str | None) -> Transferred:
        first = self._copy_first_row() if self.indexes.wants_first_row else None
        table, names, options = self.target.table, self.target.columns.loaded, self.day.request.copy_.csv_options
        already = 0 if first is None else first.rows
        if text_because is None:
            taken = copy_in_binary(self.cursor, table.identifier, self._columns, options, self.day.csv, first=first)
            return Transferred("binary", None, taken.waited_seconds, taken.rows + already)
        with self.day.csv.open() as reader:
            if first is not None:
                reader.skip(first.size)
                options = options.without_header
            rows = copy_into(self.cursor, table.identifier, names, options, reader, errors=self.day.row_errors)
            return Transferred("text", text_because, reader.waited_seconds, rows + already)

    def _copy_first_row(self) -> FirstRow | None:
        """Copy the first row, so that its chunk exists. None if nothing was copied."""
        options, file = self.day.request.copy_.csv_options, self.day.csv.head
        size = first_row_length(file, options.dialect, has_header=options.has_header)
        if size is None:
            self.indexes.drop_on_new_chunks(first_came=False)
            return None
        file.seek(bom_length(file, options.dialect))
        reader = CopyReader(iter([file.read(size)]))
        file.seek(0)
        table, names = self.target.table, self.target.columns.loaded
        rows = copy_into(self.cursor, table.identifier, names, options, reader, errors=self.day.row_errors)
        self.indexes.drop_on_new_chunks(first_came=True)
        return FirstRow(size, rows)

    def _by_staging(self, text_because: str | None, proof: Proof) -> Transferred:
        """Copy the rows into a staging table, and insert them from there.

        Direct mode goes this way where a column is left out. Its rows, refusals and proof are those of a COPY into the
        target.
        """
        target = self.target
        with self.day.progress.stage("copy"):
            staging = make_staging(self.cursor, target.table, target.like, target.columns.file_columns, self.day.token)
            staged = self._copy_staged(staging, text_because)
        refuse(wrong_row_count(self.day.request.copy_, staged.rows_seen))
        outside = Count(0)
        if not self._is_direct:
            with self.day.progress.stage("verify"):
                outside = proof.refuse_staged_outside(self.cursor, staging.identifier)
        with self.day.progress.stage("insert"):
            inserted, skips_conflicts = self._insert(staging)
            drop_staging(self.cursor, staging)
        if self._is_direct:
            # What a trigger dropped is missing, as it is missing in the count of a COPY.
            return replace(staged, rows_read=inserted)
        return replace(staged, rows_inserted=inserted, skips_conflicts=skips_conflicts, staged_outside=outside)

    def _copy_staged(self, staging: Staging, text_because: str | None) -> Transferred:
        options, target = self.day.request.copy_.csv_options, self.target
        if text_because is None:
            taken = copy_in_binary(
                self.cursor, staging.identifier, self._columns, options, self.day.csv, staging.columns
            )
            return Transferred("binary", None, taken.waited_seconds, taken.rows)
        with self.day.csv.open() as reader:
            copied = copy_into_staging(
                self.cursor,
                staging,
                options,
                reader,
                has_timescaledb=target.table.timescaledb is not None,
                may_reject=Rejectable.of(self.day.request.copy_, self.day.csv),
                errors=self.day.row_errors,
            )
            return Transferred("text", text_because, reader.waited_seconds, copied.rows, copied.rejected)

    def _insert(self, staging: Staging) -> tuple[int, bool]:
        """Insert the staged rows, and return their number and whether rows in conflict were skipped.

        ON CONFLICT makes PostgreSQL look for a conflict before each row, which takes a third of the INSERT. So it is
        omitted if no conflict is likely, and a conflict raises `Fallback`. While indexes are dropped, ON CONFLICT finds
        nothing; a conflict then shows when the index cannot be built.
        """
        columns, table, errors = self.target.columns.loaded, self.target.table, self.day.row_errors
        insert = partial(insert_staged, self.cursor, table.identifier, staging, columns, errors=errors)
        rows, first = 0, None
        if self.indexes.wants_first_row:
            first = first_staged(self.cursor, staging)
            rows = 0 if first is None else insert(only=first)
            self.indexes.drop_on_new_chunks(first_came=first is not None)
        skips = self.skips_conflicts and not self.indexes.are_dropped
        try:
            return rows + insert(but=first, skips_conflicts=skips), skips
        except OperationNotSupported as exc:
            if skips and sqlstate_of(exc) == errorcodes.OBJECT_NOT_IN_PREREQUISITE_STATE:
                exc.hint = _KEY_IS_DEFERRABLE
            raise
        except DataRejected as exc:
            if self._is_direct or skips or self.indexes.are_dropped or not is_conflict(exc):
                raise
            raise Fallback(conflicts=True) from exc
