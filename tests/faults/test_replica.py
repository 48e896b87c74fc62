"""A replica, and a primary that has turned read-only: they answer queries, and take no rows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.fix_own_server import OwnServer
from tests.integration.fix_app import App
from tests.integration.fix_database import PATIENCE_SECONDS
from tests.integration.fix_dry_run import dry, same_words
from tools.process import wait_until

CSV = b"time,v\n2025-01-01 00:00Z,1\n"


@pytest.fixture
def replica(own_server: OwnServer) -> Iterator[App]:
    """Let the server wait for a primary that does not come, with a table that holds one day."""
    app = own_server.app
    app.database.execute("CREATE TABLE {s}.t (time timestamptz NOT NULL, v int)")
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-02Z', 1)")
    signal = own_server.server.data / "standby.signal"
    own_server.server.stop()
    signal.touch()
    os.chown(signal, *own_server.server.root.postgres_ids)
    try:
        yield own_server.restart()
    finally:
        own_server.server.stop()
        signal.unlink()
        own_server.restart()


@pytest.mark.parametrize("kind", [True, "full"])
def test_the_dry_run_says_it(replica: App, kind: Any) -> None:
    assert same_words(replica, CSV, dry_run=kind) == ["DatabaseReadOnly"]
    found = dry(replica, CSV, dry_run=kind)
    assert "replica" in found["problems"][0]["message"]
    assert {"values", "window", "duplicates"} <= set(found["not_checked"])
    assert "existing" in found["checked"]


def test_a_day_that_is_there_is_skipped_on_a_replica_too(replica: App) -> None:
    skip = {"on_existing": "skip"}
    url = replica.archive("t", CSV.replace(b"01-01", b"01-02"), day="2025-01-02")
    assert replica.restore(url, destination=skip, dry_run=True).body["dry_run"]["problems"] == []
    assert replica.restore(url, destination=skip).body["status"] == "skipped"


def test_a_replica_that_was_just_started_may_be_an_old_primary(replica: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers are two, since what helps is not the same."""
    answer = replica.restore(replica.archive("t", CSV))
    assert (answer.status, answer.code) == (409, "DatabaseReadOnly"), answer.body
    assert "failover" in answer.body["error"]["message"]
    assert "wait a minute" in answer.body["error"]["hint"]
    monkeypatch.setattr("shared.load.inspect.acceptance.FAILOVER_TIME", "0 s")
    answer = replica.restore(replica.archive("t", CSV))
    assert (answer.status, answer.code) == (409, "DatabaseReadOnly"), answer.body
    assert answer.body["error"]["message"] == "the server is a replica"
    assert answer.body["error"]["hint"] == "name the primary server in pg.host"


@pytest.fixture
def read_only_server(own_server: OwnServer) -> Iterator[App]:
    """A primary that has turned read-only, as Azure's do when their disk is almost full."""
    app = own_server.app
    app.database.execute("CREATE TABLE {s}.t (time timestamptz NOT NULL, v int)")
    app.database.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    app.database.execute("SELECT pg_reload_conf()")
    assert wait_until(lambda: app.database.value("SHOW default_transaction_read_only") == "on", PATIENCE_SECONDS)
    yield app
    app.database.execute("ALTER SYSTEM RESET default_transaction_read_only")
    app.database.execute("SELECT pg_reload_conf()")
    assert wait_until(lambda: app.database.value("SHOW default_transaction_read_only") == "off", PATIENCE_SECONDS)


def test_a_primary_that_turned_read_only_has_a_full_disk(read_only_server: App) -> None:
    app = read_only_server
    answer = app.restore(app.archive("t", CSV))
    assert (answer.status, answer.code) == (507, "DatabaseStorageFull"), answer.body
    assert answer.body["error"]["retryable"] is False
    assert answer.body["error"]["hint"].startswith("grow the disk")
    assert same_words(app, CSV, dry_run=True) == ["DatabaseStorageFull"]
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0
