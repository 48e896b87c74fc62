"""The line of a row that PostgreSQL refuses without naming it: COPY names only rows that it refuses itself."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from shared.csvfile.cut import Record, records_of
from shared.load.copy import halving
from tests.integration.fix_app import Answer, App

BOTH = pytest.mark.parametrize("mode", ["direct", "staging"])
# Rows that are good, in a file whose lines are not its records.
GOOD = 'time,device,note\n2025-01-01 00:00Z,1,"two\nlines"\n' + "".join(
    f"2025-01-01 {minute // 60:02d}:{minute % 60:02d}Z,1,\n" for minute in range(1, 700)
)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the file be searched in many parts."""
    monkeypatch.setattr(halving, "PART_ROWS", 64)


def table(app: App, foreign_key: str = "", *, hypertable: bool = True) -> None:
    app.database.execute("CREATE TABLE {s}.device (id int PRIMARY KEY)")
    app.database.execute("INSERT INTO {s}.device VALUES (1), (2)")
    columns = "time timestamptz NOT NULL, device int REFERENCES {s}.device " + foreign_key + ", note text"
    if hypertable:
        app.database.hypertable("t", columns)
    else:
        app.database.execute("CREATE TABLE {s}.t (" + columns + ")")


def load(app: App, csv: str, mode: str = "direct", **copy: Any) -> Answer:
    return app.restore(app.archive("t", csv.encode()), destination={"mode": mode}, copy=copy)


def place(answer: Answer) -> tuple[int | None, Any, Any]:
    assert answer.status == 422, answer.body
    detail = answer.body["error"]["details"][0]
    return answer.status, detail["sqlstate"], detail.get("line")


@BOTH
@pytest.mark.parametrize("foreign_key", ["", "DEFERRABLE INITIALLY IMMEDIATE", "DEFERRABLE INITIALLY DEFERRED"])
@pytest.mark.parametrize("hypertable", [True, False])
@pytest.mark.parametrize("format_", ["text", "binary"])
def test_a_foreign_key_names_its_row(app: App, mode: str, foreign_key: str, format_: str, *, hypertable: bool) -> None:
    table(app, foreign_key, hypertable=hypertable)
    csv = GOOD + "2025-01-01 20:00Z,,\n2025-01-01 20:00Z,3,\n2025-01-01 20:00Z,1,\n2025-01-01 20:00Z,4,\n"
    answer = load(app, csv, mode, format=format_)
    assert place(answer) == (422, "23503", 704)
    assert answer.body["error"]["message"].startswith("line 704: ")
    assert answer.body["error"]["target"] == "line 704"
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0


@BOTH
@pytest.mark.parametrize("position", [0, 1, 62, 63, 64, 65, 350, 699])
def test_wherever_the_row_is(app: App, mode: str, position: int) -> None:
    table(app)
    lines = GOOD.split("\n")
    row = 1 if position == 0 else position + 2
    lines[row] = lines[row].replace("Z,1,", "Z,9,")
    # COPY numbers a record by its last line.
    assert place(load(app, "\n".join(lines), mode))[2] == (3 if position == 0 else position + 3)


@BOTH
def test_in_another_encoding_with_other_line_ends_and_without_a_header(app: App, mode: str) -> None:
    table(app)
    options = {"HEADER": False, "ENCODING": "SJIS", "QUOTE": "|", "DELIMITER": ";"}
    csv = "2025-01-01 01:00Z;1;ポ\r\n2025-01-01 02:00Z;2;|ポ\r\n|\r\n2025-01-01 03:00Z;3;ポ".encode("shift_jis")
    url = app.archive("t", csv)
    copy = {"csv_options": options, "columns": ["time", "device", "note"]}
    assert place(app.restore(url, destination={"mode": mode}, copy=copy)) == (422, "23503", 4)


@BOTH
def test_the_day_is_replaced_in_the_search_as_in_the_load(app: App, mode: str) -> None:
    table(app)
    app.database.execute("ALTER TABLE {s}.t ADD UNIQUE (time)")
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 01:00Z', 1, 'old')")
    csv = "time,device\n2025-01-01 01:00Z,1\n2025-01-01 02:00Z,3\n"
    destination = {"mode": mode, "on_existing": "replace"}
    assert place(app.restore(app.archive("t", csv.encode()), destination=destination)) == (422, "23503", 3)
    assert app.database.fetch("SELECT note FROM {s}.t") == [("old",)]


@pytest.mark.parametrize("options", [{}, {"ESCAPE": "\\"}, {"HEADER": False}, {"QUOTE": "'", "DELIMITER": ";"}])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("text", ["x", "x\ny", "x\r\ny\r", "\n\n\n"])
def test_it_is_the_line_that_copy_would_name(app: App, options: dict[str, Any], line_end: str, text: str) -> None:
    quote, comma = options.get("QUOTE", '"'), options.get("DELIMITER", ",")
    note = quote + (text + "\\" + quote if "ESCAPE" in options else text) + quote
    records = [["2025-01-01 01:00Z", "1", note], ["2025-01-01 02:00Z", "3", note], ["2025-01-01 03:00Z", "1", "z"]]
    header = [] if options.get("HEADER") is False else [["time", "device", f"{quote}no{text}te{quote}"]]
    csv = "".join(comma.join(record) + line_end for record in header + records).encode()
    copy: dict[str, Any] = {"csv_options": options}
    if not header:
        copy |= {"columns": ["time", "device", "note"]}
    else:
        copy |= {"column_map": {f"no{text}te": "note"}}
    table(app, hypertable=False)
    by_key = place(app.restore(app.archive("t", csv), copy=copy))
    app.database.execute("ALTER TABLE {s}.t DROP CONSTRAINT t_device_fkey, ADD CHECK (device <> 3)")
    by_copy = place(app.restore(app.archive("t", csv), copy=copy))
    assert (by_key[1], by_copy[1]) == ("23503", "23514")
    assert by_key[2] == by_copy[2]


