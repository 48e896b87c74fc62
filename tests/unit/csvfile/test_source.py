from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.csvfile.source import CopyReader


@given(
    blocks=st.lists(st.binary(min_size=1, max_size=9), max_size=9),
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=5),
)
def test_it_hands_out_all_bytes_and_never_more_than_asked_for(blocks: list[bytes], sizes: list[int]) -> None:
    reader = CopyReader(iter(blocks))
    taken: list[bytes] = []
    while piece := reader.read(sizes[len(taken) % len(sizes)]):
        assert len(piece) <= sizes[len(taken) % len(sizes)]
        taken.append(piece)
    assert b"".join(taken) == b"".join(blocks)
    assert reader.read(1) == b""


def test_an_empty_block_is_not_the_end() -> None:
    reader = CopyReader(iter([b"", b"a", b"", b"b"]))
    assert [reader.read(9) for _ in range(3)] == [b"a", b"b", b""]


def test_it_keeps_the_error() -> None:
    def broken() -> Iterator[bytes]:
        yield b"a"
        raise ValueError("damaged")

    reader = CopyReader(broken())
    assert reader.read(9) == b"a"
    with pytest.raises(ValueError, match="damaged"):
        reader.read(9)
    assert isinstance(reader.error, ValueError)
