"""What keeps rows of the day out of the target: the dry run lists it, and the load says it before the first row."""

from __future__ import annotations

from contextlib import closing
from datetime import date
from typing import Any

import pytest

from shared.load.locks.restore_lock import restore_lock
from shared.names import QualifiedName
from shared.settings import load_settings
from shared.timescale.needed_settings import session_settings_of
from tests.integration.fix_app import App
from tests.integration.fix_dry_run import codes, dry, same_words

CSV = b"time,v\n2025-01-01 00:00Z,1\n"
EMPTY = b"time,v\n"
MODES = pytest.mark.parametrize("mode", ["direct", "staging"])
KINDS = pytest.mark.parametrize("kind", [True, "full"])
REQUEST_ID = "5ad4a7d8-2b8c-4b8e-9d51-0f3a4f9f7d11"


@KINDS
def test_a_restore_that_runs(app: App, kind: Any) -> None:
    app.database.execute("CREATE TABLE {s}.t (time timestamptz, v int)")
    table = QualifiedName(app.database.schema, "t")
    with closing(app.database.session()) as other:
        lock = restore_lock(
            other,
            table,
            date(2025, 1, 1),
            session_settings_of(load_settings()),
            request_id=REQUEST_ID,
            connect_to_cancel=app.database.session,
        )
        with lock:
            (problem,) = dry(app, CSV, dry_run=kind)["problems"]
        assert (problem["code"], REQUEST_ID in problem["message"]) == ("RestoreInProgress", True)
    assert dry(app, CSV, dry_run=kind)["problems"] == []


@KINDS
@MODES
def test_columns_that_the_file_lacks(app: App, mode: str, kind: Any) -> None:
    app.database.execute(
        "CREATE DOMAIN {s}.given AS int NOT NULL; CREATE DOMAIN {s}.more AS {s}.given CHECK (VALUE > 0)"
    )
    app.database.execute(
        "CREATE TABLE {s}.t (time timestamptz NOT NULL, v int, a int NOT NULL DEFAULT 1, b int NOT NULL, c {s}.more,"
        " d int GENERATED ALWAYS AS IDENTITY, e int NOT NULL GENERATED ALWAYS AS (v * 2) STORED, f int)"
    )
    request: dict[str, Any] = {"dry_run": kind, "destination": {"mode": mode}}
    assert same_words(app, CSV, **request) == ["DataRejected"]
    (problem,) = dry(app, CSV, **request)["problems"]
    assert problem["message"].startswith('the file lacks "b", "c": in the table ')
    assert dry(app, EMPTY, **request)["problems"] == []
    assert app.restore(app.archive("t", EMPTY), destination={"mode": mode}).status == 200


def test_rows_that_may_all_be_left_out(app: App) -> None:
    """Only a row that can be read lacks a column of the target."""
    if app.database.connection.server_version < 170000:
        pytest.skip("PostgreSQL 17 leaves rows out")
    app.database.execute("CREATE TABLE {s}.t (time timestamptz NOT NULL, v int, b int NOT NULL)")
    app.database.execute("CREATE TABLE {s}.loose (time timestamptz, v int)")
    like = {"mode": "staging", "create_staging_like": f"{app.database.schema}.loose"}
    request: dict[str, Any] = {"destination": like, "copy": {"on_error": "skip", "max_rejected_rows": 1}}
    csv = CSV.replace(b",1", b",x")
    found = dry(app, csv, **request)
    assert (found["problems"], "columns" in found["not_checked"]) == ([], True)
    assert app.restore(app.archive("t", csv), **request).status == 200
    assert app.restore(app.archive("t", CSV), **request).code == "DataRejected"


