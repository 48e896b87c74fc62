"""The list of tables that may be written, ALLOWED_TARGETS, and the parts into which rows go through a parent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.fix_app import App
from tests.integration.fix_dry_run import codes, dry, same_words
from tests.integration.fix_small_day import values

CSV = b"time,v\n2025-01-01 00:00Z,1\n2025-01-01 12:00Z,2\n"
MODES = pytest.mark.parametrize("mode", ["direct", "staging"])
KINDS = pytest.mark.parametrize("kind", [True, "full"])


def allow(app: App, monkeypatch: pytest.MonkeyPatch, *tables: str) -> None:
    monkeypatch.setenv("ALLOWED_TARGETS", ",".join(f"{app.database.schema}.{table}" for table in tables))


@pytest.fixture
def partitioned(app: App) -> App:
    """A table by day of two days, the second by value."""
    app.database.execute(
        "CREATE TABLE {s}.t (time timestamptz NOT NULL, v int) PARTITION BY RANGE (time);"
        " CREATE TABLE {s}.first PARTITION OF {s}.t FOR VALUES FROM ('2025-01-01Z') TO ('2025-01-02Z');"
        " CREATE TABLE {s}.second PARTITION OF {s}.t FOR VALUES FROM ('2025-01-02Z') TO ('2025-01-03Z')"
        " PARTITION BY LIST (v);"
        " CREATE TABLE {s}.one PARTITION OF {s}.second FOR VALUES IN (1);"
        " CREATE TABLE {s}.other PARTITION OF {s}.second DEFAULT"
    )
    return app


@MODES
@KINDS
def test_the_days_partition(partitioned: App, monkeypatch: pytest.MonkeyPatch, mode: str, kind: Any) -> None:
    app, request = partitioned, {"dry_run": kind, "destination": {"mode": mode}}
    allow(app, monkeypatch, "t", "one")
    assert same_words(app, CSV, **request) == ["TargetNotAllowed"]
    error = app.restore(app.archive("t", CSV), destination={"mode": mode}).body["error"]
    assert (error["target"], f"{app.database.schema}.first" in error["message"]) == ("destination.target_table", True)
    # Named itself it is not allowed either.
    assert app.restore(app.archive("first", CSV)).code == "TargetNotAllowed"
    assert values(app) == []
    # A partition that gets no row need not be listed.
    allow(app, monkeypatch, "t", "first")
    assert codes(dry(app, CSV, **request)) == []
    assert app.restore(app.archive("t", CSV), destination={"mode": mode}).status == 200


@MODES
def test_the_rows_decide(partitioned: App, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """Of two partitions over the day one is listed."""
    app = partitioned
    allow(app, monkeypatch, "t", "one")
    csv = b"time,v\n2025-01-02 00:00Z,1\n"
    request: dict[str, Any] = {"destination": {"mode": mode, "on_existing": "append"}}
    found = app.restore(app.archive("t", csv, day="2025-01-02"), dry_run=True, **request).body["dry_run"]
    assert (found["problems"], "partition" in found["not_checked"]) == ([], True)
    answer = app.restore(app.archive("t", csv + b"2025-01-02 01:00Z,2\n", day="2025-01-02"), **request)
    assert answer.code == "TargetNotAllowed"
    assert f"{app.database.schema}.other" in answer.body["error"]["message"]
    assert values(app) == []
    assert app.restore(app.archive("t", csv, day="2025-01-02"), **request).status == 200
    assert values(app) == [1]


@MODES
def test_rows_of_another_day(partitioned: App, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    app = partitioned
    allow(app, monkeypatch, "t", "first")
    csv = CSV + b"2025-01-02 00:00Z,1\n"
    request: dict[str, Any] = {"destination": {"mode": mode, "rows_outside_window": "allow", "on_existing": "error"}}
    found = dry(app, csv, **request)
    assert (found["problems"], "partition" in found["not_checked"]) == ([], True)
    for verify in (True, False):
        assert app.restore(app.archive("t", csv), verify=verify, **request).code == "TargetNotAllowed"
    assert values(app) == []


def test_rows_that_would_be_deleted(partitioned: App, monkeypatch: pytest.MonkeyPatch) -> None:
    app = partitioned
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-02 01:00Z', 1), ('2025-01-02 02:00Z', 2)")
    allow(app, monkeypatch, "t", "one")
    answer = app.restore(
        app.archive("t", b"time,v\n2025-01-02 03:00Z,1\n", day="2025-01-02"), destination={"on_existing": "replace"}
    )
    assert answer.code == "TargetNotAllowed"
    assert values(app) == [1, 2]


def test_a_role_that_may_not_read(partitioned: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot ask which partitions are over the day."""
    app = partitioned
    role = app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT INSERT ON {s}.t")
    request: dict[str, Any] = {"pg": role, "verify": False, "destination": {"on_existing": "append"}}
    allow(app, monkeypatch, "t", "one")
    assert app.restore(app.archive("t", CSV), **request).code == "TargetNotAllowed"
    allow(app, monkeypatch, "t")
    assert same_words(app, CSV, dry_run=True, **request) == ["TargetNotAllowed"]
    allow(app, monkeypatch, "t", "first")
    assert app.restore(app.archive("t", CSV), **request).status == 200


def test_a_partition_of_an_unlisted_parent(partitioned: App, monkeypatch: pytest.MonkeyPatch) -> None:
    app = partitioned
    allow(app, monkeypatch, "first")
    assert app.restore(app.archive("t", CSV)).code == "TargetNotAllowed"
    assert app.restore(app.archive("first", CSV)).status == 200


def test_a_table_that_inherits(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trigger of the parent writes to it, as before there were partitions."""
    app.database.execute(
        "CREATE TABLE {s}.t (time timestamptz NOT NULL, v int); CREATE TABLE {s}.child () INHERITS ({s}.t)"
    )
    allow(app, monkeypatch, "t")
    assert app.restore(app.archive("t", CSV)).status == 200
    app.database.execute(
        "DELETE FROM {s}.t; CREATE FUNCTION {s}.move() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO {s}.child VALUES (NEW.*); RETURN NULL; END $$;"
        " CREATE TRIGGER move BEFORE INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.move()"
    )
    request: dict[str, Any] = {"verify": False, "destination": {"on_existing": "append"}}
    assert app.restore(app.archive("t", CSV), **request).code == "TargetNotAllowed"
    assert values(app) == []


def test_chunks_are_a_part_of_their_hypertable(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    allow(app, monkeypatch, "t")
    for request in ({}, {"on_existing": "replace"}):
        answer = app.restore(app.archive("t", CSV), destination=request)
        assert answer.status == 200, answer.body
