"""smallint, integer and bigint: an optional minus and up to 19 digits."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shared.binary.cells import Cells, Flags, demand, most_of
from shared.binary.digits import Digits

_MINUS = b"-"[0]
_MOST_DIGITS = 19
_BYTES = {"smallint": 2, "integer": 4, "bigint": 8}


def without_sign(cells: Cells) -> tuple[Cells, Flags]:
    """Take a minus off, and say which cells had one. The cells must not be empty."""
    negative = cells.text.data[cells.start] == _MINUS
    return Cells(cells.text, cells.start + negative, cells.end, cells.dot), negative


def whole_numbers(cells: Cells, kind: Literal["smallint", "integer", "bigint"]) -> NDArray[Any]:
    """Read the cells of a column.

    Args:
        cells: of at least one cell.
        kind: how large a number may be.

    Raises:
        NotExact: PostgreSQL 16 also takes 0x1F and 1_000, every version spaces and a plus: the text way reads them.
    """
    demand(holds=bool((cells.length > 0).all()), what=f"not a plain {kind}")
    cells, negative = without_sign(cells)
    length = cells.length
    plausible = bool((length > 0).all()) and most_of(length) <= _MOST_DIGITS
    demand(holds=plausible, what=f"not a plain {kind}")
    digits = Digits(cells.text, length.size)
    number = digits.whole(cells.end, length)
    size = _BYTES[kind]
    most = np.uint64((1 << (8 * size - 1)) - 1)
    demand(holds=not digits.bad.any() and bool((number <= most + negative).all()), what=f"not a plain {kind}")
    # Two's complement: the same bits with and without a sign.
    signed = np.where(negative, -number, number).view(np.int64)
    return signed.astype(f">i{size}")
