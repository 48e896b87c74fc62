"""The cells of one column as an Arrow array of its type, where Arrow's parsers provably read what PostgreSQL reads.

Arrow takes less than PostgreSQL does, but for what is refused here: whole numbers in hexadecimal digits, `nan(1)`,
floats that are too large or too small for their type, and numerics that run over while they are read
(cpp/src/arrow/util/value_parsing.h, cpp/src/arrow/util/decimal.cc). Times are in times.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from shared.binary.arrow import cast, data_of, lengths, text_of
from shared.binary.plan import Kind, NotExact, demand, not_plain, precision_of
from shared.binary.times import dates, timestamps

_DIGITS = b"0123456789"
# As COPY TO writes them, and no other: PostgreSQL reads more, but not of every form what Arrow reads.
_WORDS_OF_FLOATS = frozenset({b"NaN", b"Infinity", b"-Infinity"})
_TRUE = (b"t", b"true", b"True", b"TRUE", b"1")
_FALSE = (b"f", b"false", b"False", b"FALSE", b"0")
_DIGITS_OF_128_BITS, _DIGITS_OF_256_BITS = 38, 76
_HYPHENS = (8, 13, 18, 23)
_UUID_LENGTH = 36


def reader_of(kind: Kind, type_sql: str) -> tuple[Any, Callable[[Any], Any]]:
    """Return the Arrow type that a kind becomes, and what turns its cells into that.

    Args:
        kind: of the column.
        type_sql: its type as `format_type` writes it.

    Returns:
        The type, and a function of an array of `binary`. It raises NotExact where a cell is not proved to be read
        as PostgreSQL reads it; nulls stay.
    """
    if kind == "numeric":
        numeric = pa.decimal128(*precision_of(type_sql))
        return numeric, partial(_decimals, type_=numeric)
    return _READERS[kind]


def _whole_numbers(cells: Any, type_: Any, kind: Kind) -> Any:
    # Arrow reads 0xFF as -1 where it fits.
    demand(holds=not data_of(cells).translate(None, _DIGITS + b"-"), what=not_plain(kind))
    return cast(cells, type_, kind)


def _floats(cells: Any, type_: Any, kind: Kind) -> Any:
    numbers = cast(cells, type_, kind)
    # Arrow takes any form of NaN, and infinity for what is too large.
    beyond = pc.invert(pc.is_finite(numbers))
    if pc.any(beyond).as_py():
        demand(holds=set(cells.filter(beyond).unique().to_pylist()) <= _WORDS_OF_FLOATS, what=not_plain(kind))
    # And zero for what is too small.
    zero = pc.equal(numbers, 0.0)
    if pc.any(zero).as_py():
        written = cells.filter(zero).unique().to_pylist()
        demand(holds=not any(cell.strip(b"-0.") for cell in written), what=not_plain(kind))
    return numbers


def _decimals(cells: Any, type_: Any) -> Any:
    what = not_plain("numeric")
    demand(holds=not data_of(cells).translate(None, _DIGITS + b"-."), what=what)
    # Arrow does not see where a number runs over: not while it reads digits, nor when it adds some behind the point.
    most_digits = lengths(cells)[1] + type_.scale
    if most_digits <= _DIGITS_OF_128_BITS:
        return cast(cells, type_, "numeric")
    demand(holds=most_digits <= _DIGITS_OF_256_BITS, what=what)
    # A digit behind the last one that is kept ends in NotExact, since PostgreSQL rounds.
    long = cast(cells, pa.decimal256(_DIGITS_OF_256_BITS, type_.scale), "numeric")
    try:
        return long.cast(type_)
    except pa.ArrowInvalid:
        raise NotExact(what) from None


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
        # It passes over white space, but then there are fewer digits.
        packed = bytes.fromhex(data.decode("ascii").replace("-", ""))
    except ValueError:
        raise NotExact(not_plain("uuid")) from None
    demand(holds=len(packed) == count * 16, what=not_plain("uuid"))
    values = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), count, [None, pa.py_buffer(packed)])
    return values.take(_places_of_present(cells)) if cells.null_count else values


def _places_of_present(cells: Any) -> Any:
    """Number those cells that are not null."""
    present = cells.is_valid()
    return pc.if_else(present, pc.subtract(pc.cumulative_sum(present.cast(pa.int32())), 1), None)


def _json(cells: Any) -> Any:
    text = text_of(cells)
    try:
        # pgpq takes it for UTF-8 without a look.
        text.validate(full=True)
    except pa.ArrowInvalid:
        raise NotExact("a jsonb is not UTF-8") from None
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
