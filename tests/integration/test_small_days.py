"""A day whose indexes are not worth to be dropped and built: they are kept up to date row by row."""

from __future__ import annotations

from typing import Any

import pytest

from shared.postgres.connect import Connection, open_connection
from tests.integration.fix_app import Answer, App
from tests.integration.fix_fast_day import MODES, PLAIN, ROWS, TRANSFERS, check_deferred, check_same, csv, kept, make

CSV = csv(ROWS)


@pytest.fixture
def usual_app(app: App, monkeypatch: pytest.MonkeyPatch) -> App:
    """With the setting's own default; the small days of other tests take the way of large ones."""
    monkeypatch.delenv("PG_INDEX_DEFER_MIN_BYTES")
    return app


def put_back(app: App, mode: str, **copy: str) -> Answer:
    """Restore the day into `t`, and into `plain` as one that asks for the plain way."""
    for table in ("t", "plain"):
        make(app, table)
    assert app.restore(app.archive("plain", CSV), copy=PLAIN).status == 200
    return app.restore(app.archive("t", CSV), destination={"mode": mode}, copy=copy)


@MODES
@TRANSFERS
def test_its_indexes_are_kept(usual_app: App, mode: str, transfer: str) -> None:
    answer = put_back(usual_app, mode, transfer=transfer)
    assert answer.status == 200, answer.body
    assert kept(answer) == ["SmallDay"]
    assert answer.body["copy"]["indexes_deferred"] == []
    check_same(usual_app.database)


@MODES
def test_so_they_are_where_it_is_replaced(usual_app: App, mode: str) -> None:
    put_back(usual_app, mode)
    answer = usual_app.restore(usual_app.archive("t", CSV), destination={"mode": mode, "on_existing": "replace"})
    assert answer.status == 200, answer.body
    assert answer.body["rows_removed"] == len(ROWS)
    assert kept(answer) == ["SmallDay"]
    check_same(usual_app.database)


def test_a_day_of_just_the_bytes_of_the_setting_is_a_large_one(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_INDEX_DEFER_MIN_BYTES", str(len(CSV)))
    check_deferred(app, put_back(app, "direct"))
    check_same(app.database)


def test_one_byte_less_is_a_small_one(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_INDEX_DEFER_MIN_BYTES", str(len(CSV) + 1))
    assert kept(put_back(app, "direct")) == ["SmallDay"]


@pytest.mark.parametrize(("idle_seconds", "expected"), [(10, 2), (0, 3)], ids=["fresh", "idle for too long"])
def test_the_connection_of_the_first_look_is_the_loads(
    usual_app: App, monkeypatch: pytest.MonkeyPatch, idle_seconds: int, expected: int
) -> None:
    """It and the lock's are all. One that was idle for long, while the archive was downloaded, is not trusted."""
    opened = []

    def counted(*args: Any) -> Connection:
        opened.append(open_connection(*args))
        return opened[-1]

    monkeypatch.setenv("PG_IDLE_SESSION_SECONDS", "0")
    monkeypatch.setattr("shared.postgres.connect.open_connection", counted)
    monkeypatch.setattr("shared.restore.restore.IDLE_SECONDS", idle_seconds)
    assert put_back(usual_app, "direct").status == 200
    # Of two restores.
    assert len(opened) == 2 * expected
    assert all(connection.closed for connection in opened)
