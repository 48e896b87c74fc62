r"""Counts the records of a CSV as COPY does, and finds a line `\.`, at which PostgreSQL before 18 stops reading.

The server's `CopyReadLineText` (src/backend/commands/copyfromparse.c) ends CSV data from a client at a record
that is only `\.`. It drops the rows after that line without an error or a warning, so this module looks for them.

Every byte of an archive passes through here under Python's lock, and the archive's writer chooses the bytes. So no code
here takes a step for each quote, escape or line. A block becomes one long integer with four bits for each byte, and a
few operations on integers compute for all its bytes at once whether they are quoted.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from typing import NamedTuple

from shared.csvfile.head import CsvDialect, python_codec
from shared.errors import EndOfDataMarker

# Python's codecs for the encodings in which a quote can be part of a longer character. PostgreSQL has them for clients
# only: https://www.postgresql.org/docs/current/multibyte.html#MULTIBYTE-CHARSET-SUPPORTED
_EMBED_ASCII = {"big5", "cp932", "cp949", "cp950", "gb18030", "gbk", "johab", "shift_jis_2004"}


def to_utf8(dialect: CsvDialect) -> Callable[[bytes], bytes] | None:
    """Return a function that converts the blocks of a file to UTF-8; None if the bytes can be parsed as they are.

    In Shift JIS and similar encodings, a quote can be the second byte of a character. PostgreSQL parses the text after
    its conversion. Text that cannot be converted is replaced here: COPY refuses it before any row is loaded. In all
    other encodings a byte below 128 is an ASCII character, wherever it stands.
    """
    codec = python_codec(dialect.encoding)
    if codec not in _EMBED_ASCII:
        return None
    decoder = codecs.getincrementaldecoder(codec)("replace")
    return lambda block: decoder.decode(block).encode("utf-8")


def to_parse(blocks: Iterator[bytes], dialect: CsvDialect) -> Iterator[bytes]:
    """Convert the blocks of a file as `to_utf8` does."""
    convert = to_utf8(dialect)
    return blocks if convert is None else map(convert, blocks)


class Signs(NamedTuple):
    """The signs in a block. In each number a byte has four bits (the first byte the lowest four), and uses the lowest.

    Attributes:
        quoted: whether the text is inside quotes after the byte.
        feeds: whether the byte is a line feed.
        returns: whether it is a carriage return.
    """

    quoted: int
    feeds: int
    returns: int


class QuotedText:
    """Follows the quotes of a CSV, block by block.

    An escape counts only inside quotes, where the quote after it is data. Outside quotes that quote opens. So after an
    escaped quote the text is inside quotes in either case; any other quote opens or closes.

    Attributes:
        is_open: whether the text so far ends inside quotes.
        is_escaped: whether the next byte is escaped.
    """

    def __init__(self, dialect: CsvDialect) -> None:
        self.is_open = self.is_escaped = False
        # The digit of a byte has one bit for each sign. If ESCAPE is the QUOTE, a doubled quote closes and opens again.
        signs = {dialect.escape: "2", dialect.quote: "1", "\n": "4", "\r": "8"}
        self._digits = "".join(signs.get(chr(byte), "0") for byte in range(256)).encode()

    def signs(self, block: bytes) -> Signs:
        """Take in the next block, which may be cut anywhere."""
        # Two digits before the block repeat how the text so far ends.
        before = (b"1" if self.is_open else b"0") + (b"2" if self.is_escaped else b"0")
        size = len(before) + len(block)
        ones = _repeated(1, 4, size)
        number = _number(before + block.translate(self._digits))
        quotes, escapes = number & ones, number >> 1 & ones
        escaped = _behind_odd_runs(escapes, size) if escapes else 0
        quoted = _odd(quotes & ~escaped, size)
        forced = quotes & escaped
        if forced:
            quoted ^= _up_to_next(forced & ~quoted, forced, size) & ones
        self.is_open, self.is_escaped = bool(quoted >> 4 * (size - 1)), bool(escaped >> 4 * size)
        return Signs(quoted >> 8, number >> 10 & ones, number >> 11 & ones)


def places(bits: int) -> Iterator[int]:
    """Yield the bytes that such a number marks, in order."""
    digits = f"{bits:x}"[::-1]
    place = digits.find("1")
    while place >= 0:
        yield place
        place = digits.find("1", place + 1)


def _number(digits: bytes) -> int:
    """Read hexadecimal digits, the lowest first; in a fifth of the time that `int` takes."""
    even = digits if len(digits) % 2 == 0 else digits + b"0"
    return int.from_bytes(bytes.fromhex(even[::-1].decode("ascii")), "big")


def _repeated(digit: int, bits: int, times: int) -> int:
    """Return a number that repeats a digit of so many bits."""
    return ((1 << bits * times) - 1) // ((1 << bits) - 1) * digit


def _odd(bits: int, size: int) -> int:
    """Say for each byte whether an odd number of bits is set up to it."""
    step = 1
    while step < size and bits:
        bits ^= bits << 4 * step
        step *= 2
    return bits & ((1 << 4 * size) - 1)


def _behind_odd_runs(bits: int, size: int) -> int:
    """Find the bytes that follow an odd number of set bits. The carry of an addition runs through them."""
    runs = bits * 15
    starts = bits & ~(bits << 4)
    even = _repeated(1, 8, size // 2 + 1)
    from_even, from_odd = ((runs + (starts & half)) & ~runs for half in (even, ~even))
    return (from_even & ~even) | (from_odd & even)


def _up_to_next(some: int, marks: int, size: int) -> int:
    """Set all bits from some of the marks on, each up to the next mark or to the end. A carry runs there."""
    end = 1 << 4 * size
    following = ((end - 1) ^ marks * 15) + (some << 4) & (marks | end)
    return following - some


_TAIL_BYTES = 8
_MARKER = rb"\."
# A digit has a bit for each: a line end, a backslash, a dot, a carriage return.
_MARKER_DIGITS = bytes({10: 0x31, 13: 0x39, 92: 0x32, 46: 0x34}.get(byte, 0x30) for byte in range(256))


def rows_of(records: int, *, has_header: bool) -> int:
    """Return the number of rows among records: all but the header."""
    return max(records - (1 if has_header else 0), 0)


class RecordCounter:
    r"""Counts the records of a CSV in passing blocks, including the header, and looks for a line that is only `\.`.

    A record ends at a line end outside quotes. `\r\n` is one line end. If no line feed is outside quotes, lines end in
    carriage returns. The last record counts even if it has no line end.

    Args:
        dialect: how the CSV is written.
    """

    def __init__(self, dialect: CsvDialect) -> None:
        self._feeds = self._returns = 0  # outside quotes
        self._all_feeds = self._all_returns = 0
        # A byte order mark is not a record, even if nothing follows it. Only UTF-8 has this one.
        self._start: bytes | None = b"" if python_codec(dialect.encoding) == "utf_8" else None
        self._tail = b"\n"  # the file's start is the start of a line
        self._tail_quoted = 0
        self._marker_line: int | None = None
        self._text = QuotedText(dialect)
        self._escape = dialect.escape.encode() if dialect.escape != dialect.quote else None
        # Only then can a quote be in a marker.
        self._own_marker = dialect.quote.encode() in _MARKER
        self._unused = bytes(set(range(256)) - set(dialect.quote.encode() + b"\n\r"))
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
        places_matter = self._own_marker or self._is_suspicious(block)
        signs = self._text.signs(block if places_matter else self._short(block))
        if places_matter:
            self._tail_quoted |= signs.quoted << 4 * len(self._tail)
            self._look(self._tail + block)
        self._feeds += (signs.feeds & ~signs.quoted).bit_count()
        self._returns += (signs.returns & ~signs.quoted).bit_count()
        self._all_feeds += signs.feeds.bit_count()
        self._all_returns += signs.returns.bit_count()
        size = len(self._tail) + len(block)
        self._tail = (self._tail + block[-_TAIL_BYTES:])[-_TAIL_BYTES:]
        if places_matter:
            self._tail_quoted >>= 4 * (size - len(self._tail))
        else:
            # No quote follows the beginning of a marker that the next block may complete.
            self._tail_quoted = _repeated(1, 4, len(self._tail)) if self._text.is_open else 0

    def _without_mark(self, start: bytes) -> bytes:
        mark = codecs.BOM_UTF8
        if len(start) < len(mark) and mark.startswith(start):
            self._start = start
            return b""
        self._start = None
        return start.removeprefix(mark)

    def _is_suspicious(self, block: bytes) -> bool:
        """Whether the block may hold or complete a line that is only a marker."""
        if self._marker_line is not None:
            return False
        # Search for a single byte first: that runs at memory speed, and most files hold no backslash.
        texts = [self._tail + block[:_TAIL_BYTES], *([block] if b"\\" in block else [])]
        return any(_MARKER + end in text for text in texts for end in (b"\n", b"\r"))

    def _short(self, block: bytes) -> bytes:
        """Leave out the bytes that decide nothing. An escape decides about any byte after it."""
        if self._escape is not None and (self._text.is_escaped or self._escape in block):
            return block
        return block.translate(None, self._unused)

    def _look(self, text: bytes) -> None:
        """Find the first line outside quotes that is only a marker and is followed by anything."""
        if self._marker_line is not None:
            return
        ones = _repeated(1, 4, len(text))
        number = _number(text.translate(_MARKER_DIGITS))
        ends, returns = number & ones, number >> 3 & ones
        # At the line end before the marker. A line feed belongs to the carriage return before it.
        found = ends & ~self._tail_quoted & number >> 5 & number >> 10 & ends >> 12 & ones >> 16
        found &= ~(returns >> 12 & (ends & ~returns) >> 16 & ~(ones >> 20))
        if found:
            before = text[: ((found & -found).bit_length() - 1) // 4 + 1]
            feeds, returns = (
                counted - self._tail.count(end) + before.count(end)
                for counted, end in ((self._all_feeds, b"\n"), (self._all_returns, b"\r"))
            )
            self._marker_line = 1 + (feeds or returns)

    def refuse_end_marker(self, *, lines_before: int = 0) -> None:
        r"""Refuse a file that PostgreSQL before 18 would read only in part, once all of it was seen.

        Inside quotes `\.` is data. As the last line of the file it hides no rows.

        Args:
            lines_before: lines of the file before the CSV.

        Raises:
            EndOfDataMarker: rows follow such a line. The message names the line; `target` is the archive.
        """
        if self._marker_line is not None:
            raise EndOfDataMarker(rf"line {lines_before + self._marker_line} of the file is only \. and rows follow it")

    @property
    def ends_with_marker(self) -> bool:
        r"""Whether the last line is `\.`, which PostgreSQL before 18 takes as the end."""
        return self._tail.replace(b"\r", b"\n").rstrip(b"\n").endswith(b"\n" + _MARKER)

    @property
    def records(self) -> int:
        """The number of records, if no block follows."""
        # An incomplete byte order mark belongs to a record.
        last = self._tail[-1:] if not self._start else self._start[-1:]
        return (self._feeds or self._returns) + (last not in (b"\n", b"\r"))
