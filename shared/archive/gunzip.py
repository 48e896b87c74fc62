"""Gzip bytes -> plain bytes, by ISA-L, in bounded blocks and up to a limit. No Azure, no file.

Every member is read, and the end counts only if the last member's own trailer confirms it. `zlib.decompressobj` leaves
both to its caller, who would lose the second half of a day without them.

A small file can decompress to a thousand times its size. So the inflater gets the bytes in small pieces, and input and
output are compared after each piece. At the end it would be too late: a gzip bomb would have filled the disk.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import NoReturn

from isal import isal_zlib

from shared.archive.signature import looks_like
from shared.errors import (
    ArchiveCompressedTwice,
    ArchiveCorrupt,
    ArchiveNotGzip,
    ArchiveTooLarge,
    ArchiveTruncated,
)
from shared.process import MIB

_GZIP_WBITS = 31
# At DEFLATE's highest ratio, 1032 (https://zlib.net/zlib_tech.html), a piece gives 64 MiB. And what a call does not
# consume is copied for the next one: small pieces keep that copy small.
_PIECE_BYTES = 64 * 1024

# RFC 1952, 2.3
_MAGIC = b"\x1f\x8b"
_FIXED_HEADER_BYTES = 10
_FLAGS_AT = 3
_FHCRC, _FEXTRA, _FNAME, _FCOMMENT, _RESERVED = 0x02, 0x04, 0x08, 0x10, 0xE0
# And the one method of compression that there is.
_GZIP_AGAIN = _MAGIC + b"\x08"
# FEXTRA has at most 64 KiB; a name or a comment beyond the other half is damage.
_HEADER_BYTES_LIMIT = 128 * 1024

# Empty members, without a name or with one: header, empty block, and zeros for checksum and length. They are skipped by
# one regular expression; every other member takes a step in Python of some microseconds.
_EMPTY_BODY = b"\x03" + bytes(9)
_EMPTY_MEMBERS = re.compile(rb"(?:\x1f\x8b\x08(?:\0.{6}|\x08.{6}[^\0]{0,255}\0)%b)+" % _EMPTY_BODY, re.DOTALL)
# isal copies the input that it does not use. So for a member that may be small, it gets only a small piece at first.
_SMALL_MEMBER_BYTES = 1024
_USUAL_HEADER_BYTES = 64
# Many small members make one block.
_SMALL_BLOCK_BYTES = 64 * 1024

# A file of blanks, or the long beginning of an ordinary file, is not a bomb.
_FREE_BYTES = 16 * MIB
# Headers and trailers.
_SMALL_BYTES = 4096

_EMPTY_HINT = "its writer wrote nothing, or has not finished yet: wait for it, or upload the archive again"


def refuse_stored(size: int, *, max_bytes: int) -> None:
    """Refuse an archive that is larger than the CSV may be.

    gzip makes data that it cannot compress larger, by much less than an eighth. A larger archive is padding or empty
    members.

    Args:
        size: of the stored file, in bytes.
        max_bytes: how many bytes may come out (setting `CSV_MAX_BYTES`).

    Raises:
        ArchiveTooLarge: the archive is too large.
    """
    if size > max_bytes + max_bytes // 8 + _SMALL_BYTES:
        raise ArchiveTooLarge(f"the archive itself has {size} bytes, and CSV_MAX_BYTES allows {max_bytes}")


def gunzip(
    chunks: Iterable[bytes],
    *,
    max_bytes: int,
    max_expansion: int,
    block_bytes: int = MIB,
    check: Callable[[], None] = lambda: None,
) -> Generator[bytes, None, None]:
    """Gunzip a file of any number of members. No byte beyond a limit is handed out.

    Zero bytes after a member are padding, as GNU gzip and Python's own `gzip` read them.

    Args:
        chunks: the file's bytes, cut anywhere.
        max_bytes: how many bytes may come out (setting `CSV_MAX_BYTES`).
        max_expansion: how many times the bytes read so far may come out, once it is more than 16 MiB (setting
            `CSV_MAX_EXPANSION`).
        block_bytes: no block is larger than this, in bytes, however far a few bytes expand.
        check: is called again and again, also while nothing comes out. What it raises ends the work.

    Yields:
        The plain bytes in order, no block empty.

    Raises:
        ArchiveTooLarge: one of the limits is passed.
        ArchiveTruncated: the file ends inside a member, or is empty.
        ArchiveNotGzip: the file does not begin like gzip.
        ArchiveCompressedTwice: what comes out begins like gzip again. No CSV does: 1F is a control character, and 8B
            begins no character in UTF-8.
        ArchiveCorrupt: a member is damaged, or other bytes than zeros follow one.
    """
    members, limits, small = _Members(block_bytes), _Limits(max_bytes, max_expansion), _SmallBlocks()
    most_small = min(block_bytes, _SMALL_BLOCK_BYTES)
    for piece in _pieces(chunks):
        limits.stored += len(piece)
        check()
        for block in members.gunzip(piece):
            limits.see(block)
            if small.size and small.size + len(block) > most_small:
                yield small.take()
            if len(block) < _SMALL_BLOCK_BYTES:
                small.add(block)
            else:
                yield block
                check()
    members.finish()
    if small.size:
        yield small.take()


def _pieces(chunks: Iterable[bytes]) -> Iterator[memoryview]:
    for chunk in chunks:
        view = memoryview(chunk)
        for start in range(0, len(view), _PIECE_BYTES):
            yield view[start : start + _PIECE_BYTES]


class _Limits:
    """What may come out of a file, and how much.

    Attributes:
        stored: how many bytes of the file were read.
    """

    def __init__(self, max_bytes: int, max_expansion: int) -> None:
        self.stored = 0
        self._plain = 0
        self._head = b""
        self._max_bytes = max_bytes
        self._max_expansion = max_expansion

    def see(self, block: bytes) -> None:
        """Take the next bytes that came out, before they are handed out.

        Raises:
            ArchiveTooLarge: they are too many.
            ArchiveCompressedTwice: they begin like gzip.
        """
        self._plain += len(block)
        if len(self._head) < len(_GZIP_AGAIN):
            self._head += block[: len(_GZIP_AGAIN)]
            if self._head.startswith(_GZIP_AGAIN):
                raise ArchiveCompressedTwice("the archive decompresses to gzip data: it was compressed twice")
        if self._plain > self._max_bytes:
            self._refuse(f"the {self._max_bytes} bytes that CSV_MAX_BYTES allows")
        if self._plain > max(_FREE_BYTES, self._max_expansion * self.stored):
            self._refuse(f"the {self._max_expansion} times its size that CSV_MAX_EXPANSION allows")

    def _refuse(self, allowed: str) -> NoReturn:
        raise ArchiveTooLarge(
            f"the archive decompresses to more than {allowed}: {self._plain} bytes came out of its first {self.stored}"
        )


class _SmallBlocks:
    """Small blocks that wait to make one larger block.

    Attributes:
        size: how many bytes wait.
    """

    def __init__(self) -> None:
        self.size = 0
        self._blocks: list[bytes] = []

    def add(self, block: bytes) -> None:
        self._blocks.append(block)
        self.size += len(block)

    def take(self) -> bytes:
        block = b"".join(self._blocks)
        self._blocks, self.size = [], 0
        return block


class _Members:
    """The members of one file, one after the other."""

    def __init__(self, block_bytes: int) -> None:
        self._block_bytes = block_bytes
        self._number = 0  # of the member that was begun last
        self._head = b""  # the beginning of a header that is not complete yet
        self._inflater: isal_zlib.Decompress | None = None
        self._is_begun = False  # whether only its header was read

    def gunzip(self, data: memoryview) -> Iterator[bytes]:
        while data:
            if self._inflater is None:
                data = self._begin(data)
            else:
                data = yield from self._inflate(self._inflater, data)

    def finish(self) -> None:
        if self._inflater is not None:
            raise ArchiveTruncated(f"the gzip data ends inside member {self._number}")
        if self._head:
            raise ArchiveTruncated(f"the gzip data ends in the header of member {self._number + 1}")
        if not self._number:
            raise ArchiveTruncated("the file is empty: it has 0 bytes", hint=_EMPTY_HINT)

    def _begin(self, data: memoryview) -> memoryview:
        """Begin with the next member, and return the data after its header."""
        if not self._head and (empty := _EMPTY_MEMBERS.match(data)):
            self._number += empty.group().count(_EMPTY_BODY)
            return data[empty.end() :]
        # Each member copies what is looked at, so it is all of the data only if no fewer bytes hold the header.
        for size in (_USUAL_HEADER_BYTES, _SMALL_MEMBER_BYTES, len(data)):
            head = self._head + bytes(data[:size])
            if self._number:
                head = head.lstrip(b"\0")
            if not _MAGIC.startswith(head[: len(_MAGIC)]):
                if self._number:
                    raise ArchiveCorrupt(f"bytes that are not gzip follow member {self._number}")
                begins = looks_like(self._head + bytes(data))
                raise ArchiveNotGzip(
                    "the file does not begin like gzip" + (f", but like {begins}" if begins is not None else "")
                )
            length = _header_length(head)
            if length is not None:
                break
        else:
            if len(head) > _HEADER_BYTES_LIMIT:
                raise ArchiveCorrupt(f"the header of gzip member {self._number + 1} has no end")
            self._head = head
            return data[:0]
        self._head = b""
        self._number += 1
        self._inflater = isal_zlib.decompressobj(wbits=_GZIP_WBITS)
        self._is_begun = True
        # In one call: isal 1.9 misreads a header of several optional fields, or one with a checksum, in two.
        self._call(self._inflater, head[:length])
        return data[min(size, len(data)) - (len(head) - length) :]

    def _inflate(self, inflater: isal_zlib.Decompress, data: memoryview) -> Generator[bytes, None, memoryview]:
        """Yield what comes out, and return the data after the member, or what was not read yet."""
        part: bytes | memoryview = data[:_SMALL_MEMBER_BYTES] if self._is_begun else data
        rest = data[len(part) :]
        self._is_begun = False
        while True:
            block = self._call(inflater, part)
            if block:
                yield block
            if inflater.eof:
                self._inflater = None
                return data[len(data) - len(rest) - len(inflater.unused_data) :]
            part = inflater.unconsumed_tail
            # After a full block, more may come out without any further input.
            if not part and len(block) < self._block_bytes:
                return rest

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
        # Cut short, these two bytes give too small a number; the check below then still fails.
        end += 2 + int.from_bytes(head[end : end + 2], "little")
    for field in (_FNAME, _FCOMMENT):
        if flags & field:
            end = head.find(b"\0", end) + 1
            if not end:
                return None
    if flags & _FHCRC:
        end += 2
    return end if end <= len(head) else None
