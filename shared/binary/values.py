"""Converts the cells of a column to its Arrow type, if Arrow's parsers provably read what PostgreSQL reads.

Arrow accepts less than PostgreSQL does, with a few exceptions, which this module refuses: integers in hexadecimal
digits, `nan(1)`, floats that are too large or too small for their type, and numerics that overflow while they are read
(cpp/src/arrow/util/value_parsing.h, cpp/src/arrow/util/decimal.cc).

Arrow's parser of times (cpp/src/arrow/util/value_parsing.h) accepts the forms of ISO 8601 with a date of ten
characters. PostgreSQL reads them alike, with these exceptions: it refuses the year 0 and zones of 16 hours or more, and
times without minutes or seconds differ.

An Arrow array of `binary` holds the bytes of its cells one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from shared.binary.eligibility import Kind, NotEncodable, demand, not_plain, precision_of
from shared.timescale.table import Column


def size_of(cells: Any) -> int:
    """Return the total length of all cells in bytes; nulls have none."""
    begin, end = _bounds(cells)
    return end - begin


def data_of(cells: Any) -> bytes:
    """Return the bytes of all cells, one after the other; nulls have none."""
    begin, end = _bounds(cells)
    buffer = cells.buffers()[2]
    return b"" if buffer is None else buffer.slice(begin, end - begin).to_pybytes()


def text_of(cells: Any) -> Any:
    """Return the cells as an array of `string`, without copying them or checking their encoding."""
    return pa.Array.from_buffers(pa.string(), len(cells), cells.buffers(), cells.null_count, cells.offset)


def lengths(cells: Any) -> tuple[int, int]:
    """Return the lengths of the shortest and the longest cell that is not null; both are 0 if all are null."""
    found = pc.min_max(pc.binary_length(cells)).as_py()
    return found["min"] or 0, found["max"] or 0


def cast(cells: Any, type_: Any, kind: Kind) -> Any:
    """Read all cells as values of an Arrow type.

    Args:
        cells: an array of `binary`.
        type_: Arrow's type.
        kind: for the error.

    Raises:
        NotEncodable: Arrow cannot read one of them.
    """
    try:
        return text_of(cells).cast(type_)
    except pa.ArrowInvalid:
        # Its message shows the value.
        raise NotEncodable(not_plain(kind)) from None


def _bounds(cells: Any) -> tuple[int, int]:
    # 32 bits each, by the type's definition.
    offsets = memoryview(cells.buffers()[1]).cast("i")
    return offsets[cells.offset], offsets[cells.offset + len(cells)]


_DATE_LENGTH = len("2025-01-01")
_TIME_LENGTH = len("2025-01-01 00:00:00")
_ZONE_HOURS = re.compile(rb"[+-](0[0-9]|1[0-5])")
_WITH_MINUTES = re.compile(rb":[0-9]{2}")
_YEAR_1 = datetime(1, 1, 1)  # noqa: DTZ001 - UTC, like the values compared with it
# In a zone behind UTC, the last hours of the year 0 are on January 1 of the year 1 in UTC.
_ZONED_YEAR_1 = datetime(1, 1, 2)  # noqa: DTZ001


def dates(cells: Any) -> Any:
    """Read dates.

    Args:
        cells: an array of `binary`.

    Returns:
        The same as `date32`.

    Raises:
        NotEncodable: a cell is not a date of ten characters in the year 1 or later.
    """
    what = not_plain("date")
    days = cast(cells, pa.date32(), "date")
    demand(holds=_is_from(_YEAR_1, days), what=what)
    demand(holds=lengths(cells) in ((_DATE_LENGTH, _DATE_LENGTH), (0, 0)), what=what)
    return days


def timestamps(cells: Any, *, zoned: bool) -> Any:
    """Read timestamps.

    Args:
        cells: an array of `binary`.
        zoned: True for `timestamptz`: all cells have a zone, or none has and all are UTC. False: no cell has a zone.

    Returns:
        The same in microseconds.

    Raises:
        NotEncodable: a cell is not a date with a time to the second, with up to six fractional digits.
    """
    kind: Kind = "timestamptz" if zoned else "timestamp"
    what = not_plain(kind)
    alike = _alike(cells)
    demand(holds=_have_seconds(cells, alike), what=what)
    if not zoned:
        times = cast(cells, pa.timestamp("us"), kind)
    else:
        type_ = pa.timestamp("us", "UTC")
        try:
            times = text_of(cells).cast(type_)
        except pa.ArrowInvalid:
            times = cast(cells, pa.timestamp("us"), kind).cast(type_)
        else:
            demand(holds=_zones_are_known(cells, alike), what=what)
    demand(holds=_is_from(_ZONED_YEAR_1 if zoned else _YEAR_1, times), what=what)
    return times


@dataclass(frozen=True)
class _Alike:
    """Cells of one length, one after the other. Nulls are left out.

    Programs write all times of a file with as many digits, mostly. Then a character of all cells is a slice of bytes,
    in a fifth of the time that Arrow needs to cut the cells.
    """

    data: bytes
    width: int

    def at(self, place: int) -> bytes:
        """Return one character of each cell; a negative place counts from a cell's end."""
        return self.data[place % self.width :: self.width]

    def common(self, place: int) -> bytes | None:
        """Return the character that all cells have at a place; None if they differ."""
        signs = self.at(place)
        # Faster than to count them: `count` stops at each.
        return signs[:1] if signs == signs[:1] * len(signs) else None


