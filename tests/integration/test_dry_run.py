"""What would happen, without anything happening."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from shared.restore.dry_run import CHECK_NAMES
from tests.integration.fix_app import App
from tests.integration.fix_dry_run import CSV, codes, dry, same_words

LOOKED_AT_IN_FULL = ["values", "window", "duplicates"]


@pytest.fixture(autouse=True)
def table(app: App) -> None:
    app.database.hypertable("t", "time timestamptz NOT NULL, v int, note text")


def test_an_empty_day(app: App) -> None:
    assert dry(app) == {
        "rows_in_archive": 2,
        "rows_existing": 0,
        "on_existing": "error",
        "min_time": None,
        "max_time": None,
        "chunks": [],
        "caggs": [],
        "referenced_rows": [],
        "permissions_missing": [],
        "problems": [],
        "checked": [name for name in CHECK_NAMES if name not in LOOKED_AT_IN_FULL],
        "not_checked": LOOKED_AT_IN_FULL,
    }
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0
    assert app.database.fetch("SELECT public.show_chunks('{s}.t')") == []


def test_a_day_that_is_there(app: App) -> None:
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01Z', 1)")
    found = dry(app)
    assert (found["rows_existing"], [p["code"] for p in found["problems"]]) == (1, ["WindowNotEmpty"])
    found = dry(app, destination={"on_existing": "replace"}, copy={"expected_rows": 7})
    assert [p["code"] for p in found["problems"]] == ["RowCountMismatch"]
    assert found["chunks"][0]["would"] == ["truncate, or delete its rows"]


def test_what_a_role_lacks(app: App) -> None:
    found = dry(app, pg=app.database.role(), destination={"mode": "staging", "on_existing": "replace"})
    assert {(m["right"], m["needed"]) for m in found["permissions_missing"]} == {
        ("INSERT", True),
        ("SELECT", True),
        ("DELETE", True),
        ("USAGE", True),
        ("CREATE", True),
    }
    assert "DatabasePermissionDenied" in [p["code"] for p in found["problems"]]
    assert found["rows_existing"] is None


REPLACE = {"on_existing": "replace"}


def test_it_says_what_the_restore_says(app: App) -> None:
    app.database.execute("INSERT INTO {s}.t SELECT '2025-01-01Z', 1 FROM generate_series(1, 10)")
    assert same_words(app) == ["WindowNotEmpty"]
    assert same_words(app, destination=REPLACE) == ["ReplacementTooSmall"]
    expected = {"expected_rows": 7}
    assert same_words(app, destination=REPLACE | {"min_rows_ratio": 0}, copy=expected) == ["RowCountMismatch"]
    assert same_words(app, copy=expected) == ["WindowNotEmpty", "RowCountMismatch"]
    right = [
        "GRANT USAGE ON SCHEMA {s}",
        "GRANT SELECT, INSERT ON {s}.t",
    ]
    role = app.database.role(*right)
    assert same_words(app, pg=role, destination=REPLACE | {"min_rows_ratio": 0.1}) == ["DatabasePermissionDenied"]


def test_the_first_problem_is_the_restores_error(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are its error once those before them are corrected."""
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01Z', 1)")
    role = app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT ON {s}.t")
    monkeypatch.setenv("PGHOST", app.database.pg["host"])
    monkeypatch.setenv("PGPORT", str(app.database.pg["port"]))
    monkeypatch.setenv("PGOPTIONS", "-c default_transaction_read_only=on")
    expected = ["WindowNotEmpty", "DatabasePermissionDenied", "DatabaseReadOnly"]
    assert codes(dry(app, pg=role)) == expected
    for code, request in (
        (expected[0], {"pg": role}),
        (expected[1], {"pg": role, "destination": {"on_existing": "append"}}),
        (expected[2], {"destination": {"on_existing": "append"}}),
    ):
        assert (codes(dry(app, **request))[0], app.restore(app.archive("t", CSV), **request).code) == (code, code)


def test_rows_are_refused_before_what_their_removal_changes(app: App) -> None:
    app.database.execute(
        "DROP TABLE {s}.t; CREATE TABLE {s}.t (time timestamptz, v int PRIMARY KEY, note text, b int NOT NULL);"
        " CREATE TABLE {s}.o (v int REFERENCES {s}.t ON DELETE CASCADE)"
    )
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01Z', 1, '', 1); INSERT INTO {s}.o VALUES (1)")
    request: dict[str, Any] = {"destination": REPLACE}
    assert codes(dry(app, **request)) == ["DataRejected", "ReferencedRows"]
    assert app.restore(app.archive("t", CSV), **request).code == "DataRejected"


