"""date, timestamp and timestamptz in the form of ISO 8601 that PostgreSQL itself writes, and near ones.

That is `2025-01-31 23:59:59.123456+02`: a space or a T, up to six digits of a second (and more where they are
zeros), and for timestamptz Z, hours, hours and minutes, or nothing, which is UTC, the session's time zone. None of
them depends on DateStyle. Years before 1 or after 9999, 24:00, a 60th second, names of zones and words such as
`now` are left to the text way, infinity is not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shared.binary.cells import Cells, Flags, Words, demand, most_of
from shared.binary.digits import FIRST, POWERS, WORD, Digits

# Of numpy.int64, and see `Words`.
Numbers: TypeAlias = NDArray[Any]

_ZONE = re.compile(rb"|Z|([+-])(\d\d)(?::(\d\d))?")
_MOST_ZONE_HOURS = 15  # MAX_TZDISP_HOUR in src/include/datatype/timestamp.h
_SECOND = 1_000_000
_DAY_LENGTH, _TO_SECONDS, _TO_FRACTION, _MOST_FRACTION = 10, 19, 20, 9
_SHORT_ZONE, _LONG_ZONE = 3, 6
_PLUS, _MINUS, _Z, _DOT, _ZERO, _SPACE, _T = b"+-Z.0 T"

# Days from 2000-01-01 to the first of each month, from January of year 0 to January of 10000.
_FIRST_DAYS: Numbers = (
    np.arange("0000-01", "10000-02", dtype="M8[M]").astype("M8[D]") - np.datetime64("2000-01-01", "D")
).astype(np.int64)


_MOST_MONTHS = np.uint64(_FIRST_DAYS.size - 2)


def _template(text: bytes) -> tuple[int, int]:
    """Make of `00-00` what turns digits into 0 - 9 and the rest into 0, and what then adds to less than 16 a byte."""
    by_byte = [(0x30, 6) if byte == _ZERO else (byte, 15) for byte in text]
    turned, room = (sum(pair[part] << (8 * place) for place, pair in enumerate(by_byte)) for part in (0, 1))
    return turned, room


_YEAR_MONTH, _DAY, _TIME, _SECONDS = map(_template, (b"0000-00-", b"00", b"00:00", b":00"))
_UPPER_HALVES = 0xF0F0F0F0F0F0F0F0


class _Fields:
    """Takes dates and times apart, and remembers which are none."""

    def __init__(self, cells: Cells) -> None:
        self._words = cells.text.words
        self._start = cells.start
        self.bad: Words = np.zeros(cells.start.size, np.uint64)

    def word(self, offset: int) -> Words:
        """Read the eight bytes at an offset."""
        return self._words[self._start + offset]

    def date(self, day: Words) -> Numbers:
        """Read the date of which a word `00` or `00 00:00` holds the day: once, where all cells have the same."""
        month = self.word(0)
        return self._days(_once(month), self.pairs(_once(day & 0xFFFF), _DAY) & 0xFF)

    def pairs(self, word: Words, template: tuple[int, int]) -> Words:
        """Check a word, and return it with the number of the two digits at a byte in this byte."""
        digits = word ^ template[0]
        self.bad |= (digits | (digits + template[1])) & _UPPER_HALVES
        return digits * 10 + (digits >> 8)

    def _days(self, word: Words, day: Words) -> Numbers:
        pairs = self.pairs(word, _YEAR_MONTH)
        year = (pairs & 0xFF) * 100 + (pairs >> 16 & 0xFF)
        month = pairs >> 40 & 0xFF
        self.demand((year > 0) & (month > 0) & (month <= 12))  # noqa: PLR2004
        # What is no date may be anywhere; it is refused in the end.
        place = np.minimum(year * 12 + month - 1, _MOST_MONTHS).astype(np.intp)
        first: Numbers = _FIRST_DAYS[place]
        number: Numbers = day.view(np.int64)
        self.demand((number > 0) & (number <= _FIRST_DAYS[place + 1] - first))
        return first + number - 1

    def demand(self, holds: Flags) -> None:
        """Remember where it does not hold."""
        self.bad |= ~holds


def _once(words: Words) -> Words:
    """Return one of them where all are the same, which in an archive of one day they mostly are."""
    return words[:1] if (words == words[0]).all() else words


def dates(cells: Cells) -> NDArray[Any]:
    """Read the cells of a date column. They are days since 2000-01-01.

    Raises:
        NotExact: a cell is neither YYYY-MM-DD nor an infinity.
    """
    return _with_infinities(cells, _DAY_LENGTH, 4, _plain_dates)


def _with_infinities(cells: Cells, shortest: int, size: int, read: Callable[[Cells], Numbers]) -> NDArray[Any]:
    """Read by a function what is long enough, and the infinities by their names."""
    short = cells.length < shortest
    if not short.any():
        return read(cells).astype(f">i{size}")
    largest = (1 << (8 * size - 1)) - 1
    infinities = {b"infinity": largest, b"-infinity": -largest - 1}
    words = cells.pick(short).values()
    demand(holds=infinities.keys() >= set(words), what="not a plain date or timestamp")
    numbers = np.empty(short.size, np.int64)
    numbers[short] = [infinities[word] for word in words]
    if not short.all():
        numbers[~short] = read(cells.pick(~short))
    return numbers.astype(f">i{size}")


def _plain_dates(cells: Cells) -> Numbers:
    fields = _Fields(cells)
    fields.demand(cells.length == _DAY_LENGTH)
    days = fields.date(fields.word(WORD))
    demand(holds=not fields.bad.any(), what="not a plain date")
    return np.broadcast_to(days, cells.start.shape)


def timestamps(cells: Cells, *, zoned: bool) -> NDArray[Any]:
    """Read the cells of a timestamp or timestamptz column. They are microseconds since 2000-01-01 (UTC).

    Raises:
        NotExact: a cell has another form.
    """
    return _with_infinities(cells, _TO_SECONDS, 8, _zoned if zoned else _unzoned)


def _zoned(cells: Cells) -> Numbers:
    offset, length = _zones(cells)
    return _unzoned(Cells(cells.text, cells.start, cells.end - length, cells.dot)) - offset


def _unzoned(cells: Cells) -> Numbers:
    fields = _Fields(cells)
    middle = fields.word(WORD)
    between = middle >> 16 & 0xFF
    fields.demand((between == _SPACE) | (between == _T))
    time = fields.pairs(middle >> 24, _TIME)
    last = fields.word(2 * WORD)
    seconds = fields.pairs(last & 0xFFFFFF, _SECONDS) >> 8 & 0xFF
    hours, minutes = time & 0xFF, time >> 24 & 0xFF
    fields.demand((hours <= 23) & (minutes <= 59) & (seconds <= 59))  # noqa: PLR2004
    days = fields.date(middle)
    whole: Numbers = days * 86_400 + ((hours * 60 + minutes) * 60 + seconds).view(np.int64)
    length = cells.length
    fraction = _microseconds(cells, fields, last >> 24 & 0xFF) if most_of(length) > _TO_SECONDS else 0
    demand(holds=not fields.bad.any(), what="not a plain timestamp")
    return whole * _SECOND + fraction


def _microseconds(cells: Cells, fields: _Fields, dot: Words) -> Numbers:
    """Read what stands behind the seconds: nothing, or a full stop and digits."""
    length = cells.length - _TO_FRACTION
    fields.demand((length == -1) | ((dot == _DOT) & (length > 0) & (length <= _MOST_FRACTION)))
    length = np.clip(length, 0, _MOST_FRACTION)
    digits = Digits(cells.text, length.size)
    start = cells.start + _TO_FRACTION
    eighth = digits.from_(start, np.minimum(length, WORD))
    fields.bad |= digits.bad
    # PostgreSQL rounds to six digits. Of zeros there is nothing to round.
    fields.demand(eighth % POWERS[2] == 0)
    if most_of(length) > WORD:
        fields.demand((length <= WORD) | (cells.text.data[start + WORD] == _ZERO))
    millionths: Numbers = (eighth // POWERS[2]).view(np.int64)
    return millionths


def _zones(cells: Cells) -> tuple[Numbers, NDArray[np.intp]]:
    """Return what each cell's zone is ahead of UTC, in microseconds, and how long it is written."""
    tail = cells.text.words[cells.end - WORD]
    first = _zone_length(tail[:1])
    mask = ~FIRST[WORD - first]
    # All zones mostly look like the first one. What that is wrong for is no time afterwards.
    if first[0] and ((tail ^ tail[0]) & mask == 0).all():
        return np.array([_offset(int(tail[0] & mask[0]))], np.int64), first
    length = _zone_length(tail)
    kinds, which = np.unique(tail & ~FIRST[WORD - length], return_inverse=True)
    return np.array([_offset(int(kind)) for kind in kinds], np.int64)[which], length


def _zone_length(tail: Words) -> NDArray[np.intp]:
    """Say how many of the last eight bytes are a zone."""
    last, third, sixth = tail >> 56, tail >> 40 & 0xFF, tail >> 16 & 0xFF
    length = np.where((sixth == _PLUS) | (sixth == _MINUS), _LONG_ZONE, 0)
    length = np.where((third == _PLUS) | (third == _MINUS), _SHORT_ZONE, length)
    return np.where(last == _Z, 1, length)


def _offset(word: int) -> int:
    match = _ZONE.fullmatch(word.to_bytes(WORD, "little").lstrip(b"\0"))
    sign, hours, minutes = match.groups() if match else (None, b"99", None)
    demand(holds=int(hours or 0) <= _MOST_ZONE_HOURS and int(minutes or 0) < 60, what="not a plain time zone")  # noqa: PLR2004
    ahead = (int(hours or 0) * 60 + int(minutes or 0)) * 60 * _SECOND
    return -ahead if sign == b"-" else ahead
