"""A day by way of a staging table: conflicts, drifted columns, what is left behind (nothing)."""

from __future__ import annotations

import pytest

from tests.integration.fix_app import App

STAGING = {"mode": "staging"}


def left_behind(app: App) -> list[tuple[str]]:
    return app.database.fetch("SELECT relname FROM pg_class WHERE relname LIKE %s", "%\\_restore\\_%")


def test_rows_that_are_there_are_skipped_and_counted(app: App) -> None:
    app.database.hypertable("t", "time timestamptz NOT NULL, v int, PRIMARY KEY (time)")
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 01:00Z', 99)")
    url = app.archive("t", b"time,v\n2025-01-01 01:00Z,1\n2025-01-01 02:00Z,2\n")
    body = app.restore(url, destination=STAGING).body
    assert (body["rows_read"], body["rows_loaded"], body["rows_skipped"]) == (2, 1, 1)
    assert app.database.fetch("SELECT v FROM {s}.t ORDER BY time") == [(99,), (2,)]
    assert app.database.value("SELECT count(*) FROM ONLY {s}.t") == 0
    assert left_behind(app) == []
    assert set(body["timings"]) >= {"copy", "insert"}


def test_rows_that_a_trigger_drops_are_not_in_conflict(app: App) -> None:
    app.database.hypertable("t", "time timestamptz NOT NULL PRIMARY KEY, v int")
    app.database.execute(
        "CREATE FUNCTION {s}.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.v = 2 THEN RETURN NULL; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER f BEFORE INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.f()"
    )
    answer = app.restore(app.archive("t", b"time,v\n2025-01-01 01:00Z,1\n2025-01-01 02:00Z,2\n"), destination=STAGING)
    assert (answer.status, answer.code) == (422, "VerificationFailed")
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0


UNIQUE = ("PRIMARY KEY (time)", "EXCLUDE USING btree (time WITH =)", "CHECK (v > 0)")


@pytest.mark.parametrize("constraint", UNIQUE)
@pytest.mark.parametrize("policy", ["append", "replace"])
def test_an_empty_day_is_tried_without_a_look_for_conflicts(
    app: App, caplog: pytest.LogCaptureFixture, constraint: str, policy: str
) -> None:
    """Only if rows are in conflict after all, the load starts over, and each row is checked for conflicts."""
    app.database.hypertable("t", f"time timestamptz NOT NULL, v int, {constraint}")
    if policy == "replace":
        app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 01:00Z', 99)")
    destination = {**STAGING, "on_existing": policy}
    url = app.archive("t", b"time,v\n2025-01-01 01:00Z,1\n2025-01-01 02:00Z,2\n2025-01-01 02:00Z,3\n")
    with caplog.at_level("INFO", "restore_chunk"):
        body = app.restore(url, destination=destination, copy={"indexes": "keep"}).body
    has_key = not constraint.startswith("CHECK")
    assert (body["rows_read"], body["rows_loaded"], body["rows_skipped"]) == ((3, 2, 1) if has_key else (3, 3, 0))
    assert ("loads=2" in caplog.text) == has_key
    assert app.database.fetch("SELECT v FROM {s}.t ORDER BY v") == [(1,), (2,)] + ([] if has_key else [(3,)])
    assert left_behind(app) == []


def test_a_file_and_a_table_that_have_drifted_apart(app: App) -> None:
    app.database.hypertable("t", "time timestamptz NOT NULL, v int, added int NOT NULL DEFAULT 7")
    long_name = "dropped since, and " + "long " * 20
    url = app.archive("t", f'time,"{long_name}",v,gone\n2025-01-01,not a number,1,\n'.encode())
    body = app.restore(url, destination=STAGING, copy={"csv_options": {"FORCE_NULL": [long_name, "gone"]}}).body
    # A name that stands in the request, as both do, is shown whatever it is.
    assert body["columns_ignored"] == [long_name, "gone"]
    assert body["columns_defaulted"] == ["added"]
    assert body["columns_loaded"] == ["time", "v"]
    assert (body["status"], [warning["code"] for warning in body["warnings"]]) == (
        "ok_with_warnings",
        ["ColumnsIgnored"],
    )
    assert '"added"' in body["warnings"][0]["message"]
    assert app.database.fetch("SELECT v, added FROM {s}.t") == [(1, 7)]


@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize(
    "header", ["ts,d,V,Note", "ts, d, v,note", "TS,D,V,NOTE", 'ts,d,"""v""",note', "ts,d,v,note,V"]
)
@pytest.mark.parametrize("policy", ["append", "replace"])
def test_a_column_that_differs_in_case_or_blanks_is_not_left_out(app: App, mode: str, header: str, policy: str) -> None:
    """Its values would be lost, and the answer would be a 200."""
    app.database.hypertable("t", "ts timestamptz NOT NULL, d int, v int, note text", time="ts")
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 03:00Z', 1, 2, 'old')")
    row = "2025-01-01 01:00Z,1,2,new" + ",3" * (header.count(",") - 3)
    url = app.archive("t", f"{header}\n{row}\n".encode())
    destination = {"mode": mode, "on_existing": policy}
    for dry_run in (True, False):
        answer = app.restore(url, destination=destination, dry_run=dry_run)
        assert (answer.status, answer.code) == (422, "UnknownColumn")
        assert all("did you mean" in fault["message"] for fault in answer.body["error"]["details"])
    assert app.database.fetch("SELECT d, v, note FROM {s}.t") == [(1, 2, "old")]


