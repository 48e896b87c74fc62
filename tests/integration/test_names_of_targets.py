"""What a name stands for that is not a table to restore into, and which name was perhaps meant."""

from __future__ import annotations

import pytest

from tests.integration.fix_app import Answer, App

CSV = b"time,v\n2025-01-01 00:00Z,1\n"
COLUMNS = "time timestamptz NOT NULL, v int"


def refused(answer: Answer, status: int, code: str) -> str:
    assert (answer.status, answer.code) == (status, code), answer.body
    message: str = answer.body["error"]["message"]
    return message


@pytest.fixture
def tables(app: App) -> App:
    for name in ("telemetry", "telemetry_raw", "alarms", '"Events"'):
        app.database.execute(f"CREATE TABLE {{s}}.{name} ({COLUMNS})")
    return app


@pytest.mark.parametrize(
    ("written", "meant"),
    [("telemetri", "telemetry"), ("Telemetry", "telemetry"), ("events", "Events"), ("alarm", "alarms")],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_table_that_is_spelled_otherwise(tables: App, written: str, meant: str, *, dry_run: bool) -> None:
    schema = tables.database.schema
    said = refused(tables.restore(tables.archive(written, CSV), dry_run=dry_run), 404, "TableNotFound")
    assert said.startswith(f"there is no table {schema}.{written}; did you mean {schema}.{meant}")


def test_a_schema_that_is_spelled_otherwise(tables: App) -> None:
    database = tables.database
    url = tables.storage.url(f"backups/{database.name}/{database.schema}x.telemetry.2025-01-01.csv.gz")
    tables.storage.put(url.partition(".net/")[2], b"")
    target = {"target_table": f"{database.schema}x.telemetry"}
    said = refused(tables.restore(tables.archive("telemetry", CSV), destination=target), 404, "TableNotFound")
    assert f"did you mean {database.schema}.telemetry" in said


def test_a_table_to_stage_by(tables: App) -> None:
    schema = tables.database.schema
    like = {"mode": "staging", "create_staging_like": f"{schema}.telemetry_row"}
    answer = tables.restore(tables.archive("telemetry", CSV), destination=like)
    assert refused(answer, 404, "TableNotFound").endswith(f"did you mean {schema}.telemetry_raw or {schema}.telemetry?")
    assert answer.body["error"]["target"] == "destination.create_staging_like"


def test_only_what_the_role_and_the_setting_let_one_see(tables: App, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = tables.database.schema
    role = tables.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.telemetry_raw")
    url = tables.archive("telemetri", CSV)
    said = refused(tables.restore(url, pg=role), 404, "TableNotFound")
    assert said.endswith(f"did you mean {schema}.telemetry_raw?")
    monkeypatch.setenv("ALLOWED_TARGETS", f"{schema}.telemetri,{schema}.alarms")
    assert "did you mean" not in refused(tables.restore(url), 404, "TableNotFound")
    monkeypatch.delenv("ALLOWED_TARGETS")
    tables.database.execute(f"REVOKE USAGE ON SCHEMA {{s}} FROM {role['user']}")
    assert "did you mean" not in refused(tables.restore(url, pg=role), 404, "TableNotFound")


def test_nothing_like_it(tables: App) -> None:
    assert "did you mean" not in refused(tables.restore(tables.archive("qqq", CSV)), 404, "TableNotFound")


@pytest.mark.parametrize(
    ("definition", "what"),
    [
        ("VIEW {s}.x AS SELECT 1 AS v", "a view"),
        ("MATERIALIZED VIEW {s}.x AS SELECT 1 AS v", "a materialized view"),
        ("SEQUENCE {s}.x", "a sequence"),
        ("TYPE {s}.x AS (v int)", "a composite type"),
        ("INDEX x ON {s}.telemetry (v)", "an index"),
    ],
)
def test_what_is_not_a_table(tables: App, definition: str, what: str) -> None:
    tables.database.execute(f"CREATE {definition}")
    answer = tables.restore(tables.archive("x", CSV))
    assert refused(answer, 422, "TargetNotATable") == f"{tables.database.schema}.x is {what}"
    assert answer.body["error"]["hint"] == "name a table or a hypertable"


@pytest.mark.community
def test_an_aggregate_and_its_materialization(community_app: App) -> None:
    """Directly over the hypertable, and over another aggregate."""
    app, schema = community_app, community_app.database.schema
    app.database.hypertable("t", COLUMNS)
    for name, source, time, width in (("daily", "t", "time", "1 day"), ("weekly", "daily", "bucket", "7 days")):
        app.database.execute(
            f"CREATE MATERIALIZED VIEW {{s}}.{name} WITH (timescaledb.continuous) AS"
            f" SELECT public.time_bucket('{width}', {time}) AS bucket, max(v) AS v FROM {{s}}.{source}"
            " GROUP BY 1 WITH NO DATA"
        )
        answer = app.restore(app.archive(name, b"bucket,v\n2025-01-01,1\n"))
        said = refused(answer, 422, "TargetNotATable")
        assert said == f"{schema}.{name} is a continuous aggregate, which is made of {schema}.t"
        assert answer.body["error"]["hint"] == (
            f"restore {schema}.t, and name the aggregate in timescaledb.refresh_caggs"
        )
        materialization = app.database.value(
            "SELECT h.table_name FROM _timescaledb_catalog.continuous_agg a"
            " JOIN _timescaledb_catalog.hypertable h ON h.id = a.mat_hypertable_id"
            " WHERE a.user_view_schema = %s AND a.user_view_name = %s",
            schema,
            name,
        )
        # Where it is, and where its owner may move it.
        target = {"target_table": f"_timescaledb_internal.{materialization}"}
        answer = app.restore(app.archive("t", CSV), destination=target)
        assert "schema _timescaledb_internal" in refused(answer, 403, "TargetNotAllowed")
        assert "refresh_caggs" in answer.body["error"]["hint"]
        app.database.execute(f"ALTER TABLE _timescaledb_internal.{materialization} SET SCHEMA {{s}}")
        said = refused(app.restore(app.archive(materialization, b"bucket,v\n2025-01-01,1\n")), 422, "TargetNotATable")
        assert said == (
            f"{schema}.{materialization} holds the rows of the continuous aggregate {schema}.{name},"
            f" which is made of {schema}.t"
        )
