"""Counts the records of a CSV without a database, as COPY would, while its blocks pass."""

from __future__ import annotations

import codecs
from collections.abc import Callable

from shared.lake.csv_head import CsvDialect
from shared.lake.end_marker import Quotes, to_utf8

_TAIL_BYTES = 8


def rows_of(records: int, *, has_header: bool) -> int:
    """Leave the header out of a count of records."""
    return max(records - (1 if has_header else 0), 0)


class RecordCounter:
    r"""Counts the records of a CSV while its blocks pass, the header included.

    A record ends at a line end outside quotes. `\r\n` is one line end; a file of bare carriage returns is told by
    having no line feed outside quotes. The last record counts also where it has no line end.

    Args:
        dialect: how the CSV is written.
    """

    def __init__(self, dialect: CsvDialect) -> None:
        self._feeds = self._returns = 0
        # A byte order mark is no record, even where nothing follows it.
        self._start: bytes | None = b""
        self._last = b"\n"
        self._tail = b"\n"
        self._outside = _paired(dialect) if dialect.quote == dialect.escape else _escaped(dialect)
        self._convert = to_utf8(dialect)

    def see(self, block: bytes) -> None:
        """Take in the next block.

        Args:
            block: bytes of the file in its own encoding, cut anywhere.
        """
        if self._convert is not None:
            block = self._convert(block)
        elif self._start is not None:
            block = self._without_mark(self._start + block)
        if not block:
            return
        text = self._outside(block)
        self._feeds += text.count(b"\n")
        self._returns += text.count(b"\r")
        self._last = block[-1:]
        self._tail = (self._tail + block[-_TAIL_BYTES:])[-_TAIL_BYTES:]

    def _without_mark(self, start: bytes) -> bytes:
        mark = codecs.BOM_UTF8
        if len(start) < len(mark) and mark.startswith(start):
            self._start = start
            return b""
        self._start = None
        return start.removeprefix(mark)

    @property
    def ends_with_marker(self) -> bool:
        r"""Whether the last line is `\.`, which PostgreSQL before 18 takes for the end."""
        return self._tail.replace(b"\r", b"\n").rstrip(b"\n").endswith(b"\n\\.")

    @property
    def records(self) -> int:
        """How many there were, if no further block comes."""
        # What looked like the beginning of a mark was a record's.
        last = self._last if not self._start else self._start[-1:]
        return (self._feeds or self._returns) + (last not in (b"\n", b"\r"))


def _paired(dialect: CsvDialect) -> Callable[[bytes], bytes]:
    """Leave out what is inside quotes. A doubled quote closes and opens again, which comes to the same."""
    quote = dialect.quote.encode()
    others = bytes(set(range(256)) - set(quote + b"\n\r"))
    is_open = False

    def outside(block: bytes) -> bytes:
        nonlocal is_open
        # Two quotes with no line end between them change nothing; few are left, and every other piece is outside.
        pieces = block.translate(None, others).replace(quote * 2, b"").split(quote)
        text = b"".join(pieces[is_open::2])
        is_open ^= len(pieces) % 2 == 0
        return text

    return outside


def _escaped(dialect: CsvDialect) -> Callable[[bytes], bytes]:
    """As `_paired`, where another character than the quote escapes it: piece by piece."""
    quotes, quote = Quotes(dialect), dialect.quote.encode()

    def outside(block: bytes) -> bytes:
        kept = []
        for number, piece in enumerate(block.split(quote)):
            if number:
                quotes.pass_over(quote)
            if quotes.closed:
                kept.append(piece)
            quotes.pass_over(piece)
        return b"".join(kept)

    return outside
