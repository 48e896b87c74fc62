"""Columns that `copy.column_map` leaves out with null, in both modes; direct mode then goes by way of staging."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.fix_app import Answer, App

TABLE = "time timestamptz NOT NULL, v int CHECK (v < 100), note text DEFAULT 'd', PRIMARY KEY (time)"
CSV = b",time,v,V,\n0,2025-01-01 01:00:00Z,1,x,\n1,2025-01-01 02:00:00Z,2,y,\n"
LEAVE_OUT = {"column_map": {"": None, "V": None}}
BOTH = pytest.mark.parametrize("mode", ["direct", "staging"])


def load(app: App, csv: bytes = CSV, mode: str = "direct", **request: Any) -> Answer:
    copy = request.pop("copy", LEAVE_OUT)
    return app.restore(app.archive("t", csv), destination={"mode": mode}, copy=copy, **request)


def rows(app: App) -> list[tuple[Any, ...]]:
    return app.database.fetch("SELECT v, note FROM {s}.t ORDER BY time, v")


def detail(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = answer.body["error"]["details"][0]
    return found


@BOTH
@pytest.mark.parametrize("format_", ["text", "binary"])
@pytest.mark.parametrize("transfer", ["spool", "stream"])
def test_nameless_columns_and_named_ones_are_left_out_without_a_warning(
    app: App, mode: str, format_: str, transfer: str
) -> None:
    app.database.hypertable("t", TABLE)
    answer = load(app, mode=mode, copy=LEAVE_OUT | {"format": format_, "transfer": transfer})
    body = answer.body
    assert (answer.status, body.get("status"), body.get("warnings")) == (200, "ok", []), body
    assert (body["mode"], body["columns_ignored"], body["columns_loaded"]) == (mode, ["", "V", ""], ["time", "v"])
    assert (body["rows_read"], body["rows_loaded"], body["rows_skipped"]) == (2, 2, 0)
    assert body["copy"]["format"] == format_
    assert rows(app) == [(1, "d"), (2, "d")]
    assert app.database.fetch("SELECT relname FROM pg_class WHERE relname LIKE %s", "%\\_restore\\_%") == []


@BOTH
def test_a_column_of_the_table_itself_may_be_left_out(app: App, mode: str) -> None:
    """Its name is the table's, its values are not wanted, and another one may come into its place."""
    app.database.hypertable("t", TABLE)
    csv = b"time,v,note,w\n2025-01-01 01:00Z,oops,gone,7\n"
    body = load(app, csv, mode, copy={"column_map": {"v": None, "note": None, "w": "v"}}).body
    assert (body["columns_ignored"], body["columns_defaulted"]) == (["v", "note"], ["note"])
    assert rows(app) == [(7, "d")]


@BOTH
def test_a_key_with_null_leaves_out_all_columns_of_its_name(app: App, mode: str) -> None:
    app.database.hypertable("t", TABLE)
    csv = b"x,time,x,v,x\na,2025-01-01 01:00Z,b,1,c\n"
    assert load(app, csv, mode, copy={}).code == "HeaderInvalid"
    body = load(app, csv, mode, copy={"column_map": {"x": None}}).body
    assert (body["columns_ignored"], rows(app)) == (["x", "x", "x"], [(1, "d")])


@BOTH
@pytest.mark.parametrize("key", [None, "x", "v"])
def test_a_nameless_column_stays_invalid_and_the_hint_says_how_to_leave_it_out(
    app: App, mode: str, key: str | None
) -> None:
    app.database.hypertable("t", TABLE)
    csv = b",time,v\n0,2025-01-01 01:00Z,1\n"
    answer = load(app, csv, mode, copy={} if key is None else {"column_map": {key: None}})
    assert (answer.status, answer.code) == (422, "HeaderInvalid")
    assert 'column_map {"": null}' in answer.body["error"]["hint"]


def test_a_generated_column_and_a_headerless_file(app: App) -> None:
    """Direct mode refuses the values of a generated column, so this is the way past them."""
    app.database.hypertable("t", "time timestamptz NOT NULL, v int, twice int GENERATED ALWAYS AS (v * 2) STORED")
    csv = b"2025-01-01 01:00Z,1,2\n"
    copy = {"csv_options": {"HEADER": False}, "columns": ["time", "v", "twice"], "column_map": {"twice": None}}
    assert load(app, csv, copy=copy | {"column_map": {}}).code == "UnknownColumn"
    assert load(app, csv, copy=copy).status == 200
    assert app.database.fetch("SELECT v, twice FROM {s}.t") == [(1, 2)]


