"""Where records end, and on which line: compared with PostgreSQL's own COPY in tests/integration."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.csvfile.cut import records_of
from shared.csvfile.head import CsvDialect
from tests.fix_steps import steps_of

ESCAPED = CsvDialect(escape="\\")


def in_blocks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("data", "dialect", "records"),
    [
        (b"", CsvDialect(), []),
        (b"a,b\n1,2\n", CsvDialect(), [(b"a,b\n", 1), (b"1,2\n", 2)]),
        (b"a\n\n2", CsvDialect(), [(b"a\n", 1), (b"\n", 2), (b"2\n", 3)]),
        (b"a\r\n1\r\n", CsvDialect(), [(b"a\r\n", 1), (b"1\r\n", 2)]),
        (b"a\r1\r2", CsvDialect(), [(b"a\r", 1), (b"1\r", 2), (b"2\r", 3)]),
        (b'a\n"x\ny\r"\n1\n', CsvDialect(), [(b"a\n", 1), (b'"x\ny\r"\n', 3), (b"1\n", 4)]),
        # COPY counts the line ends of the file's own kind only.
        (b'a\r\n"x\ny"\r\n1', CsvDialect(), [(b"a\r\n", 1), (b'"x\ny"\r\n', 2), (b"1\r\n", 3)]),
        (b'a\r\n"x\r\ny"\r\n1', CsvDialect(), [(b"a\r\n", 1), (b'"x\r\ny"\r\n', 3), (b"1\r\n", 4)]),
        # And before it knows the kind, carriage returns.
        (b'"a\nb"\n1\n', CsvDialect(), [(b'"a\nb"\n', 1), (b"1\n", 2)]),
        (b'"a\rb"\n1\n', CsvDialect(), [(b'"a\rb"\n', 2), (b"1\n", 3)]),
        (b'"a\nb"', CsvDialect(), [(b'"a\nb"\n', 1)]),
        (b"a\n", CsvDialect(), [(b"a\n", 1)]),
        (b'a\n"\\"\n1"\n2\n', ESCAPED, [(b"a\n", 1), (b'"\\"\n1"\n', 3), (b"2\n", 4)]),
        (b"a\n\x83|\n2\n", CsvDialect(quote="|", encoding="SJIS"), [(b"a\n", 1), ("ポ\n".encode(), 2), (b"2\n", 3)]),
        (b"a\n\xe9|\n|\n", CsvDialect(quote="|", encoding="LATIN1"), [(b"a\n", 1), (b"\xe9|\n|\n", 3)]),
    ],
)
def test_records_and_their_lines(data: bytes, dialect: CsvDialect, records: list[tuple[bytes, int]], size: int) -> None:
    assert [tuple(record) for record in records_of(in_blocks(data, size), dialect)] == records


@pytest.mark.parametrize("pattern", [b'"\n', b'\\"\n', b"x"])
def test_a_long_record_takes_no_more_steps_than_it_has_blocks(pattern: bytes) -> None:
    def steps(blocks: int) -> int:
        text = b'"' + (pattern * 100)[:100] * blocks
        return steps_of(lambda: sum(1 for _ in records_of(in_blocks(text, 100), ESCAPED)))

    assert steps(800) < 10 * steps(100)


def test_a_quote_that_is_never_closed_loses_nothing() -> None:
    assert [record.text for record in records_of(iter([b'a\n"1\n2']), CsvDialect())] == [b"a\n", b'"1\n2\n']
