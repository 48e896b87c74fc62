"""Values of rows stay out of answers and logs, whatever PostgreSQL says of them, unless a setting lets them through."""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import Any

import pytest

from tests.integration.fix_app import Answer, App

VALUE = "7731-secret-value"
COLUMNS = "time timestamptz NOT NULL, v text, n int, k int"
FUNCTIONS = {
    "raise": "RAISE EXCEPTION 'no %', NEW.v",
    "sqlstate": "RAISE EXCEPTION USING ERRCODE = '42P01', MESSAGE = 'no ' || NEW.v",
    "check": "RAISE check_violation USING MESSAGE = NEW.v",
    "cast": "NEW.n := NEW.v::int",
    "dynamic": "EXECUTE 'SELECT ' || quote_ident(NEW.v)",
    "assert": "ASSERT false, NEW.v",
    "column": "RAISE check_violation USING COLUMN = NEW.v, CONSTRAINT = NEW.v, TABLE = NEW.v, SCHEMA = NEW.v",
}


def archive(app: App, row: str, header: str = "time,v,n,k") -> str:
    return app.archive("t", f"{header}\n2025-01-01 00:00:00+00,a,1,1\n{row}\n".encode())


def trigger(app: App, body: str, kind: str = "TRIGGER r BEFORE") -> None:
    app.database.execute(
        "CREATE FUNCTION {s}.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.v = '"
        + VALUE
        + "' THEN "
        + body
        # The superuser's braces are doubled for psycopg2's own formatting.
        + "; END IF; RETURN NEW; END $$"
    )
    deferred = "DEFERRABLE INITIALLY DEFERRED" if kind.startswith("CONSTRAINT") else ""
    app.database.execute(f"CREATE {kind} INSERT ON {{s}}.t {deferred} FOR EACH ROW EXECUTE FUNCTION {{s}}.f()")


def said(answer: Answer, caplog: pytest.LogCaptureFixture) -> str:
    return json.dumps(answer.body) + caplog.text


@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize(
    ("row", "sqlstate", "line", "column"),
    [
        (f"2025-01-01,a,{VALUE},1", "22P02", 3, "n"),
        (f"{VALUE},a,1,1", "22007", 3, "time"),
        ("2025-13-7731,a,1,1", "22008", 3, "time"),
        ("2025-01-01,a,77317731773177,1", "22003", 3, "n"),
        (f"2025-01-01,{VALUE},1,0", "23514", 3, None),
        (f",{VALUE},1,1", "23502", 3, None),
    ],
)
def test_a_bad_value(
    app: App,
    caplog: pytest.LogCaptureFixture,
    mode: str,
    row: str,
    sqlstate: str,
    line: int,
    column: str | None,
) -> None:
    app.database.hypertable("t", COLUMNS + ", CHECK (k > 0)")
    answer = app.restore(archive(app, row), destination={"mode": mode})
    fault = answer.body["error"]["details"][0]
    assert (answer.code, fault["sqlstate"]) == ("DataRejected", sqlstate)
    if mode == "direct":
        assert (fault["line"], fault.get("column")) == (line, column)
    assert "7731" not in said(answer, caplog)


@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize("kind", ["tsquery", "regclass", "regtype", "regrole", "regproc", "regnamespace", "aclitem"])
def test_a_value_that_is_read_as_a_name(app: App, caplog: pytest.LogCaptureFixture, mode: str, kind: str) -> None:
    """PostgreSQL says "no such table" of it, and repeats it."""
    app.database.execute(f"CREATE TABLE {{s}}.t (time timestamptz, v {kind})")
    url = app.archive("t", f"time,v\n2025-01-01,{VALUE} x\n".encode())
    answer = app.restore(url, destination={"mode": mode, "on_existing": "append"})
    assert (answer.status, answer.code) == (422, "DataRejected")
    assert answer.body["error"]["details"][0]["line"] == 2
    assert "7731" not in said(answer, caplog)


