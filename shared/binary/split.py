"""Splits CSV into records and cells where COPY splits them, or says that it cannot tell.

COPY's rules are those of `CopyReadLineText` and `CopyReadAttributesCSV` in PostgreSQL's
src/backend/commands/copyfromparse.c. What is taken here is the part of CSV that needs no interpretation:

- a quote stands at a cell's edge, or twice inside a quoted cell; so a byte is inside quotes exactly where an odd
  number of quotes stands before it, and there alone delimiters and line ends are data;
- every record ends in the same line end, a line feed with or without a carriage return, and has as many cells as
  there are columns;
- no byte is 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.binary.cells import PAD, Bytes, Cells, DoubledQuotes, Flags, Positions, Text, demand
from shared.csv_options import CsvOptions

_FEED, _RETURN, _DOT = b"\n\r."


@dataclass(frozen=True)
class Format:
    """How the file is written.

    Attributes:
        columns: how many a record has.
        delimiter: a byte.
        quote: a byte.
        escape: a byte.
        null: the unquoted cell that is NULL.
        with_dots: whether full stops are looked for.
    """

    columns: int
    delimiter: int
    quote: int
    escape: int
    null: bytes
    with_dots: bool

    @classmethod
    def of(cls, options: CsvOptions, columns: int, *, with_dots: bool) -> Format:
        """Take it from a request's csv options."""
        escape = options.escape or options.quote
        null = options.null.encode()
        return cls(columns, ord(options.delimiter), ord(options.quote), ord(escape), null, with_dots)


class Splitter:
    """Splits one file, block by block.

    Attributes:
        line_end: of the first record, and so of all; empty before it was seen.
    """

    def __init__(self, form: Format) -> None:
        self._form = form
        self._text = Text()
        self.line_end = b""

    def split(self, data: bytes) -> tuple[Grid, int] | None:
        """Split the records that are whole.

        Args:
            data: of the file, from the beginning of a record on.

        Returns:
            The records' cells, until the next call, and how many bytes they take; None where no record is whole.

        Raises:
            NotExact: COPY might split it otherwise.
        """
        demand(holds=b"\0" not in data, what="a byte is zero")
        self._text.take(data)
        marks = _Marks(self._text.body, self._form, data)
        cut = marks.cut()
        if not cut:
            return None
        self.line_end = self.line_end or marks.line_end()
        ends = marks.by_record(self.line_end)
        doubled = marks.doubled_quotes()
        if self._form.escape != self._form.quote and marks.has_quotes:
            plain = not doubled.any() and data.find(self._form.escape, 0, cut) < 0
            demand(holds=plain, what="quotes and escapes meet")
        return Grid(self._text, marks, ends, self._form.columns, doubled), cut


class _Marks:
    """The bytes that mean something: delimiters, line ends, quotes, full stops.

    Attributes:
        at: where each is, counted from the body's beginning.
        byte: what it is.
        has_quotes: whether any is a quote.
    """

    def __init__(self, body: Bytes, form: Format, data: bytes) -> None:
        self._form = form
        self._body = body
        found = body == form.delimiter
        one = np.empty_like(found)
        for byte in (_FEED, _RETURN, form.quote, *([_DOT] if form.with_dots else [])):
            if byte in data:
                found |= np.equal(body, byte, out=one)
        self.at: Positions = np.flatnonzero(found)
        self.byte: Bytes = body[self.at]
        self.has_quotes = form.quote in data
        is_end = _among(self.byte, form.delimiter, _FEED, _RETURN)
        if self.has_quotes:
            is_quote = self.byte == form.quote
            # How many quotes there are up to each mark. The count may run over: odd and even stay.
            is_end &= (np.cumsum(is_quote, dtype=np.uint8) & 1) == 0
            self._quotes: Positions = np.flatnonzero(is_quote)
        self._ends: Positions = np.flatnonzero(is_end)

    def cut(self) -> int:
        """Find the end of the last whole record, and forget what is behind it; 0 where there is none."""
        feeds = np.flatnonzero(self.byte[self._ends] == _FEED)
        if not feeds.size:
            return 0
        self._ends = self._ends[: feeds[-1] + 1]
        if self.has_quotes:
            self._quotes = self._quotes[: np.searchsorted(self._quotes, self._ends[-1])]
        return int(self.at[self._ends[-1]]) + 1

    def is_quote(self, byte: Bytes) -> Flags:
        """Say which bytes are quotes."""
        found: Flags = byte == self._form.quote
        return found

    def line_end(self) -> bytes:
        """Tell the bytes that the first record ends in."""
        ends = self.byte[self._ends]
        first = ends[_among(ends, _FEED, _RETURN)][0]
        return b"\r\n" if first == _RETURN else b"\n"

    def by_record(self, line_end: bytes) -> Positions:
        """Arrange by record and column which marks end a cell; a last column is that of the line feeds."""
        pattern = [self._form.delimiter] * (self._form.columns - 1) + list(line_end)
        demand(holds=self._ends.size % len(pattern) == 0, what="a record has too few or too many cells")
        ends = self._ends.reshape(-1, len(pattern))
        demand(holds=bool((self.byte[ends] == pattern).all()), what="a record has too few or too many cells")
        if len(line_end) > 1:
            together = self.at[ends[:, -1]] - self.at[ends[:, -2]] == 1
            demand(holds=bool(together.all()), what="a carriage return stands alone")
        return ends

    def doubled_quotes(self) -> Positions:
        """Demand that quotes stand at cells' edges, or in pairs inside of them; return which marks begin a pair.

        Quotes open and close in turn, since every cell has an even number of them.
        """
        if not self.has_quotes:
            return np.empty(0, np.intp)
        at = self.at[self._quotes]
        opening, closing = at[0::2], at[1::2]
        edges = (self._form.delimiter, _FEED, _RETURN)
        pairs = closing[:-1] + 1 == opening[1:]
        begins = _among(self._body[opening - 1], *edges) | (opening == 0)
        begins[1:] |= pairs
        ends = _among(self._body[closing + 1], *edges)
        ends[:-1] |= pairs
        demand(holds=bool(begins.all() and ends.all()), what="a quote stands inside a cell")
        first: Positions = self._quotes[1:-1:2][pairs]
        return first