def _alike(cells: Any) -> _Alike | None:
    """Return the cells if all have one length, which is not 0."""
    least, most = lengths(cells)
    return _Alike(data_of(cells), most) if least == most > 0 else None


def _have_seconds(cells: Any, alike: _Alike | None) -> bool:
    """Whether all cells begin like `2025-01-01 00:00:00`. Any character passes as a digit: Arrow checks those."""
    if not len(cells) - cells.null_count:
        return True
    if lengths(cells)[0] < _TIME_LENGTH:
        return False
    heads = alike or _Alike(data_of(pc.binary_slice(cells, 0, _TIME_LENGTH)), _TIME_LENGTH)
    is_separated = not heads.at(10).strip(b" T")
    return is_separated and b"".join(heads.common(place) or b"?" for place in (4, 7, 13, 16)) == b"--::"


def _zones_are_known(cells: Any, alike: _Alike | None) -> bool:
    """Whether PostgreSQL accepts the zones, which Arrow has accepted: Z, +hh or +hh:mm, of less than 16 hours."""
    tails = _different(cells, alike, -3)
    found = [tail for tail in tails if not tail.endswith(b"Z")]
    minutes = [tail for tail in found if _WITH_MINUTES.fullmatch(tail)]
    if len(minutes) == len(tails):
        found += _different(cells, alike, -6, -3)
    elif minutes:
        long = cells.filter(pc.is_in(pc.binary_slice(cells, -3), value_set=pa.array(minutes, pa.binary())))
        found += _different(long, None, -6, -3)
    return all(_ZONE_HOURS.fullmatch(hours) for hours in found if hours not in minutes)


def _different(cells: Any, alike: _Alike | None, begin: int, end: int = 0) -> list[bytes]:
    """Return the different slices of all cells that are not null; places count from the end."""
    if alike is not None:
        signs = [alike.common(place) for place in range(begin, end)]
        if None not in signs:
            return [b"".join(filter(None, signs))]
    slices = pc.binary_slice(cells, begin, end or None).unique().to_pylist()
    return [part for part in slices if part is not None]


def _is_from(begin: datetime, times: Any) -> bool:
    if not len(times) - times.null_count:
        return True
    earliest = pa.scalar(begin, pa.timestamp("us")).cast(times.type)
    return bool(pc.greater_equal(pc.min(times), earliest).as_py())


_DIGITS = b"0123456789"
# Only as COPY TO writes them: PostgreSQL reads more forms, but some of them differently from Arrow.
_WORDS_OF_FLOATS = frozenset({b"NaN", b"Infinity", b"-Infinity"})
_TRUE = (b"t", b"true", b"True", b"TRUE", b"1")
_FALSE = (b"f", b"false", b"False", b"FALSE", b"0")
_DIGITS_OF_128_BITS, _DIGITS_OF_256_BITS = 38, 76
_HYPHENS = (8, 13, 18, 23)
_UUID_LENGTH = 36


def reader_of(kind: Kind, column: Column) -> tuple[Any, Callable[[Any], Any]]:
    """Return the Arrow type of a kind, and the function that converts cells to it.

    Args:
        kind: of the column.
        column: the column.

    Returns:
        The type, and a function of an array of `binary`. It keeps nulls, and raises NotEncodable if a cell may be read
        otherwise than PostgreSQL reads it.
    """
    if kind == "numeric":
        numeric = pa.decimal128(*precision_of(column))
        return numeric, partial(_decimals, type_=numeric)
    return _READERS[kind]


def _whole_numbers(cells: Any, type_: Any, kind: Kind) -> Any:
    # Arrow also reads hexadecimal digits, and as a bit pattern: 0xFF is -1 if the type has eight bits.
    demand(holds=not data_of(cells).translate(None, _DIGITS + b"-"), what=not_plain(kind))
    return cast(cells, type_, kind)