def test_a_dry_run_warns_of_a_column_that_is_left_out(app: App) -> None:
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    url = app.archive("t", b"time,v,gone\n2025-01-01,1,\n")
    body = app.restore(url, destination=STAGING, dry_run=True).body
    assert [warning["code"] for warning in body["warnings"]] == ["ColumnsIgnored"]
    # The table has the other columns: nothing can have been renamed.
    assert "renamed" not in body["warnings"][0]["message"]


def test_a_file_of_which_the_table_takes_nothing(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.t (v int)")
    answer = app.restore(app.archive("t", b"w\n1\n"), destination=STAGING)
    assert (answer.status, answer.code) == (422, "UnknownColumn")


def test_generated_and_identity_columns_keep_what_the_archive_has(app: App) -> None:
    app.database.execute(
        "CREATE TABLE {s}.t (id int GENERATED ALWAYS AS IDENTITY, v int,"
        " twice int GENERATED ALWAYS AS (v * 2) STORED NOT NULL)"
    )
    body = app.restore(app.archive("t", b"id,v,twice\n41,1,2\n"), destination=STAGING).body
    # PostgreSQL computes it again, so nothing is lost.
    assert body["columns_ignored"] == ["twice"]
    assert [warning["code"] for warning in body["warnings"]] == ["SequenceBehind"]
    assert app.database.fetch("SELECT * FROM {s}.t") == [(41, 1, 2)]
    assert app.restore(app.archive("t", b"id,v\n42,2\n"), destination=STAGING).status == 200
    assert app.database.fetch("SELECT * FROM {s}.t WHERE id = 42") == [(42, 2, 4)]


def test_staged_like_another_table(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.t (v int, w numeric(5,2))")
    app.database.execute("CREATE TABLE {s}.looser (v bigint, extra text NOT NULL DEFAULT 'x')")
    like = STAGING | {"create_staging_like": f"{app.database.schema}.looser"}
    body = app.restore(app.archive("t", b"v,w\n1,2.5\n"), destination=like).body
    assert body["rows_loaded"] == 1
    assert str(app.database.fetch("SELECT v, w FROM {s}.t")) == "[(1, Decimal('2.50'))]"
    missing = app.restore(app.archive("t", b"v\n1\n"), destination=STAGING | {"create_staging_like": "no.such"})
    assert (missing.status, missing.code) == (404, "TableNotFound")
    assert missing.body["error"]["target"] == "destination.create_staging_like"


def test_a_bad_row_leaves_nothing_behind(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.t (v int)")
    answer = app.restore(app.archive("t", b"v,gone\n1,a\nx,b\n"), destination=STAGING)
    assert answer.code == "DataRejected"
    assert answer.body["error"]["details"][0]["line"] == 3
    assert answer.body["error"]["details"][0]["column"] == "v"
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0
    assert left_behind(app) == []


def test_a_constraint_that_only_the_target_has(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.device (id int PRIMARY KEY)")
    app.database.execute("CREATE TABLE {s}.t (device int REFERENCES {s}.device)")
    answer = app.restore(app.archive("t", b"device\n1\n"), destination=STAGING)
    assert (answer.status, answer.code) == (422, "DataRejected")
    assert answer.body["error"]["details"][0]["sqlstate"] == "23503"


def test_a_staging_table_of_a_crash_is_not_in_the_way(app: App) -> None:
    """Ours lives in the transaction; even one that somebody left on purpose has another name."""
    app.database.execute("CREATE TABLE {s}.t (v int)")
    app.database.execute("CREATE UNLOGGED TABLE {s}.t_staging (v int)")
    for _ in range(2):
        assert app.restore(app.archive("t", b"v\n1\n"), destination=STAGING).status == 200


def test_restoring_is_never_on_while_a_hypertable_is_written(app: App) -> None:
    """The trigger would see it; the rows themselves would vanish."""
    app.database.hypertable("t", "time timestamptz NOT NULL, seen text")
    app.database.execute(
        "CREATE FUNCTION {s}.note() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.seen := current_setting('timescaledb.restoring'); RETURN NEW; END $$"
    )
    app.database.execute("CREATE TRIGGER note BEFORE INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.note()")
    for mode in ("direct", "staging"):
        answer = app.restore(app.archive("t", b"time\n2025-01-01\n"), destination={"mode": mode})
        assert answer.status == 200, answer.body
    assert app.database.fetch("SELECT seen FROM {s}.t") == [("off",), ("off",)]


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_database_left_in_restore_mode_is_refused(app: App, mode: str) -> None:
    app.database.hypertable("t", "time timestamptz NOT NULL")
    app.database.execute(f"ALTER DATABASE {app.database.name} SET timescaledb.restoring = on")
    try:
        answer = app.restore(app.archive("t", b"time\n2025-01-01\n"), destination={"mode": mode})
    finally:
        app.database.execute(f"ALTER DATABASE {app.database.name} RESET timescaledb.restoring")
    assert (answer.status, answer.code) == (409, "DatabaseInRestoreMode")
    assert app.database.value("SELECT count(*) FROM ONLY {s}.t") == 0
