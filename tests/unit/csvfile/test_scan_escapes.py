"""Records are counted by COPY's rules if ESCAPE and QUOTE differ, in work that grows with the file and not faster."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.csvfile.head import CsvDialect
from shared.csvfile.scan import RecordCounter

DIALECT = CsvDialect(escape="\\")


def counted(data: bytes, size: int) -> int:
    counter = RecordCounter(DIALECT)
    for position in range(0, len(data), size):
        counter.see(data[position : position + size])
    return counter.records


def by_the_rules(data: bytes) -> int:
    """Count as `CopyReadLineText` does, byte by byte."""
    is_open = escaped = False
    feeds = returns = 0
    for byte in data:
        if is_open and byte == ord("\\"):
            escaped = not escaped
        if byte == ord('"') and not escaped:
            is_open = not is_open
        elif not is_open:
            feeds += byte == ord("\n")
            returns += byte == ord("\r")
        if byte != ord("\\"):
            escaped = False
    return (feeds or returns) + (data[-1:] not in (b"\n", b"\r", b""))


@given(data=st.lists(st.sampled_from([b'"', b"\\", b"\n", b"\r", b"a"])).map(b"".join), size=st.integers(1, 9))
def test_as_postgresql_counts(data: bytes, size: int) -> None:
    assert counted(data, size) == by_the_rules(data)


@pytest.mark.parametrize("pattern", [b'"', b'\\"', b"\\", b'"\\"\n"', b'"\n"\n', b'\\"\n"', b'\\""', b'"\\\\\\"\n'])
def test_hostile_bytes_take_work_that_grows_with_them(pattern: bytes) -> None:
    """Eight times the bytes take about eight times as long; where work grew with their square, 64 times."""

    def seconds(size: int) -> float:
        data = (pattern * (size // len(pattern) + 1))[:size]
        best = float("inf")
        for _ in range(3):
            begin = time.thread_time()
            counted(data, size)
            best = min(best, time.thread_time() - begin)
        return best

    assert seconds(1 << 20) < 30 * seconds(1 << 17) + 0.01
