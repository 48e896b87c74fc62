"""`copy.skip_lines`, and `copy.header`, which may skip the header as well: rows, counts and the file's lines."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.fix_app import Answer, App

# The lines are skipped, and counted, before the server gets the rest. `test_row_data` compares the line that it names.
pytestmark = pytest.mark.any_server

BOTH = pytest.mark.parametrize("mode", ["direct", "staging"])
TABLE = "time timestamptz NOT NULL, v int, note text"
PREAMBLE = "sep=,\n# it's \"one, and 2025-01-01 00:00Z,1,x\n\n"
BODY = "time,v,note\n2025-01-01 01:00:00Z,1,a\n2025-01-01 02:00:00Z,2,ü\n"
BOM = b"\xef\xbb\xbf"


@pytest.fixture(autouse=True)
def _table(app: App) -> None:
    app.database.hypertable("t", TABLE)


def load(app: App, csv: str | bytes, mode: str = "direct", *, dry_run: bool = False, **copy: Any) -> Answer:
    data = csv if isinstance(csv, bytes) else csv.encode()
    return app.restore(app.archive("t", data), destination={"mode": mode}, copy=copy, dry_run=dry_run)


def rows(app: App) -> list[tuple[Any, ...]]:
    return app.database.fetch("SELECT v, note FROM {s}.t ORDER BY time")


def line(answer: Answer) -> int:
    assert answer.status == 422, answer.body
    found: int = answer.body["error"]["details"][0]["line"]
    assert answer.body["error"]["message"].startswith(f"line {found}")
    return found


@BOTH
@pytest.mark.parametrize(("format_", "transfer"), [("text", "spool"), ("binary", "stream"), ("binary", "spool")])
@pytest.mark.parametrize(("mark", "line_end"), [(b"", "\n"), (BOM, "\n"), (BOM, "\r\n"), (b"", "\r")])
def test_lines_before_the_header_are_not_rows(
    app: App, mode: str, format_: str, transfer: str, mark: bytes, line_end: str
) -> None:
    csv = mark + (PREAMBLE + BODY).replace("\n", line_end).encode()
    answer = load(app, csv, mode, skip_lines=3, format=format_, transfer=transfer)
    assert (answer.status, answer.body.get("status")) == (200, "ok"), answer.body
    assert (answer.body["rows_read"], answer.body["source"]["csv_bytes"]) == (2, len(csv))
    assert answer.body["copy"]["format"] == ("text" if line_end == "\r" else format_)
    assert rows(app) == [(1, "a"), (2, "ü")]


@BOTH
@pytest.mark.parametrize("lines", [0, 1, 2, 4])
def test_another_number_of_lines_meets_no_header(app: App, mode: str, lines: int) -> None:
    assert load(app, PREAMBLE + BODY, mode, skip_lines=lines).code in {"HeaderInvalid", "UnknownColumn"}
    assert rows(app) == []


@BOTH
@pytest.mark.parametrize(
    ("encoding", "codec"), [("LATIN1", "latin-1"), ("WIN1252", "cp1252"), ("SJIS", "shift_jis"), ("GB18030", "gb18030")]
)
def test_other_encodings(app: App, mode: str, encoding: str, codec: str) -> None:
    text = "ポ" if codec in {"shift_jis", "gb18030"} else "ü"
    csv = f"# {text}\r\n#\ntime,v,note\n2025-01-01 01:00Z,1,{text}\n2025-01-01 02:00Z,x,{text}\n".encode(codec)
    assert line(load(app, csv, mode, skip_lines=2, csv_options={"ENCODING": encoding})) == 5
    assert load(app, csv.replace(b",x,", b",2,"), mode, skip_lines=2, csv_options={"ENCODING": encoding}).status == 200
    assert rows(app) == [(1, text), (2, text)]


@BOTH
@pytest.mark.parametrize("way", [{}, {"format": "binary"}, {"transfer": "stream"}, {"indexes": "keep"}])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_errors_name_the_lines_of_the_file(app: App, mode: str, way: dict[str, Any], line_end: str) -> None:
    app.database.execute("ALTER TABLE {s}.t ADD CHECK (v <> 7)")
    for row in ("2025-01-01 03:00Z,x,", "2025-01-01 03:00Z,7,", "2025-01-01 03:00Z,1", ",1,"):
        csv = (PREAMBLE + BODY + row + "\n").replace("\n", line_end)
        assert line(load(app, csv, mode, skip_lines=3, **way)) == 7


@BOTH
def test_a_key_that_is_checked_at_the_end_names_the_line_too(app: App, mode: str) -> None:
    app.database.execute("CREATE TABLE {s}.device (id int PRIMARY KEY)")
    app.database.execute("INSERT INTO {s}.device VALUES (1), (2)")
    app.database.execute("ALTER TABLE {s}.t ADD FOREIGN KEY (v) REFERENCES {s}.device")
    assert line(load(app, PREAMBLE + BODY + "2025-01-01 03:00Z,3,\n", mode, skip_lines=3)) == 7


def test_an_integer_time_and_an_end_marker_name_the_line_too(app: App) -> None:
    answer = load(app, PREAMBLE + BODY + "\\.\n2025-01-01 03:00Z,3,\n", skip_lines=3)
    assert "line 7 " in answer.body["error"]["message"]
    app.database.execute("DROP TABLE {s}.t")
    app.database.hypertable("t", "time bigint NOT NULL, v int", interval="86400")
    assert line(load(app, "#\n#\ntime,v\n1735689600,1,2\n", skip_lines=2)) == 4


def test_rejected_rows_are_named_by_the_lines_of_the_file(app: App) -> None:
    if app.database.connection.server_version < 170000:
        pytest.skip("ON_ERROR needs PostgreSQL 17")
    csv = PREAMBLE + BODY + "x,1,\n2025-01-01 03:00Z,y,\n"
    skips: dict[str, Any] = {"skip_lines": 3, "on_error": "skip"}
    assert load(app, csv, "staging", max_rejected_rows=2, **skips).body["rejected_lines"] == [7, 8]
    answer = load(app, csv, "staging", max_rejected_rows=1, **skips)
    assert answer.body["error"]["details"][0]["lines"] == [7, 8]


@BOTH
def test_with_header_match_and_without_a_header(app: App, mode: str) -> None:
    assert load(app, PREAMBLE + BODY, mode, skip_lines=3, csv_options={"HEADER": "match"}).status == 200
    app.database.execute("TRUNCATE {s}.t")
    headerless: dict[str, Any] = {"csv_options": {"HEADER": False}, "columns": ["time", "v", "note"]}
    csv = PREAMBLE + BODY.partition("\n")[2]
    assert load(app, csv, mode, skip_lines=3, **headerless).status == 200
    assert rows(app) == [(1, "a"), (2, "ü")]
    assert line(load(app, csv + "x,1,\n", "staging", skip_lines=3, **headerless)) == 6
    # The header may be among the lines that are skipped.
    assert load(app, PREAMBLE + BODY, "staging", skip_lines=4, **headerless).status == 200


def test_a_dry_run_counts_the_rows_after_them(app: App) -> None:
    for transfer in ("spool", "stream"):
        body = load(app, PREAMBLE + BODY, skip_lines=3, transfer=transfer, dry_run=True).body
        assert (body["dry_run"]["rows_in_archive"], body["source"]["csv_bytes"]) == (2, len((PREAMBLE + BODY).encode()))
    assert load(app, PREAMBLE + BODY, skip_lines=3, expected_rows=2, dry_run=True).body["dry_run"]["problems"] == []


@BOTH
def test_a_full_dry_run_names_the_lines_of_the_file(app: App, mode: str) -> None:
    csv = "#\n#\nx,y,z,x\n1,2025-01-01 01:00Z,1,\n2,2025-01-01 02:00Z,one,\n"
    copy = {
        "skip_lines": 2,
        "header": "ignore",
        "columns": ["a", "time", "v", "b"],
        "column_map": {"a": None, "b": None},
    }
    body = app.restore(app.archive("t", csv.encode()), destination={"mode": mode}, copy=copy, dry_run="full").body
    (problem,) = body["dry_run"]["problems"]
    assert (problem["code"], problem["message"][:7]) == ("DataRejected", "line 5,")
    url = app.archive("t", csv.replace("one", "2").encode())
    plan = app.restore(url, destination={"mode": mode}, copy=copy, dry_run="full").body["dry_run"]
    assert (plan["problems"], plan["rows_in_archive"]) == ([], 2)


@BOTH
@pytest.mark.parametrize("transfer", ["spool", "stream"])
@pytest.mark.parametrize("headerless", [True, False])
def test_a_file_with_fewer_lines(app: App, mode: str, transfer: str, *, headerless: bool) -> None:
    copy: dict[str, Any] = {"csv_options": {"HEADER": False}, "columns": ["time", "v"]} if headerless else {}
    for csv, lines in (("", 1), ("a\nb", 3), ("a\nb\n", 3), ("a\n" * 999, 1000)):
        answer = load(app, csv, mode, skip_lines=lines, transfer=transfer, **copy)
        assert (answer.status, answer.code) == (422, "HeaderMissing")
        assert answer.body["error"]["target"] == "copy.skip_lines"
    # As many lines, and nothing behind them: no header, or no rows.
    answer = load(app, "a\nb", mode, skip_lines=2, transfer=transfer, **copy)
    assert (answer.status, answer.code) == ((200, None) if headerless else (422, "HeaderMissing"))
    if not headerless:
        assert "follows the 2 lines" in answer.body["error"]["message"]


@pytest.mark.parametrize("lines", [-1, 1001, 1.5, "one", True])
def test_how_many_lines_may_be_skipped(app: App, lines: Any) -> None:
    answer = load(app, BODY, skip_lines=lines)
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    assert answer.body["error"]["target"] == "copy.skip_lines"


IGNORE: dict[str, Any] = {"header": "ignore", "columns": ["time", "v", "note"]}


@BOTH
@pytest.mark.parametrize("format_", ["text", "binary"])
@pytest.mark.parametrize(
    "header", ["Zeit;Wert", "time,v,note", ",,", "x,x,x", "V,TIME,NOTE", '"a\nb",v,"say ""hi"""', "epoch,now,1"]
)
def test_a_header_that_is_ignored_names_nothing(app: App, mode: str, format_: str, header: str) -> None:
    csv = BODY.replace("time,v,note", header)
    answer = load(app, csv, mode, format=format_, **IGNORE)
    assert (answer.status, answer.body.get("rows_read")) == (200, 2), answer.body
    assert rows(app) == [(1, "a"), (2, "ü")]
    assert line(load(app, csv + "x,1,\n", "staging", format=format_, **IGNORE)) == 4
    assert load(app, csv, "staging", dry_run=True, **IGNORE).body["dry_run"]["rows_in_archive"] == 2


