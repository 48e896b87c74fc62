"""Counts the records of a whole CSV without a database, as COPY would."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

from shared.lake.csv_head import CsvDialect, bom_length
from shared.lake.end_marker import Quotes, utf8_blocks


def count_rows(file: IO[bytes], dialect: CsvDialect, *, has_header: bool) -> int:
    """Count the rows of a file: its records without the header. The position is 0 afterwards."""
    return max(count_records(file, dialect) - (1 if has_header else 0), 0)


def count_records(file: IO[bytes], dialect: CsvDialect) -> int:
    r"""Count the records of a file, its header included.

    A record ends at a line end outside quotes. `\r\n` is one line end; a file of bare carriage returns is told by
    having no line feed outside quotes.

    Args:
        file: the CSV; its position is 0 afterwards.
        dialect: how it is written.

    Returns:
        How many records, the last one also where it has no line end.
    """
    outside = _outside_quotes if dialect.quote == dialect.escape else _outside_escaped_quotes
    feeds = returns = 0
    last = b"\n"
    try:
        file.seek(bom_length(file, dialect))
        for text, end in outside(utf8_blocks(file, dialect), dialect):
            feeds += text.count(b"\n")
            returns += text.count(b"\r")
            last = end
    finally:
        file.seek(0)
    ends = feeds or returns
    return ends + (last not in (b"\n", b"\r"))


def _outside_quotes(blocks: Iterator[bytes], dialect: CsvDialect) -> Iterator[tuple[bytes, bytes]]:
    """Leave out what is inside quotes. Yield the rest of each block, and the block's last byte.

    A doubled quote inside a field closes and opens again, which comes to the same.
    """
    quote = dialect.quote.encode()
    pair = re.compile(rb"%b[^%b]*%b" % ((re.escape(quote),) * 3))
    is_open = False
    for block in blocks:
        text = block
        if is_open:
            _, closing, text = block.partition(quote)
            is_open = not closing
        if quote in text:
            # Of an odd number of quotes the last one stays, and opens what the next block goes on with.
            text, opening, _ = pair.sub(b"", text).partition(quote)
            is_open = bool(opening)
        yield text, block[-1:]


def _outside_escaped_quotes(blocks: Iterator[bytes], dialect: CsvDialect) -> Iterator[tuple[bytes, bytes]]:
    """As `_outside_quotes`, where another character than the quote escapes it: piece by piece."""
    quotes, quote = Quotes(dialect), dialect.quote.encode()
    for block in blocks:
        for number, piece in enumerate(block.split(quote)):
            if number:
                quotes.pass_over(quote)
            yield (piece if quotes.closed else b""), block[-1:]
            quotes.pass_over(piece)
