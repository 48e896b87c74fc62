from __future__ import annotations

import codecs
import io

import pytest

from shared.csvfile.format_hints import columns_with_offsets, delimiter_hint, escapes_by_backslash, wide_encoding
from shared.csvfile.head import CsvDialect

ESCAPED = [
    r'"say \"hi\", you",1',
    r'"\"hi",1',
    r'"hi\"",1' + "\n" + r'"ho\"",2',
    r'"a\", b",1',
    r'"a\",b\",c",1',
    r'"a\",\"b",1',
    r'"a\" , b",1',
    r"say \"hi\",1",
    'x,1\n"two\nlines \\"and\\" more",2',
    'x,1\r\n"say \\"hi\\"",2\r\n',
    r'"C:\dir\",1' + "\n" + r'"say \"hi\"",2',
]
PLAIN = [
    r'"C:\dir\",next',
    r'next,"C:\dir\"',
    r'"C:\dir\" , "next"',
    r'"C:\dir\","C:\other\"' + "\n" + r'"D:\","E:\"' + "\n",
    r'"say \""hi\"" you",1',
    r'"ends with \""",1',
    r'"\""",1',
    r'"say ""hi"", you\n",1',
    r'a\b,"c\d"',
    r'5" pipe,1',
    r'"a" b,1',
]


def csv(text: str) -> io.BytesIO:
    return io.BytesIO(f"a,b\n{text}".encode())


@pytest.mark.parametrize("text", ESCAPED)
def test_a_backslash_that_escapes_a_quote(text: str) -> None:
    file = csv(text)
    assert escapes_by_backslash(file, CsvDialect())
    assert file.tell() == 0
    assert not escapes_by_backslash(csv(text), CsvDialect(escape="\\"))
    other = csv(text.replace('"', "'").replace(",", ";"))
    assert escapes_by_backslash(other, CsvDialect(delimiter=";", quote="'", escape="'"))


@pytest.mark.parametrize("text", PLAIN)
def test_a_backslash_that_is_one(text: str) -> None:
    assert not escapes_by_backslash(csv(text), CsvDialect())
    assert not escapes_by_backslash(csv(text + "\nx,1\n"), CsvDialect())


def test_only_the_first_mib_is_looked_at() -> None:
    rows = "x,1\n" * 300_000
    assert not escapes_by_backslash(csv(rows + ESCAPED[0]), CsvDialect())
    assert escapes_by_backslash(csv(ESCAPED[0] + "\n" + rows), CsvDialect())
    # An open quote at its end shows nothing.
    assert not escapes_by_backslash(csv('"C:\\",1\n"' + "x" * 2_000_000), CsvDialect())


def offsets(value: str, dialect: CsvDialect | None = None) -> bool:
    file = io.BytesIO(f'time,v\n2025-01-05 00:00,1\n"{value}",1\n'.encode())
    return bool(columns_with_offsets(file, dialect or CsvDialect(), ("time", "v"), {"time"}, has_header=True))


@pytest.mark.parametrize(
    "value",
    [
        "2025-01-05 01:00+02",
        "2025-01-05T01:00:00.123-05:30",
        "2025-01-05 01:00:00 +0200",
        "20250105T010000+02",
        "2025-01-05 01:00 CET",
        "2025-01-05 01:00 Europe/Berlin",
        "2025-01-05 01:00 PM CET",
        "Sun Jan  5 01:00:00 CET 2025",
        "01:00:00+00:30",
        "2025-01-05 01:00 GMT+2",
        "2025-01-05 01:00 UTC-5",
    ],
)
def test_an_offset_that_would_be_dropped(value: str) -> None:
    assert offsets(value)
    assert offsets(value, CsvDialect(escape="\\"))


@pytest.mark.parametrize(
    "value",
    [
        "2025-01-05",
        "2025-01-05 01:00",
        "2025-01-05 01:00+00",
        "2025-01-05T01:00:00Z",
        "-05",
        "2025-01-05 01:00:00.5-00:00",
        "2025-01-05 01:00 UTC",
        "2025-01-05 01:00 PM",
        "",
        "\\N",
        "20250105",
        "infinity",
    ],
)
def test_no_offset(value: str) -> None:
    assert not offsets(value)


def test_which_column_has_the_offset() -> None:
    def found(text: str, *, has_header: bool = False) -> tuple[str, ...]:
        return columns_with_offsets(io.BytesIO(text.encode()), CsvDialect(), ("a", "b"), {"b"}, has_header=has_header)

    row = "2025-01-05 01:00,2025-01-05 01:00+02\n"
    assert found(row) == ("b",)
    # The header, the other column, a row of other fields, and text inside quotes are none.
    assert found(row, has_header=True) == ()
    assert found("2025-01-05 01:00+02,x\n") == ()
    assert found("x,2025-01-05 01:00+02,x\n") == ()
    assert found('"x\n1,2025-01-05 01:00+02\n",x\n') == ()


@pytest.mark.parametrize(
    ("fields", "dialect", "shown"),
    [
        (["ts;v"], CsvDialect(), '";"'),
        (["ts\tv;w\tx"], CsvDialect(), '"\\t"'),
        (["ts|v"], CsvDialect(), '"|"'),
        (["ts,v"], CsvDialect(delimiter=";"), '","'),
        (["sep=;"], CsvDialect(), "copy.skip_lines"),
        (["SEP=;"], CsvDialect(), "copy.skip_lines"),
        (["ts"], CsvDialect(), None),
        (["ts;v", "w"], CsvDialect(), None),
        (["ts;v"], CsvDialect(delimiter=";"), None),
        ([], CsvDialect(), None),
    ],
)
def test_the_delimiter_that_a_single_field_shows(fields: list[str], dialect: CsvDialect, shown: str | None) -> None:
    hint = delimiter_hint(fields, dialect)
    assert hint is None if shown is None else shown in (hint or "")


@pytest.mark.parametrize(
    ("beginning", "name"),
    [
        ("time,v\n".encode("utf-16"), "UTF-16"),
        (codecs.BOM_UTF16_BE + "time".encode("utf-16-be"), "UTF-16"),
        ("time,v\n".encode("utf-16-le"), "UTF-16LE"),
        ("time,v\n".encode("utf-16-be"), "UTF-16BE"),
        ("größe,v\n".encode("utf-16-le"), "UTF-16LE"),
        ("time,v\n".encode("utf-32"), "UTF-32"),
        (b"time,v\n", None),
        (codecs.BOM_UTF8 + b"time,v\n", None),
        (b"", None),
        (b"\0\0", None),
        (b"time\0,v,w,x\n", None),
        ("größe,v\n".encode("latin-1"), None),
    ],
)
def test_text_of_wide_characters(beginning: bytes, name: str | None) -> None:
    assert wide_encoding(beginning) == name
