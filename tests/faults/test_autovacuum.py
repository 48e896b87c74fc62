"""Autovacuum at work in the database: it has a transaction open, and shows rows to nobody."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.fix_own_server import OwnServer
from tests.integration.fix_app import App
from tests.integration.fix_small_day import CSV, table_with_a_day, values

AT_WORK = "backend_type = 'autovacuum worker' AND query LIKE 'autovacuum: %other'"


@pytest.fixture
def vacuumed(own_server: OwnServer) -> Iterator[App]:
    """Let it work on another table, with a pause at each page, for longer than a restore takes."""
    server = own_server.server
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(server.settings, "autovacuum", "on")
        patch.setitem(server.settings, "autovacuum_naptime", "1s")
        server.stop()
        app = own_server.restart()
        app.database.execute(
            "CREATE TABLE {s}.other (v int) WITH (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)"
        )
        app.database.execute("INSERT INTO {s}.other SELECT generate_series(1, 100000); DELETE FROM {s}.other")
        app.database.wait_for_session(AT_WORK)
        yield app
    server.stop()


def test_a_day_is_truncated_beside_it(vacuumed: App) -> None:
    """A superuser sees what kind of session it is. The other role sees only that it is of no role."""
    table_with_a_day(vacuumed)
    rights = ("GRANT USAGE, CREATE ON SCHEMA {s}", "GRANT SELECT, INSERT, DELETE, TRUNCATE ON {s}.t")
    for pg in (vacuumed.database.pg, vacuumed.database.role(*rights)):
        answer = vacuumed.restore(vacuumed.archive("t", CSV), pg=pg, destination={"on_existing": "replace"})
        assert (answer.status, answer.body.get("removed_by")) == (200, "truncate"), answer.body
        assert values(vacuumed) == [-1, 1, 2, -2]
    assert vacuumed.database.has_session(AT_WORK), "it has ended too early to show anything"
