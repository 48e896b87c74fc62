"""Finds the first part of a file that PostgreSQL refuses, and halves it until one row is left.

COPY names the line of a row that it refuses itself. It names none if a foreign key or a deferrable key is checked when
all rows are in. INSERT, which copies the rows of a staging table, never names one. So the file is loaded once more, in
parts, until one is refused; that part is halved until one row is left. None of it is committed.

This finds the first row that makes the load fail. It is the refused row only if PostgreSQL judges each row separately.
A statement-level or AFTER trigger may judge all rows together, a row may refer to a later row of the same table, and
rows of other tables may refer to those of a replaced day. Then no line is named, rather than a wrong one. Nor is one
named if the search takes too long: records of a few bytes each are cut at a few MB/s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from shared.csvfile.cut import Record, records_of
from shared.csvfile.scan import to_utf8
from shared.csvfile.source import BYTES_PER_CPU_SECOND, CopyReader
from shared.errors import DataRejected
from shared.load.copy.staging import Rejectable, Staging, copy_into_staging, empty_staging, insert_staged, make_staging
from shared.load.copy.text import copy_into
from shared.load.day import Day
from shared.load.target.target import Target
from shared.postgres.connect import Cursor
from shared.postgres.savepoint import refusal_in_savepoint
from shared.postgres.search_path import by_users_path
from shared.postgres.sqlstate import CopiedRows, as_refused_row, at_line, is_of_foreign_key, server_error, translated
from shared.process import MIB, CpuBudget
from shared.timescale.constraints import find_refusing_constraint, judges_rows_together
from shared.timescale.references import find_references

# How many rows are tried at once, and how many bytes: wide rows would fill the memory.
PART_ROWS = 10_000
PART_BYTES = 8 * MIB


class _SearchTooLongError(Exception):
    """The search has taken its processor time."""


@dataclass(frozen=True)
class Search:
    """The search for a refused row, in a transaction that is rolled back afterwards.

    Attributes:
        cursor: in that transaction, in which room was made for the day.
        day: what is loaded. The search may take `PREPARE_CPU_SECONDS` of processor time, beside what large files earn
            by their bytes.
        target: where the rows go.
        skips_conflicts: whether rows in conflict were skipped.
    """

    cursor: Cursor
    day: Day
    target: Target
    skips_conflicts: bool

    def run(self, refused: DataRejected) -> DataRejected:
        """Return the error of the refused row with its line; the same error if the line cannot be known in time.

        Args:
            refused: what the server answered to the whole file. Its cause is the exception of psycopg2.

        Raises:
            RestoreError: the search itself failed.
        """
        is_deferred = self._is_deferred(refused)
        if is_deferred is None:
            return refused
        loader = _Loader(self, is_deferred=is_deferred)
        budget = CpuBudget(self.day.settings.prepare_cpu_seconds, _SearchTooLongError)
        with self.day.csv.open() as reader, suppress(_SearchTooLongError):
            budget.begin()
            records = records_of(iter(reader.read, b""), self.day.request.copy_.csv_options.dialect)
            if self.day.request.copy_.csv_options.has_header:
                next(records, None)
            for part, size in _parts_of(records):
                if loader.load(part) is not None:
                    return _first_refused(loader, part) or refused
                budget.check()
                budget.earn(size / BYTES_PER_CPU_SECOND)
        return refused

    def _is_deferred(self, refused: DataRejected) -> bool | None:
        """Whether the constraint that refused the row is checked at the COMMIT; None if no row can be named."""
        cause = server_error(refused)
        if cause is None:
            return None
        diag, table = cause.diag, self.target.table
        found = find_refusing_constraint(self.cursor, table, diag.schema_name, diag.table_name, diag.constraint_name)
        if found is not None:
            may_need_another_row = (
                found.refers_to_itself
                or (is_of_foreign_key(refused) and not found.is_known)
                or (found.is_deferred and self._is_kept_by_others())
            )
            return None if may_need_another_row else found.is_deferred
        return None if judges_rows_together(self.cursor, table) else False

    def _is_kept_by_others(self) -> bool:
        """Whether a part of the file may break a key by which other rows refer to the replaced ones."""
        replaces = self.day.request.destination.existing_rows == "replace"
        return replaces and find_references(self.cursor, self.target.table).may_refuse


def _parts_of(records: Iterator[Record]) -> Iterator[tuple[list[Record], int]]:
    """Yield records in parts of few rows and few bytes, each with its bytes."""
    part, size = list[Record](), 0
    for record in records:
        part.append(record)
        size += len(record.text)
        if len(part) >= PART_ROWS or size >= PART_BYTES:
            yield part, size
            part, size = [], 0
    if part:
        yield part, size


def _first_refused(loader: _Loader, part: Sequence[Record]) -> DataRejected | None:
    """Halve a part that is refused until one row is left; the rows before it stay in."""
    while len(part) > 1:
        half = len(part) // 2
        part = part[half:] if loader.load(part[:half]) is None else part[:half]
    error = loader.load(part)
    return None if error is None else at_line(error, loader.line_of(part[0]))


class _Loader:
    """Loads parts of the file in savepoints, in the way in which the whole file was loaded."""

    def __init__(self, search: Search, *, is_deferred: bool) -> None:
        self._search = search
        self._is_deferred = is_deferred
        options = search.day.request.copy_.csv_options
        # Records are cut in UTF-8.
        encoding = options.encoding if to_utf8(options.dialect) is None else "UTF8"
        self._options = options.without_header.model_copy(update={"encoding": encoding})
        self._staging: Staging | None = None
        target = search.target
        if target.columns.by_staging:
            columns = target.columns.file_columns
            self._staging = make_staging(search.cursor, target.table, target.like, columns, search.day.token)

    def line_of(self, record: Record) -> int:
        """Return the record's line in the file."""
        return self._search.day.row_errors.lines_before + record.line

    def load(self, part: Sequence[Record]) -> DataRejected | None:
        """Load a part. If it is refused, nothing of it stays, and the error is returned."""

        def load_and_check() -> None:
            self._copy(part)
            if self._is_deferred:
                with translated(CopiedRows(self._search.target.table.name, ())):
                    self._search.cursor.execute(by_users_path("SET CONSTRAINTS ALL IMMEDIATE"))

        return refusal_in_savepoint(self._search.cursor, "part of the file", load_and_check, as_refused_row)

    def _copy(self, part: Sequence[Record]) -> None:
        search, staging = self._search, self._staging
        reader = CopyReader(joined(part))
        table, columns, errors = search.target.table, search.target.columns.loaded, search.day.row_errors
        if staging is None:
            copy_into(search.cursor, table.identifier, columns, self._options, reader, errors=errors)
            return
        empty_staging(search.cursor, staging)
        is_rejectable = search.day.request.copy_.max_rejected_rows is not None
        copy_into_staging(
            search.cursor,
            staging,
            self._options,
            reader,
            has_timescaledb=table.timescaledb is not None,
            may_reject=Rejectable(lambda: len(part), len(part)) if is_rejectable else None,
            errors=errors,
        )
        insert_staged(
            search.cursor, table.identifier, staging, columns, skips_conflicts=search.skips_conflicts, errors=errors
        )


def joined(part: Sequence[Record]) -> Iterator[bytes]:
    """Write the records of a part as one block."""
    yield b"".join(record.text for record in part)
