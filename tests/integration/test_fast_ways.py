"""The fast ways of a restore beside the plain one: the same rows, the same table, the same refusals."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from tests.integration.fix_app import App
from tests.integration.fix_fast_day import (
    FORMATS,
    HEADER,
    MODES,
    PLAIN,
    ROWS,
    TRANSFERS,
    check_deferred,
    check_same,
    csv,
    difference,
    error_of,
    indexes,
    kept,
    make,
)


@MODES
@FORMATS
@TRANSFERS
def test_a_fresh_day_is_the_same_as_one_that_was_loaded_plainly(
    app: App, mode: str, format_: str, transfer: str
) -> None:
    make(app)
    make(app, "plain")
    destination = {"mode": mode}
    copy = {"format": format_, "transfer": transfer}
    plain = app.restore(app.archive("plain", csv(ROWS)), destination=destination, copy=PLAIN)
    assert kept(plain) == ["Requested"]
    assert plain.body["copy"]["text_because"] == "the request asks for it"
    answer = app.restore(app.archive("t", csv(ROWS)), destination=destination, copy=copy)
    check_deferred(app, answer)
    assert (answer.body["copy"]["format"], answer.body["copy"]["transfer"]) == (format_, transfer)
    assert answer.body["rows_loaded"] == answer.body["verification"]["rows_loaded"] == len(ROWS)
    check_same(app.database)
    assert len(indexes(app.database)) == 3
    seconds = dict(answer.body["timings"])
    total = seconds.pop("total")
    assert {"copy", "index"} <= seconds.keys()
    assert sum(seconds.values()) <= total + 0.02


@MODES
def test_a_day_that_is_replaced(app: App, mode: str) -> None:
    make(app)
    url = app.archive("t", csv(ROWS))
    assert app.restore(url, copy=PLAIN).status == 200
    before = indexes(app.database)
    answer = app.restore(url, destination={"mode": mode, "on_existing": "replace"})
    assert answer.body["removed_by"] == "truncate"
    check_deferred(app, answer)
    assert app.database.value("SELECT count(*) FROM {s}.t") == len(ROWS)
    assert indexes(app.database) == before


BAD = {
    "a duplicate": ROWS[3],
    "a time": "oops,1,1,x",
    "a column too many": "2025-01-01,100,1,x,y",
    "a NULL in the key": "2025-01-01,,1,x",
}


@FORMATS
@TRANSFERS
@pytest.mark.parametrize("bad", BAD)
def test_a_row_that_is_refused_is_named_as_it_is_plainly(app: App, bad: str, format_: str, transfer: str) -> None:
    rows = [*ROWS[:300], BAD[bad], *ROWS[300:]]
    make(app)
    url = app.archive("t", csv(rows))
    plain = app.restore(url, copy=PLAIN)
    assert plain.code == "DataRejected"
    assert plain.body["error"]["details"][0]["line"] > 300
    fast = app.restore(url, copy={"format": format_, "transfer": transfer})
    assert error_of(fast) == error_of(plain)
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0
    assert indexes(app.database) == []


@FORMATS
@pytest.mark.parametrize("sqlstate", ["42501", "25006", "28000", "3D000", "0A000", "P0001", "22012", "XX000"])
def test_whatever_a_function_raises_is_named_as_it_is_plainly(app: App, sqlstate: str, format_: str) -> None:
    make(app)
    app.database.execute(
        "CREATE FUNCTION {s}.f(v float8) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN"
        f" IF v = 400.5 THEN RAISE 'refused' USING ERRCODE = '{sqlstate}'; END IF; RETURN true; END $$"
    )
    app.database.execute("ALTER TABLE {s}.t ADD CHECK ({s}.f(v))")
    url = app.archive("t", csv(ROWS))
    plain = app.restore(url, copy=PLAIN)
    assert plain.body["error"]["details"][0]["line"] > 400
    assert error_of(app.restore(url, copy={"format": format_})) == error_of(plain)


@FORMATS
def test_a_first_row_that_is_refused(app: App, format_: str) -> None:
    make(app)
    url = app.archive("t", csv(["oops,1,1,x", *ROWS]))
    plain = app.restore(url, copy=PLAIN)
    assert error_of(app.restore(url, copy={"format": format_})) == error_of(plain)
    assert plain.body["error"]["details"][0]["line"] == 2


@FORMATS
@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE {s}.t DROP CONSTRAINT t_pkey; DROP INDEX {s}.t_note_idx; ALTER TABLE {s}.t ADD CHECK (v <> 300.5)",
        "ALTER TABLE {s}.t ADD UNIQUE (time, device_id) DEFERRABLE; ALTER TABLE {s}.t ADD CHECK (v <> 300.5)",
    ],
    ids=["no index", "an index that stays"],
)
def test_the_line_if_the_first_row_was_copied_alone(app: App, format_: str, change: str) -> None:
    make(app)
    app.database.execute(change)
    url = app.archive("t", csv(ROWS))
    plain = app.restore(url, copy=PLAIN)
    assert plain.body["error"]["details"][0]["line"] > 300
    assert error_of(app.restore(url, copy={"format": format_})) == error_of(plain)


@FORMATS
@pytest.mark.parametrize(
    ("rows", "header", "options"),
    [
        ([], HEADER, {}),
        (ROWS[:1], HEADER, {}),
        (ROWS[:2], HEADER, {}),
        (ROWS, None, {"csv_options": {"HEADER": False}, "columns": ["time", "device_id", "v", "note"]}),
        (ROWS, '"ti\nme",device_id,v,note', {"column_map": {"ti{end}me": "time"}}),
        (ROWS, HEADER, {"csv_options": {"ENCODING": "LATIN1"}}),
        ([row.replace("next", "é") for row in ROWS], HEADER, {}),
    ],
    ids=["empty", "one row", "two rows", "no header", "a header of two lines", "another encoding", "not ASCII"],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_files_of_every_form(
    app: App, format_: str, rows: list[str], header: str | None, options: dict[str, Any], end: str
) -> None:
    make(app)
    make(app, "plain")
    data = csv(rows, header).replace(b"\n", end.encode())
    if "column_map" in options:
        options = {"column_map": {name.format(end=end): to for name, to in options["column_map"].items()}}
    for mark in (b"", b"\xef\xbb\xbf") if "csv_options" not in options else (b"",):
        app.database.execute("TRUNCATE {s}.plain; TRUNCATE {s}.t")
        app.database.execute("SELECT public.drop_chunks('{s}.t', older_than => timestamptz '2100-01-01')")
        plain = app.restore(app.archive("plain", mark + data), copy=PLAIN | options)
        fast = app.restore(app.archive("t", mark + data), copy={"format": format_} | options)
        assert (plain.status, fast.status) == (200, 200), (plain.body, fast.body)
        assert fast.body["rows_loaded"] == plain.body["rows_loaded"] == len(rows)
        assert difference(app.database, "t", "plain") == (0, 0)


def test_what_the_binary_way_leaves_to_the_text_way(app: App) -> None:
    make(app)
    answer = app.restore(app.archive("t", csv([*ROWS, "2025-01-01 23:59Z,8,infinity,x"])), copy={"format": "binary"})
    assert (answer.status, answer.body["rows_loaded"]) == (200, len(ROWS) + 1)
    assert answer.body["copy"]["format"] in ("text", "binary")
    odd = app.restore(app.archive("t", csv(["2025-01-02 23:59Z, 8,1,x"]), day="2025-01-02"), copy={"format": "binary"})
    assert (odd.status, odd.body["copy"]["format"]) == (200, "text"), odd.body
    assert odd.body["copy"]["text_because"]


@pytest.mark.parametrize(("size", "format_"), [(10, "text"), (40 * 1024 * 1024, "binary")], ids=["small", "large"])
def test_a_large_file_goes_binary_by_default(app: App, size: int, format_: str) -> None:
    make(app)
    noise = random.Random(1)  # noqa: S311 - the same every time
    rows = [f"2025-01-01 00:00:00+00,{n},1,{noise.randbytes(1000).hex()}" for n in range(size // 2000 + 1)]
    answer = app.restore(app.archive("t", csv(rows)))
    assert answer.body["copy"]["format"] == format_
    assert (answer.body["copy"]["text_because"] is None) == (format_ == "binary")


@MODES
def test_every_way_together_leaves_the_same_table(app: App, mode: str) -> None:
    make(app, "plain")
    assert app.restore(app.archive("plain", csv(ROWS)), copy=PLAIN).status == 200
    ways = itertools.product(["spool", "stream"], ["text", "binary"], ["keep", "auto"])
    for transfer, format_, indexes_ in ways:
        make(app)
        copy = {"transfer": transfer, "format": format_, "indexes": indexes_}
        answer = app.restore(app.archive("t", csv(ROWS)), destination={"mode": mode}, copy=copy)
        assert answer.status == 200, answer.body
        assert (answer.body["copy"]["transfer"], answer.body["copy"]["format"]) == (transfer, format_)
        if indexes_ == "keep":
            assert (answer.body["copy"]["indexes_deferred"], kept(answer)) == ([], ["Requested"])
        else:
            check_deferred(app, answer)
        check_same(app.database)
        app.database.execute("DROP TABLE {s}.t")