def test_a_deferrable_key_names_its_row(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.t (time timestamptz, v int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    csv = "time,v\n2025-01-01 01:00Z,1\n2025-01-01 02:00Z,2\n2025-01-01 03:00Z,1\n"
    assert place(load(app, csv)) == (422, "23505", 4)


def test_staging_names_a_row_that_only_the_target_refuses(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.t (time timestamptz, v smallint CHECK (v <> 7), w text NOT NULL)")
    app.database.execute("CREATE TABLE {s}.like (time timestamptz, v bigint, w text)")
    destination = {"mode": "staging", "create_staging_like": f'"{app.database.schema}"."like"'}
    for row, sqlstate in (("100000,w", "22003"), ("7,w", "23514"), ("8,", "23502")):
        csv = f"time,v,w\n2025-01-01 01:00Z,1,w\n2025-01-01 02:00Z,{row}\n"
        answer = app.restore(app.archive("t", csv.encode()), destination=destination)
        assert place(answer) == (422, sqlstate, 3)


def test_rejected_rows_before_it_do_not_shift_the_line(app: App) -> None:
    table(app)
    if app.database.connection.server_version < 170000:
        pytest.skip("ON_ERROR needs PostgreSQL 17")
    csv = "time,device\n2025-01-01 01:00Z,1\nx,1\ny,1\n2025-01-01 02:00Z,3\n"
    assert place(load(app, csv, "staging", on_error="skip", max_rejected_rows=5)) == (422, "23503", 5)


def test_no_line_is_named_where_a_row_may_need_a_later_one(app: App) -> None:
    """The first row refers to the second one; the third refers to nothing."""
    app.database.execute("CREATE TABLE {s}.t (time timestamptz, id int PRIMARY KEY, parent int REFERENCES {s}.t)")
    csv = "time,id,parent\n2025-01-01 01:00Z,1,2\n2025-01-01 02:00Z,2,\n"
    assert load(app, csv).status == 200
    app.database.execute("TRUNCATE {s}.t")
    assert place(load(app, csv + "2025-01-01 03:00Z,3,9\n")) == (422, "23503", None)


@pytest.mark.parametrize("level", ["AFTER INSERT ON {s}.t FOR EACH STATEMENT", "AFTER INSERT ON {s}.t FOR EACH ROW"])
def test_no_line_is_named_where_a_trigger_judges_all_rows_together(app: App, level: str) -> None:
    app.database.execute("CREATE TABLE {s}.t (time timestamptz, v int)")
    app.database.execute(
        "CREATE FUNCTION {s}.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF (SELECT sum(v) FROM {s}.t) > 5 THEN RAISE 'too much'; END IF; RETURN NULL; END $$;"
        "CREATE TRIGGER f " + level + " EXECUTE FUNCTION {s}.f()"
    )
    csv = "time,v\n2025-01-01 01:00Z,4\n2025-01-01 02:00Z,3\n2025-01-01 03:00Z,-2\n2025-01-01 04:00Z,1\n"
    for mode in ("direct", "staging"):
        assert place(load(app, csv, mode)) == (422, "P0001", None)


def test_a_search_that_takes_its_processor_time_names_no_line(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of both parts of the time, that of the setting and that of the bytes."""
    monkeypatch.setenv("PREPARE_CPU_SECONDS", "1")

    def slowly(*arguments: Any) -> Iterator[Record]:
        for record in records_of(*arguments):
            end = time.thread_time() + 0.01
            while time.thread_time() < end:
                pass
            yield record

    monkeypatch.setattr(halving, "records_of", slowly)
    table(app)
    # Two parts of 64 records, each 0.01 s, are more than a second; the third has the row.
    for row, line in ((3, 4), (130, None)):
        lines = GOOD.split("\n")[:200]
        lines[row] = lines[row].replace("Z,1,", "Z,9,")
        assert place(load(app, "\n".join(lines) + "\n"))[2] == line
    monkeypatch.setattr(halving, "BYTES_PER_CPU_SECOND", 100)
    assert place(load(app, "\n".join(lines) + "\n"))[2] == 131


def test_wide_rows_are_tried_few_at_once(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halving, "PART_ROWS", 10_000)
    monkeypatch.setattr(halving, "PART_BYTES", 1000)
    joined, sizes = halving.joined, list[int]()

    def seen(part: Sequence[Record]) -> Iterator[bytes]:
        sizes.append(sum(len(record.text) for record in part))
        return joined(part)

    monkeypatch.setattr(halving, "joined", seen)
    table(app)
    assert place(load(app, GOOD + "2025-01-01 20:00Z,3,\n"))[2] == 703
    assert len(GOOD) // 1000 < len(sizes)
    assert max(sizes) < 1100
