"""Splits CSV into records and cells exactly where COPY does, or raises NotEncodable if that is uncertain.

COPY's rules are those of `CopyReadLineText` and `CopyReadAttributesCSV` in PostgreSQL's
src/backend/commands/copyfromparse.c. Arrow's reader does the splitting (cpp/src/arrow/csv/parser.cc). Its rules differ:
it recognizes a quote only at the beginning of a cell, ends a line at a lone carriage return, takes an empty line as a
record, and skips a byte order mark at the beginning. So a byte order mark is refused, and the total length of the cells
is compared with the bytes. Each of the other three differences makes the sum too large.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import pyarrow as pa
import pyarrow.csv

from shared.binary.eligibility import NotEncodable, demand
from shared.binary.values import data_of, size_of
from shared.csvfile.options import CsvOptions

_OTHER_CELLS = "a record has too few or too many cells"
_LONE_RETURN = "a carriage return stands alone"
_MEETING = "quotes and escapes meet"
_LONG_RECORD = "a record has very many lines"
# Lines that are searched for quotes one by one. Each step takes about a microsecond.
_MOST_STEPS = 20_000


@dataclass(frozen=True)
class Cells:
    """The cells of complete records.

    Attributes:
        columns: an Arrow array of type `binary` for each column; null means an unquoted NULL marker.
        rows: number of records.
    """

    columns: list[Any]
    rows: int


class RecordReader:
    """Reads one file's records, block by block.

    Args:
        options: how the file is written.
        columns: number of columns of a record.
        texts: the columns that may hold a quotation mark. The readers of all other columns must refuse one.

    Attributes:
        line_end: the line end of the first record, and so of all; empty until the first record was read.
    """

    def __init__(self, options: CsvOptions, columns: int, texts: Sequence[int]) -> None:
        self._delimiter = options.delimiter.encode()
        self._quote = options.quote.encode()
        self._escape = (options.escape or options.quote).encode()
        self._null = options.null.encode()
        self._names = [f"c{number}" for number in range(columns)]
        self._form = pyarrow.csv.ParseOptions(
            delimiter=options.delimiter, quote_char=options.quote, ignore_empty_lines=False
        )
        self._values = pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(self._names, pa.binary()),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[options.null],
        )
        # Any other QUOTE could occur in a number.
        self._quotable = texts if options.quote in "\"'" else range(columns)
        self._skips_header = options.has_header
        self._holds_quotes = False  # values of the block before
        self.line_end = b""

    def read(self, data: bytes) -> tuple[Cells | None, int]:
        """Read the complete records.

        Args:
            data: bytes of the file, from the beginning of a record.

        Returns:
            The records, or None if there are none besides the header; and their length in bytes, header included.

        Raises:
            NotEncodable: COPY might split them otherwise.
        """
        demand(holds=b"\0" not in data, what="a byte is zero")
        # Where the values of a block hold quotes, those of the next mostly do, and it has to be split at quotes. The
        # pieces tell the number of quotes, too.
        pieces = data.split(self._quote) if self._holds_quotes else None
        end, quotes = self._cut(data, data.count(self._quote) if pieces is None else len(pieces) - 1)
        if not end:
            return None, 0
        begin = self._after_header(data)
        if not self.line_end:
            self.line_end = b"\r\n" if _first_line(data, self._quote).endswith(b"\r\n") else b"\n"
        if begin == end:
            return None, end
        demand(holds=not data.startswith(codecs.BOM_UTF8, begin), what="a block begins with a byte order mark")
        cells = self._cells(data, begin, end)
        quotes -= data.count(self._quote, 0, begin)
        self._holds_quotes = self._compare(data, begin, end, quotes, cells)
        if self._holds_quotes:
            if begin or pieces is None:
                pieces = data[begin:end].split(self._quote)
            else:
                pieces[quotes:] = [data[data.rfind(self._quote, 0, end) + 1 : end]]
            demand(holds=self._stand_at_edges(pieces), what="a quote stands inside a cell")
        return cells, end

    def _cut(self, data: bytes, quotes: int) -> tuple[int, int]:
        """Find the end of the last complete record: a line feed after an even number of quotes.

        Args:
            data: bytes of the file, from the beginning of a record.
            quotes: how many are in it.

        Returns:
            The end, 0 if there is none, and the number of quotes before it.
        """
        end = data.rfind(b"\n") + 1
        quotes -= data.count(self._quote, end)
        steps = 0
        while end and quotes % 2:
            # Everything after the last quote is inside quotes.
            opening = data.rfind(self._quote, 0, end)
            end = data.rfind(b"\n", 0, opening) + 1
            quotes -= 1 + data.count(self._quote, end, opening)
            steps += 1
            demand(holds=steps < _MOST_STEPS, what=_LONG_RECORD)
        return end, quotes

    def _after_header(self, data: bytes) -> int:
        """Return the end of the header at the first call, 0 afterwards."""
        if not self._skips_header:
            return 0
        self._skips_header = False
        header = _first_line(data, self._quote)
        demand(holds=_is_utf8(header), what="the header is not UTF-8")
        text = header.removesuffix(b"\n").removesuffix(b"\r")
        demand(holds=b"\r" not in self._outside_quotes(text), what=_LONE_RETURN)
        # PostgreSQL before 18 stops reading at it.
        demand(holds=text != b"\\.", what="the header is an end marker")
        if self._escape != self._quote:
            demand(holds=self._quote not in text or self._escape not in text, what=_MEETING)
        return len(header)

    def _cells(self, data: bytes, begin: int, end: int) -> Cells:
        layout = pyarrow.csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=self._names)
        records = pa.BufferReader(pa.py_buffer(data).slice(begin, end - begin))
        try:
            table = pyarrow.csv.read_csv(
                records, read_options=layout, parse_options=self._form, convert_options=self._values
            )
        except pa.ArrowInvalid:
            # Its message shows the record.
            raise NotEncodable(_OTHER_CELLS) from None
        (batch,) = table.to_batches()
        return Cells(batch.columns, batch.num_rows)

    def _outside_quotes(self, text: bytes) -> bytes:
        return b"".join(text.split(self._quote)[::2])

    def _compare(self, data: bytes, begin: int, end: int, quotes: int, cells: Cells) -> bool:
        """Demand that the cells account for all bytes of the records, which hold that many quotes.

        Returns:
            Whether values hold quotes: each quote must stand at an edge then.
        """
        columns = cells.columns
        inside = sum(data_of(columns[number]).count(self._quote) for number in self._quotable) if quotes else 0
        # Arrow drops the quotes around a cell, and the one that doubles a quote in it.
        left_out = quotes - inside
        ends = cells.rows * (len(columns) - 1 + len(self.line_end))
        nulls = sum(column.null_count for column in columns) * len(self._null)
        lengths = sum(size_of(column) for column in columns)
        demand(holds=end - begin == lengths + nulls + ends + left_out, what=_OTHER_CELLS)
        if self.line_end == b"\n" and data.find(b"\r", begin, end) >= 0:
            # If lines end in \r\n, the sum above reveals a lone \r.
            demand(holds=b"\r" not in self._outside_quotes(data[begin:end]), what=_LONE_RETURN)
        if quotes and self._escape != self._quote:
            demand(holds=not inside and data.find(self._escape, begin, end) < 0, what=_MEETING)
        return bool(inside)

    def _stand_at_edges(self, pieces: Sequence[bytes]) -> bool:
        """Whether every quote is at the edge of a cell, or doubled, in records that were split at quotes."""
        edges = set(self._delimiter + b"\r\n")
        # Every other piece is outside quotes, and is empty if the quote is doubled. No Python loop: a block of JSON has
        # a hundred thousand quotes.
        first, *between = pieces[::2]
        last = between.pop()
        outside = list(filter(None, between))
        begins, ends = set(map(itemgetter(0), outside)), set(map(itemgetter(-1), outside))
        return begins | ends <= edges and set(first[-1:] + last[:1]) <= edges


def _first_line(data: bytes, quote: bytes) -> bytes:
    """Return the first line whose end is outside quotes. There must be one."""
    end = data.index(b"\n") + 1
    is_odd = data.count(quote, 0, end) % 2
    steps = 0
    while is_odd:
        begin, end = end, data.index(b"\n", end) + 1
        is_odd ^= data.count(quote, begin, end) % 2
        steps += 1
        demand(holds=steps < _MOST_STEPS, what=_LONG_RECORD)
    return data[:end]


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
