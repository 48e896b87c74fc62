"""The unpacked day, whole: in memory up to a limit and in one temporary file beyond it."""

from __future__ import annotations

import errno
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from shared.csv_source import CopyReader
from shared.errors import TemporaryDiskFull
from shared.lake.csv_count import RecordCounter
from shared.lake.csv_head import CsvDialect, bom_length
from shared.lake.end_marker import MarkerWatch, refuse_end_marker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MIB = 1024 * 1024
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
    """

    file: IO[bytes]
    size: int
    records: int
    ends_with_marker: bool
    dialect: CsvDialect

    @property
    def head(self) -> IO[bytes]:
        """The file itself."""
        return self.file

    def read_through(self) -> None:
        """Do nothing: all of it was read."""

    @contextmanager
    def opened(self) -> Iterator[CopyReader]:
        """Read it from the first byte after the byte order mark."""
        self.file.seek(bom_length(self.file, self.dialect))
        yield CopyReader(_blocks(self.file))


@contextmanager
def spooled_csv(
    blocks: Iterable[bytes], *, max_memory_bytes: int, dialect: CsvDialect | None = None
) -> Iterator[SpooledCsv]:
    r"""Take in all blocks, and hand out the file.

    Errors of `blocks` itself pass through. The file is gone after the `with` block, whatever happened.

    Args:
        blocks: the CSV's bytes, cut anywhere.
        max_memory_bytes: a file of up to this many bytes stays in memory.
        dialect: how the CSV is written (default: PostgreSQL's defaults); needed to tell a line `\.` that ends
            the data from one inside quotes, and to count the records.

    Yields:
        The whole file.

    Raises:
        TemporaryDiskFull: the temporary directory cannot hold it.
        EndOfDataMarker: rows follow a line `\.`, and PostgreSQL before 18 would drop them.
    """
    dialect = dialect or CsvDialect()
    file = tempfile.SpooledTemporaryFile(max_size=max_memory_bytes)  # noqa: SIM115 - closed below, see there
    try:
        watch, counter = MarkerWatch(), RecordCounter(dialect)
        size = 0
        for block in blocks:
            watch.look(block)
            counter.see(block)
            with _disk_full_translated():
                file.write(block)
            size += len(block)
        with _disk_full_translated():
            file.seek(0)  # writes what Python still holds back
        if watch.suspicious:
            file.seek(bom_length(file, dialect))
            refuse_end_marker(_blocks(file), dialect)
            file.seek(0)
        yield SpooledCsv(file, size, counter.records, counter.ends_with_marker, dialect)
    finally:
        # Closing tries once more to write what did not fit. The file is deleted, so it need not succeed.
        with suppress(OSError):
            file.close()


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
