"""The first row's end: where PostgreSQL would see it, or nowhere."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.csvfile.head import MIB, CsvDialect, first_row_length, read_records
from shared.errors import HeaderInvalid

BOM = b"\xef\xbb\xbf"


def length(data: bytes, *, has_header: bool = True, dialect: CsvDialect | None = None) -> int | None:
    file = io.BytesIO(data)
    file.seek(1)
    found = first_row_length(file, dialect or CsvDialect(), has_header=has_header)
    assert file.tell() == 0
    return found


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a\n1\n2\n", 4),
        (b"a\r\n1\r\n2\r\n", 6),
        (BOM + b"a\n1\n2\n", 4),
        (b'"a\nb"\n"1\n\n"\n2', 12),
        (b'"a""\nb"\n1\n2', 10),
        (b"a\n\n2\n", 3),
        (b"a\n\xc3\xa9\n2\n", 5),
        (b"a\n1\n2", 4),
        (b"a\n1\n2\r\n", None),
        (b"a\r\n1\r\n2\n", None),
        (b"a\n1\n2\r", None),
        (b"a\n1\n2\r3\r", None),
        (b"a\n1\n", None),
        (b"a\n1", None),
        (b"a\n", None),
        (b"", None),
        (b"a\r1\r2\r", None),
        (b"a\n1\r2\n3\n", None),
        (b'a\n"1\n2\n', None),
        (b"a\n\xff\n2\n", None),
        (b"a\n" + b"x" * (MIB + 1) + b"\n2\n", None),
    ],
)
def test_the_end_of_the_first_row(data: bytes, expected: int | None) -> None:
    assert length(data) == expected


def test_without_a_header() -> None:
    assert length(b"1\n2\n", has_header=False) == 2


@pytest.mark.parametrize(
    ("data", "encoding", "expected"),
    [
        (b"a\n\x83\x5c\n2\n", "SJIS", 5),
        (b"a\n\xe9\n2\n", "LATIN1", 4),
        # Ten bytes for five letters, of which Python would write other ones.
        (b"a\n\x1b(J1\n2\n", "unknown", None),
    ],
)
def test_other_encodings(data: bytes, encoding: str, expected: int | None) -> None:
    assert length(data, dialect=CsvDialect(encoding=encoding)) == expected


fatal = st.lists(st.sampled_from([b"\n", b"\r\n", b'"', b"a", b",", b"\\", b'""', b"\xc3\xa9"]), max_size=12)


@given(parts=fatal, has_header=st.booleans(), escape=st.sampled_from('"\\'))
def test_both_parts_together_are_the_file(parts: list[bytes], has_header: bool, escape: str) -> None:
    data, dialect = b"".join(parts), CsvDialect(escape=escape)
    end = length(data, has_header=has_header, dialect=dialect)
    if end is None:
        return
    count = 2 if has_header else 1
    first = read_records(io.BytesIO(data[:end]), dialect, 99)
    assert len(first) == count
    try:
        whole = read_records(io.BytesIO(data), dialect, 99)
    except HeaderInvalid:
        with pytest.raises(HeaderInvalid):
            read_records(io.BytesIO(data[end:]), dialect, 99)
        return
    assert first + read_records(io.BytesIO(data[end:]), dialect, 99) == whole
