"""How the file is read: csv options, headers, line ends, encodings, gzip members, damage."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from tests.integration.fix_app import Answer, App

TABLE = "a text, b text, c int"


def load(app: App, csv: bytes, *, columns: str = TABLE, mode: str = "direct", **copy: Any) -> Answer:
    app.database.execute("DROP TABLE IF EXISTS {s}.t")
    app.database.execute("CREATE TABLE {s}.t (" + columns + ")")
    return app.restore(app.archive("t", csv), copy=copy, destination={"mode": mode})


def rows(app: App) -> list[tuple[Any, ...]]:
    return app.database.fetch("SELECT * FROM {s}.t ORDER BY c")


@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize(
    ("options", "csv", "expected"),
    [
        ({"NULL": "", "DELIMITER": ","}, b'a,b,c\n,"",1\n', (None, "", 1)),
        ({"HEADER": "true"}, b"a,b,c\nx,y,1\n", ("x", "y", 1)),
        ({"HEADER": "MATCH"}, b"a,b,c\nx,y,1\n", ("x", "y", 1)),
        ({"delimiter": "\t"}, b"a\tb\tc\nx\ty,z\t1\n", ("x", "y,z", 1)),
        ({"DELIMITER": ";"}, b"a;b;c\nx;y;1\n", ("x", "y", 1)),
        ({"Null": "\\N"}, b"a,b,c\n\\N,,1\n", (None, "", 1)),
        ({"QUOTE": "'"}, b"a,b,c\n'x,y',\"y\",1\n", ("x,y", '"y"', 1)),
        ({"ESCAPE": "\\"}, b'a,b,c\n"x\\"y",y,1\n', ('x"y', "y", 1)),
        ({"ENCODING": "latin-1"}, b"a,b,c\n\xe4,y,1\n", ("ä", "y", 1)),
        ({"encoding": "WIN1252"}, b"a,b,c\n\x80,y,1\n", ("€", "y", 1)),
        ({"FORCE_NULL": ["b"]}, b'a,b,c\n"","",1\n', ("", None, 1)),
        ({"force_not_null": "a"}, b"a,b,c\n,,1\n", ("", None, 1)),
        ({"FORCE_NULL": "*"}, b'a,b,c\n"","",1\n', (None, None, 1)),
        ({"HEADER": None, "QUOTE": None, "ESCAPE": None}, b"a,b,c\nx,y,1\n", ("x", "y", 1)),
    ],
)
def test_every_csv_option(app: App, mode: str, options: dict[str, Any], csv: bytes, expected: tuple[Any]) -> None:
    answer = load(app, csv, mode=mode, csv_options=options)
    assert answer.status == 200, answer.body
    assert rows(app) == [expected]


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_the_default_marker(app: App, mode: str) -> None:
    columns = "a text DEFAULT 'dflt', b text, c int"
    answer = load(app, b"a,b,c\n\\D,y,1\n", columns=columns, mode=mode, csv_options={"DEFAULT": "\\D"})
    assert answer.status == 200, answer.body
    assert rows(app) == [("dflt", "y", 1)]


def test_a_headerless_file(app: App) -> None:
    options = {"HEADER": False}
    answer = load(app, b"1,x,y\n2,z,\n", csv_options=options, columns=TABLE)
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    app.database.execute("CREATE TABLE IF NOT EXISTS {s}.t (" + TABLE + ")")
    url = app.archive("t", b"\xef\xbb\xbfx,1,y\nz,2,\n")
    answer = app.restore(url, copy={"csv_options": options, "columns": ["a", "c", "b"]})
    assert answer.body["rows_loaded"] == 2
    # The byte order mark belongs to no value.
    assert rows(app) == [("x", "y", 1), ("z", None, 2)]


def test_column_map_with_and_without_a_header(app: App) -> None:
    answer = load(app, b"A,bee,c\nx,y,1\n", column_map={"A": "a", "bee": "b"})
    assert answer.body["columns_loaded"] == ["a", "b", "c"]
    assert rows(app) == [("x", "y", 1)]
    options = {"HEADER": False}
    answer = load(app, b"x,1\n", csv_options=options, columns_=["A", "c"], column_map={"A": "a"})
    assert answer.code == "InvalidRequest"


def test_column_map_that_meets_nothing_or_itself(app: App) -> None:
    assert load(app, b"a,b\nx,y\n", column_map={"nix": "a"}).code == "UnknownColumn"
    assert load(app, b"a,b\nx,y\n", column_map={"a": "b"}).code == "HeaderMismatch"


def test_columns_beside_a_header_must_be_that_header(app: App) -> None:
    """COPY would take the columns and ignore the header, and two swapped columns would load wrongly."""
    assert load(app, b"a,b,c\nx,y,1\n", columns_="").code == "InvalidRequest"
    app.database.execute("CREATE TABLE IF NOT EXISTS {s}.t (" + TABLE + ")")
    url = app.archive("t", b"b,a\nx,y\n")
    assert app.restore(url, copy={"columns": ["a", "b"]}).code == "HeaderMismatch"
    assert app.restore(url, copy={"columns": ["b", "a"]}).status == 200


def test_header_match_wants_every_column_in_order(app: App) -> None:
    match = {"HEADER": "match"}
    assert load(app, b"b,a,c\nx,y,1\n", csv_options=match).code == "HeaderMismatch"
    assert load(app, b"a,b\nx,y\n", csv_options=match).code == "HeaderMismatch"
    assert load(app, b"\xef\xbb\xbfA,b,c\nx,y,1\n", csv_options=match, column_map={"A": "a"}).status == 200


@pytest.mark.parametrize(
    "csv",
    [
        b"\xef\xbb\xbfa,b,c\nx,y,1\n",
        b"a,b,c\r\nx,y,1\r\n",
        b"a,b,c\rx,y,1\r",
        b'"a","b","c"\nx,y,1',
        b'\xef\xbb\xbf"a",b,c\r\nx,y,1',
    ],
)
def test_byte_order_mark_line_ends_and_quoted_names(app: App, csv: bytes) -> None:
    assert load(app, csv).body.get("rows_loaded") == 1
    assert rows(app) == [("x", "y", 1)]


def test_line_breaks_inside_quotes_in_header_and_row(app: App) -> None:
    answer = load(app, b'a,b,c\n"x\n\\.\ny",y,1\nz,y,oops\n')
    assert answer.code == "DataRejected"
    # Lines of the file, not records: the first row takes three.
    assert answer.body["error"]["details"][0]["line"] == 5
    answer = load(app, b'"two\nlines",b,c\n"x\n\\.\ny",y,1\n', columns='"two\nlines" text, b text, c int')
    assert rows(app) == [("x\n\\.\ny", "y", 1)]


def test_rows_after_an_end_of_data_marker_are_not_lost_silently(app: App) -> None:
    """PostgreSQL before 18 stops at the line and answers COPY 1."""
    answer = load(app, b"a,b,c\nx,y,1\n\\.\nx,y,2\n")
    assert (answer.status, answer.code) == (422, "EndOfDataMarker")
    assert rows(app) == []


GOOD = b"a,b,c\n" + b"".join(b"x,y,%d\n" % number for number in range(2000))


def test_multi_member_gzip_and_zero_padding(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.t (" + TABLE + ")")
    whole = gzip.compress(GOOD[:100]) + gzip.compress(b"") + gzip.compress(GOOD[100:]) + bytes(512)
    assert app.restore(app.stored("t", whole)).body["rows_loaded"] == 2000


def test_a_blob_with_content_encoding_gzip(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.t (" + TABLE + ")")
    answer = app.restore(app.stored("t", gzip.compress(GOOD), content_encoding="gzip"))
    assert answer.body.get("rows_loaded") == 2000
    assert answer.body["source"]["compressed_bytes"] == len(gzip.compress(GOOD))


def _damaged() -> dict[str, tuple[bytes, str]]:
    data = gzip.compress(GOOD)
    flipped = bytearray(data)
    flipped[-6] ^= 1  # in the CRC
    return {
        "no bytes at all": (b"", "ArchiveTruncated"),
        "cut in the header": (data[:5], "ArchiveTruncated"),
        "cut in the body": (data[: len(data) // 2], "ArchiveTruncated"),
        "cut in the trailer": (data[:-4], "ArchiveTruncated"),
        "cut by one byte": (data[:-1], "ArchiveTruncated"),
        "cut in a second member": (data + data[:20], "ArchiveTruncated"),
        "garbage behind": (data + b"garbage", "ArchiveCorrupt"),
        "a wrong checksum": (bytes(flipped), "ArchiveCorrupt"),
        "plain csv": (GOOD, "ArchiveNotGzip"),
        "nothing packed": (gzip.compress(b""), "HeaderMissing"),
    }


@pytest.mark.parametrize("damage", _damaged())
def test_a_damaged_archive_reaches_no_database(app: App, damage: str) -> None:
    data, code = _damaged()[damage]
    url = app.stored("nowhere", data)
    # No server listens there: the answer is about the archive all the same.
    answer = app.restore(url, pg={"host": "127.0.0.1", "port": 1})
    assert (answer.status, answer.code) == (422, code)
    assert answer.headers["x-ms-error-code"] == code
    assert not answer.body["error"]["retryable"]


def warned(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [warning["code"] for warning in answer.body["warnings"]]


@pytest.mark.parametrize("transfer", ["spool", "stream"])
@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_quotes_with_a_backslash_are_a_warning(app: App, mode: str, transfer: str) -> None:
    csv = b'a,b,c\n"say \\"hi\\", you",y,1\n'
    escape = {"ESCAPE": "\\"}
    assert warned(load(app, csv, mode=mode, transfer=transfer)) == ["BackslashQuotes"]
    assert rows(app) == [("say \\hi\\, you", "y", 1)]
    assert warned(load(app, csv, mode=mode, transfer=transfer, csv_options=escape)) == []
    assert rows(app) == [('say "hi", you', "y", 1)]
    # Who names the default has decided.
    assert warned(load(app, csv, mode=mode, transfer=transfer, csv_options={"ESCAPE": '"'})) == []
    assert warned(load(app, b'a,b,c\n"C:\\dir\\",next,1\n', mode=mode, transfer=transfer)) == []
    assert rows(app) == [("C:\\dir\\", "next", 1)]


def test_rows_that_a_backslash_before_a_quote_joins(app: App) -> None:
    r"""`\""` ends a field that ends in a quote; to COPY the field goes on, into the next row."""
    answer = load(app, b'a,c\n"say \\"",1\n"say \\"",2\n')
    assert warned(answer) == ["BackslashQuotes"]
    assert len(rows(app)) == 1


TIMES = "ts timestamp({0}) NOT NULL, d date, z timestamptz, c int"


@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize("precision", [3, 6])
def test_offsets_that_postgresql_drops_are_a_warning(app: App, mode: str, precision: int) -> None:
    def loaded(ts: str, d: str, z: str) -> list[str]:
        csv = f"ts,d,z,c\n2025-01-01 01:00,2025-01-01,2025-01-01 01:00,1\n{ts},{d},{z},2\n".encode()
        answer = load(app, csv, columns=TIMES.format(precision), mode=mode)
        assert all(name in str(answer.body["warnings"]) for name in ('"ts"',) if "+02" in ts)
        return warned(answer)

    zoned, plain = "2025-01-01 05:00+02", "2025-01-01 05:00"
    assert loaded(zoned, plain, zoned) == ["OffsetsIgnored"]
    assert app.database.value("SELECT ts::text FROM {s}.t WHERE c = 2") == plain + ":00"
    assert loaded(plain, zoned, plain) == ["OffsetsIgnored"]
    assert loaded(zoned, zoned, plain) == ["OffsetsIgnored"] * 2
    assert loaded(plain + "Z", plain + "+00", zoned) == []


def test_offsets_go_by_the_type_that_copy_sees(app: App) -> None:
    """A staging table with a zone keeps them, and one without drops them."""
    app.database.execute("CREATE TABLE {s}.zoned (ts timestamptz)")
    app.database.execute("CREATE TABLE {s}.plain (ts timestamp)")
    csv = b"ts\n2025-01-01 05:00+02\n"
    for target, like, codes in (("plain", "zoned", []), ("zoned", "plain", ["OffsetsIgnored"])):
        destination = {"mode": "staging", "create_staging_like": like}
        assert warned(app.restore(app.archive(target, csv), destination=destination)) == codes
        hour = app.database.value(f"SELECT extract(hour FROM ts AT TIME ZONE 'UTC')::int FROM {{s}}.{target}")
        assert hour == (3 if target == "plain" else 5)


def test_a_domain_drops_offsets_as_its_type_does(app: App) -> None:
    app.database.execute("CREATE DOMAIN {s}.local AS timestamp")
    app.database.execute("CREATE TABLE {s}.t (ts {s}.local)")
    assert warned(app.restore(app.archive("t", b"ts\n2025-01-01 05:00+02\n"))) == ["OffsetsIgnored"]


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_what_copy_wrote_is_read_as_it_was_whatever_the_roles_settings(app: App, mode: str) -> None:
    app.database.execute("CREATE TABLE {s}.t (a text[], b xml)")
    app.database.execute("""INSERT INTO {s}.t VALUES ('{{x,NULL,"NULL"}}', XMLPARSE(CONTENT 'a<b/>'))""")
    csv = b'a,b\n"{x,NULL,""NULL""}",a<b/>\n'
    pg = app.database.role("GRANT USAGE, CREATE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.t")
    for setting in ("array_nulls = off", "xmloption = document"):
        app.database.execute(f"ALTER ROLE {pg['user']} SET {setting}")
    answer = app.restore(app.archive("t", csv), pg=pg, destination={"mode": mode, "on_existing": "append"})
    assert answer.status == 200, answer.body
    stored = app.database.fetch("SELECT a::text, b::text FROM {s}.t")
    assert stored == [('{x,NULL,"NULL"}', "a<b/>")] * 2
