r"""Cuts a CSV into its records where COPY does, and counts lines as COPY does.

COPY numbers a record by its last line. Inside quotes it counts the line ends of the file's own kind: line feeds, or
carriage returns if lines end in `\r\n` or `\r`, and in the first record, whose end shows the kind
(`CopyReadLineText` in src/backend/commands/copyfromparse.c).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from shared.csvfile.head import CsvDialect
from shared.csvfile.scan import QuotedText, places, to_parse


class Record(NamedTuple):
    """A record of the CSV: its `text`, line end included, and its `line`; the CSV's first line is 1."""

    text: bytes
    line: int


def records_of(blocks: Iterator[bytes], dialect: CsvDialect) -> Iterator[Record]:
    """Cut a CSV that COPY has accepted.

    Args:
        blocks: the CSV without a byte order mark, cut anywhere.
        dialect: how it is written.

    Yields:
        Its records, the header among them; in UTF-8 where `to_utf8` converts the file.

    Raises:
        HeaderInvalid: Python has no codec for the encoding.
    """
    ends, blocks = _line_ends(to_parse(blocks, dialect), dialect)
    text, parts, line = QuotedText(dialect), list[bytes](), 0

    def next_record() -> Record:
        nonlocal line
        record = b"".join(parts)
        parts.clear()
        # The end of the first record shows which line ends are counted.
        line += record.count(ends.counted) if line or ends.counted == b"\r" else record.count(b"\r") + 1
        return Record(record, line)

    for block in blocks:
        signs = text.signs(block)
        begin = 0
        for place in places((signs.feeds if ends.last == b"\n" else signs.returns) & ~signs.quoted):
            parts.append(block[begin : place + 1])
            begin = place + 1
            yield next_record()
        parts.append(block[begin:])
    if rest := b"".join(parts):
        # The last line needs no line end.
        missing = ends.last if ends.counted == ends.last else b"\r\n"
        parts = [rest if rest.endswith(ends.last) else rest + missing]
        # If a quote is never closed, COPY has refused it, as long as it counts quotes in the same way.
        yield Record(parts[0], line + 1) if text.is_open else next_record()


class _LineEnds(NamedTuple):
    r"""How lines end: with the byte `last`; and which byte is `counted`, of a `\r\n` the first."""

    last: bytes
    counted: bytes


def _line_ends(blocks: Iterator[bytes], dialect: CsvDialect) -> tuple[_LineEnds, Iterator[bytes]]:
    """Return how lines end, as the first line end outside quotes shows, and all blocks."""
    text, seen = QuotedText(dialect), list[bytes]()
    ends, is_after_return = _LineEnds(b"\n", b"\n"), False
    for block in blocks:
        seen.append(block)
        signs = text.signs(block)
        following = block
        if not is_after_return:
            place = next(places((signs.feeds | signs.returns) & ~signs.quoted), None)
            if place is None:
                continue
            if block.startswith(b"\n", place):
                break
            ends, is_after_return, following = _LineEnds(b"\r", b"\r"), True, block[place + 1 :]
        if following:
            if following.startswith(b"\n"):
                ends = _LineEnds(b"\n", b"\r")
            break
    return ends, chain(seen, blocks)
