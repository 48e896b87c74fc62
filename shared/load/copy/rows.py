"""The rows' way from the file into the target: by COPY, or by COPY and INSERT through a staging table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from shared.csvfile.head import bom_length, first_row_length
from shared.csvfile.scan import rows_of
from shared.csvfile.source import CopyReader, CsvSource, FirstRow
from shared.errors import DatabaseFailed, DataRejected, OperationNotSupported, RestoreError, RowCountMismatch
from shared.load.copy.binary import TextDecides, columns_of_file, copy_in_binary, obstacle
from shared.load.copy.staging import (
    Copied,
    Rejectable,
    Staging,
    copy_into_staging,
    drop_staging,
    first_staged,
    insert_staged,
    make_staging,
)
from shared.load.copy.text import copy_into
from shared.load.indexes import DayIndexes
from shared.load.plan import BeginAnew
from shared.load.target import Target
from shared.load.verify import Proof
from shared.model.report import Report
from shared.model.request import RestoreRequest
from shared.model.results import Kept
from shared.postgres.connect import Cursor
from shared.postgres.sqlstate import is_conflict, names_a_line
from shared.timescale.table import Column


@dataclass(frozen=True)
class Transfer:
    """One attempt to bring the rows in.

    Attributes:
        cursor: in the load's transaction.
        request: what is restored, and how.
        target: where the rows go.
        csv: the archive, unpacked.
        report: is told how many rows went which way.
        indexes: of the chunks that the rows go into.
        text_because: why the file is copied as text, where a former attempt has shown that.
        may_conflict: whether staged rows are skipped where they are in conflict; else that begins the load anew.
        show_row_data: whether an error may hold values of the row.
    """

    cursor: Cursor
    request: RestoreRequest
    target: Target
    csv: CsvSource
    report: Report
    indexes: DayIndexes
    text_because: str | None
    may_conflict: bool
    show_row_data: bool

    def run(self, proof: Proof) -> None:
        """Bring the rows into the target.

        Args:
            proof: looks at what is staged.

        Raises:
            BeginAnew: the transaction is to be rolled back, and the rows are to come in a plainer way.
            RestoreError: PostgreSQL refused a row, or the rows are not those that were promised.
        """
        with self.report.clock.stage("copy"):
            why_text = self.text_because or self._why_text()
        self.report.format, self.report.text_because = ("binary", None) if why_text is None else ("text", why_text)
        try:
            if self.request.destination.mode == "direct":
                with self.report.clock.stage("copy"):
                    self._copy_direct()
                self._check_expected()
            else:
                self._by_staging(proof)
        except TextDecides as exc:
            keep = Kept(None, "RowRefused", "a row was refused") if exc.is_refusal else None
            raise BeginAnew(text=exc.reason, keep=keep) from exc
        except RestoreError as exc:
            may_be_a_rows = isinstance(exc, (DataRejected, OperationNotSupported, DatabaseFailed)) or names_a_line(exc)
            if not (may_be_a_rows and self.indexes.names_another_line):
                raise
            # Only with all indexes in place it is the very row, line and message that PostgreSQL would name.
            raise BeginAnew(keep=Kept(None, "RowRefused", "a row was refused")) from exc

    def _why_text(self) -> str | None:
        """Say why the file is copied as text, as far as it shows before; None where it goes binary."""
        copy = self.request.copy_
        if copy.format == "text":
            return "the request asks for it"
        if copy.on_error == "skip":
            return "rows may be left out"
        size = None if copy.format == "binary" else self.report.probable_csv_bytes
        return obstacle(self.cursor, self._columns, copy.csv_options, self.csv, csv_bytes=size)

    @property
    def _columns(self) -> tuple[Column, ...]:
        return columns_of_file(self.target.plan.file_columns, self.target.table, self.target.like)

    def _copy_direct(self) -> None:
        first = self._copy_first_row() if self.indexes.wants_first_row else None
        table, names, options = self.target.table, self.target.plan.file_columns, self.request.copy_.csv_options
        if self.report.format == "binary":
            taken = copy_in_binary(self.cursor, table.identifier, self._columns, options, self.csv, first=first)
            rows, self.report.waited_seconds = taken.rows, taken.waited_seconds
        else:
            with self.csv.opened() as reader:
                if first is not None:
                    reader.skip(first.size)
                    options = options.without_header
                rows = copy_into(
                    self.cursor, table.identifier, names, options, reader, show_row_data=self.show_row_data
                )
                self.report.waited_seconds = reader.waited_seconds
        self.report.rows_loaded = rows + (0 if first is None else first.rows)

    def _copy_first_row(self) -> FirstRow | None:
        """Copy the header and one row, so that the chunk is there. None where nothing was copied."""
        options, file = self.request.copy_.csv_options, self.csv.head
        size = first_row_length(file, options.dialect, has_header=options.has_header)
        if size is None:
            self.indexes.look(first_came=False)
            return None
        file.seek(bom_length(file, options.dialect))
        reader = CopyReader(iter([file.read(size)]))
        file.seek(0)
        names = self.target.plan.file_columns
        rows = copy_into(
            self.cursor, self.target.table.identifier, names, options, reader, show_row_data=self.show_row_data
        )
        self.indexes.look(first_came=True)
        return FirstRow(size, rows)

    def _by_staging(self, proof: Proof) -> None:
        clock, report, target = self.report.clock, self.report, self.target
        with clock.stage("copy"):
            token = report.request_id.replace("-", "")
            staging = make_staging(self.cursor, target.table, target.like, target.plan.file_columns, token)
            copied = self._copy_staged(staging)
        report.rows_loaded, report.rejected = copied.rows, copied.rejected
        if copied.rejected is not None and copied.rejected.rows:
            report.warn("RowsRejected", f"{copied.rejected.rows} rows could not be parsed and were left out")
        self._check_expected()
        with clock.stage("verify"):
            proof.check_staged(self.cursor, staging.identifier)
        with clock.stage("insert"):
            report.rows_inserted = self._insert(staging)
            report.rows_skipped = report.rows_loaded - report.rows_inserted
            drop_staging(self.cursor, staging)

    def _copy_staged(self, staging: Staging) -> Copied:
        options, target = self.request.copy_.csv_options, self.target
        if self.report.format == "binary":
            taken = copy_in_binary(self.cursor, staging.identifier, self._columns, options, self.csv, staging.columns)
            self.report.waited_seconds = taken.waited_seconds
            return Copied(taken.rows, None)
        most = self.request.copy_.max_rejected_rows
        with self.csv.opened() as reader:
            copied = copy_into_staging(
                self.cursor,
                staging,
                options,
                reader,
                has_timescaledb=target.table.timescaledb is not None,
                may_reject=None if most is None else Rejectable(self._rows_in_archive, most),
                show_row_data=self.show_row_data,
            )
            self.report.waited_seconds = reader.waited_seconds
        return copied

    def _insert(self, staging: Staging) -> int:
        """Take the staged rows over; those in conflict are skipped.

        ON CONFLICT makes PostgreSQL look for a conflict before each row, which takes a third of the INSERT. So where
        none is likely it is left out, and the error begins the load anew. While indexes are set aside, nothing would be
        found in conflict either: then the index cannot be built.
        """
        columns, table, show = self.target.plan.loaded, self.target.table, self.show_row_data
        insert = partial(insert_staged, self.cursor, table, staging, columns, show_row_data=show)
        rows, first = 0, None
        if self.indexes.wants_first_row:
            first = first_staged(self.cursor, staging)
            rows = 0 if first is None else insert(only=first)
            self.indexes.look(first_came=first is not None)
        skips = self.report.skips_conflicts = self.may_conflict and not self.indexes.are_aside
        try:
            return rows + insert(but=first, skips_conflicts=skips)
        except DataRejected as exc:
            if skips or self.indexes.are_aside or not is_conflict(exc):
                raise
            raise BeginAnew(conflicts=True) from exc

    def _rows_in_archive(self) -> int:
        return rows_of(self.csv.records or 0, has_header=self.request.copy_.csv_options.has_header)

    def _check_expected(self) -> None:
        expected = self.request.copy_.expected_rows
        if expected is not None and self.report.rows_read != expected:
            raise RowCountMismatch(f"the archive holds {self.report.rows_read} rows, but expected_rows is {expected}")
