"""The unpacked day, straight out of the lake: download, gunzip and whoever reads overlap, and nothing is kept.

Whether the archive is whole is known only at its end. Until then it is the reader's transaction that holds the rows
back: an archive that is cut short or damaged ends the COPY with an error, and everything is rolled back.
"""

from __future__ import annotations

import io
from contextlib import closing, contextmanager
from typing import IO, TYPE_CHECKING

from shared.csv_source import CopyReader
from shared.lake.csv_count import RecordCounter
from shared.lake.csv_head import CsvDialect, bom_length
from shared.lake.end_marker import MarkerWatch, refuse_end_marker
from shared.lake.read_ahead import read_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

MIB = 1024 * 1024
# Twice as much as first_row.py looks at, and more than the longest header that is taken.
_HEAD_BYTES = 2 * MIB
_AHEAD_BYTES = 4 * MIB


class StreamedCsv:
    r"""A CSV that is downloaded and unpacked anew each time it is read.

    Args:
        unpack: begins to unpack the archive from its beginning; its errors are the archive's.
        dialect: how the CSV is written.

    Attributes:
        head: its first part, seekable.
        size: its length in bytes; None until it was read to its end.
        records: how many it holds, the header included; None likewise.
        ends_with_marker: whether its last line is `\.`; None likewise.
    """

    def __init__(self, unpack: Callable[[], Generator[bytes, None, None]], dialect: CsvDialect) -> None:
        self._unpack = unpack
        self._dialect = dialect
        self.size: int | None = None
        self.records: int | None = None
        self.ends_with_marker: bool | None = None
        self.head: IO[bytes] = io.BytesIO(self._read_head())
        self._mark = bom_length(self.head, dialect)

    def _read_head(self) -> bytes:
        head = bytearray()
        with closing(self._unpack()) as blocks:
            for block in blocks:
                head += block
                if len(head) >= _HEAD_BYTES:
                    break
        return bytes(head)

    @contextmanager
    def opened(self) -> Iterator[CopyReader]:
        """Read it from the first byte after the byte order mark, a few MiB ahead of whoever reads."""
        with read_ahead(self._counted(), most_bytes=_AHEAD_BYTES, name="gunzip") as blocks:
            yield CopyReader(_behind(self._mark, blocks))

    def read_through(self) -> None:
        """Read it to its end for its count alone."""
        for _ in self._counted():
            pass

    def _counted(self) -> Generator[bytes, None, None]:
        watch, counter = MarkerWatch(), RecordCounter(self._dialect)
        size = 0
        with closing(self._unpack()) as blocks:
            for block in blocks:
                watch.look(block)
                counter.see(block)
                size += len(block)
                yield block
        if watch.suspicious:
            with closing(self._unpack()) as blocks:
                refuse_end_marker(_behind(self._mark, blocks), self._dialect)
        self.size, self.records, self.ends_with_marker = size, counter.records, counter.ends_with_marker


def _behind(start: int, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Leave the first bytes out, into how many blocks ever they are cut."""
    for block in blocks:
        yield block[start:]
        start = max(start - len(block), 0)