def test_a_server_that_leaves_no_rows_out(app: App) -> None:
    if app.database.connection.server_version >= 170000:
        pytest.skip("PostgreSQL 17 leaves rows out")
    skip: dict[str, Any] = {"copy": {"on_error": "skip", "max_rejected_rows": 1}, "destination": {"mode": "staging"}}
    assert same_words(app, **skip) == ["OnErrorNotSupported"]


def test_a_day_that_is_left_as_it_is_has_no_problems(app: App) -> None:
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01Z', 1)")
    role = app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT ON {s}.t")
    request: dict[str, Any] = {"destination": {"on_existing": "skip"}, "copy": {"expected_rows": 7}, "pg": role}
    assert dry(app, **request)["problems"] == []
    assert app.restore(app.archive("t", CSV), **request).body["status"] == "skipped"


def test_errors_are_those_of_the_restore(app: App) -> None:
    assert app.restore(app.archive("nix", CSV), dry_run=True).code == "TableNotFound"
    assert app.restore(app.archive("t", b"nix\n1\n"), dry_run=True).code == "UnknownColumn"
    assert app.restore(app.stored("t", b"plain"), dry_run=True).code == "ArchiveNotGzip"


def test_it_waits_for_nobody_and_nobody_waits_for_it(app: App) -> None:
    """Beside a writer that holds the strongest lock that a writer takes, and beside a running restore's lock."""
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01Z', 1)")
    with closing(app.database.session(autocommit=False)) as writer, writer.cursor() as cursor:
        cursor.execute(f'LOCK TABLE "{app.database.schema}".t IN SHARE ROW EXCLUSIVE MODE')
        assert dry(app)["rows_existing"] == 1


@pytest.mark.parametrize(
    ("csv", "options", "rows"),
    [
        (b"time\n", {}, 0),
        (b"time", {}, 0),
        (b"time\n2025-01-01", {}, 1),
        (b"\xef\xbb\xbftime\r\n2025-01-01\r\n2025-01-01\r\n", {}, 2),
        (b"time\r2025-01-01\r2025-01-01\r", {}, 2),
        (b'time,note\n2025-01-01,"a\n""b\n"\n2025-01-01,"x"\n', {}, 2),
        (b"time,note\n2025-01-01,'a\\'\n'\n2025-01-01,x\n", {"QUOTE": "'", "ESCAPE": "\\"}, 2),
        (b"2025-01-01\n2025-01-02\n", {"HEADER": False}, 2),
    ],
)
def test_the_archives_rows_are_counted_as_copy_counts_them(
    app: App, csv: bytes, options: dict[str, Any], rows: int
) -> None:
    copy = {"csv_options": options} | ({} if options.get("HEADER", True) else {"columns": ["time"]})
    assert dry(app, csv, copy=copy)["rows_in_archive"] == rows
    request: dict[str, Any] = {"copy": copy, "destination": {"on_existing": "append"}, "verify": False}
    assert app.restore(app.archive("t", csv), **request).body["rows_loaded"] == rows


@pytest.mark.parametrize("is_empty", [True, False])
def test_a_deferrable_key_matters_only_where_rows_may_be_in_conflict(app: App, is_empty: bool) -> None:
    """Into an empty day of a hypertable the rows are inserted without a look for conflicts."""
    app.database.hypertable("keyed", "time timestamptz NOT NULL, v int, UNIQUE (time) DEFERRABLE INITIALLY DEFERRED")
    if not is_empty:
        app.database.execute("INSERT INTO {s}.keyed VALUES ('2025-01-01 12:00Z', 1)")
    request = {"destination": {"mode": "staging", "on_existing": "append"}}
    url = app.archive("keyed", b"time,v\n2025-01-01 01:00Z,1\n")
    plan = app.restore(url, dry_run="full", **request).body["dry_run"]
    assert [problem["code"] for problem in plan["problems"]] == ([] if is_empty else ["OperationNotSupported"])
    assert app.restore(url, **request).code == (None if is_empty else "OperationNotSupported")
