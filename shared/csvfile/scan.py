r"""Counts the records of a CSV as COPY does, and finds a line `\.`, at which PostgreSQL before 18 stops reading.

The server's `CopyReadLineText` (src/backend/commands/copyfromparse.c) ends CSV data from a client at a record
that is only `\.`. It drops the rows after that line without an error or a warning, so this module looks for them.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Callable, Iterator

from shared.csvfile.head import CsvDialect, python_codec, quotes_of_bytes
from shared.errors import EndOfDataMarker

# The pattern begins with literal bytes, for which re has a fast search. The byte before a match is checked afterwards.
_CANDIDATE = re.compile(rb"\\\.(?=[\r\n])")
# COPY gets the file without its byte order mark, so a line may also start after a mark.
_SUSPICION = re.compile(rb"(?:[\r\n]|\xef\xbb\xbf)\\\.[\r\n]")
# A candidate, the line end after it, and one more byte.
_LOOK_AHEAD = 5


class MarkerWatch:
    r"""Looks for lines that are only `\.` in passing blocks.

    It ignores quotes, so it only suspects. `refuse_end_marker` decides.

    Attributes:
        suspicious: whether such a line was seen.
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
        # Search for a single byte first: that runs at memory speed, and most files hold no backslash.
        self.suspicious = _SUSPICION.search(seam) is not None or (
            b"\\" in block and rb"\." in block and _SUSPICION.search(block) is not None
        )
        self._tail = (self._tail + block)[-_LOOK_AHEAD:]


def refuse_end_marker(blocks: Iterator[bytes], dialect: CsvDialect, *, lines_before: int = 0) -> None:
    r"""Refuse a file that PostgreSQL before 18 would read only in part.

    Inside quotes `\.` is data. As the last line of the file it hides no rows.

    Args:
        blocks: the CSV without its byte order mark, cut anywhere.
        dialect: how it is written.
        lines_before: lines of the file before the CSV.

    Raises:
        EndOfDataMarker: rows follow such a line. The message names the line; `target` is the archive.
        HeaderInvalid: Python has no codec for the encoding.
    """
    line = _find_end_marker(in_utf8(blocks, dialect), dialect)
    if line is not None:
        raise EndOfDataMarker(rf"line {lines_before + line} of the file is only \. and rows follow it")


def _find_end_marker(blocks: Iterator[bytes], dialect: CsvDialect) -> int | None:
    quotes = quotes_of_bytes(dialect)
    line_feeds = carriage_returns = 0
    window = b"\n"
    done = False
    while not done:
        block = next(blocks, None)  # an empty block is not the end: a character may be incomplete
        done = block is None
        window += block or b""
        position = 1  # the byte before it is kept only as the context of a match
        end = len(window) if done else max(len(window) - _LOOK_AHEAD, position)
        for match in _CANDIDATE.finditer(window, position):
            if match.start() >= end:
                break
            if window[match.start() - 1] not in b"\r\n":
                continue
            quotes.pass_over(window[position : match.start()])
            position = match.start()
            if not quotes.is_open and _after_line_end(window, match.end()) < len(window):
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


def to_utf8(dialect: CsvDialect) -> Callable[[bytes], bytes] | None:
    """Return a function that converts the blocks of a file to UTF-8; None if the file is UTF-8 already.

    In Shift JIS and similar encodings, a quote can be the second byte of a character. PostgreSQL parses the text after
    its conversion. Text that cannot be converted is replaced here: COPY refuses it before any row is loaded.
    """
    codec = python_codec(dialect.encoding)
    if codec == "utf_8":
        return None
    decoder = codecs.getincrementaldecoder(codec)("replace")
    return lambda block: decoder.decode(block).encode("utf-8")


def in_utf8(blocks: Iterator[bytes], dialect: CsvDialect) -> Iterator[bytes]:
    """Convert the blocks of a file as `to_utf8` does."""
    convert = to_utf8(dialect)
    return blocks if convert is None else map(convert, blocks)


_TAIL_BYTES = 8


def rows_of(records: int, *, has_header: bool) -> int:
    """Return the number of rows among records: all but the header."""
    return max(records - (1 if has_header else 0), 0)


