"""The proof of one load: the archive's rows, the rows that PostgreSQL took, and the day's rows before and after.

All counts come from one REPEATABLE READ snapshot. In that isolation the load sees its own rows and no other
session's new ones, so the difference is exact while others write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from psycopg2 import sql

from shared.csvfile.scan import rows_of
from shared.csvfile.source import CsvSource
from shared.errors import Fault, ReplacementTooSmall, RowsOutsideWindow, VerificationFailed, WindowNotEmpty
from shared.load.target import Target
from shared.model.request import RestoreRequest
from shared.model.results import Count, Removed, Transferred, Verification
from shared.model.window import Window, iso
from shared.postgres.connect import Cursor
from shared.timescale.chunks import Chunk, written_chunks
from shared.timescale.table import Table, has_insert_triggers, has_unique_index, inside, within

_OWN = sql.SQL("xmin = pg_catalog.pg_current_xact_id()::xid")


def count_window(cursor: Cursor, table: Table, window: Window) -> Count:
    """Count the target's rows in the archive's day."""
    cursor.execute(
        sql.SQL("SELECT count(*), min({time}), max({time}) FROM {table} WHERE {inside}").format(
            time=_time(table), table=table.own_rows, inside=inside(table, window)
        )
    )
    return _count(cursor)


def count_in_children(cursor: Cursor, table: Table, window: Window) -> int:
    """Count the rows of the day in tables that inherit from a plain one: a query of it shows them as its own."""
    if not table.has_children:
        return 0
    cursor.execute(
        sql.SQL("SELECT count(*) FROM {} WHERE {}").format(table.identifier, inside(table, window)),
    )
    return _count(cursor).rows - count_window(cursor, table, window).rows


def count_staged_outside(cursor: Cursor, table: Table, staging: sql.Identifier, window: Window) -> Count:
    """Count the staged rows that are outside the day. A row without a time is none of them: the target decides."""
    # What the staging table is made like may have another type there than the target.
    time = sql.SQL("{}::{}").format(_time(table), table.time_sql)
    condition = within(sql.Identifier("t"), window)
    cursor.execute(
        sql.SQL(
            "SELECT count(*), {first}, {last} FROM (SELECT {time} AS t FROM {staging}) AS rows WHERE NOT ({condition})"
        ).format(time=time, staging=staging, condition=condition, **_bounds(window))
    )
    return _count(cursor)


def count_own(cursor: Cursor, table: Table, *, outside: Window) -> tuple[Count, tuple[Chunk, ...]]:
    """Count the rows that this transaction brought outside a window, and name their chunks.

    They are found by `xmin`, only in relations on which the transaction holds a writer's lock. Rows that
    `decompress_chunk` or a DELETE decompressed have another `xmin`: both run in savepoints, which have transaction
    ids of their own.

    Args:
        cursor: in the load's transaction, outside savepoints.
        table: the target.
        outside: the window.
    """
    chunks = written_chunks(cursor, table)
    if table.hypertable_id is not None and not chunks:
        return Count(0), ()
    # ONLY: the rows that a compressed chunk holds compressed are not ours, and have no xmin.
    relations: list[sql.Composable] = [
        sql.SQL("ONLY {}").format(sql.Identifier(chunk.schema, chunk.name)) for chunk in chunks
    ]
    own = sql.SQL("SELECT {time} AS t FROM {relation} WHERE {own} AND NOT ({inside})")
    parts = [
        own.format(time=_time(table), relation=relation, own=_OWN, inside=inside(table, outside))
        for relation in (relations or [table.own_rows])
    ]
    cursor.execute(
        sql.SQL("SELECT count(*), {first}, {last} FROM ({parts}) AS own").format(
            parts=sql.SQL(" UNION ALL ").join(parts), **_bounds(outside)
        )
    )
    return _count(cursor), chunks


def count_beside_own(cursor: Cursor, table: Table, chunks: Sequence[Chunk], outside: Window) -> int:
    """Count the rows that were there before at the times of this transaction's own rows outside a window."""
    total = 0
    for chunk in chunks:
        name = sql.Identifier(chunk.schema, chunk.name)
        own = sql.SQL("SELECT {time} FROM ONLY {name} WHERE {own} AND NOT ({inside})").format(
            time=_time(table), name=name, own=_OWN, inside=inside(table, outside)
        )
        cursor.execute(
            sql.SQL(
                "SELECT (SELECT count(*) FROM {name} WHERE {time} IN ({own})) - (SELECT count(*) FROM ({own}) AS mine)"
            ).format(name=name, time=_time(table), own=own)
        )
        row = cursor.fetchone()
        total += 0 if row is None else row[0]
    return total


