"""The CSV of an archive as the load reads it: from the beginning, any number of times."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, Protocol

from shared.csvfile.options import CsvOptions
from shared.csvfile.preamble import Preamble
from shared.csvfile.scan import rows_of
from shared.process import MIB

# Useful CSV for each second of processor time: a tenth of what an ordinary archive reaches.
BYTES_PER_CPU_SECOND = 20_000_000


class CsvSource(Protocol):
    r"""A CSV that can be read repeatedly, from memory or a temporary file, or from the lake itself.

    Attributes:
        head: the beginning of the CSV, seekable. It holds the whole header, and the whole first row unless that is very
            long. Do not read it while the CSV is open: a spooled file has one position for both.
        records: number of records, including the header; None until the CSV has been read to its end.
        size: length in bytes; None until then.
        probable_size: the same; an estimate until then.
        ends_with_marker: whether the last line is `\.`; None until then.
        preamble: the lines before the header that are not CSV. They are not part of it, except in its size.
    """

    @property
    def head(self) -> IO[bytes]: ...  # noqa: D102 - described above
    @property
    def records(self) -> int | None: ...  # noqa: D102
    @property
    def size(self) -> int | None: ...  # noqa: D102
    @property
    def probable_size(self) -> int: ...  # noqa: D102
    @property
    def ends_with_marker(self) -> bool | None: ...  # noqa: D102
    @property
    def preamble(self) -> Preamble: ...  # noqa: D102

    def drain(self) -> None:
        """Read the CSV to its end if that has not been done, so that the attributes above are known.

        Raises:
            ArchiveError: the archive is incomplete or damaged.
        """

    def open(self) -> AbstractContextManager[CopyReader]:
        """Open the CSV at the first byte after the byte order mark.

        Raises:
            ArchiveError: the archive is incomplete or damaged. The reader raises it when it gets there.
        """


def rows_in(csv: CsvSource, options: CsvOptions) -> int:
    """Return the number of rows of a CSV that was read to its end."""
    return rows_of(csv.records or 0, has_header=options.has_header)


@dataclass(frozen=True)
class FirstRow:
    """The first row, copied alone: its bytes after the byte order mark, header included, and the rows it added."""

    size: int
    rows: int


class CopyReader(io.RawIOBase):
    """The file from which `copy_expert` reads. It keeps the error that ended it, since psycopg2 raises another.

    Attributes:
        error: the exception that ended a read.
        check: is called before each read. An exception from it ends the reader.
        waited_seconds: how long reads waited for the next block.
    """

    def __init__(self, blocks: Iterator[bytes], seen: Callable[[int], None] = lambda _: None) -> None:
        """Make a reader of blocks.

        Args:
            blocks: the CSV's bytes, cut anywhere.
            seen: called with the length of each block that is read. An exception from it ends the reader.
        """
        super().__init__()
        self._blocks = blocks
        self._seen = seen
        self._block = b""
        self._position = 0
        self.error: BaseException | None = None
        self.check: Callable[[], None] = lambda: None
        self.waited_seconds = 0.0

    def readable(self) -> bool:
        """Return True: psycopg2 requires a readable file."""
        return True

    def read(self, size: int = MIB) -> bytes:
        """Return at most `size` bytes; none at the end."""
        try:
            self.check()
            return self._read(size)
        except BaseException as exc:
            self.error = exc
            raise

    def _read(self, size: int) -> bytes:
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
        """Skip the next bytes."""
        while size and (piece := self.read(size)):
            size -= len(piece)

    def take_error(self) -> BaseException | None:
        """Return the error that ended the blocks, and forget it: its traceback keeps every frame alive."""
        error, self.error = self.error, None
        return error

    def _next(self) -> bytes | None:
        began = time.monotonic()
        try:
            block = next(self._blocks, None)
            self._seen(0 if block is None else len(block))
            return block
        finally:
            self.waited_seconds += time.monotonic() - began
