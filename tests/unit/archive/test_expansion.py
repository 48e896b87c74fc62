from __future__ import annotations

import gzip
import os
from collections.abc import Iterator

import pytest

from shared.archive.gunzip import gunzip, refuse_stored
from shared.errors import ArchiveTooLarge, ArchiveTruncated
from shared.process import MIB


def unpacked(data: bytes, *, max_bytes: int = 10**12, max_expansion: int = 200, cut: int = 4 * MIB) -> Iterator[bytes]:
    chunks = (data[start : start + cut] for start in range(0, len(data), cut))
    return gunzip(chunks, max_bytes=max_bytes, max_expansion=max_expansion)


def length(blocks: Iterator[bytes]) -> tuple[int, str]:
    """How many bytes came out, and why no more did."""
    size = 0
    try:
        for block in blocks:
            size += len(block)
    except ArchiveTooLarge as error:
        return size, error.message
    return size, ""


@pytest.mark.parametrize("size", [0, 1, MIB, 5 * MIB + 3])
@pytest.mark.parametrize("cut", [1 << 10, 65_535, 1 << 16, 4 * MIB])
def test_what_is_allowed_comes_out_whole(size: int, cut: int) -> None:
    data = os.urandom(size)
    assert b"".join(unpacked(gzip.compress(data, compresslevel=1), cut=cut, max_bytes=size, max_expansion=1)) == data


def test_as_many_bytes_as_allowed_and_not_one_more() -> None:
    packed = gzip.compress(os.urandom(3 * MIB), compresslevel=1)
    assert length(unpacked(packed, max_bytes=3 * MIB)) == (3 * MIB, "")
    size, message = length(unpacked(packed, max_bytes=3 * MIB - 1))
    assert size < 3 * MIB
    assert message.startswith(
        "the archive decompresses to more than the 3145727 bytes that CSV_MAX_BYTES allows: 3145728"
    )


def test_a_small_file_of_blanks_is_not_a_bomb() -> None:
    assert length(unpacked(gzip.compress(bytes(16 * MIB)))) == (16 * MIB, "")


@pytest.fixture(scope="module")
def bombs() -> dict[str, bytes]:
    zeros = gzip.compress(bytes(256 * MIB), compresslevel=9)
    return {
        "one member": zeros,
        "many members": gzip.compress(bytes(4 * MIB), compresslevel=9) * 64,
        "behind rows": gzip.compress(os.urandom(40_000)) + zeros,
    }


@pytest.mark.parametrize("cut", [1000, 4 * MIB])
@pytest.mark.parametrize("kind", ["one member", "many members", "behind rows"])
def test_a_bomb_stops_early(bombs: dict[str, bytes], kind: str, cut: int) -> None:
    """However large the piece is in which storage hands it out."""
    assert len(bombs[kind]) < MIB // 2
    size, message = length(unpacked(bombs[kind], cut=cut))
    assert size <= 32 * MIB
    assert "more than the 200 times its size that CSV_MAX_EXPANSION allows" in message


def test_a_bomb_stops_at_the_bytes_that_are_allowed_too(bombs: dict[str, bytes]) -> None:
    size, message = length(unpacked(bombs["one member"], max_bytes=5 * MIB, max_expansion=1032))
    assert size <= 5 * MIB
    assert "CSV_MAX_BYTES" in message


def test_the_highest_setting_takes_what_deflate_can_do(bombs: dict[str, bytes]) -> None:
    assert length(unpacked(bombs["one member"], max_expansion=1032)) == (256 * MIB, "")


def test_what_is_read_so_far_counts_and_not_what_comes_later() -> None:
    """Ten times are allowed: of 20 MiB of zeros alone too much, behind 3 MiB that do not pack little enough."""
    zeros, noise = gzip.compress(bytes(20 * MIB)), gzip.compress(os.urandom(3 * MIB), compresslevel=1)
    assert length(unpacked(noise + zeros, max_expansion=10)) == (23 * MIB, "")
    size, message = length(unpacked(zeros + noise, max_expansion=10))
    assert size <= 16 * MIB
    assert "CSV_MAX_EXPANSION" in message


def test_other_faults_of_a_file_pass_through() -> None:
    with pytest.raises(ArchiveTruncated):
        list(unpacked(gzip.compress(b"rows")[:-1]))


@pytest.mark.parametrize("size", [0, 1, MIB, 5 * MIB + 3])
def test_an_archive_of_what_gzip_makes_larger_may_be_stored(size: int) -> None:
    refuse_stored(len(gzip.compress(os.urandom(size))), max_bytes=size)


def test_an_archive_that_is_mostly_padding_may_not() -> None:
    with pytest.raises(ArchiveTooLarge, match="CSV_MAX_BYTES"):
        refuse_stored(2 * MIB, max_bytes=MIB)