def test_a_row_that_is_taken_for_a_header(app: App, caplog: pytest.LogCaptureFixture) -> None:
    """A file without a header, and a dialect in which several rows are one."""
    app.database.hypertable("t", COLUMNS)
    headerless = app.archive("t", f"2025-01-01,{VALUE},1,2\n".encode())
    merged = app.archive("t", f"time,v|2025-01-01,{VALUE}\n2025-01-02,{VALUE}|x\n".encode(), day="2025-01-02")
    dialect = {"csv_options": {"QUOTE": "|", "DELIMITER": ","}}
    for url, copy in ((headerless, {}), (headerless, {"columns": ["time"]}), (merged, dialect)):
        for mode in ("direct", "staging"):
            answer = app.restore(url, destination={"mode": mode}, copy=copy, dry_run=True)
            assert VALUE not in said(answer, caplog), (mode, answer.body)
    answer = app.restore(headerless)
    assert (answer.status, answer.code) == (422, "UnknownColumn")
    assert "HEADER" in answer.body["error"]["hint"]


WORD = "word7731"
ROW = f"2025-01-01,v,{WORD},{VALUE}"


@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize(
    ("csv", "copy"),
    [
        # A row that has a column's name among its values.
        (ROW, {}),
        (ROW, {"csv_options": {"FORCE_NULL": ["zz"]}}),
        (ROW, {"csv_options": {"FORCE_NOT_NULL": ["v", "zz"]}}),
        (ROW, {"csv_options": {"HEADER": "match"}}),
        (ROW, {"columns": ["time", "v", "n", "k"]}),
        (ROW, {"column_map": {"zz": "v"}}),
        # Several lines in one field, or in one record.
        (f"time,v|\n2025-01-01,{WORD}\n2025-01-02,{VALUE}|", {"csv_options": {"DELIMITER": "\x01", "QUOTE": "|"}}),
        (f"time,v,n,|\n2025-01-01,{WORD},1,|,{WORD},{VALUE}", {"csv_options": {"QUOTE": "|"}}),
        (f"time,v,n,|\n2025-01-01,1,1,|,{WORD}", {"csv_options": {"QUOTE": "|", "FORCE_NULL": ["zz"]}}),
    ],
)
def test_a_name_from_the_file_is_never_one_of_its_values(
    app: App, caplog: pytest.LogCaptureFixture, mode: str, csv: str, copy: dict[str, Any]
) -> None:
    app.database.hypertable("t", COLUMNS)
    caplog.set_level("DEBUG", "restore_chunk")
    for kind in (False, True, "full"):
        answer = app.restore(app.archive("t", f"{csv}\n".encode()), destination={"mode": mode}, copy=copy, dry_run=kind)
        text = said(answer, caplog)
        assert (WORD in text, VALUE in text) == (False, False), answer.body


@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        # 0A000: cross-database references are not implemented; 54000: value is too big.
        ("regclass", "elsewhere.s.word7731"),
        ("tsquery", f"'{'word7731' * 300}'"),
    ],
)
def test_a_value_in_a_message_of_what_is_not_supported(
    app: App, caplog: pytest.LogCaptureFixture, mode: str, kind: str, value: str
) -> None:
    app.database.execute(f"CREATE TABLE {{s}}.t (time timestamptz, v {kind})")
    app.database.execute("CREATE TABLE {s}.like (time timestamptz, v text)")
    url = app.archive("t", f"time,v\n2025-01-01,{value}\n".encode())
    destination = {"mode": mode, "on_existing": "append"}
    like = {"mode": "staging", "create_staging_like": f"{app.database.schema}.like"}
    for where in (destination, *([destination | like] if kind == "regclass" else [])):
        answer = app.restore(url, destination=where)
        # The INSERT from what is made like the other table is what reads it there.
        assert (answer.status, answer.code) == (
            422,
            "DataRejected" if where is destination else "OperationNotSupported",
        )
        assert WORD not in said(answer, caplog)