class Grid:
    """The cells of whole records.

    Attributes:
        rows: how many records.
    """

    def __init__(self, text: Text, marks: _Marks, ends: Positions, columns: int, doubled: Positions) -> None:
        self.rows = len(ends)
        self._text, self._marks = text, marks
        # The mark that ends each cell, and the one before the cell. By column, as they are asked for.
        self._until = np.ascontiguousarray(ends.T[:columns])
        self._end = marks.at[self._until] + PAD
        self._before = np.empty_like(self._until)
        self._before[1:] = self._until[:-1]
        self._before[0, 0], self._before[0, 1:] = -1, ends[:-1, -1]
        self._begin = np.empty(self.rows, np.intp)
        self._begin[0], self._begin[1:] = PAD, marks.at[ends[:-1, -1]] + (PAD + 1)
        self._doubled = marks.at[doubled] + PAD
        # Which record and column each doubled quote is in: that of the first end behind it.
        self._doubled_row, self._doubled_column = np.divmod(np.searchsorted(ends.ravel(), doubled), ends.shape[1])

    def column(self, number: int, *, with_dots: bool = False) -> tuple[Cells, Flags]:
        """Return all cells of a column without their quotes, and which of them stand in quotes.

        Args:
            number: of the column, from 0.
            with_dots: whether the cells' first full stops are wanted.
        """
        marks, before = self._marks, self._before[number]
        end = self._end[number]
        start = self._end[number - 1] + 1 if number else self._begin
        if not marks.has_quotes and not with_dots:
            return Cells(self._text, start, end, end), np.zeros(self.rows, np.bool_)
        # The next mark is the cell's opening quote, its first full stop, or what ends it, which is no full stop.
        inside = before + 1
        byte = marks.byte[inside]
        quoted = marks.is_quote(byte)
        if quoted.any():
            start, end, inside = start + quoted, end - quoted, inside + quoted
            byte = marks.byte[inside]
        dot = np.where(byte == _DOT, marks.at[inside] + PAD, end) if with_dots else end
        return Cells(self._text, start, end, dot, self._doubled_in(number)), quoted

    def _doubled_in(self, column: int) -> DoubledQuotes | None:
        here = self._doubled_column == column
        if not here.any():
            return None
        return DoubledQuotes(self._doubled[here], np.bincount(self._doubled_row[here], minlength=self.rows))

    def take_first(self) -> list[bytes]:
        """Take the first record away, and return its cells, doubled quotes as they stand."""
        first = []
        for number in range(len(self._until)):
            cells, _ = self.column(number)
            first.append(self._text.get(int(cells.start[0]), int(cells.end[0])))
        self.rows -= 1
        self._until, self._before, self._end = self._until[:, 1:], self._before[:, 1:], self._end[:, 1:]
        self._begin = self._begin[1:]
        behind = self._doubled_row > 0
        self._doubled, self._doubled_column = self._doubled[behind], self._doubled_column[behind]
        self._doubled_row = self._doubled_row[behind] - 1
        return first


def _among(values: Bytes, *wanted: int) -> Flags:
    found: Flags = values == wanted[0]
    for byte in wanted[1:]:
        found |= values == byte
    return found
