"""The CSV of an archive: spooled to memory or a temporary file, or streamed straight from the lake.

When it is streamed, the download, the gunzip and the reader overlap, and nothing is kept. Whether the archive is
complete is known only at its end. Until then the reader's transaction is not committed: a truncated or damaged archive
ends the COPY with an error, and everything is rolled back.
"""

from __future__ import annotations

import errno
import io
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import IO

from shared.csvfile.head import CsvDialect, bom_length
from shared.csvfile.preamble import Preamble
from shared.csvfile.prefetch import prefetch
from shared.csvfile.scan import RecordCounter
from shared.csvfile.source import CopyReader
from shared.errors import TemporaryDiskFull
from shared.process import MIB
from shared.progress.progress import Progress

# EFBIG is how a limit on the size of one file shows itself.
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True)
class SpooledCsv:
    r"""A whole CSV file that can be read again and again.

    Attributes:
        file: binary and seekable.
        size: length in bytes.
        records: how many it holds, the header included.
        ends_with_marker: whether its last line is `\.`.
        dialect: how it is written.
        progress: counts what is read, and says whether the restore was canceled.
        preamble: the lines before the CSV, which the file lacks and the size counts.
    """

    file: IO[bytes]
    size: int
    records: int
    ends_with_marker: bool
    dialect: CsvDialect
    progress: Progress
    preamble: Preamble

    @property
    def head(self) -> IO[bytes]:
        """The file itself."""
        return self.file

    @property
    def probable_size(self) -> int:
        """The size itself."""
        return self.size

    def drain(self) -> None:
        """Do nothing: all of it was read."""

    @contextmanager
    def open(self) -> Iterator[CopyReader]:
        """Read it from the first byte after the byte order mark."""
        self.file.seek(bom_length(self.file, self.dialect))
        yield _reader(_blocks(self.file), self.progress)


@contextmanager
def spooled_csv(
    blocks: Iterable[bytes],
    *,
    max_memory_bytes: int,
    dialect: CsvDialect | None = None,
    progress: Progress | None = None,
    preamble: Preamble | None = None,
) -> Iterator[SpooledCsv]:
    r"""Take in all blocks, and hand out the file.

    Errors of `blocks` itself pass through. The file is gone after the `with` block, whatever happened.

    Args:
        blocks: the CSV's bytes, cut anywhere.
        max_memory_bytes: a file of up to this many bytes stays in memory.
        dialect: how the CSV is written (default: PostgreSQL's defaults); needed to tell a line `\.` that ends
            the data from one inside quotes, and to count the records.
        progress: counts what is read, and says whether the restore was canceled.
        preamble: the lines before the CSV (default: none).

    Yields:
        The whole file.

    Raises:
        HeaderMissing: the file has fewer lines before the CSV.
        TemporaryDiskFull: the temporary directory cannot hold it.
        EndOfDataMarker: rows follow a line `\.`, and PostgreSQL before 18 would drop them.
    """
    dialect, progress, preamble = dialect or CsvDialect(), progress or Progress(), preamble or Preamble()
    file = tempfile.SpooledTemporaryFile(max_size=max_memory_bytes)  # noqa: SIM115 - closed below, see there
    try:
        counter = RecordCounter(dialect)
        size = 0
        for block in preamble.behind(blocks):
            counter.see(block)
            progress.check()
            progress.records = counter.records
            with _disk_full_translated():
                file.write(block)
            size += len(block)
        with _disk_full_translated():
            file.seek(0)  # writes what Python still holds back
        counter.refuse_end_marker(lines_before=preamble.lines)
        progress.csv_bytes, progress.csv_bytes_total = 0, size
        yield SpooledCsv(
            file, preamble.size + size, counter.records, counter.ends_with_marker, dialect, progress, preamble
        )
    finally:
        # Closing tries once more to write what did not fit. The file is deleted, so it need not succeed.
        with suppress(OSError):
            file.close()


def _reader(blocks: Iterator[bytes], progress: Progress) -> CopyReader:
    """Read the CSV, and count what is handed on."""
    progress.csv_bytes = 0

    def seen(size: int) -> None:
        progress.csv_bytes += size
        progress.check()

    return CopyReader(blocks, seen)


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(MIB):
        yield block


@contextmanager
def _disk_full_translated() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno not in _DISK_FULL:
            raise
        raise TemporaryDiskFull("the temporary disk is full") from exc


# Twice as much as `first_row_length` looks at, and more than the longest header that is taken.
_HEAD_BYTES = 2 * MIB
_AHEAD_BYTES = 4 * MIB
# Typical bytes of CSV per stored (compressed) byte.
_USUAL_EXPANSION = 3.5


class StreamedCsv:
    r"""A CSV that is downloaded and gunzipped again each time it is read.

    Args:
        gunzip: begins to gunzip the archive from its beginning; its errors are the archive's.
        dialect: how the CSV is written.
        stored_size: length of the stored archive, in bytes.
        progress: counts what is read, and says whether the restore was canceled.
        preamble: the lines before the CSV (default: none).
        loaded: is called, in the thread that gunzips, with the bytes of a block that was handed on to the load.

    Attributes:
        head: its first part, seekable.
        size: its length in bytes; None until it was read to its end.
        records: how many it holds, the header included; None until then.
        ends_with_marker: whether its last line is `\.`; None until then.
    """

    def __init__(
        self,
        gunzip: Callable[[], Generator[bytes, None, None]],
        dialect: CsvDialect,
        stored_size: int,
        progress: Progress | None = None,
        preamble: Preamble | None = None,
        *,
        loaded: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._loaded = loaded
        self._gunzip = gunzip
        self._dialect = dialect
        self._stored_size = stored_size
        self._progress = progress or Progress()
        self.preamble = preamble or Preamble()
        self.size: int | None = None
        self.records: int | None = None
        self.ends_with_marker: bool | None = None
        self.head: IO[bytes] = io.BytesIO(self._read_head())
        self._mark = bom_length(self.head, dialect)

    @property
    def probable_size(self) -> int:
        """Its length in bytes; until it was read to its end, what an archive of this size usually holds."""
        return int(self._stored_size * _USUAL_EXPANSION) if self.size is None else self.size

    def _read_head(self) -> bytes:
        head = bytearray()
        with closing(self._gunzip()) as blocks:
            for block in self.preamble.behind(blocks):
                head += block
                if len(head) >= _HEAD_BYTES:
                    break
        return bytes(head)

    @contextmanager
    def open(self) -> Iterator[CopyReader]:
        """Read it from the first byte after the byte order mark, a few MiB ahead of the reader."""
        with prefetch(self._counted(self._loaded), most_bytes=_AHEAD_BYTES, name="gunzip") as blocks:
            yield _reader(_behind(self._mark, blocks), self._progress)

    def drain(self) -> None:
        """Read it to its end for its count alone."""
        for _ in self._counted():
            pass

    def _counted(self, handed_on: Callable[[int], None] = lambda _: None) -> Generator[bytes, None, None]:
        counter = RecordCounter(self._dialect)
        size = 0
        with closing(self._gunzip()) as blocks:
            for block in self.preamble.behind(blocks):
                counter.see(block)
                size += len(block)
                self._progress.records = counter.records
                yield block
                handed_on(len(block))
        counter.refuse_end_marker(lines_before=self.preamble.lines)
        self.size = self.preamble.size + size
        self.records, self.ends_with_marker = counter.records, counter.ends_with_marker


def _behind(start: int, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Skip the first bytes, even if they span several blocks."""
    for block in blocks:
        yield block[start:]
        start = max(start - len(block), 0)