def refuse_outside(outside: Count, day: date) -> None:
    """Refuse rows of another time than the archive's day.

    Raises:
        RowsOutsideWindow: there are some; the detail holds `rows`, `min_time` and `max_time`.
    """
    if outside.rows == 0:
        return
    facts = {
        "rows": outside.rows,
        "min_time": None if outside.first is None else iso(outside.first),
        "max_time": None if outside.last is None else iso(outside.last),
    }
    message = f"the archive holds {outside.describe()}, outside {day.isoformat()}"
    raise RowsOutsideWindow(message, details=[Fault("RowsOutsideWindow", message, info=tuple(facts.items()))])


def refuse_difference(*, before: int, after: int, added: int) -> None:
    """Refuse a load that the recount does not show.

    Raises:
        VerificationFailed: `after - before` is not `added`; the detail holds the counts.
    """
    if after - before != added:
        facts = {"rows_before": before, "rows_after": after, "rows_added": added}
        message = f"the day held {before} rows before and {after} after, but {added} were added"
        raise VerificationFailed(message, details=[Fault("VerificationFailed", message, info=tuple(facts.items()))])


def inherited(table: Table, rows: int) -> str:
    """Say that the day is in tables that inherit from a plain one."""
    return f"tables that inherit from {table} hold {rows} rows of the day"


def too_small(before: int, by: int, ratio: float) -> str:
    """Say that a day of so many rows may not be replaced by so many."""
    return f"the day holds {before} rows, and {by} would replace them: less than min_rows_ratio {ratio:g} allows"


def _bounds(window: Window) -> dict[str, sql.Composable]:
    """Write the first and last time, brought to what Python can hold: no infinity, no year 0 or 10000."""
    bounds = {"first": sql.SQL("min(t)"), "last": sql.SQL("max(t)")}
    if window.kind == "integer":
        return {**bounds}
    held = sql.SQL("CASE WHEN count(*) > 0 THEN least(greatest({}, '0001-01-02'), '9999-12-30') END")
    return {name: held.format(bound) for name, bound in bounds.items()}


def _time(table: Table) -> sql.Identifier:
    return sql.Identifier(table.time_column or "")


def _count(cursor: Cursor) -> Count:
    row = cursor.fetchone()
    return Count(*row) if row is not None else Count(0)


@dataclass(frozen=True)
class Verified:
    """What the recount showed.

    Attributes:
        verification: the counts; None where nothing was counted.
        span: what was really loaded: the day, and further where rows outside it were allowed.
        chunks: the chunks that got rows, those outside the day included; empty where it was not necessary to look.
    """

    verification: Verification | None
    span: Window | None
    chunks: tuple[Chunk, ...] = ()


