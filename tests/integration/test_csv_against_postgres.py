"""What we read in a CSV against what the server's own COPY reads in it."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from psycopg2 import sql

from shared.csvfile.head import CsvDialect, bom_length, read_header, read_records
from shared.csvfile.scan import RecordCounter
from shared.errors import EndOfDataMarker, HeaderInvalid, HeaderMissing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class with a small name

PG_18 = 180_000
ALL = 10_000

# Text of few and fatal characters, so that quotes, escapes and line ends meet often.
fatal = st.lists(
    st.sampled_from(['"', '""', "'", "\\", '\\"', ",", ";", "a", "ü", " ", ".", "\n", "\n", "\r\n", "\r", "\n\\.\n"]),
    max_size=25,
).map(lambda parts: "".join(parts).encode())  # fmt: skip
dialects = st.builds(
    CsvDialect,
    delimiter=st.sampled_from(",;a"),
    quote=st.sampled_from("\"'\\"),
    escape=st.sampled_from("\"'\\ "),
)
# The server is not reset between two examples, each of which empties its table itself.
on_server = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def cursor() -> Iterator[Cursor]:
    dsn = os.environ.get("RESTORE_TEST_DSN")
    if not dsn:
        pytest.skip("RESTORE_TEST_DSN is not set")
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SET client_encoding = 'UTF8'")
        yield cursor
    connection.close()


def copied(
    cursor: Cursor, data: bytes, dialect: CsvDialect, names: list[str], header: str = "false"
) -> list[Any] | None:
    """The rows that COPY loads into text columns of these names; None where it refuses the file."""
    columns = sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(name)) for name in names)
    cursor.execute("DROP TABLE IF EXISTS pg_temp.seen")
    cursor.execute(sql.SQL("CREATE TEMP TABLE seen ({})").format(columns))
    copy = sql.SQL(
        "COPY pg_temp.seen FROM STDIN (FORMAT csv, NULL 'never', HEADER {},"
        " DELIMITER {}, QUOTE {}, ESCAPE {}, ENCODING {})"
    ).format(
        sql.SQL(header),
        *map(sql.Literal, (dialect.delimiter, dialect.quote, dialect.escape, dialect.encoding)),
    )
    file = io.BytesIO(data)
    file.seek(bom_length(file, dialect))
    try:
        cursor.copy_expert(copy, file)
    except psycopg2.DataError:
        return None
    cursor.execute("SELECT * FROM pg_temp.seen ORDER BY ctid")
    return [list(row) for row in cursor.fetchall()]


def ours(data: bytes, dialect: CsvDialect) -> list[list[str]] | None:
    try:
        return read_records(io.BytesIO(data), dialect, ALL)
    except HeaderInvalid:
        return None


def has_marker(data: bytes, dialect: CsvDialect) -> bool:
    counter = RecordCounter(dialect)
    for line in io.BytesIO(data):
        counter.see(line)
    try:
        counter.refuse_end_marker()
    except EndOfDataMarker:
        return True
    return False


@on_server
@given(data=fatal, dialect=dialects, width=st.integers(1, 3))
def test_records_are_the_rows_of_copy(cursor: Cursor, data: bytes, dialect: CsvDialect, width: int) -> None:
    assume(dialect.delimiter != dialect.quote)
    assume(b"\\." not in data)  # see the next test
    records = ours(data, dialect)
    if records is not None and any(len(record) != width for record in records):
        records = None
    assert copied(cursor, data, dialect, ["x", "y", "z"][:width]) == records


@on_server
@given(data=fatal, dialect=dialects)
def test_a_file_without_a_marker_loses_no_row(cursor: Cursor, data: bytes, dialect: CsvDialect) -> None:
    assume(dialect.delimiter != dialect.quote)
    # With this quote and mixed line ends we refuse a file that the server could read: the safe side.
    assume(dialect.quote != "\\")
    records = ours(data, dialect)
    assume(records is not None and all(len(record) == 1 for record in records))
    assert records is not None
    rows = copied(cursor, data, dialect, ["x"])
    if cursor.connection.server_version >= PG_18:
        assert rows == records
    elif has_marker(data, dialect):
        assert rows is None or len(rows) < len(records)
    else:
        assert rows is not None
        # As the very last line it is the end and no row, and hides none.
        assert records in (rows, [*rows, ["\\."]])


@on_server
@given(data=fatal, dialect=dialects, bom=st.booleans())
def test_the_header_is_the_one_that_copy_matches(
    cursor: Cursor, data: bytes, dialect: CsvDialect, *, bom: bool
) -> None:
    assume(dialect.delimiter != dialect.quote)
    assume(b"\\." not in data)
    data = (b"\xef\xbb\xbf" if bom else b"") + data
    try:
        names = [name.raw for name in read_header(io.BytesIO(data), dialect)]
        records = ours(data, dialect)
    except (HeaderInvalid, HeaderMissing):
        return
    assume(all(len(name.encode()) <= 63 for name in names))
    assume(records is not None and all(len(record) == len(names) for record in records))
    assert copied(cursor, data, dialect, names, "match") is not None
    # Were it another name, the server would say so: the assertion above can fail.
    assert copied(cursor, data, dialect, [names[0] + "x", *names[1:]], "match") is None


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("größe,€", "WIN1252"),
        ("größe,ÿ", "LATIN1"),
        ("日本,ソ,ポ", "SJIS"),
        ("日本,漢字", "EUC_JP"),
        ("中文,功", "BIG5"),
        ("中文,a", "GB18030"),
        ("中文,丂", "GBK"),
        ("한국,각", "UHC"),
        ("日本,é", "UTF8"),
    ],
)
def test_names_in_other_encodings_are_the_server_s(cursor: Cursor, text: str, encoding: str) -> None:
    from psycopg2.extensions import encodings  # noqa: PLC0415 - only the oracle needs it

    data = f"{text}\n".encode(encodings[encoding])
    dialect = CsvDialect(encoding=encoding)
    names = [name.raw for name in read_header(io.BytesIO(data), dialect)]
    assert names == text.split(",")
    assert copied(cursor, data, dialect, names, "match") == []
