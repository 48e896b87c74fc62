"""real, double precision and numeric from decimal digits, rounded as strtod and strtof round.

PostgreSQL reads floats by strtod and strtof, which give the nearest number, the even one of two
(src/backend/utils/adt/float.c: `float8in_internal`, `float4in_internal`), and refuses what overflows, and what
becomes 0 without being 0.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shared.binary.cells import Cells, Flags, Positions, demand, most_of
from shared.binary.digits import POWERS, WORD, Digits
from shared.binary.whole_numbers import without_sign

_FLOAT = re.compile(rb"-?([0-9]+(?:\.[0-9]+)?)(?:[eE][+-]?[0-9]{1,4})?")
_SPECIAL = {b"NaN": float("nan"), b"Infinity": float("inf"), b"-Infinity": float("-inf")}
_MOST_DIGITS = 19
# Up to here an integer is a double, and so are the powers of ten up to the 22nd: one division rounds once.
_EXACT_DOUBLE = np.uint64(1 << 53)
_FLOAT_POWERS = POWERS.astype(np.float64)
_LONG_POWERS = POWERS.astype(np.longdouble)
# x86's long double: 64 bits of mantissa, which hold every number here and every power of ten up to the 27th.
_HAS_EXTENDED = np.finfo(np.longdouble).nmant == 63 and np.longdouble(0).itemsize == 16  # noqa: PLR2004
# Of these 64 bits a double drops 11; where they are just a half, the first rounding may have made them so.
_DROPPED, _HALF = 0x7FF, 0x400
# What a real drops of a double's bits.
_DROPPED_BY_REAL, _HALF_OF_REAL = 0x1FFFFFFF, 0x10000000
_SMALLEST_NORMAL_REAL = float(np.finfo(np.float32).smallest_normal)
_MOST_NUMERIC_DIGITS = 24


def floats(cells: Cells, kind: Literal["real", "double precision"]) -> NDArray[Any]:
    """Read the cells of a column.

    Args:
        cells: of at least one cell, with the places of their full stops.
        kind: how long a number is.

    Raises:
        NotExact: a cell is none of digits, digits with a full stop and digits, the same with an exponent, NaN,
            Infinity and -Infinity; or PostgreSQL would refuse it; or rounding a real is not certain.
    """
    demand(holds=bool((cells.length > 0).all()), what=f"not a plain {kind}")
    doubles, uncertain = _quotients(cells)
    if uncertain.any():
        doubles[uncertain] = [_slowly(value, kind) for value in cells.pick(uncertain).values()]
    return doubles.astype(">f8") if kind == "double precision" else _reals(doubles)


def _quotients(cells: Cells) -> tuple[NDArray[np.float64], Flags]:
    """Divide each cell's digits by its power of ten; say where the quotient is not certain."""
    cells, negative = without_sign(cells)
    whole, fraction, fits = _parts(cells)
    fits &= (whole <= _MOST_DIGITS) & (fraction <= _MOST_DIGITS)
    if not fits.all():
        whole, fraction = np.where(fits, whole, 0), np.where(fits, fraction, 0)
    digits = Digits(cells.text, whole.size)
    before = digits.whole(cells.dot, whole)
    behind = digits.whole(cells.end, fraction)
    # Zeros before the full stop do not count, so that 0. may have 19 digits behind it.
    fits &= (digits.bad == 0) & ((before == 0) | (whole + fraction <= _MOST_DIGITS))
    mantissa = before * POWERS[fraction] + behind
    quotient = mantissa.astype(np.float64) / _FLOAT_POWERS[fraction]
    long = np.flatnonzero(fits & (mantissa > _EXACT_DOUBLE))
    if long.size and _HAS_EXTENDED:
        extended = mantissa[long].astype(np.longdouble) / _LONG_POWERS[fraction[long]]
        quotient[long] = extended.astype(np.float64)
        bits = extended.view(np.uint64)[::2]
        fits[long] = (bits & _DROPPED) != _HALF
    else:
        fits[long] = False
    np.negative(quotient, out=quotient, where=negative)
    return quotient, ~fits