@BOTH
def test_a_name_that_is_not_there_and_a_map_that_leaves_nothing(app: App, mode: str) -> None:
    app.database.hypertable("t", TABLE)
    csv = b"time,v\n2025-01-01 01:00Z,1\n"
    assert load(app, csv, mode, copy={"column_map": {"w": None}}).code == "UnknownColumn"
    assert load(app, csv, mode, copy={"column_map": {"time": None, "v": None}}).code == "UnknownColumn"
    answer = load(app, csv, mode, copy={"column_map": {"": "v"}})
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    assert answer.body["error"]["target"] == "copy.column_map"
    assert load(app, csv, mode, copy={"column_map": {"": None}}).body["columns_ignored"] == []
    assert rows(app) == [(1, "d")]


@BOTH
def test_a_misspelled_column_beside_one_that_is_left_out_is_still_refused(app: App, mode: str) -> None:
    app.database.hypertable("t", TABLE)
    csv = b"time,v,V,Note\n2025-01-01 01:00Z,1,2,x\n"
    for dry_run in (True, False):
        answer = load(app, csv, mode, copy={"column_map": {"V": None}}, dry_run=dry_run)
        assert (answer.status, answer.code) == (422, "UnknownColumn")
        assert 'did you mean "note"?' in detail(answer)["message"]
    answer = load(app, csv, mode, copy={"column_map": {"V": "NOTE", "Note": None}})
    assert 'did you mean "note"?' in detail(answer)["message"]


def refused_alike(app: App, csv: bytes, **copy: Any) -> dict[str, Any]:
    """Restore the file as it is, and with a column more that is left out: the answers are the same."""
    lines = csv.split(b"\n")
    wider = b"\n".join([b"gone," + lines[0], *(b"," + line if line else line for line in lines[1:])])
    plain = load(app, csv, copy=copy)
    left_out = load(app, wider, copy={"column_map": {"gone": None}} | copy)
    assert plain.status == left_out.status == 422, (plain.body, left_out.body)
    found: dict[str, Any] = left_out.body["error"]
    # Messages name the chunk of the attempt.
    assert [plain.body["error"][name] for name in ("code", "hint")] == [found[name] for name in ("code", "hint")]
    facts = ("code", "sqlstate", "line", "rows", "rows_in_archive", "rows_read")
    for name in facts:
        assert [fault.get(name) for fault in plain.body["error"]["details"]] == [f.get(name) for f in found["details"]]
    assert "_restore_" not in found["message"]
    return found


@pytest.mark.parametrize(
    ("row", "sqlstate", "line"),
    [
        (b"2025-01-01 03:00Z,oops", "22P02", 4),
        (b"2025-01-01 03:00Z,100", "23514", 4),
        (b",3", "23502", 4),
        (b"2025-01-01 02:00Z,3", "23505", 4),
    ],
)
def test_a_row_is_refused_as_direct_mode_refuses_it(app: App, row: bytes, sqlstate: str, line: int) -> None:
    app.database.hypertable("t", TABLE)
    csv = b"time,v\n2025-01-01 01:00Z,1\n2025-01-01 02:00Z,2\n" + row + b"\n2025-01-01 05:00Z,5\n"
    error = refused_alike(app, csv)
    assert (error["details"][0]["sqlstate"], error["details"][0]["line"]) == (sqlstate, line)
    assert rows(app) == []


def test_a_row_that_is_there_already_is_a_conflict_and_is_not_skipped(app: App) -> None:
    app.database.hypertable("t", TABLE)
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 02:00Z', 7)")
    for policy in ("append", None):
        destination = {"mode": "direct"} | ({"on_existing": policy} if policy else {})
        answer = app.restore(app.archive("t", CSV), destination=destination, copy=LEAVE_OUT)
        assert (answer.status, answer.code) == ((422, "DataRejected") if policy else (409, "WindowNotEmpty"))
        if policy:
            assert (detail(answer)["sqlstate"], detail(answer)["line"]) == ("23505", 3)
    assert rows(app) == [(7, "d")]


def test_a_trigger_refuses_a_row_by_its_line(app: App) -> None:
    app.database.hypertable("t", TABLE)
    app.database.execute(
        "CREATE FUNCTION {s}.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.v = 2 THEN RAISE 'not this one'; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER f BEFORE INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.f()"
    )
    error = refused_alike(app, b"time,v\n2025-01-01 01:00Z,1\n2025-01-01 02:00Z,2\n")
    assert error["details"][0]["line"] == 3