def test_what_the_server_says_of_the_column(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.t (time timestamptz NOT NULL, v int, b int NOT NULL)")
    error = app.restore(app.archive("t", CSV)).body["error"]
    detail = error["details"][0]
    assert (error["code"], detail["sqlstate"], detail["column"]) == ("DataRejected", "23502", "b")
    assert "correct the row" not in error["hint"]


@MODES
def test_a_trigger_that_may_fill_the_column(app: App, mode: str) -> None:
    """In direct mode nobody knows before the row comes. No trigger fires on a staging table."""
    app.database.execute("CREATE TABLE {s}.t (time timestamptz NOT NULL, v int, b int NOT NULL)")
    app.database.execute(
        "CREATE FUNCTION {s}.fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.b = 1; RETURN NEW; END $$;"
        " CREATE TRIGGER fill BEFORE INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.fill()"
    )
    found = dry(app, CSV, destination={"mode": mode})
    answer = app.restore(app.archive("t", CSV), destination={"mode": mode})
    if mode == "direct":
        assert ("columns" in found["not_checked"], codes(found), answer.status) == (True, [], 200)
    else:
        assert (codes(found), answer.code) == (["DataRejected"], "DataRejected")


PARTITIONED = "CREATE TABLE {s}.t (time timestamptz NOT NULL, v int) PARTITION BY RANGE (time)"


@KINDS
@MODES
def test_a_day_without_a_partition(app: App, mode: str, kind: Any) -> None:
    app.database.execute(PARTITIONED)
    request: dict[str, Any] = {"dry_run": kind, "destination": {"mode": mode}}
    assert same_words(app, CSV, **request) == ["DataRejected"]
    app.database.execute("CREATE TABLE {s}.t2 PARTITION OF {s}.t FOR VALUES FROM ('2025-01-02Z') TO ('2025-02-01Z')")
    assert same_words(app, CSV, **request) == ["DataRejected"]
    error = app.restore(app.archive("t", CSV), destination={"mode": mode}).body["error"]
    assert (error["details"][0]["sqlstate"], "create the partition" in error["hint"]) == ("23514", True)
    assert dry(app, EMPTY, **request)["problems"] == []
    app.database.execute("CREATE TABLE {s}.t1 PARTITION OF {s}.t FOR VALUES FROM ('2024-01-01Z') TO ('2025-01-02Z')")
    found = dry(app, CSV, **request)
    assert (found["problems"], "partition" in found["checked"]) == ([], True)
    assert app.restore(app.archive("t", CSV), destination={"mode": mode}).status == 200


def test_a_partition_for_a_part_of_the_day(app: App) -> None:
    """Only the rows tell whether one is missing."""
    app.database.execute(PARTITIONED)
    app.database.execute(
        "CREATE TABLE {s}.t1 PARTITION OF {s}.t FOR VALUES FROM ('2025-01-01Z') TO ('2025-01-01 12:00Z')"
        " PARTITION BY LIST (v); CREATE TABLE {s}.t11 PARTITION OF {s}.t1 FOR VALUES IN (1)"
    )
    found = dry(app, CSV)
    assert (found["problems"], "partition" in found["not_checked"]) == ([], True)
    found = dry(app, CSV, dry_run="full")
    assert (found["problems"], "partition" in found["checked"]) == ([], True)
    for row in (b"2025-01-01 12:00Z,1\n", b"2025-01-01 01:00Z,2\n"):
        (problem,) = dry(app, CSV + row, dry_run="full")["problems"]
        assert f"{app.database.schema}.t has no partition for 1 row" in problem["message"]
        assert app.restore(app.archive("t", CSV + row)).code == "DataRejected"
    app.database.execute("CREATE TABLE {s}.t0 PARTITION OF {s}.t DEFAULT")
    assert dry(app, CSV + b"2025-01-01 12:00Z,1\n", dry_run="full")["problems"] == []


def test_rows_of_other_days_may_have_a_partition(app: App) -> None:
    app.database.execute(PARTITIONED)
    app.database.execute("CREATE TABLE {s}.t2 PARTITION OF {s}.t FOR VALUES FROM ('2025-01-02Z') TO ('2025-02-01Z')")
    csv, allowed = b"time,v\n2025-01-02 00:00Z,1\n", {"rows_outside_window": "allow"}
    found = dry(app, csv, destination=allowed)
    assert (found["problems"], "partition" in found["not_checked"]) == ([], True)
    assert dry(app, csv, dry_run="full", destination=allowed)["problems"] == []
    assert app.restore(app.archive("t", csv), destination=allowed).status == 200


@KINDS
def test_a_role_that_writes_nothing(app: App, kind: Any) -> None:
    """As on a replica, or where Azure has switched a server with a full disk to read-only."""
    app.database.execute("CREATE TABLE {s}.t (time timestamptz NOT NULL, v int)")
    role = app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.t")
    app.database.execute(f"ALTER ROLE {role['user']} SET default_transaction_read_only = on")
    assert same_words(app, CSV, dry_run=kind, pg=role) == ["DatabaseReadOnly"]
    assert "values" in dry(app, CSV, dry_run=kind, pg=role)["not_checked"]


@pytest.mark.community
@KINDS
@MODES
def test_a_frozen_chunk(community_app: App, mode: str, kind: Any) -> None:
    app = community_app
    app.database.hypertable("t", "time timestamptz NOT NULL, v int", interval="interval '7 days'")
    app.database.execute("INSERT INTO {s}.t VALUES ('2024-12-31 01:00Z', 1), ('2025-01-03Z', 2)")
    app.database.execute("SELECT _timescaledb_functions.freeze_chunk(c) FROM public.show_chunks('{s}.t') c")
    request: dict[str, Any] = {"dry_run": kind, "destination": {"mode": mode}}
    assert same_words(app, CSV, **request) == ["OperationNotSupported"]
    error = app.restore(app.archive("t", CSV), destination={"mode": mode}).body["error"]
    assert "unfreeze_chunk" in error["hint"]
    assert dry(app, EMPTY, **request)["problems"] == []
    assert app.restore(app.archive("t", EMPTY), destination={"mode": mode}).status == 200


@pytest.mark.community
def test_a_frozen_chunk_over_a_part_of_the_day(community_app: App) -> None:
    """Rows may go by it; but a day with rows in it cannot be replaced."""
    app = community_app
    app.database.hypertable("t", "time timestamptz NOT NULL, v int", interval="interval '1 hour'")
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 05:10Z', 1)")
    app.database.execute("SELECT _timescaledb_functions.freeze_chunk(c) FROM public.show_chunks('{s}.t') c")
    append = {"on_existing": "append"}
    found = dry(app, CSV, destination=append)
    assert (found["problems"], "chunks" in found["not_checked"]) == ([], True)
    assert same_words(app, CSV, destination={"on_existing": "replace"}) == ["OperationNotSupported"]
    assert app.restore(app.archive("t", CSV), destination=append).status == 200


def test_a_copy_that_comes_under_policies(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.t (time timestamptz NOT NULL, v int)")
    role = app.database.role("GRANT USAGE, CREATE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.t")
    app.database.execute("ALTER TABLE {s}.t ENABLE ROW LEVEL SECURITY")
    app.database.execute("CREATE POLICY all_rows ON {s}.t USING (true) WITH CHECK (v < 5)")
    for csv in (CSV, EMPTY):
        assert same_words(app, csv, pg=role) == ["OperationNotSupported"]
    staged: dict[str, Any] = {"pg": role, "destination": {"mode": "staging"}}
    found = dry(app, CSV, dry_run="full", **staged)
    assert (found["problems"], "values" in found["not_checked"]) == ([], True)
    assert app.restore(app.archive("t", CSV), **staged).status == 200
