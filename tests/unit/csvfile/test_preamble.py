from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.csvfile.preamble import Preamble
from shared.errors import HeaderInvalid, HeaderMissing


def in_blocks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("data", "lines", "behind", "last"),
    [
        (b"a\nb\n", 0, b"a\nb\n", b""),
        (b"sep=;\na;b\n", 1, b"a;b\n", b"sep=;"),
        (b"\xef\xbb\xbfsep=;\r\na;b\r\n", 1, b"a;b\r\n", b"\xef\xbb\xbfsep=;"),
        (b"1\r2\r3", 2, b"3", b"2"),
        (b"1\r\n\r\n3\r\n", 2, b"3\r\n", b""),
        (b"1\n\r2\n", 2, b"2\n", b""),
        (b"it's \"one\n\n3\n", 2, b"3\n", b""),
        (b"1\n2\r", 2, b"", b"2"),
        (b"1\n2", 2, b"", b"2"),
        (b"1\n2\r\n", 2, b"", b"2"),
        (b"\x83\x5c\n\x83|\n", 1, b"\x83|\n", b"\x83\x5c"),
        (b"\n" * 1000 + b"h\n", 1000, b"h\n", b""),
    ],
)
def test_what_follows_the_lines(data: bytes, lines: int, behind: bytes, last: bytes, size: int) -> None:
    preamble = Preamble(lines)
    # It may be read more than once.
    for _ in range(2):
        assert b"".join(preamble.behind(in_blocks(data, size))) == behind
        assert (preamble.last, preamble.size) == (last, len(data) - len(behind))
        assert preamble.beginning == data[:512]


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(
    ("data", "there"), [(b"", 0), (b"1", 1), (b"1\n", 1), (b"1\r", 1), (b"1\r\n2\n", 2), (b"\n\n", 2), (b"1\n\r\n", 2)]
)
def test_a_file_with_fewer_lines(data: bytes, there: int, size: int) -> None:
    with pytest.raises(HeaderMissing, match=f"has {there} of the 3 lines") as caught:
        list(Preamble(3).behind(in_blocks(data, size)))
    assert caught.value.target == "copy.skip_lines"


def test_a_line_without_an_end_does_not_fill_the_memory() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 100_000

    with pytest.raises(HeaderInvalid, match="longer"):
        list(Preamble(1).behind(endless()))
