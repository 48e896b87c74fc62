"""A hypertable whose chunks a function cuts (`time_partitioning_func`): their ranges say nothing of the day."""

from __future__ import annotations

import pytest

from tests.integration.fix_app import App
from tests.integration.fix_compressed import actions, chunk_states, partial_chunks

CSV = b"time,v\n2025-01-01 13:00Z,1\n"
# By the function, a chunk reaches from noon to noon. The first two rows share one, whose range looks like the day's.
ROWS = "('2025-01-01 13:00Z', 7), ('2025-01-02 01:00Z', -2)"
COMPRESS = "SELECT public.compress_chunk(c) FROM public.show_chunks('{s}.t') c"


def table(app: App, rows: str = ROWS, columns: str = "time timestamptz NOT NULL, v int") -> None:
    app.database.execute(
        "CREATE FUNCTION {s}.half_a_day_before(x timestamptz) RETURNS timestamp LANGUAGE sql IMMUTABLE AS"
        " $$ SELECT x AT TIME ZONE 'UTC' - interval '12 hours' $$"
    )
    app.database.execute(f"CREATE TABLE {{s}}.t ({columns})")
    app.database.execute(
        "SELECT public.create_hypertable('{s}.t', 'time', chunk_time_interval => interval '1 day',"
        " time_partitioning_func => '{s}.half_a_day_before')"
    )
    if rows:
        app.database.execute("INSERT INTO {s}.t VALUES " + rows)


def values(app: App) -> list[int]:
    return [row[0] for row in app.database.fetch("SELECT v FROM {s}.t ORDER BY time, v")]


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_replace_leaves_the_next_day(app: App, mode: str) -> None:
    table(app, ROWS + ", ('2025-01-01 03:00Z', 8), ('2024-12-31 13:00Z', -1)")
    body = app.restore(app.archive("t", CSV), destination={"mode": mode, "on_existing": "replace"}).body
    assert [warning["code"] for warning in body["warnings"]] == ["ReplacedByFewer"]
    assert (body["rows_loaded"], body["rows_removed"], body["removed_by"]) == (1, 2, "delete")
    assert values(app) == [-1, 1, -2]


def test_the_dry_run_names_the_chunks_that_hold_rows_of_the_day(app: App) -> None:
    table(app, ROWS + ", ('2024-12-31 11:00Z', -1)")
    holding = app.database.value("SELECT tableoid::regclass::text FROM {s}.t WHERE v = 7")
    request = {"destination": {"on_existing": "replace"}, "dry_run": True}
    body = app.restore(app.archive("t", CSV), **request).body
    assert body["dry_run"]["chunks"] == [{"name": holding, "is_compressed": False, "would": ["delete the day's rows"]}]


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_an_empty_day_counts_only_the_chunks_that_the_load_made(app: App, mode: str) -> None:
    table(app, "('2025-01-02 01:00Z', -2)")
    csv = b"time,v\n2025-01-01 01:00Z,1\n2025-01-01 13:00Z,2\n"
    body = app.restore(app.archive("t", csv), destination={"mode": mode}).body
    assert (body["status"], actions(body)) == ("ok", [("create", "done")])
    assert values(app) == [1, 2, -2]


def test_reading_the_time_column_alone_is_not_enough(app: App) -> None:
    table(app)
    role = app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT INSERT, SELECT (time) ON {s}.t")
    answer = app.restore(app.archive("t", CSV), pg=role)
    assert (answer.status, answer.code) == (403, "DatabasePermissionDenied")
    assert "SELECT" in answer.body["error"]["message"]
    role = app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT INSERT ON {s}.t")
    destination = {"on_existing": "append"}
    assert app.restore(app.archive("t", CSV), pg=role, destination=destination, verify=False).status == 200
    assert values(app) == [1, 7, -2]


@pytest.mark.community
@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_replace_with_compressed_chunks(community_app: App, mode: str) -> None:
    app = community_app
    table(app, ROWS + ", ('2025-01-01 03:00Z', 8), ('2024-12-31 13:00Z', -1)")
    app.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress)")
    app.database.execute(COMPRESS)
    body = app.restore(app.archive("t", CSV), destination={"mode": mode, "on_existing": "replace"}).body
    assert [warning["code"] for warning in body["warnings"]] == ["ReplacedByFewer"]
    assert (body["rows_loaded"], body["rows_removed"], body["removed_by"]) == (1, 2, "delete")
    assert actions(body) == [("decompress", "done")] * 2 + [("recompress", "done")] * 2
    assert values(app) == [-1, 1, -2]
    assert chunk_states(app) == [(True,)] * 2
    assert partial_chunks(app) == 0


@pytest.mark.community
def test_a_compressed_chunk_that_the_day_only_reaches_now_is_compressed_again(community_app: App) -> None:
    app = community_app
    table(app, "('2025-01-02 01:00Z', -2)")
    app.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress)")
    app.database.execute(COMPRESS)
    csv = b"time,v\n2025-01-01 01:00Z,1\n2025-01-01 13:00Z,2\n"
    body = app.restore(app.archive("t", csv), timescaledb={"compress_new_chunks": True}).body
    assert body["status"] == "ok"
    assert sorted(actions(body)) == [("compress", "done"), ("create", "done"), ("recompress", "done")]
    assert values(app) == [1, 2, -2]
    assert chunk_states(app) == [(True,)] * 2
    assert partial_chunks(app) == 0
