from __future__ import annotations

import gzip
import random
import struct
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.archive.gunzip import gunzip
from shared.errors import ArchiveCorrupt, ArchiveNotGzip, ArchiveTruncated, RestoreError
from shared.process import MIB
from tests.fix_steps import steps_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CSV = b"time,value\n" + b"".join(b"2025-01-01 00:00:%02d,%d\n" % (i % 60, i * i) for i in range(60))
NOISE = random.Random(1).randbytes(2000)  # noqa: S311 - stored blocks, no secret


def blocks_of(chunks: Iterable[bytes], block_bytes: int = MIB) -> Iterator[bytes]:
    """Unpack without limits, which have tests of their own."""
    return gunzip(chunks, max_bytes=10**12, max_expansion=10**6, block_bytes=block_bytes)


def unpack(chunks: Iterable[bytes], block_bytes: int = MIB) -> bytes:
    return b"".join(blocks_of(chunks, block_bytes))


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def member(data: bytes, *, extra: bytes = b"", name: bytes = b"", comment: bytes = b"", crc: bool = False) -> bytes:
    """A gzip member with the optional header fields of RFC 1952, which Python's gzip module does not write."""
    flags = (4 if extra else 0) | (8 if name else 0) | (16 if comment else 0) | (2 if crc else 0)
    header = b"\x1f\x8b\x08" + bytes([flags]) + b"\1\2\3\4\0\xff"
    header += struct.pack("<H", len(extra)) + extra if extra else b""
    header += name + b"\0" if name else b""
    header += comment + b"\0" if comment else b""
    header += struct.pack("<H", zlib.crc32(header) & 0xFFFF) if crc else b""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = deflate.compress(data) + deflate.flush()
    return header + body + struct.pack("<II", zlib.crc32(data), len(data))


FULL = member(CSV, extra=b"xyz", name=b"silver.csv", comment=b"one day", crc=True)
PLAIN = member(CSV)


# --- what is read ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 1, 6, 9])
@pytest.mark.parametrize("data", [b"", b"x", CSV, NOISE], ids=["empty", "byte", "csv", "noise"])
def test_every_level_is_read(level: int, data: bytes) -> None:
    assert unpack([gzip.compress(data, level)]) == data


@pytest.mark.parametrize("size", [1, 2, 7, 100, 10_000])
def test_headers_with_all_fields_may_be_cut_anywhere(size: int) -> None:
    assert unpack(cut(FULL + FULL, size)) == CSV + CSV


def test_two_chunks_may_meet_anywhere() -> None:
    for at in range(1, len(FULL)):
        assert unpack([FULL[:at], FULL[at:]]) == CSV


@pytest.mark.parametrize("padding", [0, 1, 511, 300_000])
def test_zeros_after_a_member_are_padding(padding: int) -> None:
    assert unpack([PLAIN + bytes(padding)]) == CSV
    assert unpack([PLAIN, bytes(padding), FULL, bytes(padding)]) == CSV + CSV


def test_empty_members_and_empty_chunks_are_nothing() -> None:
    empty = gzip.compress(b"")
    assert unpack([b"", empty, b"", PLAIN, b"", empty]) == CSV
    assert list(blocks_of([empty])) == []


@pytest.mark.parametrize("block_bytes", [1, 2, 1000, 65_536])
def test_no_block_is_larger_than_asked_for(block_bytes: int) -> None:
    blocks = list(blocks_of([FULL], block_bytes))
    assert b"".join(blocks) == CSV
    assert max(map(len, blocks)) <= block_bytes
    assert all(blocks)


def test_a_bomb_is_unpacked_no_further_than_asked_for() -> None:
    bomb = gzip.compress(bytes(64 * MIB))  # 64 KiB of gzip
    blocks = blocks_of([bomb])
    assert len(next(blocks)) <= MIB
    assert sum(map(len, blocks)) >= 63 * MIB


def test_an_error_of_the_source_passes_through() -> None:
    def source() -> Iterator[bytes]:
        yield PLAIN[:50]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        unpack(source())


EMPTY = member(b"")


@pytest.mark.parametrize("empty", [EMPTY, member(b"", name=b"day.csv"), gzip.compress(b"", mtime=0)])
def test_members_that_hold_nothing_take_no_steps(empty: bytes) -> None:
    def steps(members: int) -> int:
        archive = PLAIN + empty * members + FULL
        return steps_of(lambda: unpack([archive]))

    assert unpack(cut(PLAIN + empty * 5_000 + FULL, 1000)) == CSV + CSV
    # One piece of the file after the other, each with a member that is cut.
    assert steps(30_000) < steps(1_000) + 30_000
    with pytest.raises(ArchiveCorrupt, match="member 1002 is damaged"):
        unpack([PLAIN, empty * 1000, FULL[:-8] + bytes(8)])


def test_many_small_members_make_few_blocks() -> None:
    blocks = list(blocks_of([gzip.compress(b"1,2\n") * 40_000]))
    assert b"".join(blocks) == b"1,2\n" * 40_000
    assert len(blocks) == 3


