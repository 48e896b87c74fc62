"""A replica: it answers queries, and takes no rows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.fix_own_server import OwnServer
from tests.integration.fix_app import App
from tests.integration.fix_dry_run import dry, same_words

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
