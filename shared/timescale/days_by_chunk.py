"""Groups days by the chunks of the target, so that no two groups write to one chunk.

The groups are a plan, not a lock: a chunk may be made or cut differently before its days are loaded. Then days of two
groups wait for each other's locks, as any two restores do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone

from shared.model.window import Window
from shared.postgres.connect import Cursor
from shared.timescale.chunks import chunk_ranges
from shared.timescale.rows_of_days import windows_of
from shared.timescale.table import Table

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LAST = datetime.max.replace(tzinfo=timezone.utc)


def group_days(cursor: Cursor, table: Table, days: Sequence[date]) -> list[list[date]]:
    """Group days by the chunks that they are in, or will be in.

    Args:
        cursor: in a transaction, or in autocommit.
        table: the target. In a plain one, or one whose chunks a function of the user's cuts, each day is a group.
        days: oldest first.

    Returns:
        The groups and the days in them, oldest first.
    """
    if table.hypertable_id is None or table.has_partitioning_function or not days:
        return [[day] for day in days]
    windows, length = windows_of(cursor, table, days), _chunk_length(cursor, table)
    if not windows or not length:
        return [[day] for day in days]
    first, last = windows[days[0]], windows[days[-1]]
    ranges = chunk_ranges(cursor, table, Window(first.kind, first.lower, last.upper))
    starts = [start for start, _ in ranges]
    groups: list[list[date]] = []
    reached: datetime | int | None = None
    for day in days:
        lower, _ = windows[day].chunk_bounds
        last_instant = Window(first.kind, windows[day].last, windows[day].upper).chunk_bounds[0]
        if reached is not None and lower < reached:  # type: ignore[operator] # both are of one type
            groups[-1].append(day)
        else:
            groups.append([day])
        number = bisect_right(starts, last_instant) - 1
        is_there = number >= 0 and ranges[number][1] > last_instant  # type: ignore[operator] # likewise
        reached = ranges[number][1] if is_there else _end_of_chunk(last_instant, length)
    return groups


def _chunk_length(cursor: Cursor, table: Table) -> int | None:
    """Return how long new chunks are, in microseconds or in the units of an integer column."""
    cursor.execute(
        "SELECT interval_length FROM _timescaledb_catalog.dimension WHERE hypertable_id = %s ORDER BY id LIMIT 1",
        (table.hypertable_id,),
    )
    row = cursor.fetchone()
    return None if row is None else row[0]


def _end_of_chunk(instant: datetime | int, length: int) -> datetime | int:
    """Return where a chunk ends that is made for an instant.

    Chunks begin at multiples of their length, from 1970 on (read: calculate_open_range_default in src/dimension.c of
    2.24 and 2.29).
    """
    if isinstance(instant, int):
        return (instant // length + 1) * length
    step = timedelta(microseconds=length)
    try:
        return _EPOCH + ((instant - _EPOCH) // step + 1) * step
    except OverflowError:
        # A chunk may end after the last day that can be asked for.
        return _LAST