def test_the_check_is_called_while_nothing_comes_out() -> None:
    """Of members that hold nothing, and are not known for it by their first bytes."""
    checks = []
    empty = member(b"", comment=b"x") * 10_000
    packed = [PLAIN, empty, empty]
    assert b"".join(gunzip(packed, max_bytes=10**9, max_expansion=10, check=lambda: checks.append(1))) == CSV
    assert len(checks) > len(empty) * 2 // 65_536

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(gunzip(packed, max_bytes=10**9, max_expansion=10, check=stop))


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_a_file_cut_at_any_byte_is_truncated(size: int) -> None:
    two = PLAIN + FULL
    for end in (*range(len(PLAIN)), *range(len(PLAIN) + 1, len(two))):
        with pytest.raises(ArchiveTruncated):
            unpack(cut(two[:end], size))


def test_an_empty_file_is_truncated() -> None:
    with pytest.raises(ArchiveTruncated):
        unpack([])
    with pytest.raises(ArchiveTruncated):
        unpack([b"", b""])


@pytest.mark.parametrize("data", [b"time,value\n", b"\0", b"\x1f\x9d", b"\x1fx", b"\x8b\x1f", b"PK\3\4", bytes(100)])
@pytest.mark.parametrize("size", [1, 1000])
def test_another_beginning_is_not_gzip(data: bytes, size: int) -> None:
    with pytest.raises(ArchiveNotGzip):
        unpack(cut(data, size))


@pytest.mark.parametrize("tail", [b"x", b"\0x", b"\x1f\x8c", b"\n", b"time,value\n", bytes(1000) + b"\n"])
@pytest.mark.parametrize("size", [1, 1_000_000])
def test_other_bytes_after_a_member_are_corrupt(tail: bytes, size: int) -> None:
    with pytest.raises(ArchiveCorrupt):
        unpack(cut(PLAIN + tail, size))


@pytest.mark.parametrize("position", range(-8, 0))
@pytest.mark.parametrize("size", [1, 1_000_000])
def test_a_wrong_checksum_or_length_is_corrupt(position: int, size: int) -> None:
    damaged = bytearray(PLAIN)
    damaged[position] ^= 1
    for data in (bytes(damaged), bytes(damaged) + PLAIN):
        with pytest.raises(ArchiveCorrupt):
            unpack(cut(data, size))


def test_a_flipped_bit_is_never_read_as_another_day() -> None:
    read_all_the_same = 0
    for at in range(10, len(FULL)):
        for bit in range(8):
            damaged = bytearray(FULL)
            damaged[at] ^= 1 << bit
            try:
                assert unpack([bytes(damaged)]) == CSV
            except (ArchiveCorrupt, ArchiveTruncated):
                continue
            read_all_the_same += 1
    # The bits between the end of the deflate data and the next whole byte mean nothing.
    assert read_all_the_same < 8


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_a_wrong_header_checksum_is_corrupt(size: int) -> None:
    with pytest.raises(ArchiveCorrupt):
        unpack(cut(FULL.replace(b"silver.csv", b"golden.csv"), size))


@pytest.mark.parametrize("flag", [0x20, 0x40, 0x80])
def test_reserved_flags_are_corrupt(flag: int) -> None:
    with pytest.raises(ArchiveCorrupt):
        unpack([PLAIN[:3] + bytes([flag]) + PLAIN[4:]])


def test_a_method_that_is_not_deflate_is_corrupt() -> None:
    with pytest.raises(ArchiveCorrupt):
        unpack([PLAIN[:2] + b"\7" + PLAIN[3:]])


def test_a_name_without_an_end_is_corrupt_before_it_fills_the_memory() -> None:
    def endless() -> Iterator[bytes]:
        yield b"\x1f\x8b\x08\x08" + bytes(6)
        for _ in range(1000):
            yield b"x" * 1000

    with pytest.raises(ArchiveCorrupt, match="no end"):
        unpack(endless())


# --- properties, with Python's own gzip as the oracle --------------------------------------------------------------

payloads = st.binary(max_size=300) | st.builds(
    lambda data, times: data * times, st.binary(max_size=30), st.integers(0, 2000)
)


@given(
    parts=st.lists(st.tuples(payloads, st.integers(0, 9), st.integers(0, 20)), min_size=1, max_size=4),
    seams=st.lists(st.integers(0, 5000), max_size=10),
    block_bytes=st.integers(1, 5000),
)
def test_any_members_cut_anywhere_give_what_gzip_gives(
    parts: list[tuple[bytes, int, int]], seams: list[int], block_bytes: int
) -> None:
    data = b"".join(gzip.compress(payload, level) + bytes(padding) for payload, level, padding in parts)
    seams = sorted(seam % (len(data) + 1) for seam in seams)
    chunks = [data[a:b] for a, b in zip([0, *seams], [*seams, len(data)], strict=True)]
    assert unpack(chunks, block_bytes) == gzip.decompress(data) == b"".join(part[0] for part in parts)


@given(payload=payloads, at=st.integers(0, 10_000), with_=st.binary(max_size=4), size=st.integers(1, 400))
def test_damaged_files_never_give_what_gzip_would_not(payload: bytes, at: int, with_: bytes, size: int) -> None:
    data = gzip.compress(payload, mtime=0)
    at %= len(data)
    damaged = data[:at] + with_ + data[at + len(with_) :]
    try:
        unpacked = unpack(cut(damaged, size))
    except RestoreError:
        return
    assert unpacked == gzip.decompress(damaged)
