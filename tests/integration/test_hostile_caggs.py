"""Hostile names of aggregates, of what is compressed and of its chunks, on a community edition."""

from __future__ import annotations

import pytest
from psycopg2 import sql

from tests.integration.fix_app import App
from tests.integration.fix_names import (
    csv_of,
    each_name,
    loaded,
    make_canary,
    make_hypertable,
    quoted,
    run,
    send,
    values,
)

pytestmark = pytest.mark.community

CSV = csv_of(("time", "v"), [("2025-01-01 01:00Z", "a"), ("2025-01-01 02:00Z", "b")])


@pytest.fixture(autouse=True)
def canary(community_app: App) -> None:
    make_canary(community_app.database)


def make_cagg(app: App, name: str, table: str) -> None:
    database = app.database
    options = "WITH (timescaledb.continuous, timescaledb.materialized_only = true)"
    with database.connection.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                "CREATE MATERIALIZED VIEW {}.{} " + options + " AS SELECT public.time_bucket('1 day', time) AS b,"
            ).format(sql.Identifier(database.schema), sql.Identifier(name))
            + sql.SQL(" count(*) AS n FROM {}.{} GROUP BY 1 WITH NO DATA").format(
                sql.Identifier(database.schema), sql.Identifier(table)
            )
        )


@each_name
def test_an_aggregate(community_app: App, name: str) -> None:
    make_hypertable(community_app.database, "t", "time", "v")
    make_cagg(community_app, name, "t")
    make_cagg(community_app, "other", "t")
    wish = quoted(community_app.database.schema, name)
    body = send(community_app, CSV, timescaledb={"refresh_caggs": [wish]}).body
    assert [(step["name"], step["outcome"]) for step in body["caggs"]] == [
        (f"{community_app.database.schema}.{name}", "done")
    ]
    assert (values(community_app.database, name, "n"), values(community_app.database, "other", "n")) == ([2], [])
    # The same by all, and by a dry run.
    everything = {"refresh_caggs": "all"}
    plan = send(community_app, CSV, timescaledb=everything, dry_run=True).body["dry_run"]
    assert {step["name"].partition(".")[2] for step in plan["caggs"]} == {name, "other"}
    append = {"on_existing": "append"}
    assert loaded(send(community_app, CSV, timescaledb=everything, destination=append)) == 2
    assert (values(community_app.database, name, "n"), values(community_app.database, "other", "n")) == ([4], [4])


@each_name
def test_an_aggregate_that_is_not_there(community_app: App, name: str) -> None:
    make_hypertable(community_app.database, "t", "time", "v")
    body = send(community_app, CSV, timescaledb={"refresh_caggs": [quoted(name)]}).body
    assert [(step["outcome"], step["error"]["code"]) for step in body["caggs"]] == [("failed", "CaggNotFound")]


@each_name
def test_a_compressed_table_and_its_chunks(community_app: App, name: str) -> None:
    database = community_app.database
    prefix = name.encode()[:40].decode(errors="ignore").replace("'", "''")
    make_hypertable(database, name, "time", "v", f"associated_table_prefix => '{prefix}'")
    run(database, "INSERT INTO {}.{} VALUES ('2025-01-01 05:00Z', 'old')", database.schema, name)
    run(database, "ALTER TABLE {}.{} SET (timescaledb.compress)", database.schema, name)
    database.execute(
        "SELECT public.compress_chunk(format('%%I.%%I', chunk_schema, chunk_name)::regclass)"
        " FROM timescaledb_information.chunks WHERE hypertable_schema = %s AND hypertable_name = %s",
        database.schema,
        name,
    )
    target = {"target_table": quoted(database.schema, name)}
    for policy, rows, warned in (("append", ["a", "b", "old"], []), ("replace", ["a", "b"], ["ReplacedByFewer"])):
        body = send(community_app, CSV, destination=target | {"on_existing": policy}).body
        steps = [(step["action"], step["outcome"]) for step in body["chunks"]]
        assert ([one["code"] for one in body["warnings"]], ("recompress", "done") in steps) == (warned, True), body
        assert values(database, name) == rows
