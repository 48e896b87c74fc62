"""The proof of one load: the archive's rows, the rows that PostgreSQL took, and the day's rows before and after."""

from __future__ import annotations

from psycopg2 import sql

from shared.csv_source import CsvSource
from shared.database.chunk_catalog import Chunk
from shared.database.connection import Cursor
from shared.database.hypertable import has_insert_triggers, has_unique_index
from shared.database.verification import (
    Count,
    count_beside_own,
    count_own,
    count_staged_outside,
    count_window,
    refuse_difference,
    refuse_outside,
)
from shared.database.window import Window
from shared.errors import Fault, VerificationFailed, WindowNotEmpty
from shared.lake.csv_count import rows_of
from shared.report import Report, Verification
from shared.request import RestoreRequest
from shared.target import Target


class Proof:
    """What is counted around a load. Nothing of it is done where the request says `verify: false`."""

    def __init__(
        self, request: RestoreRequest, target: Target, before: Count | None, csv: CsvSource, report: Report
    ) -> None:
        self._request = request
        self._target = target
        self._before = before
        self._csv = csv
        self._report = report
        self._staged_outside = Count(0)
        self._after: Count | None = None

    def check_staged(self, cursor: Cursor, staging: sql.Identifier) -> None:
        """Look at the staged rows before they go on.

        Raises:
            RowsOutsideWindow: some are not of the archive's day.
        """
        target = self._target
        if not self._request.verify or target.window is None or target.table.time_column not in target.plan.loaded:
            return
        self._staged_outside = count_staged_outside(cursor, target.table, staging, target.window)
        if self._request.destination.rows_outside_window == "error":
            refuse_outside(self._staged_outside, self._request.archive.day)

    def check(self, cursor: Cursor) -> tuple[Window | None, tuple[Chunk, ...]]:
        """Count again.

        Returns:
            The span that was really loaded, and the chunks outside the day that got rows.

        Raises:
            VerificationFailed: rows are missing, or there are more than were loaded.
            RowsOutsideWindow: some are not of the archive's day.
            WindowNotEmpty: the rows outside the day are there already.
        """
        window, table, before = self._target.window, self._target.table, self._before
        if not self._request.verify:
            return window, ()
        self._compare_with_archive(cursor)
        if window is None or before is None:
            return window, ()
        self._after = after = count_window(cursor, table, window)
        added, kept = self._added(), self._kept()
        outside = Count(0)
        chunks: tuple[Chunk, ...] = ()
        # Rows that are not in the day are elsewhere, or nowhere; and a trigger can make up for one that is.
        if after.rows - kept != added or self._staged_outside.rows or has_insert_triggers(cursor, table):
            outside, chunks = count_own(cursor, table, outside=window)
            self._judge_outside(cursor, outside, chunks)
        refuse_difference(before=kept, after=after.rows, added=added - outside.rows)
        self._report.verification = Verification(before.rows, after, added, outside)
        return window.widened(outside.first, outside.last), chunks

    def landed(self, cursor: Cursor) -> bool | None:
        """Tell by the day's rows whether the load was committed; None where they do not tell."""
        if self._target.window is None or self._before is None or self._after is None:
            return None
        rows = count_window(cursor, self._target.table, self._target.window).rows
        if self._after.rows == self._before.rows:
            return None
        return {self._after.rows: True, self._before.rows: False}.get(rows)

    def _added(self) -> int:
        report = self._report
        return (report.rows_loaded if report.rows_inserted is None else report.rows_inserted) or 0

    def _kept(self) -> int:
        return 0 if self._before is None or self._report.rows_removed is not None else self._before.rows

    def _compare_with_archive(self, cursor: Cursor) -> None:
        """Refuse a load that took fewer rows than the archive holds. COPY does not count what a trigger drops."""
        options, report = self._request.copy_.csv_options, self._report
        records = rows_of(self._csv.records or 0, has_header=options.has_header)
        if report.rows_read != records and not self._ends_at_marker(cursor, records):
            self._refuse(f"the archive holds {records} rows, but PostgreSQL took {report.rows_read}", records)
        # A trigger or a rule drops rows as well.
        if report.rows_skipped and not (report.skips_conflicts and has_unique_index(cursor, self._target.table)):
            self._refuse(f"{report.rows_skipped} rows were dropped, although no row can be in conflict", records)

    def _ends_at_marker(self, cursor: Cursor, records: int) -> bool:
        r"""Whether the one missing row is a line `\.` at the file's end, which PostgreSQL before 18 leaves out."""
        return (
            self._csv.ends_with_marker is True
            and self._report.rows_read == records - 1
            and cursor.connection.server_version < 180000  # noqa: PLR2004
        )

    def _refuse(self, message: str, records: int) -> None:
        facts = {"rows_in_archive": records, "rows_loaded": self._report.rows_loaded}
        raise VerificationFailed(message, details=[Fault("VerificationFailed", message, info=tuple(facts.items()))])

    def _judge_outside(self, cursor: Cursor, outside: Count, chunks: tuple[Chunk, ...]) -> None:
        destination = self._request.destination
        if destination.rows_outside_window == "error":
            refuse_outside(outside, self._request.archive.day)
        if outside.rows and destination.existing_rows != "append" and self._target.window is not None:
            beside = count_beside_own(cursor, self._target.table, chunks, self._target.window)
            if beside:
                raise WindowNotEmpty(
                    f"{self._report.target_table} already holds {beside} rows at the times of the archive's rows"
                    f" outside {self._request.archive.day.isoformat()}"
                )
