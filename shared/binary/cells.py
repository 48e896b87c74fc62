"""The bytes of a block of CSV, and the cells of one column in it, as numpy arrays of positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shared.binary.plan import NotExact

Bytes: TypeAlias = NDArray[np.uint8]
# Of numpy.uint64. numpy's annotations take such an array times a Python int for something else.
Words: TypeAlias = NDArray[Any]
Positions: TypeAlias = NDArray[np.intp]
Flags: TypeAlias = NDArray[np.bool_]

# Eight bytes are read at once, before a cell's end or from its start: so far may a read reach beyond the text.
PAD = 32


class Text:
    """A block of CSV with room around it. One after the other is held in the same memory.

    Attributes:
        data: the bytes, `PAD` or more other ones before and after them. Every position counts from its beginning.
        words: at each position the eight bytes from there on as a number, the first byte its lowest.
        body: the bytes without the room around them.
    """

    def __init__(self) -> None:
        self._hold(0)
        self.body = self.data[PAD:PAD]

    def _hold(self, size: int) -> None:
        self.data: Bytes = np.zeros(size + 2 * PAD, np.uint8)
        # Little-endian wherever it runs: the order of the bytes is part of the arithmetic.
        self.words: Words = np.ndarray((self.data.size - 7,), np.dtype("<u8"), self.data, 0, (1,))

    def take(self, data: bytes) -> None:
        """Hold another block. Cells of the one before are void."""
        if len(data) + 2 * PAD > self.data.size:
            self._hold(len(data) + len(data) // 8)
        self.body = self.data[PAD : PAD + len(data)]
        self.body[:] = np.frombuffer(data, np.uint8)

    def get(self, start: int, end: int) -> bytes:
        """Return the bytes between two positions."""
        return self.data[start:end].tobytes()


@dataclass(frozen=True)
class DoubledQuotes:
    """Where a quote stands twice inside a quoted cell and means one.

    Attributes:
        at: of the first one of each pair, cell after cell.
        count: how many pairs each cell has.
    """

    at: Positions
    count: Positions


@dataclass(frozen=True)
class Cells:
    """The cells of one column that are not NULL, without the quotes around them.

    Attributes:
        text: what they stand in.
        start: where each begins.
        end: the position after its last byte.
        dot: of its first full stop; `end` where it has none, or where none was asked for.
        doubled: the doubled quotes in them; None where no cell has any.
    """

    text: Text
    start: Positions
    end: Positions
    dot: Positions
    doubled: DoubledQuotes | None = None

    @property
    def length(self) -> Positions:
        """How many bytes each has."""
        return self.end - self.start

    def pick(self, which: Flags) -> Cells:
        """Return some of them."""
        doubled = self.doubled
        if doubled is not None:
            doubled = DoubledQuotes(doubled.at[np.repeat(which, doubled.count)], doubled.count[which])
        return Cells(self.text, self.start[which], self.end[which], self.dot[which], doubled)

    def values(self) -> list[bytes]:
        """Return the bytes of each, doubled quotes as they stand. Slow: for a few."""
        return [self.text.get(start, end) for start, end in zip(self.start.tolist(), self.end.tolist(), strict=True)]


def most_of(values: Positions) -> int:
    """Return the largest of some numbers that are not negative; 0 of none."""
    return int(np.max(values, initial=0))


def demand(*, holds: bool, what: str) -> None:
    """Raise NotExact unless it holds. `what` must not show the data: it may reach the server's log."""
    if not holds:
        raise NotExact(what)
