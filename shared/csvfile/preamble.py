r"""The lines before the header that are not CSV (`copy.skip_lines`): a comment, Excel's `sep=;`.

They are the file's physical lines, which end in `\n`, `\r\n` or `\r`, whatever quotes they hold. No encoding of
PostgreSQL's uses one of these bytes in a longer character.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from shared.errors import HeaderInvalid, HeaderMissing
from shared.process import MIB

NOT_SO_MANY_LINES = "check that this is the right file, and how many lines precede its header"

_LINE_END = re.compile(rb"\r\n|\r|\n")
_LONGEST_LINE = MIB
# As much as shows what kind of file it is.
_BEGINNING_BYTES = 512


class Preamble:
    """The first lines of a file. What they are is known once the file was read beyond them.

    Args:
        lines: how many there are.

    Attributes:
        size: their length in bytes, with a byte order mark before them.
        last: the last one of them, without its line end.
        beginning: the file's first bytes, whether it has such lines or not.
    """

    def __init__(self, lines: int = 0) -> None:
        self.lines = lines
        self.size = 0
        self.last = b""
        self.beginning = b""

    def behind(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass on the file after these lines.

        Args:
            blocks: the file's bytes, cut anywhere.

        Raises:
            HeaderMissing: the file has fewer lines.
            HeaderInvalid: a line is longer than 1 MiB.
        """
        blocks = self._seen(blocks)
        if not self.lines:
            yield from blocks
            return
        size, left, last = 0, self.lines, b""
        rest = b""  # the line that is not complete, or that ends in a `\r` which `\n` may follow
        for block in blocks:
            size += len(block)
            data, rest = rest + block, b""
            position = 0
            for found in _LINE_END.finditer(data):
                if found.group() == b"\r" and found.end() == len(data):
                    break
                last = data[position : found.start()]
                position, left = found.end(), left - 1
                if not left:
                    break
            rest = data[position:]
            if not left:
                self.size, self.last = size - len(rest), last
                if rest:
                    yield rest
                yield from blocks
                return
            if len(rest) > _LONGEST_LINE:
                message = f"a line that copy.skip_lines skips is longer than {_LONGEST_LINE} bytes"
                raise HeaderInvalid(message, target="copy.skip_lines")
        self._end(size, left, last, rest)

    def _end(self, size: int, left: int, last: bytes, rest: bytes) -> None:
        """Take note of a file that ends inside these lines."""
        if rest:
            # The last line needs no line end.
            last, left = rest.removesuffix(b"\r"), left - 1
        self.size, self.last = size, last
        if left:
            raise HeaderMissing(
                f"the file has {self.lines - left} of the {self.lines} lines that copy.skip_lines skips",
                target="copy.skip_lines",
                hint=NOT_SO_MANY_LINES,
            )

    def _seen(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        beginning = b""
        for block in blocks:
            if len(beginning) < _BEGINNING_BYTES:
                beginning += block[: _BEGINNING_BYTES - len(beginning)]
                self.beginning = beginning
            yield block
