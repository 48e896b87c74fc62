"""The archive's UTC day, as bounds in the time column's own type."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Literal, TypeAlias
from uuid import UUID

from shared.model.stamp import stamp

TimeKind: TypeAlias = Literal["timestamptz", "timestamp", "date", "integer", "uuid"]
TimeValue: TypeAlias = datetime | date | int

# Units per second in the usual integer times.
_UNITS_PER_SECOND = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}


@dataclass(frozen=True)
class Window:
    """A half-open span of time, `lower <= t < upper`, in the type of one time column.

    Of a UUID of version 7, `t` is its time, as a timestamptz.
    """

    kind: TimeKind
    lower: TimeValue
    upper: TimeValue

    @property
    def column_bounds(self) -> tuple[TimeValue | str, TimeValue | str]:
        """The bounds as values of the time column."""
        if self.kind != "uuid":
            return self.lower, self.upper
        return _uuid(self.lower, chance=0), _uuid(self.upper, chance=0)

    @property
    def last(self) -> TimeValue:
        """The last value of the type inside the window."""
        return self.upper - self._step  # type: ignore[operator] # both are of the kind's own type

    @property
    def column_ends(self) -> tuple[TimeValue | str, TimeValue | str]:
        """The first and the last value of the time column inside the window, if it is not empty."""
        if self.kind != "uuid":
            return self.lower, self.last
        # Before 1970 the day is empty.
        return _uuid(self.lower, chance=0), _uuid(max(self.lower, self.last), chance=_MOST_CHANCE)

    def widened(self, first: TimeValue | None, last: TimeValue | None) -> Window:
        """Return the window, extended where necessary to include both values; None extends nothing."""
        lower = self.lower if first is None else min(self.lower, first)
        upper = self.upper if last is None or last <= self.last else last + self._step  # type: ignore[operator]
        return Window(self.kind, lower, upper)

    def between(self, first: TimeValue, last: TimeValue) -> Window:
        """Return the span from one value to another, both included."""
        return Window(self.kind, first, last + self._step)  # type: ignore[operator] # both are of the kind's own type

    @property
    def _step(self) -> timedelta | int:
        """The smallest difference between two values of the type."""
        # TimescaleDB takes the milliseconds of a UUID alone: what follows them may be time or chance.
        steps: dict[str, timedelta | int] = {
            "date": timedelta(days=1),
            "integer": 1,
            "uuid": timedelta(milliseconds=1),
        }
        return steps.get(self.kind, timedelta(microseconds=1))

    @property
    def chunk_bounds(self) -> tuple[datetime | int, datetime | int]:
        """The bounds as TimescaleDB's views show a chunk's range: in UTC, or as integers."""
        return _as_instant(self.lower), _as_instant(self.upper)


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


# The 12 and the 62 bits of a UUID of version 7 that are neither its time nor say what it is.
_MOST_CHANCE = (1 << 74) - 1


def _uuid(time: TimeValue, *, chance: int) -> str:
    """Return a UUID of version 7 of a millisecond (RFC 9562, section 5.7): its lowest one if `chance` is 0."""
    milliseconds = (_as_instant(time) - _EPOCH) // timedelta(milliseconds=1)  # type: ignore[operator] # no integer
    high, low = divmod(chance, 1 << 62)
    return str(UUID(int=milliseconds << 80 | 7 << 76 | high << 64 | 0b10 << 62 | low))


def _as_instant(value: TimeValue) -> datetime | int:
    if isinstance(value, int):
        return value
    if not isinstance(value, datetime):
        value = datetime.combine(value, time.min)
    return value if value.tzinfo else value.replace(tzinfo=timezone.utc)


def iso(value: TimeValue) -> str | int:
    """Format a bound for the answer: ISO 8601, with Z if it has a time zone; an integer stays a number."""
    if isinstance(value, datetime) and value.tzinfo:
        return stamp(value, "auto")
    return value if isinstance(value, int) else value.isoformat()


def day_bounds(day: date) -> tuple[datetime, datetime]:
    """Return the start of the UTC day and of the next one."""
    begin = datetime.combine(day, time.min, tzinfo=timezone.utc)
    return begin, begin + timedelta(days=1)


def day_window(day: date, kind: TimeKind, units_per_second: int = 1) -> Window:
    """Return the day in the type of a time column.

    Args:
        day: the UTC day.
        kind: type of the time column. `timestamp` without time zone is taken as UTC, as TimescaleDB does. A UUID holds
            no time before 1970.
        units_per_second: of an integer column.
    """
    begin, end = day_bounds(day)
    if kind == "timestamptz":
        return Window(kind, begin, end)
    if kind == "uuid":
        return Window(kind, max(begin, _EPOCH), max(end, _EPOCH))
    if kind == "timestamp":
        return Window(kind, begin.replace(tzinfo=None), end.replace(tzinfo=None))
    if kind == "date":
        return Window(kind, begin.date(), end.date())
    first, after = ((instant - _EPOCH) // timedelta(seconds=1) for instant in (begin, end))
    return Window(kind, first * units_per_second, after * units_per_second)


def units_per_second_of(samples: Sequence[str | int], day: date) -> int | None:
    """Find the unit of an integer time column from values that should be near the day.

    The units are a factor of 1,000 apart, so one value near the day decides. A value that is far from
    the day in every unit decides nothing.

    Args:
        samples: values of the column, from the archive or the table's `integer_now_func`.
        day: the day that they should be near.

    Returns:
        Units per second (1, 1e3, 1e6 or 1e9), or None if no value decides.
    """
    seconds = (day_bounds(day)[0] - _EPOCH) / timedelta(seconds=1)
    for sample in samples:
        try:
            value = int(sample)
        except ValueError:
            continue
        for units in _UNITS_PER_SECOND.values():
            # Within a factor of 10 of the day: at most one unit can be that near.
            if value > 0 and seconds > 0 and abs(math.log10(value / (seconds * units))) < 1:
                return units
    return None


_WRITTEN_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ]\d\d:\d\d(:\d\d([.,]\d+)?)? ?(Z|UTC|[+-]\d\d(:?\d\d)?)?", re.ASCII)


def is_written_time_of(value: str, day: date) -> bool:
    """Whether a text is a time of the day: ISO 8601, or a number of seconds to nanoseconds since 1970 (UTC)."""
    written = _WRITTEN_TIME.fullmatch(value)
    if written is not None:
        return written[1] == day.isoformat()
    try:
        number = Decimal(value)  # a float has no place for nanoseconds
    except InvalidOperation:
        return False
    if not number.is_finite():
        return False
    first = (day_bounds(day)[0] - _EPOCH) // timedelta(seconds=1)
    return any(0 < first * units <= number < (first + 86_400) * units for units in _UNITS_PER_SECOND.values())
