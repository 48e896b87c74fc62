"""Counts the records of a whole CSV without a database, as COPY would."""

from __future__ import annotations

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
    quotes = Quotes(dialect)
    quote = dialect.quote.encode()
    feeds = returns = 0
    last = b"\n"
    try:
        file.seek(bom_length(file, dialect))
        for block in utf8_blocks(file, dialect):
            # Cut at each quote: between two of them the text is either all inside or all outside.
            for number, piece in enumerate(block.split(quote)):
                if number:
                    quotes.pass_over(quote)
                if quotes.closed:
                    feeds += piece.count(b"\n")
                    returns += piece.count(b"\r")
                quotes.pass_over(piece)
            last = block[-1:]
    finally:
        file.seek(0)
    ends = feeds or returns
    return ends + (last not in (b"\n", b"\r"))
