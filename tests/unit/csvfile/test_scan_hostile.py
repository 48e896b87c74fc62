"""Records are counted by COPY's rules if ESCAPE and QUOTE differ, in work that grows with the file and not faster."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.csvfile.head import CsvDialect
from shared.csvfile.scan import RecordCounter
from tests.fix_steps import steps_of

DIALECT = CsvDialect(escape="\\")


def counted(blocks: Iterable[bytes], dialect: CsvDialect) -> int:
    counter = RecordCounter(dialect)
    for block in blocks:
        counter.see(block)
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
    blocks = (data[start : start + size] for start in range(0, len(data), size))
    assert counted(blocks, DIALECT) == by_the_rules(data)


# What a file may consist of. Each took a step for each quote, escape, line or marker.
HOSTILE = [
    *(
        b'"',
        b"\\",
        b'\\"',
        b'\\\\"',
        b'"\\"\n',
        b'"\n"\n',
        b'\\"\n"',
        b'\\""',
        b'"\\\\\\"\n',
        b"\n",
        b"\r",
        b"\r\n",
        b"1\n",
    ),
    *(b"\\.\n", b'"\n\\.\n"\n', b'\n"\n\\.\r\n', b"\\.", 'é"\n'.encode(), bytes(range(256))),
]
DIALECTS = [CsvDialect(), DIALECT, CsvDialect(quote="\\", escape='"'), CsvDialect(quote=".", escape="\\")]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("pattern", HOSTILE)
def test_a_block_takes_as_many_steps_whatever_it_holds(pattern: bytes, dialect: CsvDialect) -> None:
    """Beside those that double with its length."""

    def steps(size: int) -> int:
        block = (b'"' + pattern * size)[:size]
        return steps_of(lambda: counted([block, block], dialect))

    assert steps(1 << 14) < steps(1 << 10) + 400
