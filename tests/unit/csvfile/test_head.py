from __future__ import annotations

import csv
import io

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.csvfile.head import CsvDialect, bom_length, python_codec, read_header, read_ignored_header, read_records
from shared.errors import HeaderInvalid, HeaderMissing

DEFAULT = CsvDialect()


def records(data: bytes, dialect: CsvDialect = DEFAULT, count: int = 10, limit_bytes: int = 1000) -> list[list[str]]:
    file = io.BytesIO(data)
    file.seek(0, io.SEEK_END)
    try:
        return read_records(file, dialect, count, limit_bytes=limit_bytes)
    finally:
        assert file.tell() == 0


def header(data: bytes, dialect: CsvDialect = DEFAULT) -> list[str]:
    file = io.BytesIO(data)
    file.seek(0, io.SEEK_END)
    try:
        return [name.raw for name in read_header(file, dialect)]
    finally:
        assert file.tell() == 0


# --- records -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\n", [[""]]),
        (b"a,b\n1,2\n", [["a", "b"], ["1", "2"]]),
        (b"a,b", [["a", "b"]]),
        (b"a,b\r\n1,2\r\n", [["a", "b"], ["1", "2"]]),
        (b"a,b\r1,2\r", [["a", "b"], ["1", "2"]]),
        (b"a,b\r1,2", [["a", "b"], ["1", "2"]]),
        (b"a\n\nb\n", [["a"], [""], ["b"]]),
        (b",\n", [["", ""]]),
        (b'"a,b",c\n', [["a,b", "c"]]),
        (b'"a\nb",c\n', [["a\nb", "c"]]),
        (b'"a\r\nb"\nc\n', [["a\r\nb"], ["c"]]),
        (b'"a\rb"\nc\n', [["a\rb"], ["c"]]),
        (b'"a""b"\n', [['a"b']]),
        (b'a"b,c"d,e\n', [["ab,cd", "e"]]),
        (b'""\n', [[""]]),
        (b'""""\n', [['"']]),
        (b' "a" , b\n', [[" a ", " b"]]),
        (b"\\.\na\n", [["\\."], ["a"]]),
        (b"\xef\xbb\xbfa,b\n", [["a", "b"]]),
        (b'\xef\xbb\xbf"a",b\n', [["a", "b"]]),
        (b"\xef\xbb\xbf", []),
        (b"a\xef\xbb\xbf\n", [["a\ufeff"]]),
        ("zeit,größe,日本\n".encode(), [["zeit", "größe", "日本"]]),
    ],
)
def test_records_are_read_as_postgresql_reads_them(data: bytes, expected: list[list[str]]) -> None:
    assert records(data) == expected


@pytest.mark.parametrize(
    ("data", "dialect", "expected"),
    [
        (b"a;b,c\n", CsvDialect(delimiter=";"), [["a", "b,c"]]),
        (b"a\tb\n", CsvDialect(delimiter="\t"), [["a", "b"]]),
        (b"'a,b',\"c\n", CsvDialect(quote="'", escape="'"), [["a,b", '"c']]),
        (b'"a\\"b",c\n', CsvDialect(escape="\\"), [['a"b', "c"]]),
        (b'"a\\\\",c\n', CsvDialect(escape="\\"), [["a\\", "c"]]),
        (b'"a\\b",c\n', CsvDialect(escape="\\"), [["a\\b", "c"]]),
        (b'a\\"b\n"\n', CsvDialect(escape="\\"), [["a\\b\n"]]),
        (b'"a\\"\nb"\n', CsvDialect(escape="\\"), [['a"\nb']]),
        (b"gr\xf6\xdfe\n", CsvDialect(encoding="LATIN1"), [["größe"]]),
        (b"\x80\n", CsvDialect(encoding="win1252"), [["€"]]),
        (b"\x93\xfa\x96\x7b,\x83\x5c\n", CsvDialect(encoding="SJIS"), [["日本", "ソ"]]),
        (b"|\x83\x7c|,|b|\n", CsvDialect(quote="|", escape="|", encoding="SJIS"), [["ポ", "b"]]),
        (b"\xef\xbb\xbfa\n", CsvDialect(encoding="LATIN1"), [["ï»¿a"]]),
        ("größe\n".encode(), CsvDialect(encoding="SQL_ASCII"), [["größe"]]),
    ],
)
def test_the_dialect_is_followed(data: bytes, dialect: CsvDialect, expected: list[list[str]]) -> None:
    assert records(data, dialect) == expected


