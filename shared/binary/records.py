"""Splits CSV into records and cells where COPY splits them, or says that it cannot tell.

COPY's rules are those of `CopyReadLineText` and `CopyReadAttributesCSV` in PostgreSQL's
src/backend/commands/copyfromparse.c. The splitting is done by Arrow's reader (cpp/src/arrow/csv/parser.cc), whose rules
differ: to it a quote means something at a cell's beginning only, a lone carriage return ends a line, an empty line is a
record, and a byte order mark at the beginning is left out. So there must be none, and what was read is compared with
the bytes: lengths add up only where none of the others happened, since each of them makes the sum too large.
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
# Where quotes are looked for line by line. Each step takes about a microsecond.
_MOST_STEPS = 20_000


@dataclass(frozen=True)
class Cells:
    """Whole records.

    Attributes:
        columns: an Arrow array of type `binary` for each; null is an unquoted cell that is the NULL marker.
        rows: how many records.
    """

    columns: list[Any]
    rows: int


class RecordReader:
    """Reads one file's records, block by block.

    Args:
        options: how the file is written.
        columns: how many a record has.
        texts: which of them may hold a quotation mark. In the others, whoever reads their cells is to refuse one.

    Attributes:
        line_end: of the first record, and so of all; empty before it was seen.
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
        # Any other quote could stand in a number.
        self._quotable = texts if options.quote in "\"'" else range(columns)
        self._skips_header = options.has_header
        self.line_end = b""

    def read(self, data: bytes) -> tuple[Cells | None, int]:
        """Read the records that are whole.

        Args:
            data: of the file, from the beginning of a record on.

        Returns:
            The records, None where there are none but the header; and how many bytes they take, the header included.

        Raises:
            NotExact: COPY might split it otherwise.
        """
        demand(holds=b"\0" not in data, what="a byte is zero")
        end, quotes = self._cut(data)
        if not end:
            return None, 0
        begin = self._after_header(data)
        if not self.line_end:
            self.line_end = b"\r\n" if _first_line(data, self._quote).endswith(b"\r\n") else b"\n"
        if begin == end:
            return None, end
        demand(holds=not data.startswith(codecs.BOM_UTF8, begin), what="a block begins with a byte order mark")
        cells = self._cells(data, begin, end)
        self._compare(data, begin, end, quotes - data.count(self._quote, 0, begin), cells)
        return cells, end

    def _cut(self, data: bytes) -> tuple[int, int]:
        """Find the end of the last whole record: a line feed behind an even number of quotes; 0 where there is none.

        Returns:
            The end, and how many quotes stand before it.
        """
        end = data.rfind(b"\n") + 1
        quotes = data.count(self._quote, 0, end)
        steps = 0
        while end and quotes % 2:
            # All behind the last quote stands inside.
            opening = data.rfind(self._quote, 0, end)
            end = data.rfind(b"\n", 0, opening) + 1
            quotes -= 1 + data.count(self._quote, end, opening)
            steps += 1
            demand(holds=steps < _MOST_STEPS, what=_LONG_RECORD)
        return end, quotes

    def _after_header(self, data: bytes) -> int:
        """Say where the header ends, the first time; 0 ever after."""
        if not self._skips_header:
            return 0
        self._skips_header = False
        header = _first_line(data, self._quote)
        demand(holds=_is_utf8(header), what="the header is not UTF-8")
        text = header.removesuffix(b"\n").removesuffix(b"\r")
        demand(holds=b"\r" not in self._outside_quotes(text), what=_LONE_RETURN)
        # At which PostgreSQL before 18 stops reading.
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

    def _compare(self, data: bytes, begin: int, end: int, quotes: int, cells: Cells) -> None:
        """Demand that what was read is what stands there, in which there are so many quotes."""
        columns = cells.columns
        inside = sum(data_of(columns[number]).count(self._quote) for number in self._quotable) if quotes else 0
        # Each quote was taken for one of a pair around a cell, or before a quote that is meant, and left out.
        left_out = quotes - inside
        ends = cells.rows * (len(columns) - 1 + len(self.line_end))
        nulls = sum(column.null_count for column in columns) * len(self._null)
        lengths = sum(size_of(column) for column in columns)
        demand(holds=end - begin == lengths + nulls + ends + left_out, what=_OTHER_CELLS)
        if self.line_end == b"\n" and data.find(b"\r", begin, end) >= 0:
            # Where lines end in both bytes, a lone one is told by the sum.
            demand(holds=b"\r" not in self._outside_quotes(data[begin:end]), what=_LONE_RETURN)
        if quotes and self._escape != self._quote:
            demand(holds=not inside and data.find(self._escape, begin, end) < 0, what=_MEETING)
        elif inside:
            demand(holds=self._stand_at_edges(data[begin:end]), what="a quote stands inside a cell")

    def _stand_at_edges(self, block: bytes) -> bool:
        """Whether every quote stands at the edge of a cell, or is doubled."""
        edges = set(self._delimiter + b"\r\n")
        # Every other piece is outside quotes, and empty where a quote is doubled. Without a loop of Python's own: a
        # block of JSON has a hundred thousand quotes.
        first, *between = block.split(self._quote)[::2]
        last = between.pop()
        pieces = list(filter(None, between))
        begins, ends = set(map(itemgetter(0), pieces)), set(map(itemgetter(-1), pieces))
        return begins | ends <= edges and set(first[-1:] + last[:1]) <= edges


def _first_line(data: bytes, quote: bytes) -> bytes:
    """Return the first line whose end stands outside quotes. There is one."""
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