def _parts(cells: Cells) -> tuple[Positions, Positions, Flags]:
    """Count each cell's digits before and behind the full stop; there must be some on both its sides."""
    whole = cells.dot - cells.start
    # Without a full stop it is -1.
    fraction = cells.end - cells.dot - 1
    return whole, np.maximum(fraction, 0), (whole > 0) & (fraction != 0)


def _slowly(value: bytes, kind: str) -> float:
    """Read one cell by Python's `float`, which rounds as strtod does."""
    if value in _SPECIAL:
        return _SPECIAL[value]
    match = _FLOAT.fullmatch(value)
    demand(holds=match is not None, what=f"not a plain {kind}")
    number = float(value)
    is_zero = match is not None and not match[1].strip(b"0.")
    demand(holds=number not in _INFINITIES and (number != 0 or is_zero), what=f"out of range of {kind}")
    return number


_INFINITIES = (float("inf"), float("-inf"))


def _reals(doubles: NDArray[np.float64]) -> NDArray[Any]:
    """Round doubles to reals, where that gives what rounding the text at once would give.

    It does unless the double is halfway between two reals: then it may be itself the result of a rounding to
    there. Halves are looked for by their bits, which is right for all but the smallest reals.
    """
    with np.errstate(over="ignore"):
        reals = doubles.astype(np.float32)
    size = np.abs(doubles)
    halfway = (doubles.view(np.uint64) & _DROPPED_BY_REAL) == _HALF_OF_REAL
    tiny = (size < _SMALLEST_NORMAL_REAL) & (size > 0)
    overflown = np.isinf(reals) & ~np.isinf(doubles)
    demand(holds=not (halfway | tiny | overflown).any(), what="a real whose rounding is not certain")
    return reals.astype(">f4")


def numerics(cells: Cells) -> NDArray[Any]:
    """Read the cells of a numeric column into the form that `numeric_recv` reads.

    That is the number of digits to the base 10,000, the weight of the first one, the sign, how many decimal digits
    to show, and the digits. Zeros at either end are allowed: `make_result` (numeric.c) takes them away, as it does
    for the text form.

    Raises:
        NotExact: a cell is not digits, or digits with a full stop and digits; or there are more than 24 on one side.
    """
    demand(holds=bool((cells.length > 0).all()), what="not a plain numeric")
    cells, negative = without_sign(cells)
    whole, fraction, well_formed = _parts(cells)
    longest = max(most_of(whole), most_of(fraction))
    demand(holds=bool(well_formed.all()) and longest <= _MOST_NUMERIC_DIGITS, what="not a plain numeric")
    digits = Digits(cells.text, whole.size)
    words_before = -(-most_of(whole) // WORD)
    places = range(0, longest, WORD)
    # Eight digits make two of base 10,000.
    eights = [
        *(
            digits.before(cells.dot - place, np.clip(whole - place, 0, WORD))
            for place in places[words_before - 1 :: -1]
        ),
        *(
            digits.from_(cells.dot + 1 + place, np.clip(fraction - place, 0, WORD))
            for place in places[: -(-most_of(fraction) // WORD)]
        ),
    ]
    demand(holds=not digits.bad.any(), what="not a plain numeric")
    record = np.empty((whole.size, 4 + 2 * len(eights)), ">i2")
    record[:, 0] = 2 * len(eights)
    record[:, 1] = 2 * words_before - 1
    record[:, 2] = np.where(negative, 0x4000, 0)
    record[:, 3] = fraction
    for place, eight in enumerate(eights):
        record[:, 4 + 2 * place] = eight // 10_000
        record[:, 5 + 2 * place] = eight % 10_000
    return record.view(f"V{record.shape[1] * 2}").ravel()
