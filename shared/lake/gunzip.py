"""Gzip bytes -> plain bytes, by ISA-L, in bounded blocks. No Azure, no file.

Every member is read, and an end is believed only if the last member's own trailer said so: what
`zlib.decompressobj` leaves to its caller is where a day's second half gets lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isal import isal_zlib

from shared.errors import ArchiveCorrupt, ArchiveNotGzip, ArchiveTruncated

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

MIB = 1024 * 1024
_GZIP_WBITS = 31
# What a call does not consume is copied for the next one: small pieces keep that copy small.
_PIECE_BYTES = 256 * 1024

# RFC 1952, 2.3
_MAGIC = b"\x1f\x8b"
_FIXED_HEADER_BYTES = 10
_FLAGS_AT = 3
_FHCRC, _FEXTRA, _FNAME, _FCOMMENT, _RESERVED = 0x02, 0x04, 0x08, 0x10, 0xE0
# FEXTRA has at most 64 KiB; a name or a comment beyond the other half is damage.
_HEADER_BYTES_LIMIT = 128 * 1024


def gunzip(chunks: Iterable[bytes], *, block_bytes: int = MIB) -> Iterator[bytes]:
    """Unpack a gzip file of any number of members.

    Zero bytes after a member are padding, as GNU gzip and Python's own `gzip` read them.

    Args:
        chunks: the file's bytes, cut anywhere.
        block_bytes: no block is larger than this, in bytes, however far a few bytes expand.

    Yields:
        The plain bytes in order, no block empty.

    Raises:
        ArchiveTruncated: the file ends inside a member, or is empty.
        ArchiveNotGzip: the file does not begin like gzip.
        ArchiveCorrupt: a member is damaged, or other bytes than zeros follow one.
    """
    members = _Members(block_bytes)
    for chunk in chunks:
        view = memoryview(chunk)
        for start in range(0, len(view), _PIECE_BYTES):
            yield from members.unpack(view[start : start + _PIECE_BYTES])
    members.finish()


class _Members:
    """The members of one file, one after the other."""

    def __init__(self, block_bytes: int) -> None:
        self._block_bytes = block_bytes
        self._number = 0  # of the member that was begun last
        self._head = b""  # the beginning of a header that is not complete yet
        self._inflater: isal_zlib.Decompress | None = None

    def unpack(self, data: bytes | memoryview) -> Iterator[bytes]:
        while data:
            if self._inflater is None:
                data, self._inflater = self._begin(data)
            else:
                data = yield from self._inflate(self._inflater, data)

    def finish(self) -> None:
        if self._inflater is not None:
            raise ArchiveTruncated(f"the gzip data ends inside member {self._number}")
        if self._head or not self._number:
            raise ArchiveTruncated(f"the gzip data ends in the header of member {self._number + 1}")

    def _begin(self, data: bytes | memoryview) -> tuple[bytes, isal_zlib.Decompress | None]:
        head = self._head + bytes(data)
        if self._number:
            head = head.lstrip(b"\0")
        if not _MAGIC.startswith(head[: len(_MAGIC)]):
            if self._number:
                raise ArchiveCorrupt(f"bytes that are not gzip follow member {self._number}")
            raise ArchiveNotGzip("the file does not begin like gzip")
        length = _header_length(head)
        if length is None:
            if len(head) > _HEADER_BYTES_LIMIT:
                raise ArchiveCorrupt(f"the header of gzip member {self._number + 1} has no end")
            self._head = head
            return b"", None
        self._head = b""
        self._number += 1
        inflater = isal_zlib.decompressobj(wbits=_GZIP_WBITS)
        # In one call: isal 1.9 misreads a header of several optional fields, or one with a checksum, in two.
        self._call(inflater, head[:length])
        return head[length:], inflater

    def _inflate(self, inflater: isal_zlib.Decompress, data: bytes | memoryview) -> Generator[bytes, None, bytes]:
        while True:
            block = self._call(inflater, data)
            if block:
                yield block
            if inflater.eof:
                self._inflater = None
                return inflater.unused_data
            data = inflater.unconsumed_tail
            # A full block may have more behind it without any further input.
            if not data and len(block) < self._block_bytes:
                return b""

    def _call(self, inflater: isal_zlib.Decompress, data: bytes | memoryview) -> bytes:
        try:
            return inflater.decompress(data, self._block_bytes)
        except isal_zlib.error as exc:  # type: ignore[misc] # isal's stub gives the class as an instance
            raise ArchiveCorrupt(f"gzip member {self._number} is damaged") from exc


def _header_length(head: bytes) -> int | None:
    """Measure a member's header; None while it is not complete."""
    if len(head) < _FIXED_HEADER_BYTES:
        return None
    flags = head[_FLAGS_AT]
    if flags & _RESERVED:
        raise ArchiveCorrupt("a gzip header has reserved flags set")
    end = _FIXED_HEADER_BYTES
    if flags & _FEXTRA:
        # Cut short, these two bytes give too small a number; the check below then fails all the same.
        end += 2 + int.from_bytes(head[end : end + 2], "little")
    for field in (_FNAME, _FCOMMENT):
        if flags & field:
            end = head.find(b"\0", end) + 1
            if not end:
                return None
    if flags & _FHCRC:
        end += 2
    return end if end <= len(head) else None
