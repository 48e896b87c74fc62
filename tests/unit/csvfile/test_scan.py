"""The records of a CSV, counted without a database. tests/integration/test_dry_run.py compares with COPY itself."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.csvfile.head import CsvDialect
from shared.csvfile.scan import RecordCounter, rows_of

ESCAPED = CsvDialect(quote='"', escape="\\")
FIELDS = st.text(st.sampled_from('ab,"\n\r\\ é'), max_size=8)


def counted(blocks: Iterable[bytes], dialect: CsvDialect) -> int:
    counter = RecordCounter(dialect)
    for block in blocks:
        counter.see(block)
    return counter.records


def model(text: str, dialect: CsvDialect) -> int:
    """Count character by character, as COPY reads."""
    is_quoted = is_escaped = False
    ends: list[str] = []
    for character in text:
        if is_escaped:
            is_escaped = False
        elif is_quoted and character == dialect.escape != dialect.quote:
            is_escaped = True
        elif character == dialect.quote:
            is_quoted = not is_quoted
        elif character in "\n\r" and not is_quoted:
            ends.append(character)
    return (ends.count("\n") or ends.count("\r")) + (text[-1:] not in ("", "\n", "\r"))


@pytest.mark.parametrize("dialect", [CsvDialect(), ESCAPED])
@given(text=st.lists(FIELDS, max_size=6).map("".join), block=st.integers(1, 7))
def test_it_counts_as_the_model_does_however_the_file_is_cut(dialect: CsvDialect, text: str, block: int) -> None:
    data = text.encode()
    blocks = (data[start : start + block] for start in range(0, len(data), block))
    assert counted(blocks, dialect) == model(text, dialect)


@pytest.mark.parametrize(
    ("data", "rows"),
    [(b"", 0), (b"h", 0), (b"h\n", 0), (b"h\n1", 1), (b"h\r\n1\r\n2\r\n", 2), (b'\xef\xbb\xbf"h\n"\n"1\n""2"\n', 1)],
)
def test_the_header_is_not_a_row(data: bytes, rows: int) -> None:
    assert rows_of(counted([data], CsvDialect()), has_header=True) == rows


def test_a_quote_in_the_second_half_of_a_letter() -> None:
    """In Shift JIS a backslash can be one, and the text is looked at after its conversion."""
    dialect = CsvDialect(quote="\\", escape="\\", encoding="SJIS")
    assert counted(["ソ\nソ\n".encode("shift_jis")], dialect) == 2
