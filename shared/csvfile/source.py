"""The unpacked day, as the database side reads it: from its beginning, as often as it wants to."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, Protocol

from shared.process import MIB


class CsvSource(Protocol):
    r"""A CSV that can be read again and again, from a temporary file or from the lake itself.

    Attributes:
        head: its first part, seekable: the header is whole, and the first row unless it is very long. Not to be read
            while the CSV is opened: a spooled file has one position for both.
        records: how many it holds, the header included; None where nobody has read it to its end yet.
        size: its length in bytes; None likewise.
        ends_with_marker: whether its last line is `\.`; None likewise.
    """

    @property
    def head(self) -> IO[bytes]: ...  # noqa: D102 - described above
    @property
    def records(self) -> int | None: ...  # noqa: D102
    @property
    def size(self) -> int | None: ...  # noqa: D102
    @property
    def ends_with_marker(self) -> bool | None: ...  # noqa: D102

    def drain(self) -> None:
        """Read it to its end, where nobody has, so that the rest is known.

        Raises:
            ArchiveError: the archive is not whole.
        """

    def open(self) -> AbstractContextManager[CopyReader]:
        """Read from the first byte after the byte order mark.

        Raises:
            ArchiveError: at the reader, as soon as it is known that the archive is not whole.
        """


@dataclass(frozen=True)
class FirstRow:
    """A row that was copied by itself: how many bytes after the byte order mark (`size`), and how many rows."""

    size: int
    rows: int


class CopyReader(io.RawIOBase):
    """What `copy_expert` reads from. It keeps the error that ended it: psycopg2 puts one of its own in its place.

    Attributes:
        error: what the blocks raised.
        waited_seconds: how long a reader stood still because no block was ready.
    """

    def __init__(self, blocks: Iterator[bytes], seen: Callable[[int], None] = lambda _: None) -> None:
        """Read from blocks.

        Args:
            blocks: the CSV's bytes, cut anywhere.
            seen: is called with the length of each block that is handed on. What it raises ends the reader.
        """
        super().__init__()
        self._blocks = blocks
        self._seen = seen
        self._block = b""
        self._position = 0
        self.error: BaseException | None = None
        self.waited_seconds = 0.0

    def readable(self) -> bool:
        """Say that it can be read; psycopg2 asks for a file."""
        return True

    def read(self, size: int = MIB) -> bytes:
        """Return up to so many bytes; none at the end."""
        while self._position == len(self._block):
            block = self._next()
            if block is None:
                return b""
            self._block, self._position = block, 0
        if not self._position and len(self._block) <= size:
            self._position = len(self._block)
            return self._block
        start, self._position = self._position, min(self._position + size, len(self._block))
        return self._block[start : self._position]

    def skip(self, size: int) -> None:
        """Leave the next bytes out."""
        while size and (piece := self.read(size)):
            size -= len(piece)

    def take_error(self) -> BaseException | None:
        """Return what ended the blocks, once: an error that is kept keeps all that it went through."""
        error, self.error = self.error, None
        return error

    def _next(self) -> bytes | None:
        began = time.monotonic()
        try:
            block = next(self._blocks, None)
            self._seen(0 if block is None else len(block))
        except BaseException as exc:
            self.error = exc
            raise
        else:
            return block
        finally:
            self.waited_seconds += time.monotonic() - began
