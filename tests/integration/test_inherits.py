"""A plain table from which others inherit (INHERITS): COPY writes to it alone, and a query reads them all."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.fix_app import Answer, App
from tests.integration.fix_small_day import CSV

MODES = pytest.mark.parametrize("mode", ["direct", "staging"])


@pytest.fixture(params=["app", pytest.param("community_app", marks=pytest.mark.community)])
def parent(request: pytest.FixtureRequest) -> App:
    """On each edition: a table, and one that inherits from it and holds a row of the day."""
    app: App = request.getfixturevalue(request.param)
    app.database.execute("CREATE TABLE {s}.t (time timestamptz NOT NULL, v int)")
    app.database.execute("CREATE TABLE {s}.child () INHERITS ({s}.t)")
    app.database.execute("INSERT INTO {s}.child VALUES ('2025-01-01 01:00Z', 100)")
    return app


def restore(app: App, mode: str, policy: str, **request: Any) -> Answer:
    destination = {"mode": mode, "on_existing": policy}
    return app.restore(app.archive("t", CSV), destination=destination, **request)


def rows(app: App) -> list[tuple[Any, ...]]:
    return app.database.fetch("SELECT tableoid::regclass::text ~ 'child', v FROM {s}.t ORDER BY v")


@MODES
@pytest.mark.parametrize("has_own", [False, True])
def test_it_is_not_replaced(parent: App, mode: str, *, has_own: bool) -> None:
    if has_own:
        parent.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 02:00Z', 7)")
    for request in ({}, {"dry_run": True}, {"verify": False}):
        answer = restore(parent, mode, "replace", **request)
        assert (answer.status, answer.code) == (422, "TargetNotATable")
    assert rows(parent) == [*([(False, 7)] if has_own else []), (True, 100)]


@MODES
@pytest.mark.parametrize("policy", ["error", "skip"])
def test_a_day_in_a_child_alone_is_not_doubled(parent: App, mode: str, policy: str) -> None:
    assert restore(parent, mode, policy).code == "WindowNotEmpty"
    plan = restore(parent, mode, policy, dry_run=True).body["dry_run"]
    assert [problem["code"] for problem in plan["problems"]] == ["WindowNotEmpty"]
    assert rows(parent) == [(True, 100)]


@MODES
def test_its_own_rows_are_counted(parent: App, mode: str) -> None:
    proof = restore(parent, mode, "append").body["verification"]
    assert (proof["rows_before"], proof["rows_after"], proof["rows_loaded"]) == (0, 2, 2)
    assert rows(parent) == [(False, 1), (False, 2), (True, 100)]
    assert restore(parent, mode, "skip").body["status"] == "skipped"


def test_a_partitioned_table_is_replaced(parent: App) -> None:
    parent.database.execute("DROP TABLE {s}.t CASCADE")
    parent.database.execute("CREATE TABLE {s}.t (time timestamptz NOT NULL, v int) PARTITION BY RANGE (time)")
    parent.database.execute("CREATE TABLE {s}.p PARTITION OF {s}.t DEFAULT")
    parent.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 01:00Z', 100)")
    assert restore(parent, "direct", "replace").body["rows_removed"] == 1
    assert [v for _, v in rows(parent)] == [1, 2]
