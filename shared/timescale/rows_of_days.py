"""Counts the rows that a table holds of one day, and finds out of which days it holds any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import islice

from psycopg2 import sql

from shared.model.calendar import RowsThere
from shared.model.results import Count
from shared.model.window import Window, day_window, units_per_second_of
from shared.postgres.connect import Cursor
from shared.postgres.search_path import by_users_path
from shared.timescale.chunks import chunk_ranges
from shared.timescale.table import Table, inside, instant

# Each day is a query of its own, with its bounds as constants: TimescaleDB plans the chunks of that day alone.
_DAYS_AT_ONCE = 100


def count_window(cursor: Cursor, table: Table, window: Window) -> Count:
    """Count the target's rows in the archive's day."""
    query = sql.SQL(
        "SELECT pg_catalog.count(*), pg_catalog.min({time}), pg_catalog.max({time}) FROM {table} WHERE {inside}"
    ).format(time=instant(table, table.time_identifier), table=table.own_rows, inside=inside(table, window))
    return ask_count(cursor, query)


def count_in_children(cursor: Cursor, table: Table, window: Window) -> int:
    """Count the rows of the day in tables that inherit from a plain table. Its queries show them as its own."""
    if not table.has_children:
        return 0
    query = sql.SQL("SELECT pg_catalog.count(*) FROM {} WHERE {}").format(table.identifier, inside(table, window))
    return ask_count(cursor, query).rows - count_window(cursor, table, window).rows


def ask_count(cursor: Cursor, query: sql.Composed) -> Count:
    """Run a query that counts, and may return a first and a last time as well, by the user's search path."""
    cursor.execute(by_users_path(query))
    return read_count(cursor)


def read_count(cursor: Cursor) -> Count:
    """Read what such a query returned."""
    row = cursor.fetchone()
    return Count(*row) if row is not None else Count(0)


@dataclass(frozen=True)
class DayRows:
    """What the table holds of a day.

    Attributes:
        rows: whether there are any; `partly`: there are, but no chunk covers a part of the day; `unknown`: no column
            tells the day.
        count: how many, if they were counted.
    """

    rows: RowsThere
    count: int | None = None


def find_days(cursor: Cursor, table: Table, days: Sequence[date], *, counts: bool) -> dict[date, DayRows]:
    """Find out what a table holds of some days.

    Args:
        cursor: in a transaction, or in autocommit.
        table: the target.
        days: oldest first.
        counts: whether to count every day. A day that is covered in part is counted in any case.

    Returns:
        A result for each day.
    """
    windows = windows_of(cursor, table, days)
    if not windows:
        return {day: DayRows("unknown", None) for day in days}
    first, last = windows[days[0]], windows[days[-1]]
    ranges = chunk_ranges(cursor, table, Window(first.kind, first.lower, last.upper))
    found: dict[date, DayRows] = {}
    remaining = iter(days)
    while batch := list(islice(remaining, _DAYS_AT_ONCE)):
        for day, count in _look(cursor, table, {day: windows[day] for day in batch}, counts=counts):
            is_covered = not ranges or _covers(ranges, windows[day])
            found[day] = DayRows("no" if not count else ("yes" if is_covered else "partly"), count if counts else None)
    partly = [day for day in days if found[day].rows == "partly" and not counts]
    for day in partly:
        ((_, count),) = _look(cursor, table, {day: windows[day]}, counts=True)
        found[day] = replace(found[day], count=count)
    return found


def windows_of(cursor: Cursor, table: Table, days: Sequence[date]) -> dict[date, Window]:
    """Return each day in the type of the time column; nothing where no column tells the day."""
    if table.time_kind is None:
        return {}
    units = 1
    if table.time_kind == "integer":
        found = _unit(cursor, table, days[0])
        if found is None:
            return {}
        units = found
    return {day: day_window(day, table.time_kind, units) for day in days}


def _unit(cursor: Cursor, table: Table, day: date) -> int | None:
    """Find the unit of an integer column, by what `integer_now_func` returns or by a row."""
    samples = [] if table.integer_now is None else [table.integer_now]
    query = sql.SQL("SELECT {} FROM {} LIMIT 1").format(table.time_identifier, table.own_rows)
    cursor.execute(by_users_path(query))
    samples += [value for (value,) in cursor.fetchall() if value is not None]
    return units_per_second_of(samples, day)


def _look(cursor: Cursor, table: Table, windows: dict[date, Window], *, counts: bool) -> Iterator[tuple[date, int]]:
    """Yield how many rows each day has; at most 1 where they are not counted."""
    query = sql.SQL(
        "SELECT {day}, (SELECT pg_catalog.count(*) FROM {table} WHERE {inside})"
        if counts
        else "SELECT {day}, EXISTS (SELECT FROM {table} WHERE {inside})::int"
    )
    parts = [
        query.format(day=sql.Literal(day.isoformat()), table=table.own_rows, inside=inside(table, window))
        for day, window in windows.items()
    ]
    cursor.execute(by_users_path(sql.SQL(" UNION ALL ").join(parts)))
    for day, count in cursor.fetchall():
        yield date.fromisoformat(day), count


def _covers(ranges: Sequence[tuple[datetime | int, datetime | int]], window: Window) -> bool:
    """Whether the chunks' ranges, oldest first, leave no gap in a window."""
    reached, upper = window.chunk_bounds
    for start, end in ranges:
        if start <= reached < end:  # type: ignore[operator] # all are of one type
            reached = end
    return reached >= upper  # type: ignore[operator]
