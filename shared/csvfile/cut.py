r"""Cuts a CSV into its records where COPY does, and counts lines as COPY does.

COPY numbers a record by its last line. Inside quotes it counts the line ends of the file's own kind: line feeds, or
carriage returns if lines end in `\r\n` or `\r`, and in the first record, whose end shows the kind
(`CopyReadLineText` in src/backend/commands/copyfromparse.c).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from shared.csvfile.head import CsvDialect, quotes_of_bytes
from shared.csvfile.scan import in_utf8


class Record(NamedTuple):
    """A record of the CSV: its `text` in UTF-8, line end included, and its `line`; the CSV's first line is 1."""

    text: bytes
    line: int


def records_of(blocks: Iterator[bytes], dialect: CsvDialect) -> Iterator[Record]:
    """Cut a CSV that COPY has accepted.

    Args:
        blocks: the CSV without a byte order mark, cut anywhere.
        dialect: how it is written.

    Yields:
        Its records, the header among them.

    Raises:
        HeaderInvalid: Python has no codec for the encoding.
    """
    quotes = quotes_of_bytes(dialect)
    line = 0
    record = b""
    for part, counted in _lines(in_utf8(blocks, dialect), dialect):
        quotes.pass_over(part)
        record += part
        if not quotes.is_open:
            line += record.count(counted) if line or counted == b"\r" else record.count(b"\r") + 1
            yield Record(record, line)
            record = b""
    if record:
        # A quote that is never closed: COPY has refused it, if it counts quotes in the same way.
        yield Record(record, line + 1)


def _lines(blocks: Iterator[bytes], dialect: CsvDialect) -> Iterator[tuple[bytes, bytes]]:
    """Cut at every line end of the file's kind, also inside quotes, and say which byte counts the lines."""
    beginning = b""
    end = counted = b""
    while not end and (block := next(blocks, None)) is not None:
        beginning += block
        end, counted = _line_end(beginning, dialect)
    if not end:
        # A single record; only its last byte can be a line end outside quotes.
        if beginning:
            yield beginning.removesuffix(b"\n").removesuffix(b"\r") + b"\n", b"\n"
        return
    rest = b""
    for block in chain([beginning], blocks):
        *pieces, rest = (rest + block).split(end)
        for piece in pieces:
            yield piece + end, counted
    if rest:
        # The last line needs no line end.
        yield rest + (end if counted == end else b"\r\n"), counted


def _line_end(text: bytes, dialect: CsvDialect) -> tuple[bytes, bytes]:
    r"""Return the byte at which lines end, and the one that is counted. Both are empty until the text shows them.

    The last byte does not decide, since `\n` may follow a `\r`.
    """
    quotes = quotes_of_bytes(dialect)
    for place in range(len(text) - 1):
        byte = text[place : place + 1]
        quotes.pass_over(byte)
        if byte in {b"\r", b"\n"} and not quotes.is_open:
            if byte == b"\n":
                return b"\n", b"\n"
            return (b"\n", b"\r") if text[place + 1 : place + 2] == b"\n" else (b"\r", b"\r")
    return b"", b""
