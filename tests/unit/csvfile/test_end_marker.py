from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.csvfile.head import CsvDialect
from shared.csvfile.scan import RecordCounter
from shared.errors import EndOfDataMarker

DEFAULT = CsvDialect()
BACKSLASH = CsvDialect(escape="\\")


def line_of_marker(data: bytes, dialect: CsvDialect = DEFAULT, size: int | None = None) -> int | None:
    step = size or max(len(data), 1)
    counter = RecordCounter(dialect)
    for start in range(0, len(data), step):
        counter.see(data[start : start + step])
    try:
        counter.refuse_end_marker()
    except EndOfDataMarker as error:
        found = re.search(r"line (\d+) ", error.message)
        assert found
        return int(found[1])
    return None


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"a\n1\n\\.\n2\n", 3),
        (b"a\r\n1\r\n\\.\r\n2\r\n", 3),
        (b"a\r1\r\\.\r2\r", 3),
        (b"\\.\na\n", 1),
        (b"a\n\\.\n\n", 2),
        (b"a\n\\.\n\\.\n", 2),
        (b'a\n"x\ny"\n\\.\n2\n', 4),
        (b'a\n"x\n\\.\ny"\n\\.\n2\n', 5),
        (b'a\n"x""\n\\.\ny"\n\\.\n2\n', 5),
        (b'a\n"x"",\n\\.\ny"\n\\.\n', None),
        (b'a\nx"y\n\\.\nz"\nw\n', None),
        (b"a\n1\n\\.\n", None),
        (b"a\r\n1\r\n\\.\r\n", None),
        (b"a\r1\r\\.\r", None),
        (b"a\n1\n\\.", None),
        (b"a\n1\n \\.\n2\n", None),
        (b"a\n1\n\\. \n2\n", None),
        (b"a\n1\n\\.,\n2\n", None),
        (b"a\n1\n\\..\n2\n", None),
        (b'a\n"\\."\n2\n', None),
        (b"a\n1,\\.\n2\n", None),
        (b"ab\\.\n12\n", None),
        (b"abc\\.\n12\n", None),
        (b"", None),
    ],
)
def test_only_a_whole_unquoted_line_with_rows_after_it_is_a_marker(data: bytes, line: int | None) -> None:
    assert line_of_marker(data) == line
    for size in range(1, len(data) + 1):
        assert line_of_marker(data, size=size) == line


@pytest.mark.parametrize(
    ("data", "dialect", "line"),
    [
        (b"a\n'x\n\\.\ny'\nz\n", CsvDialect(quote="'", escape="'"), None),
        (b"a\n'x\n\\.\ny'\nz\n", DEFAULT, 3),
        (b'a\n"x\\"\n\\.\ny"\nz\n', BACKSLASH, None),
        (b'a\n"x\\"\n\\.\ny"\nz\n', DEFAULT, 3),
        (b'a\n"x\\\\"\n\\.\ny\n', BACKSLASH, 3),
        (b"a\nx\\\n\\.\ny\n", BACKSLASH, 3),
        (b'a\n"x\\\n\\.\n"\ny\n', BACKSLASH, None),
        (b"a\n|\x83\x7c\n\\.\n|\ny\n", CsvDialect(quote="|", escape="|", encoding="SJIS"), None),
        (b"a\n\x83\x7c\n\\.\ny\n", CsvDialect(quote="|", escape="|", encoding="SJIS"), 3),
        (b"a\n\x83\x7c\n\\.\ny\n", CsvDialect(quote="|", escape="|", encoding="LATIN1"), None),
        (b"\xef\xbb\xbf\\.\ny\n", DEFAULT, 1),
        (b"\xef\xbb\xbf\\.\ny\n", CsvDialect(encoding="LATIN1"), None),
        (b"a\n.x\n\\.\n.\n\\.\ny\n", CsvDialect(quote=".", escape="\\"), 5),
        (b"a\n.x.\n\\.\ny\n", CsvDialect(quote=".", escape="\\"), 3),
    ],
)
def test_the_dialect_decides_what_is_quoted(data: bytes, dialect: CsvDialect, line: int | None) -> None:
    for size in range(1, len(data) + 1):
        assert line_of_marker(data, dialect, size) == line


# --- properties --------------------------------------------------------------------------------------------------

# Text of few and fatal characters, so that markers, quotes and escapes meet often.
fatal = st.lists(
    st.sampled_from([b"\\.", b"\n", b"\n\\.\n", b'"', b"a", b",", b"\\", b'""', b'\\"', b"."]), max_size=30
)
dialects = st.sampled_from([DEFAULT, BACKSLASH, CsvDialect(quote="'", escape='"'), CsvDialect(escape="a")])


def slow_line_of_marker(data: bytes, dialect: CsvDialect) -> int | None:
    """CopyReadLineText of PostgreSQL 17, character by character, for files with line feeds."""
    quote, escape = dialect.quote, "" if dialect.escape == dialect.quote else dialect.escape
    text = data.decode()
    in_quote = after_escape = False
    first_in_record = True
    line = 1
    for position, character in enumerate(text):
        if first_in_record and text.startswith("\\.\n", position):
            return line if text[position + 3 :] else None
        if in_quote and character == escape:
            after_escape = not after_escape
        if character == quote and not after_escape:
            in_quote = not in_quote
        if character != escape:
            after_escape = False
        first_in_record = character == "\n" and not in_quote
        line += character == "\n"
    return None


@given(parts=fatal, dialect=dialects, size=st.integers(1, 40))
def test_markers_are_found_where_postgresql_would_stop(parts: list[bytes], dialect: CsvDialect, size: int) -> None:
    data = b"".join(parts)
    assert line_of_marker(data, dialect, size) == slow_line_of_marker(data, dialect)