@pytest.mark.parametrize(
    "data",
    [
        b'a,"b\n1,2\n',
        b'"',
        b'"a""\n',
        b"a\xff,b\n",
        b"a\xc3",
        b"a\0b\n",
        b"x" * 1001 + b"\n",
        b'"' + b"x\n" * 1000,
        "ü".encode() * 501 + b"\n",
    ],
)
def test_a_first_record_that_cannot_be_read_is_invalid(data: bytes) -> None:
    with pytest.raises(HeaderInvalid):
        records(data, count=1)
    with pytest.raises(HeaderInvalid):
        records(b"fine\n" + data, count=2)
    assert records(b"fine\n" + data, count=1) == [["fine"]]


@pytest.mark.parametrize("data", [b"a\nb\r\nc\n", b"a\r\nb\nc\n", b"a\rb\nc\n", b"a\r\nb\rc\r\n", b"a\nb\rc\n"])
def test_mixed_line_ends_are_invalid_as_they_are_in_postgresql(data: bytes) -> None:
    with pytest.raises(HeaderInvalid, match="line ends"):
        records(data)


def test_no_more_is_read_than_is_asked_for() -> None:
    file = io.BytesIO(b"a,b\n" + b"1,2\n" * 1_000_000)
    assert read_records(file, DEFAULT, 2) == [["a", "b"], ["1", "2"]]
    assert read_records(file, DEFAULT, 0) == []


def test_a_record_may_be_as_long_as_the_limit() -> None:
    assert records(b"x" * 1000 + b"\n", limit_bytes=1000) == [["x" * 1000]]
    assert records(b"x" * 1000, limit_bytes=1000) == [["x" * 1000]]


def test_a_record_longer_than_a_piece_is_read_whole() -> None:
    names = [f"größe {number}" for number in range(10_000)]
    assert records(",".join(names).encode() + b"\n1\n", limit_bytes=200_000) == [names, ["1"]]


# --- the header --------------------------------------------------------------------------------------------------


def test_names_stay_as_they_are_written() -> None:
    assert header(b'Time," a b ","C""D",\xc3\xbc\n1,2,3,4\n') == ["Time", " a b ", 'C"D', "ü"]


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf"])
def test_an_empty_file_has_no_header(data: bytes) -> None:
    with pytest.raises(HeaderMissing):
        header(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\n", "the header names no column at position 1"),
        (b"a,,b\n", "the header names no column at position 2"),
        (b'a,""\n', "the header names no column at position 2"),
        (b"a,,b,\n", "the header names no column at positions 2, 4"),
        (b"a,b,a,c,b\n", "the header names a column twice, at positions 1, 2, 3, 5"),
    ],
)
def test_a_header_without_a_name_or_with_one_twice_is_invalid(data: bytes, message: str) -> None:
    with pytest.raises(HeaderInvalid) as caught:
        header(data)
    assert caught.value.message == message


def test_a_header_may_have_as_many_columns_as_a_table() -> None:
    names = [f"c{number}" for number in range(1600)]
    assert header(",".join(names).encode() + b"\n") == names
    with pytest.raises(HeaderInvalid) as caught:
        header(",".join([*names, "one more"]).encode() + b"\n")
    assert caught.value.message == "the header names 1601 columns, and no table has more than 1600"


def test_a_header_may_be_256_kib_long_and_rows_longer() -> None:
    name = "x" * 256 * 1024
    assert header(name.encode() + b"\n") == [name]
    with pytest.raises(HeaderInvalid, match="longer than 262144 bytes"):
        header(name.encode() + b"x\n")
    assert read_records(io.BytesIO(name.encode() + b"xx\n"), DEFAULT, 1) == [[name + "xx"]]


def test_names_that_differ_in_case_are_two() -> None:
    assert header(b"a,A\n") == ["a", "A"]


# --- encodings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["UTF8", "utf-8", "Unicode", "UTF 8"])
def test_utf8_has_a_byte_order_mark(name: str) -> None:
    assert python_codec(name) == "utf_8"
    assert bom_length(io.BytesIO(b"\xef\xbb\xbfa"), CsvDialect(encoding=name)) == 3