class Proof:
    """What is counted around a load. Where the request says `verify: false`, only the size of a replacement is.

    Args:
        request: what is restored, and how.
        target: where the rows go.
        before: the day's rows before the load; None where they were not counted.
        removed: those of them that were taken away; None: none.
        csv: the archive, unpacked.
    """

    def __init__(
        self, request: RestoreRequest, target: Target, before: Count | None, removed: Removed | None, csv: CsvSource
    ) -> None:
        self._request = request
        self._target = target
        self._before = before
        self._is_removed = removed is not None
        self._csv = csv
        self._after: Count | None = None

    def refuse_staged_outside(self, cursor: Cursor, staging: sql.Identifier) -> Count:
        """Count the staged rows that are not of the archive's day, before they go on.

        Raises:
            RowsOutsideWindow: there are some, and the request does not allow them.
        """
        target = self._target
        if not self._request.verify or target.window is None or target.table.time_column not in target.columns.loaded:
            return Count(0)
        outside = count_staged_outside(cursor, target.table, staging, target.window)
        if self._request.destination.rows_outside_window == "error":
            refuse_outside(outside, self._request.archive.day)
        return outside

    def check(self, cursor: Cursor, transferred: Transferred) -> Verified:
        """Count again.

        Raises:
            VerificationFailed: rows are missing, or there are more than were loaded.
            RowsOutsideWindow: some are not of the archive's day.
            WindowNotEmpty: the rows outside the day are there already.
        """
        window, table, before = self._target.window, self._target.table, self._before
        if not self._request.verify:
            return Verified(None, window)
        self._compare_with_archive(cursor, transferred)
        if window is None or before is None:
            return Verified(None, window)
        self._after = after = count_window(cursor, table, window)
        added, kept = transferred.added, 0 if self._is_removed else before.rows
        outside = Count(0)
        chunks: tuple[Chunk, ...] = ()
        # A shortfall means rows fell outside the day or were dropped. A trigger can hide a shortfall by adding rows.
        if after.rows - kept != added or transferred.staged_outside.rows or has_insert_triggers(cursor, table):
            outside, chunks = count_own(cursor, table, outside=window)
            self._judge_outside(cursor, outside, chunks)
        refuse_difference(before=kept, after=after.rows, added=added - outside.rows)
        verification = Verification(before.rows, after, added, outside)
        return Verified(verification, window.widened(outside.first, outside.last), chunks)

    def check_replacement(self, cursor: Cursor, transferred: Transferred) -> None:
        """Refuse a day that would hold much less than it did. After `check`; not left out with `verify: false`.

        Raises:
            ReplacementTooSmall: the rows that came into the day are fewer than the request allows.
        """
        window, destination = self._target.window, self._request.destination
        if not self._is_removed or self._before is None or window is None:
            return
        after = count_window(cursor, self._target.table, window) if self._after is None else self._after
        # Rows of another day, or those that a trigger adds, are not the archive's rows of the day.
        came, before = min(transferred.added, after.rows), self._before.rows
        if not destination.may_replace(before, came):
            facts = {"rows_before": before, "rows_in_archive": self._rows_in_archive}
            message = too_small(before, came, destination.min_rows_ratio)
            raise ReplacementTooSmall(
                message, details=[Fault("ReplacementTooSmall", message, info=tuple(facts.items()))]
            )

    def rows_show_commit(self, cursor: Cursor) -> bool | None:
        """Tell by the day's rows whether the load was committed; None where they do not tell."""
        if self._target.window is None or self._before is None or self._after is None:
            return None
        rows = count_window(cursor, self._target.table, self._target.window).rows
        if self._after.rows == self._before.rows:
            return None
        return {self._after.rows: True, self._before.rows: False}.get(rows)

    @property
    def _rows_in_archive(self) -> int:
        return rows_of(self._csv.records or 0, has_header=self._request.copy_.csv_options.has_header)

    def _compare_with_archive(self, cursor: Cursor, transferred: Transferred) -> None:
        """Refuse a load that took fewer rows than the archive holds. COPY does not count what a trigger drops."""
        rows_read, records = transferred.rows_read, self._rows_in_archive
        if rows_read != records and not self._ends_at_marker(cursor, rows_read, records):
            self._refuse(f"the archive holds {records} rows, but PostgreSQL took {rows_read}", transferred, records)
        # A trigger or a rule drops rows as well.
        skips = transferred.skips_conflicts and has_unique_index(cursor, self._target.table)
        if transferred.skipped and not skips:
            message = f"{transferred.skipped} rows were dropped, although no row can be in conflict"
            self._refuse(message, transferred, records)

    def _ends_at_marker(self, cursor: Cursor, rows_read: int, records: int) -> bool:
        r"""Whether the one missing row is a line `\.` at the file's end, which PostgreSQL before 18 leaves out."""
        return (
            self._csv.ends_with_marker is True
            and rows_read == records - 1
            and cursor.connection.server_version < 180000  # noqa: PLR2004
        )

    def _refuse(self, message: str, transferred: Transferred, records: int) -> None:
        facts = {"rows_in_archive": records, "rows_loaded": transferred.rows}
        raise VerificationFailed(message, details=[Fault("VerificationFailed", message, info=tuple(facts.items()))])

    def _judge_outside(self, cursor: Cursor, outside: Count, chunks: tuple[Chunk, ...]) -> None:
        destination = self._request.destination
        if destination.rows_outside_window == "error":
            refuse_outside(outside, self._request.archive.day)
        if outside.rows and destination.existing_rows != "append" and self._target.window is not None:
            beside = count_beside_own(cursor, self._target.table, chunks, self._target.window)
            if beside:
                raise WindowNotEmpty(
                    f"{self._target.table} already holds {beside} rows at the times of the archive's rows"
                    f" outside {self._request.archive.day.isoformat()}"
                )
