"""Gzip bytes -> plain bytes, but no further than allowed: a small file can hold a thousand times its size.

The bytes are handed to the inflater in small pieces, so that what was read and what came out of it can be compared
all the way. Compared at the end, a gzip bomb would have filled the disk by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.errors import ArchiveTooLarge
from shared.lake.gunzip import gunzip

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MIB = 1024 * 1024
# At DEFLATE's highest ratio, 1032 (https://zlib.net/zlib_tech.html), a piece gives 64 MiB.
_PIECE_BYTES = 64 * 1024
# A file of blanks, or the one long beginning of an ordinary file, is no bomb.
_FREE_BYTES = 16 * MIB
# Headers and trailers.
_SMALL_BYTES = 4096


def refuse_stored(size: int, *, max_bytes: int) -> None:
    """Refuse an archive that is larger than what may come out of it.

    What gzip cannot make smaller it makes larger, by much less than an eighth; more is padding, or empty members.

    Args:
        size: of the stored file, in bytes.
        max_bytes: how many bytes may come out (setting `CSV_MAX_BYTES`).

    Raises:
        ArchiveTooLarge: it is.
    """
    if size > max_bytes + max_bytes // 8 + _SMALL_BYTES:
        raise ArchiveTooLarge(f"the archive itself has {size} bytes, and CSV_MAX_BYTES allows {max_bytes}")


def gunzip_within(chunks: Iterable[bytes], *, max_bytes: int, max_expansion: int) -> Iterator[bytes]:
    """Unpack a gzip file up to a limit. No byte beyond it is handed out.

    Args:
        chunks: the file's bytes, cut anywhere.
        max_bytes: how many bytes may come out (setting `CSV_MAX_BYTES`).
        max_expansion: how many times the bytes read so far may come out, once it is more than 16 MiB (setting
            `CSV_MAX_EXPANSION`).

    Yields:
        The plain bytes in order, no block empty and none larger than 1 MiB.

    Raises:
        ArchiveTooLarge: one of the limits is passed.
        ArchiveError: as `gunzip`.
    """
    stored = _Pieces(chunks)
    unpacked = 0
    for block in gunzip(stored):
        unpacked += len(block)
        if unpacked > max_bytes:
            raise ArchiveTooLarge(
                f"the archive unpacks to more than the {max_bytes} bytes that CSV_MAX_BYTES allows:"
                f" {unpacked} bytes came out of its first {stored.bytes_read}"
            )
        if unpacked > max(_FREE_BYTES, max_expansion * stored.bytes_read):
            raise ArchiveTooLarge(
                f"the archive unpacks to more than the {max_expansion} times its size that CSV_MAX_EXPANSION allows:"
                f" {unpacked} bytes came out of its first {stored.bytes_read}"
            )
        yield block


class _Pieces:
    """A file in small pieces, and how much of it was read so far."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.bytes_read = 0
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            for start in range(0, len(chunk), _PIECE_BYTES):
                piece = chunk[start : start + _PIECE_BYTES]
                self.bytes_read += len(piece)
                yield piece