def test_other_beginnings_are_not_a_byte_order_mark() -> None:
    assert bom_length(io.BytesIO(b"\xef\xbb"), DEFAULT) == 0
    assert bom_length(io.BytesIO(b"\xff\xfea\0"), DEFAULT) == 0
    assert bom_length(io.BytesIO(b"\xef\xbb\xbfa"), CsvDialect(encoding="LATIN1")) == 0


def test_an_unknown_encoding_names_its_option() -> None:
    with pytest.raises(HeaderInvalid) as caught:
        header(b"a\n", CsvDialect(encoding="KLINGON"))
    assert caught.value.target == "copy.csv_options.ENCODING"


# --- properties: Python's csv module writes, we read ------------------------------------------------------------------

cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
tables = st.lists(st.lists(cells, min_size=1, max_size=4), max_size=5)


@given(
    table=tables,
    delimiter=st.sampled_from(",;\t|"),
    quote=st.sampled_from("\"'"),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    every=st.booleans(),
    bom=st.booleans(),
)
def test_what_the_csv_module_writes_is_read_back(
    table: list[list[str]], delimiter: str, quote: str, line_end: str, *, every: bool, bom: bool
) -> None:
    text = io.StringIO(newline="")
    # QUOTE_MINIMAL leaves a line end unquoted that is not the chosen one.
    assume(every or not any(set("\r\n") & set(cell) for row in table for cell in row))
    csv.writer(
        text,
        delimiter=delimiter,
        quotechar=quote,
        lineterminator=line_end,
        quoting=csv.QUOTE_ALL if every else csv.QUOTE_MINIMAL,
    ).writerows(table)
    data = (b"\xef\xbb\xbf" if bom else b"") + text.getvalue().encode()
    if not bom and data.startswith(b"\xef\xbb\xbf"):
        return  # a first name that begins with the mark looks the same as a file that does
    assert records(data, CsvDialect(delimiter=delimiter, quote=quote, escape=quote)) == table


@given(data=st.binary(max_size=200), encoding=st.sampled_from(["UTF8", "LATIN1", "SJIS", "EUC_JP", "BIG5", "GB18030"]))
def test_any_bytes_give_a_header_or_an_error_of_ours(data: bytes, encoding: str) -> None:
    try:
        names = header(data, CsvDialect(encoding=encoding))
    except (HeaderInvalid, HeaderMissing):
        return
    assert names
    assert len(set(names)) == len(names)


# --- a header that is ignored ---------------------------


@given(fields=st.lists(st.text("ab,\"\\\n ;'", max_size=5), min_size=1, max_size=4))
def test_an_ignored_header_of_quoted_fields_may_have_line_breaks(fields: list[str]) -> None:
    assume(any(fields))
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(fields)
    file = io.BytesIO(written.getvalue().encode() + b"1,2\n")
    assert read_ignored_header(file, DEFAULT, len(fields)) == fields
    assert file.tell() == 0


@pytest.mark.parametrize(
    ("data", "dialect"),
    [
        (b'a,b"\n1,"2"\n', DEFAULT),
        (b'a,12" b\n1,"2"\n', DEFAULT),
        (b'"a,b\n1,"2"\n', DEFAULT),
        (b'"a",b"\n1,"2"\n', DEFAULT),
        # As many fields as columns prove nothing.
        (b'a,"b\n1,"2\n', DEFAULT),
        # All quotes are at the edges of fields, but there is a field too few.
        (b'"a,b\n1,2"\n', DEFAULT),
        (b'a,"b\\"\n1,"2"\n', CsvDialect(escape="\\")),
        (b"a,'b\n1,'2'\n", CsvDialect(quote="'", escape="'")),
    ],
)
def test_an_ignored_header_takes_no_rows_along(data: bytes, dialect: CsvDialect) -> None:
    with pytest.raises(HeaderInvalid):
        read_ignored_header(io.BytesIO(data), dialect, 2)


def test_a_quote_in_an_ignored_header_of_one_line_is_harmless() -> None:
    assert read_ignored_header(io.BytesIO(b'a "b" c,d\n1,2\n'), DEFAULT, 2) == ["a b c", "d"]
    assert read_ignored_header(io.BytesIO(b"a,b,c\n1,2\n"), DEFAULT, 2) == ["a", "b", "c"]