class RecordCounter:
    r"""Counts the records of a CSV in passing blocks, including the header.

    A record ends at a line end outside quotes. `\r\n` is one line end. If no line feed is outside quotes, lines end in
    carriage returns. The last record counts even if it has no line end.

    Args:
        dialect: how the CSV is written.
    """

    def __init__(self, dialect: CsvDialect) -> None:
        self._feeds = self._returns = 0
        # A byte order mark is not a record, even if nothing follows it.
        self._start: bytes | None = b""
        self._last = b"\n"
        self._tail = b"\n"
        self._outside = _paired(dialect) if dialect.quote == dialect.escape else _escaped(dialect)
        self._convert = to_utf8(dialect)

    def see(self, block: bytes) -> None:
        """Count the next block.

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
        r"""Whether the last line is `\.`, which PostgreSQL before 18 takes as the end."""
        return self._tail.replace(b"\r", b"\n").rstrip(b"\n").endswith(b"\n\\.")

    @property
    def records(self) -> int:
        """The number of records, if no block follows."""
        # An incomplete byte order mark belongs to a record.
        last = self._last if not self._start else self._start[-1:]
        return (self._feeds or self._returns) + (last not in (b"\n", b"\r"))


def _paired(dialect: CsvDialect) -> Callable[[bytes], bytes]:
    """Return a function that removes quoted text from blocks. A doubled quote closes and opens again: same result.

    It does the job of `Quotes` for this dialect, but without a loop: every byte of the archive passes here.
    """
    quote = dialect.quote.encode()
    others = bytes(set(range(256)) - set(quote + b"\n\r"))
    is_open = False

    def outside(block: bytes) -> bytes:
        nonlocal is_open
        # Two quotes with no line end between them change nothing. Few quotes are left; every other piece is outside.
        pieces = block.translate(None, others).replace(quote * 2, b"").split(quote)
        text = b"".join(pieces[is_open::2])
        is_open ^= len(pieces) % 2 == 0
        return text

    return outside


def _escaped(dialect: CsvDialect) -> Callable[[bytes], bytes]:
    """Do the same as `_paired` if QUOTE and ESCAPE differ. Returns the line ends outside quotes, in any order.

    An escape counts only inside quotes, and a quote after it stays data there. Outside quotes both open. So an escaped
    quote has one meaning everywhere: after it, the text is inside quotes. All work is done by whole-block operations
    and on distinct pieces: a file may hold nothing but quotes and escapes.
    """
    quote, escape = dialect.quote.encode(), dialect.escape.encode()
    free = (bytes([byte]) for byte in range(1, 256) if bytes([byte]) not in (quote, escape, b"\n", b"\r"))
    other, opening = next(free), next(free)
    table = bytes(byte if bytes([byte]) in (quote, escape, b"\n", b"\r") else other[0] for byte in range(256))
    # Inside quotes, for sure, and out again.
    quoted = re.compile(b"%b[^%b]*%b" % (re.escape(opening), re.escape(quote), re.escape(quote)))
    is_open, pending = False, b""

    def outside(block: bytes) -> bytes:
        nonlocal is_open, pending
        # An escape after an escape is data. The last one may belong to the next block.
        text = (pending + block.translate(table)).replace(escape * 2, b"")
        pending = escape if text.endswith(escape) else b""
        text = text.replace(escape + quote, opening).translate(None, other + escape)
        for shorter in (quote * 2, b""), (quote + opening, opening), (opening * 2, opening):
            text = text.replace(*shorter)
        before, mark, last = ((quote if is_open else b"") + text).rpartition(quote)
        *pieces, end = quoted.split(before + mark)
        # Each piece begins outside quotes, and what follows it does not depend on how it ends.
        found = [b"".join(piece.split(quote)[::2]) * times for piece, times in Counter(pieces).items()]
        end, opens, _ = (end + last).partition(opening)
        parts = end.split(quote)
        is_open = bool(opens) or len(parts) % 2 == 0
        return b"".join([*found, *parts[::2]])

    return outside