def _floats(cells: Any, type_: Any, kind: Kind) -> Any:
    numbers = cast(cells, type_, kind)
    # Arrow accepts any form of NaN, and reads a number that is too large as infinity.
    beyond = pc.invert(pc.is_finite(numbers))
    if pc.any(beyond).as_py():
        demand(holds=set(cells.filter(beyond).unique().to_pylist()) <= _WORDS_OF_FLOATS, what=not_plain(kind))
    # It reads a number that is too small as zero.
    zero = pc.equal(numbers, 0.0)
    if pc.any(zero).as_py():
        written = cells.filter(zero).unique().to_pylist()
        demand(holds=not any(cell.strip(b"-0.") for cell in written), what=not_plain(kind))
    return numbers


def _decimals(cells: Any, type_: Any) -> Any:
    what = not_plain("numeric")
    demand(holds=not data_of(cells).translate(None, _DIGITS + b"-."), what=what)
    # Arrow does not detect an overflow, neither when it reads digits nor when it appends zeros to reach the scale.
    most_digits = lengths(cells)[1] + type_.scale
    if most_digits <= _DIGITS_OF_128_BITS:
        return cast(cells, type_, "numeric")
    demand(holds=most_digits <= _DIGITS_OF_256_BITS, what=what)
    # A digit beyond the scale raises NotEncodable, since PostgreSQL rounds.
    long = cast(cells, pa.decimal256(_DIGITS_OF_256_BITS, type_.scale), "numeric")
    try:
        return long.cast(type_)
    except pa.ArrowInvalid:
        raise NotEncodable(what) from None


def _booleans(cells: Any) -> Any:
    place = pc.index_in(cells, value_set=pa.array([*_TRUE, *_FALSE], pa.binary()))
    demand(holds=place.null_count == cells.null_count, what=not_plain("boolean"))
    return pc.less(place, len(_TRUE))


def _uuids(cells: Any) -> Any:
    data = data_of(cells)
    demand(holds=lengths(cells) in ((_UUID_LENGTH, _UUID_LENGTH), (0, 0)), what=not_plain("uuid"))
    demand(holds=bool(data) or cells.null_count == len(cells), what=not_plain("uuid"))
    count = len(data) // _UUID_LENGTH
    demand(holds=all(data[place::_UUID_LENGTH].count(b"-") == count for place in _HYPHENS), what=not_plain("uuid"))
    try:
        # fromhex skips white space, but then there are too few digits.
        octets = bytes.fromhex(data.decode("ascii").replace("-", ""))
    except ValueError:
        raise NotEncodable(not_plain("uuid")) from None
    demand(holds=len(octets) == count * 16, what=not_plain("uuid"))
    values = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), count, [None, pa.py_buffer(octets)])
    return values.take(_places_of_present(cells)) if cells.null_count else values


def _places_of_present(cells: Any) -> Any:
    """Return the index of each cell among those that are not null."""
    present = cells.is_valid()
    return pc.if_else(present, pc.subtract(pc.cumulative_sum(present.cast(pa.int32())), 1), None)


def _json(cells: Any) -> Any:
    text = text_of(cells)
    try:
        # pgpq assumes UTF-8 without a check.
        text.validate(full=True)
    except pa.ArrowInvalid:
        raise NotEncodable("a jsonb is not UTF-8") from None
    return text


def _same(cells: Any) -> Any:
    return cells


_READERS: dict[Kind, tuple[Any, Callable[[Any], Any]]] = {
    "smallint": (pa.int16(), partial(_whole_numbers, type_=pa.int16(), kind="smallint")),
    "integer": (pa.int32(), partial(_whole_numbers, type_=pa.int32(), kind="integer")),
    "bigint": (pa.int64(), partial(_whole_numbers, type_=pa.int64(), kind="bigint")),
    "real": (pa.float32(), partial(_floats, type_=pa.float32(), kind="real")),
    "double precision": (pa.float64(), partial(_floats, type_=pa.float64(), kind="double precision")),
    "boolean": (pa.bool_(), _booleans),
    "date": (pa.date32(), dates),
    "timestamp": (pa.timestamp("us"), partial(timestamps, zoned=False)),
    "timestamptz": (pa.timestamp("us", "UTC"), partial(timestamps, zoned=True)),
    "uuid": (pa.binary(16), _uuids),
    # The server checks the encoding itself.
    "text": (pa.binary(), _same),
    "jsonb": (pa.string(), _json),
}