@BOTH
def test_an_ignored_header_after_skipped_lines_with_columns_left_out(app: App, mode: str) -> None:
    csv = "#\nnix\n1,2025-01-01 01:00Z,7\n"
    copy: dict[str, Any] = {
        "header": "ignore",
        "skip_lines": 1,
        "columns": ["n", "time", "v"],
        "column_map": {"n": None},
    }
    assert load(app, csv, mode, **copy).status == 200
    assert rows(app) == [(7, None)]
    assert line(load(app, csv + "1,x,7\n", "staging", **copy)) == 4


@pytest.mark.parametrize(
    "copy",
    [
        {"header": "ignore"},
        {**IGNORE, "csv_options": {"HEADER": False}},
        {**IGNORE, "csv_options": {"HEADER": "match"}},
        {**IGNORE, "header": "skip"},
    ],
)
def test_what_an_ignored_header_needs(app: App, copy: dict[str, Any]) -> None:
    answer = load(app, BODY, **copy)
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    assert answer.body["error"]["target"].startswith("copy")


@BOTH
@pytest.mark.parametrize("kind", ["timestamptz", "timestamp", "date", "bigint"])
def test_a_row_is_not_ignored_instead_of_a_header(app: App, mode: str, kind: str) -> None:
    """The first row would be lost under a 200."""
    app.database.execute("DROP TABLE {s}.t")
    app.database.execute(f"CREATE TABLE {{s}}.t (time {kind}, v int, note text)")
    day = "1735700000" if kind == "bigint" else "2025-01-01"
    csv = f"{day},1,a\n{day},2,b\n"
    target = {"mode": mode, "time_column": "time"}
    headerless: dict[str, Any] = {"csv_options": {"HEADER": False}, "columns": IGNORE["columns"]}
    for copy, field in ((IGNORE, "copy.header"), ({**headerless, "skip_lines": 1}, "copy.skip_lines")):
        for dry_run in (True, False):
            answer = app.restore(app.archive("t", csv.encode()), destination=target, copy=copy, dry_run=dry_run)
            assert (answer.status, answer.code) == (422, "HeaderMismatch"), answer.body
            assert answer.body["error"]["target"] == field
    assert app.restore(app.archive("t", csv.encode()), destination=target, copy=headerless).body["rows_read"] == 2