@pytest.mark.parametrize("hypertable", [True, False])
def test_rows_that_a_trigger_drops_or_moves_are_found_out_as_in_direct_mode(app: App, *, hypertable: bool) -> None:
    if hypertable:
        app.database.hypertable("t", TABLE)
    else:
        app.database.execute("CREATE TABLE {s}.t (" + TABLE + ")")
    app.database.execute(
        "CREATE FUNCTION {s}.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.v = 2 THEN RETURN NULL; END IF;"
        " IF NEW.v = 3 THEN NEW.time := '2024-06-01Z'; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER f BEFORE INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.f()"
    )
    csv = b"time,v\n2025-01-01 01:00Z,1\n2025-01-01 02:00Z,%d\n"
    assert refused_alike(app, csv % 2)["code"] == "VerificationFailed"
    # A row does not leave its chunk.
    assert refused_alike(app, csv % 3)["code"] == ("DataRejected" if hypertable else "RowsOutsideWindow")
    assert rows(app) == []


def test_the_proof_is_that_of_direct_mode(app: App) -> None:
    app.database.hypertable("t", TABLE)
    csv = b"time,v\n2025-01-01 01:00Z,1\n2025-01-02 02:00Z,2\n"
    assert refused_alike(app, csv)["code"] == "RowsOutsideWindow"
    assert refused_alike(app, csv.replace(b"-02 ", b"-01 "), expected_rows=5)["code"] == "RowCountMismatch"
    assert rows(app) == []


@pytest.mark.parametrize("missing", [None, "CREATE", "SELECT"])
def test_direct_mode_needs_the_rights_for_staging_and_the_dry_run_lists_them(app: App, missing: str | None) -> None:
    app.database.hypertable("t", TABLE)
    rights = {"CREATE": "GRANT CREATE ON SCHEMA {s}", "SELECT": "GRANT SELECT ON {s}.t"}
    given = [right for name, right in rights.items() if name != missing]
    columns = "GRANT SELECT (time) ON {s}.t"
    pg = app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT INSERT ON {s}.t", columns, *given)
    found = load(app, pg=pg, dry_run=True).body["dry_run"]
    assert [right["right"] for right in found["permissions_missing"]] == ([] if missing is None else [missing])
    assert load(app, pg=pg).status == (200 if missing is None else 403)
    if missing is not None:
        without = b"time,v\n2025-01-01 01:00Z,1\n"
        assert load(app, without, pg=pg, copy={}).status == 200


def test_a_rule_that_copy_would_not_apply_is_not_applied(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.t (time timestamptz, v int); CREATE TABLE {s}.log (v int)")
    app.database.execute("CREATE RULE r AS ON INSERT TO {s}.t DO ALSO INSERT INTO {s}.log VALUES (NEW.v)")
    csv = b"time,v,x\n2025-01-01 01:00Z,1,2\n"
    answer = load(app, csv, copy={"column_map": {"x": None}})
    assert (answer.status, answer.code) == (422, "OperationNotSupported")
    assert load(app, csv.replace(b",x", b"").replace(b",2", b""), copy={}).status == 200
    assert app.database.value("SELECT count(*) FROM {s}.log") == 0


def test_replace_and_skip_are_those_of_direct_mode(app: App) -> None:
    app.database.hypertable("t", TABLE)
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 01:00Z', 7)")
    url = app.archive("t", CSV)
    answer = app.restore(url, destination={"on_existing": "skip"}, copy=LEAVE_OUT)
    assert (answer.body["status"], answer.body["columns_ignored"]) == ("skipped", ["", "V", ""])
    answer = app.restore(url, destination={"on_existing": "replace"}, copy=LEAVE_OUT)
    assert (answer.body["rows_removed"], rows(app)) == (1, [(1, "d"), (2, "d")])


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_file_of_a_generated_column_alone(app: App, mode: str) -> None:
    """Nothing of it can be loaded, and no column of it is misspelled."""
    app.database.hypertable("t", "time timestamptz NOT NULL, k int GENERATED ALWAYS AS (1 + 1) STORED")
    url = app.archive("t", b",k\n")
    answer = app.restore(url, destination={"mode": mode}, copy={"column_map": {"": None}})
    assert (answer.status, answer.code, answer.body["error"]["target"]) == (422, "UnknownColumn", "k")