def test_a_value_that_a_deferred_trigger_reads_at_the_commit(app: App, caplog: pytest.LogCaptureFixture) -> None:
    app.database.execute(f"CREATE TABLE {{s}}.t ({COLUMNS})")
    trigger(app, "PERFORM ('elsewhere.s.' || replace(NEW.v, '-', ''))::regclass", "CONSTRAINT TRIGGER r AFTER")
    answer = app.restore(archive(app, f"2025-01-01,{VALUE},1,1"))
    assert answer.status >= 400
    assert "7731" not in said(answer, caplog)


def test_the_checksum_of_a_file_is_not_told(app: App, caplog: pytest.LogCaptureFixture) -> None:
    """A small file could be guessed by it."""
    app.database.hypertable("t", COLUMNS)
    stored = gzip.compress(b"time,v\n2025-01-01,1\n")
    answer = app.restore(app.stored("t", stored), copy={"expected_sha256": "0" * 64})
    assert answer.code == "ArchiveChecksumMismatch"
    assert hashlib.sha256(stored).hexdigest() not in said(answer, caplog)


def test_a_duplicate(app: App, caplog: pytest.LogCaptureFixture) -> None:
    app.database.hypertable("t", COLUMNS + ", UNIQUE (time, v)")
    row = f"2025-01-01,{VALUE},1,1"
    answer = app.restore(archive(app, f"{row}\n{row}"))
    assert answer.body["error"]["details"][0]["sqlstate"] == "23505"
    assert VALUE not in said(answer, caplog)


@pytest.mark.parametrize("what", FUNCTIONS)
@pytest.mark.parametrize("kind", ["TRIGGER r BEFORE", "CONSTRAINT TRIGGER r AFTER"])
def test_what_a_users_function_says(app: App, caplog: pytest.LogCaptureFixture, what: str, kind: str) -> None:
    """A deferred one says it at the COMMIT."""
    app.database.execute(f"CREATE TABLE {{s}}.t ({COLUMNS})")
    trigger(app, FUNCTIONS[what], kind)
    caplog.set_level("DEBUG")
    answer = app.restore(archive(app, f"2025-01-01,{VALUE},1,1"))
    assert answer.status >= 400
    assert VALUE not in said(answer, caplog)
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0


def test_what_is_not_a_value_is_still_said(app: App) -> None:
    app.database.hypertable("t", COLUMNS)
    short = app.restore(archive(app, "2025-01-01,a,1")).body["error"]
    assert 'missing data for column "k"' in short["message"]
    bad = app.restore(archive(app, "2025-01-01,a,x,1")).body["error"]
    assert bad["message"] == "line 3, column n: invalid text representation"
    assert "SHOW_ROW_DATA" in bad["hint"]


def test_the_setting_lets_it_through(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOW_ROW_DATA", "true")
    app.database.hypertable("t", COLUMNS + ", UNIQUE (time, v)")

    def fault(answer: Answer) -> dict[str, Any]:
        found: dict[str, Any] = answer.body["error"]["details"][0]
        return found

    bad = fault(app.restore(archive(app, f"2025-01-01,a,{VALUE},1")))
    assert VALUE in bad["message"]
    assert VALUE in bad["server_context"]
    row = f"2025-01-01,{VALUE},1,1"
    assert VALUE in fault(app.restore(archive(app, f"{row}\n{row}")))["server_detail"]


def test_a_traceback_of_our_own_holds_no_row(
    app: App, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug that strikes while a refused row is dealt with: the log shows both, and the row in neither."""
    app.database.hypertable("t", COLUMNS)

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr("shared.postgres.sqlstate.row_error", broken)
    answer = app.restore(archive(app, f"2025-01-01,a,{VALUE},1"))
    assert answer.code == "InternalError"
    assert "a bug of ours" in caplog.text
    assert "SQLSTATE 22P02" in caplog.text
    assert VALUE not in said(answer, caplog)