@BOTH
def test_numbers_may_be_names(app: App, mode: str) -> None:
    """As pandas names columns that have no names."""
    csv = BODY.replace("time,v,note", "0,1,2")
    assert load(app, csv, mode, **IGNORE).status == 200
    app.database.execute("CREATE TABLE {s}.u (a int, b int)")
    url = app.archive("u", b"0,1\n5,6\n")
    assert app.restore(url, copy={"header": "ignore", "columns": ["a", "b"]}).status == 200
    assert app.database.fetch("SELECT * FROM {s}.u") == [(5, 6)]


@BOTH
@pytest.mark.parametrize("header", ['time,12" v,note', 'time,v,"note', '"time,v,note'])
def test_rows_are_not_ignored_together_with_the_header(app: App, mode: str, header: str) -> None:
    """The quote would reach to the next one, in a row."""
    for note in ("a", '"a"', '"a,b"', '""'):
        csv = f"{header}\n2025-01-01 01:00Z,1,{note}\n2025-01-01 02:00Z,2,{note}\n2025-01-01 03:00Z,3,x\n"
        answer = load(app, csv, mode, **IGNORE)
        assert (answer.status, answer.code) == (422, "HeaderInvalid"), (note, answer.body)
    assert rows(app) == []


def test_an_empty_file_has_no_header_to_ignore(app: App) -> None:
    for csv in (b"", BOM):
        assert load(app, csv, **IGNORE).code == "HeaderMissing"
