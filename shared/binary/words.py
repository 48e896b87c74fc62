"""boolean and uuid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.binary.cells import Cells, Flags, Words, demand, most_of
from shared.binary.digits import FIRST

# What PostgreSQL writes first; then what others do. `boolin` takes more.
_TRUE = (b"t", b"true", b"True", b"TRUE", b"1", b"T")
_FALSE = (b"f", b"false", b"False", b"FALSE", b"0", b"F")
_LONGEST = 5

_UUID_LENGTH = 36
_DASHES = [8, 13, 18, 23]
_NO_HEX = 0xFF
_HEX = np.full(256, _NO_HEX, np.uint8)
for _digits in (b"0123456789abcdef", b"0123456789ABCDEF"):
    _HEX[list(_digits)] = range(16)
_DIGITS = np.array([place for place in range(_UUID_LENGTH) if place not in _DASHES], np.intp)


def booleans(cells: Cells) -> NDArray[Any]:
    """Read the cells of a boolean column.

    Raises:
        NotExact: a cell is another word than these.
    """
    length = cells.length
    demand(holds=most_of(length) <= _LONGEST, what="not a plain boolean")
    words = cells.text.words[cells.start] & FIRST[length]
    true = _is_one_of(words, _TRUE)
    demand(holds=bool((true | _is_one_of(words, _FALSE)).all()), what="not a plain boolean")
    return true.view(np.uint8)


def _is_one_of(words: Words, spellings: tuple[bytes, ...]) -> Flags:
    found = np.zeros(words.size, np.bool_)
    for spelling in spellings:
        found |= words == int.from_bytes(spelling, "little")
    return found


def uuids(cells: Cells) -> NDArray[Any]:
    """Read the cells of a uuid column.

    Raises:
        NotExact: a cell is not 32 hexadecimal digits in five groups; PostgreSQL also takes braces and other groups.
    """
    demand(holds=bool((cells.length == _UUID_LENGTH).all()), what="not a plain uuid")
    data = cells.text.data
    whole = np.ndarray((data.size - _UUID_LENGTH + 1,), f"V{_UUID_LENGTH}", data, 0, (1,))
    characters = whole[cells.start].view(np.uint8).reshape(-1, _UUID_LENGTH)
    digits = _HEX[characters[:, _DIGITS]]
    dashes = bool((characters[:, _DASHES] == b"-"[0]).all())
    demand(holds=dashes and bool((digits != _NO_HEX).all()), what="not a plain uuid")
    return np.ascontiguousarray((digits[:, 0::2] << 4) | digits[:, 1::2]).view("V16").ravel()
