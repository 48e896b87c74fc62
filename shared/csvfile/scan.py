r"""Count the records of a CSV, and find the line `\.`, at which PostgreSQL before 18 stops reading a CSV, silently.

Counts the records of a CSV without a database, as COPY would, while its blocks pass.

The server's `CopyReadLineText` (src/backend/commands/copyfromparse.c) ends CSV data from a client at a record
that is `\.` alone. Rows after it are dropped without an error or a warning, so they are looked for here.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator

from shared.csvfile.head import CsvDialect, python_codec
from shared.errors import EndOfDataMarker

# It begins with plain bytes, for which re has a fast search; what stands before it is looked at afterwards.
_CANDIDATE = re.compile(rb"\\\.(?=[\r\n])")
# COPY is given the file without its byte order mark, so what follows one may be the start of a line too.
_SUSPICION = re.compile(rb"(?:[\r\n]|\xef\xbb\xbf)\\\.[\r\n]")
# A candidate, the line end behind it, and one byte more.
_LOOK_AHEAD = 5


class MarkerWatch:
    r"""Looks for lines that are `\.` while blocks pass.

    It knows no quotes: it suspects, `refuse_end_marker` knows.

    Attributes:
        suspicious: such a line was seen.
    """

    def __init__(self) -> None:
        self.suspicious = False
        self._tail = b"\n"  # the file's start is the start of a line

    def look(self, block: bytes) -> None:
        """Look at the next block of the file.

        Args:
            block: its bytes, cut anywhere.
        """
        if self.suspicious:
            return
        seam = self._tail + block[:_LOOK_AHEAD]
        # One plain byte first: that search runs at memory speed, and most files hold none.
        self.suspicious = _SUSPICION.search(seam) is not None or (
            b"\\" in block and rb"\." in block and _SUSPICION.search(block) is not None
        )
        self._tail = (self._tail + block)[-_LOOK_AHEAD:]


def refuse_end_marker(blocks: Iterator[bytes], dialect: CsvDialect) -> None:
    r"""Refuse a file that PostgreSQL before 18 would read only in part.

    Inside quotes `\.` is data. As the file's very last line it hides no row.

    Args:
        blocks: the CSV without its byte order mark, cut anywhere.
        dialect: how it is written.

    Raises:
        EndOfDataMarker: rows follow such a line; `target` stays the archive, the message names the line.
        HeaderInvalid: the encoding is unknown here.
    """
    line = _find_end_marker(_in_utf8(blocks, dialect), dialect)
    if line is not None:
        raise EndOfDataMarker(rf"line {line} of the file is \. alone, and rows follow it")


def _find_end_marker(blocks: Iterator[bytes], dialect: CsvDialect) -> int | None:
    quotes = Quotes(dialect)
    line_feeds = carriage_returns = 0
    window = b"\n"
    done = False
    while not done:
        block = next(blocks, None)  # an empty one is half a letter, and no end
        done = block is None
        window += block or b""
        position = 1  # the byte before it is only there to be looked back at
        end = len(window) if done else max(len(window) - _LOOK_AHEAD, position)
        for match in _CANDIDATE.finditer(window, position):
            if match.start() >= end:
                break
            if window[match.start() - 1] not in b"\r\n":
                continue
            quotes.pass_over(window[position : match.start()])
            position = match.start()
            if quotes.closed and _after_line_end(window, match.end()) < len(window):
                before = window[1:position]
                line_feeds += before.count(b"\n")
                carriage_returns += before.count(b"\r")
                return 1 + (line_feeds or carriage_returns)
        quotes.pass_over(window[position:end])
        line_feeds += window.count(b"\n", 1, end)
        carriage_returns += window.count(b"\r", 1, end)
        window = window[end - 1 :]
    return None


def _after_line_end(window: bytes, position: int) -> int:
    return position + (2 if window.startswith(b"\r\n", position) else 1)


class Quotes:
    """Whether the bytes that were passed over end inside quotes."""

    def __init__(self, dialect: CsvDialect) -> None:
        self.closed = True
        self._quote = dialect.quote.encode()
        self._escape = dialect.escape.encode()
        self._inside = re.compile(
            rb"%b.|%b" % (re.escape(self._escape), re.escape(self._quote)),
            re.DOTALL,
        )
        self._escaped = False

    def pass_over(self, data: bytes) -> None:
        """Take in the next bytes of the file, in UTF-8 and cut anywhere."""
        if self._quote == self._escape:
            self.closed ^= data.count(self._quote) % 2 == 1
            return
        position = 1 if self._escaped and data else 0
        self._escaped = self._escaped and not data
        while position < len(data):
            if self.closed:
                found = data.find(self._quote, position)
                if found < 0:
                    return
                position, self.closed = found + 1, False
                continue
            match = self._inside.search(data, position)
            if match is None:
                self._escaped = data.endswith(self._escape)
                return
            position = match.end()
            self.closed = match.group() == self._quote


def to_utf8(dialect: CsvDialect) -> Callable[[bytes], bytes] | None:
    """Make what converts the blocks of a file; None where it is UTF-8 already.

    In Shift JIS and its like a quote can be the second half of a letter. PostgreSQL looks at the text after it was
    converted. What cannot be converted is COPY's to refuse, which it does before any row is loaded.
    """
    codec = python_codec(dialect.encoding)
    if codec == "utf_8":
        return None
    decoder = codecs.getincrementaldecoder(codec)("replace")
    return lambda block: decoder.decode(block).encode("utf-8")


def _in_utf8(blocks: Iterator[bytes], dialect: CsvDialect) -> Iterator[bytes]:
    convert = to_utf8(dialect)
    return blocks if convert is None else map(convert, blocks)


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
