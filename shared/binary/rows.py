"""Puts columns together to rows of PostgreSQL's binary COPY format.

The format: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-BINARY-FORMAT. A row is the number of its
columns (2 bytes), then for each its length (4 bytes, -1 for NULL) and its value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shared.binary.cells import Bytes, Cells, DoubledQuotes, Flags, Positions, most_of

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
_NULL = np.array([-1], ">i4")
_LENGTH_BYTES = 4
# Bytes are copied in pieces of these sizes: one at the beginning and one at the end, which may overlap.
_PIECES = (1, 2, 4, 8, 16, 32, 64)
# By a number of bytes: which is the largest piece that they hold.
_LARGEST_PIECE = np.searchsorted(_PIECES, np.arange(_PIECES[-1] + 1), side="right") - 1


@dataclass(frozen=True)
class Fixed:
    """A column whose values are of one length.

    Attributes:
        values: of the cells that are not NULL, in the order of bytes that PostgreSQL wants.
        present: which cells are not NULL; None where all are.
    """

    values: NDArray[Any]
    present: Flags | None


@dataclass(frozen=True)
class Varying:
    """A column whose values are copied as they stand in the text.

    Attributes:
        cells: those that are not NULL.
        present: which cells are not NULL; None where all are.
        prefix: goes before each value.
    """

    cells: Cells
    present: Flags | None
    prefix: bytes = b""

    @property
    def length(self) -> Positions:
        """How many bytes each value has."""
        doubled = self.cells.doubled
        return self.cells.length + len(self.prefix) - (0 if doubled is None else doubled.count)


Encoded: TypeAlias = Fixed | Varying


class RowWriter:
    """Writes rows, time after time in the same memory."""

    def __init__(self) -> None:
        self._memory: Bytes = np.empty(0, np.uint8)

    def write(self, rows: int, columns: Sequence[Encoded]) -> bytes:
        """Write rows.

        Args:
            rows: how many.
            columns: all of their columns.
        """
        starts, total = _starts(rows, columns)
        if total > self._memory.size:
            self._memory = np.empty(total + total // 8, np.uint8)
        out = self._memory[:total]
        place = _Place(out, starts)
        place.add(np.full(rows, len(columns), ">i2"))
        for column in columns:
            if isinstance(column, Varying):
                place.add_varying(column)
            elif column.present is None:
                place.add(np.full(rows, column.values.itemsize, ">i4"))
                place.add(column.values)
            else:
                place.add_nullable(column.values, column.present)
        place.flush()
        return out.tobytes()


def _starts(rows: int, columns: Sequence[Encoded]) -> tuple[Positions, int]:
    """Say where each row begins, and how long they are together."""
    length = np.full(rows, 2 + _LENGTH_BYTES * len(columns), np.intp)
    for column in columns:
        if isinstance(column, Varying):
            length[... if column.present is None else column.present] += column.length
        else:
            length += column.values.itemsize if column.present is None else column.present * column.values.itemsize
    ends = np.cumsum(length)
    return ends - length, int(ends[-1])


class _Place:
    """Where each row has got to. Column after column is written there."""

    def __init__(self, out: Bytes, at: Positions) -> None:
        self._out = out
        self._at = at
        # What has one length in all rows waits, to be written at once with what follows it.
        self._waiting: list[NDArray[Any]] = []

    def add(self, values: NDArray[Any]) -> None:
        """Write something of one length to every row."""
        self._waiting.append(values)

    def flush(self) -> None:
        """Write what waits."""
        if not self._waiting:
            return
        record = np.empty(self._at.size, [(f"f{n}", values.dtype) for n, values in enumerate(self._waiting)])
        for number, values in enumerate(self._waiting):
            record[f"f{number}"] = values
        self._put(self._at, record)
        self._at = self._at + record.itemsize
        self._waiting = []

    def _put(self, at: Positions, values: NDArray[Any]) -> None:
        _anywhere(self._out, values.itemsize)[at] = values.view(f"V{values.itemsize}")

    def add_nullable(self, values: NDArray[Any], present: Flags) -> None:
        """Write values to the rows that have one, and NULL to the others."""
        self.flush()
        record = np.empty(values.size, [("length", ">i4"), ("value", values.dtype)])
        record["length"], record["value"] = values.itemsize, values
        self._put(self._at[present], record)
        self._put(self._at[~present], _NULL)
        self._at = self._at + (_LENGTH_BYTES + present * values.itemsize)

    def add_varying(self, column: Varying) -> None:
        """Write text."""
        cells, present = column.cells, column.present
        length = column.length
        if present is not None:
            everywhere = np.full(present.size, -1, np.intp)
            everywhere[present] = length
            length = everywhere
        self.add(length.astype(">i4"))
        self.flush()
        at = self._at if present is None else self._at[present]
        if column.prefix:
            self._put(at, np.frombuffer(column.prefix, np.uint8))
            at = at + len(column.prefix)
        if cells.doubled is None:
            _copy(cells.text.data, cells.start, self._out, at, cells.length)
        else:
            _copy_in_parts(cells, cells.doubled, self._out, at)
        self._at = self._at + np.maximum(length, 0)


def alike(cells: Cells) -> NDArray[Any] | None:
    """Return the bytes of cells that all have one length, as values; None where they do not, or are too long."""
    length = cells.length
    size = int(length[0]) if length.size else 0
    if not 0 < size <= _PIECES[-1] or cells.doubled is not None or (length != size).any():
        return None
    return _anywhere(cells.text.data, size)[cells.start]


def _anywhere(data: Bytes, size: int) -> NDArray[Any]:
    """Show the bytes as overlapping items of a size, one from every byte on."""
    items: NDArray[Any] = np.ndarray((max(data.size - size + 1, 0),), f"V{size}", data, 0, (1,))
    return items


def _copy(source: Bytes, start: Positions, target: Bytes, at: Positions, length: Positions) -> None:
    """Copy runs of bytes. Each is copied by the largest piece that it holds, so that nothing around it is touched."""
    largest = _LARGEST_PIECE[np.minimum(length, _PIECES[-1])]
    for number, size in enumerate(_PIECES):
        chosen = np.flatnonzero(largest == number)
        if not chosen.size:
            continue
        come, go, last = start[chosen], at[chosen], length[chosen] - size
        read, write = _anywhere(source, size), _anywhere(target, size)
        write[go + last] = read[come + last]
        done = 0
        while most_of(last) > done:
            more = last > done
            come, go, last = come[more], go[more], last[more]
            write[go + done] = read[come + done]
            done += size


def _copy_in_parts(cells: Cells, doubled: DoubledQuotes, target: Bytes, at: Positions) -> None:
    """Copy cells without the first one of each doubled quote: as the parts before, between and behind them."""
    # Cells stand in the order of the text, and so do their parts.
    start = np.sort(np.concatenate((cells.start, doubled.at + 1)))
    end = np.sort(np.concatenate((cells.end, doubled.at)))
    length = end - start
    before = np.cumsum(length) - length
    # The number of each cell's first part.
    first = np.arange(doubled.count.size) + np.cumsum(doubled.count) - doubled.count
    _copy(cells.text.data, start, target, before + np.repeat(at - before[first], doubled.count + 1), length)
