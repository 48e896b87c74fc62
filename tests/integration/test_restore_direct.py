"""A day straight into the target: both layouts, URL forms, time types, chunk lengths, hostile names."""

from __future__ import annotations

import gzip
import time
from typing import Any

import pytest
from psycopg2 import sql

from shared.load.copy import rows as transfer
from shared.load.copy.binary import reason_for_text_before_copy
from tests.integration.fix_app import App

TELEMETRY = "time timestamptz NOT NULL, device text NOT NULL, value float8, PRIMARY KEY (device, time)"
CSV = b"time,device,value\n2025-01-01 00:00:00Z,a,1.5\n2025-01-01 12:00:00Z,b,\n2025-01-01 23:59:59.999999Z,c,3\n"


def test_a_day_is_visible_through_the_hypertable(app: App) -> None:
    app.database.hypertable("telemetry", TELEMETRY)
    answer = app.restore(app.archive("telemetry", CSV))
    body = answer.body
    assert answer.status == 200
    assert body["status"] == "ok"
    assert body["rows_loaded"] == 3
    assert body["target_table"] == f"{app.database.schema}.telemetry"
    assert body["database"] == app.database.name
    assert body["mode"] == "direct"
    assert body["date_window"] == {"start": "2025-01-01T00:00:00Z", "end": "2025-01-02T00:00:00Z"}
    assert body["columns_loaded"] == ["time", "device", "value"]
    assert body["columns_ignored"] == body["columns_defaulted"] == body["warnings"] == []
    assert body["source"]["csv_bytes"] == len(CSV)
    assert body["source"]["etag"]
    assert answer.headers["x-ms-request-id"] == body["request_id"]
    assert "x-ms-error-code" not in answer.headers
    assert app.database.value("SELECT count(*) FROM {s}.telemetry") == 3
    # The root table itself stays empty: a row in it is one that no query of the hypertable finds.
    assert app.database.value("SELECT count(*) FROM ONLY {s}.telemetry") == 0
    assert [step["action"] for step in body["chunks"]] == ["create"]


def test_the_seconds_by_stage_add_up(app: App) -> None:
    app.database.hypertable("telemetry", TELEMETRY)
    timings = app.restore(app.archive("telemetry", CSV)).body["timings"]
    stages = {name: seconds for name, seconds in timings.items() if name != "total"}
    assert stages.keys() >= {"download", "connect", "inspect", "decompress", "copy", "commit", "recompress", "refresh"}
    assert sum(stages.values()) <= timings["total"] + 0.01


def test_the_look_at_a_binary_copy_is_a_part_of_its_seconds(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow_obstacle(*args: Any, **options: Any) -> str | None:
        time.sleep(0.3)
        return reason_for_text_before_copy(*args, **options)

    monkeypatch.setattr(transfer, "reason_for_text_before_copy", slow_obstacle)
    app.database.hypertable("telemetry", TELEMETRY)
    body = app.restore(app.archive("telemetry", CSV), copy={"format": "binary"}).body
    assert body["copy"]["format"] == "binary"
    assert body["timings"]["copy"] > 0.3


@pytest.mark.parametrize("layout", ["{database}/{schema}.telemetry", "{database}/{schema}/telemetry"])
def test_both_layouts(app: App, layout: str) -> None:
    app.database.hypertable("telemetry", TELEMETRY)
    folder = layout.format(database=app.database.name, schema=app.database.schema)
    url = app.storage.put(f"backups/{folder}.2025-01-01.csv.gz", gzip.compress(CSV))
    assert app.restore(url).body["rows_loaded"] == 3


def test_every_form_of_the_url(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    database, storage = app.database, app.storage
    database.hypertable("telemetry", TELEMETRY)
    path = f"backups/{database.name}/{database.schema}.telemetry.2025-01-01.csv.gz"
    storage.put(path, gzip.compress(CSV))
    monkeypatch.setenv("ADLS_ACCOUNT_URL_DEFAULT", f"https://{storage.account}.dfs.core.windows.net")
    monkeypatch.setenv("ADLS_FILESYSTEM_DEFAULT", storage.filesystem)
    hosts = [f"{storage.account}.{service}.core.windows.net" for service in ("dfs", "blob")]
    forms = [f"abfss://{storage.filesystem}@{host}/{path}" for host in hosts]
    forms += [f"https://{host}/{storage.filesystem}/{path}" for host in hosts]
    for form in [*forms, path, path.replace("telemetry", "t%65lemetry")]:
        answer = app.restore(form)
        assert (answer.status, answer.body.get("rows_loaded")) == (200, 3), form
        database.execute("TRUNCATE {s}.telemetry")


@pytest.mark.parametrize(
    ("time_type", "interval", "values"),
    [
        ("timestamptz", "interval '1 day'", ["2025-01-01 00:00:00+00", "2025-01-02 01:00:00+02"]),
        ("timestamptz", "interval '7 days'", ["2025-01-01 00:00:00", "2025-01-01 23:00:00"]),
        ("timestamp", "interval '1 day'", ["2025-01-01 00:00:00", "2025-01-01 23:00:00"]),
        ("date", "interval '7 days'", ["2025-01-01", "2025-01-01"]),
        ("bigint", "86400", ["1735689600", "1735775999"]),
        ("integer", "86400", ["1735689600", "1735775999"]),
        ("bigint", "86400000", ["1735689600000", "1735775999999"]),
        ("bigint", "86400000000", ["1735689600000000", "1735775999999999"]),
        ("bigint", "86400000000000", ["1735689600000000000", "1735775999999999999"]),
    ],
)
def test_time_types_and_chunk_lengths(app: App, time_type: str, interval: str, values: list[str]) -> None:
    app.database.hypertable("t", f"time {time_type} NOT NULL, v int", interval=interval)
    csv = "time,v\n" + "".join(f"{value},{number}\n" for number, value in enumerate(values))
    answer = app.restore(app.archive("t", csv.encode()))
    assert (answer.status, answer.body["status"]) == (200, "ok")
    assert app.database.value("SELECT count(*) FROM {s}.t") == 2
    # The day was found in the column's own type: the chunk that holds it was seen as new.
    assert [step["action"] for step in answer.body["chunks"]] == ["create"]


def test_a_timestamp_without_an_offset_is_utc_whatever_the_server_thinks(app: App) -> None:
    app.database.hypertable("t", "time timestamptz NOT NULL")
    role = app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT ALL ON {s}.t")
    app.database.execute(f"ALTER ROLE {role['user']} SET timezone = 'America/New_York'")
    app.restore(app.archive("t", b"time\n2025-01-01 00:00:00\n"), pg=role)
    assert app.database.value("SELECT extract(epoch FROM time)::bigint FROM {s}.t") == 1735689600


@pytest.mark.parametrize("table", ["Telemetry Day", 'the "best" table', "täbelle", "a.b", "semi;colon--", "per%cent"])
def test_hostile_names_reach_sql_as_they_are(app: App, table: str) -> None:
    column = f"{table} column"
    name = sql.Identifier(app.database.schema, table)
    with app.database.connection.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE TABLE {} ({} int)").format(name, sql.Identifier(column)))
        header = '"' + column.replace('"', '""') + '"'
        for mode in ("direct", "staging"):
            answer = app.restore(app.archive(table, f"{header}\n7\n".encode()), destination={"mode": mode})
            assert answer.status == 200, answer.body
            assert answer.body["columns_loaded"] == [column]
        cursor.execute(sql.SQL("SELECT * FROM {}").format(name))
        assert cursor.fetchall() == [(7,), (7,)]


def test_another_table_and_database_than_the_path_names(app: App) -> None:
    app.database.hypertable("elsewhere", TELEMETRY)
    url = app.storage.put("nowhere/none.none.2025-01-01.csv.gz", gzip.compress(CSV))
    pg = app.database.pg | {"database": app.database.name}
    answer = app.restore(url, pg=pg, destination={"target_table": f"{app.database.schema}.elsewhere"})
    assert answer.body["rows_loaded"] == 3
    assert answer.body["database"] == app.database.name


def test_an_empty_day(app: App) -> None:
    app.database.hypertable("telemetry", TELEMETRY)
    answer = app.restore(app.archive("telemetry", b"time,device,value\n"))
    assert (answer.status, answer.body["rows_loaded"], answer.body["chunks"]) == (200, 0, [])


def test_a_plain_table(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.plain (time timestamptz, v int)")
    answer = app.restore(
        app.archive("plain", b"time,v\n2025-01-01,1\n"),
        timescaledb={"refresh_caggs": ["one", "two.three"], "compress_new_chunks": True},
    )
    assert answer.body["status"] == "ok"
    assert set(answer.body["timescaledb"].values()) == {"not available"}
    assert [cagg["outcome"] for cagg in answer.body["caggs"]] == ["not available"] * 2


def test_a_partitioned_table_of_postgresql_itself(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.parts (time date, v int) PARTITION BY RANGE (time)")
    app.database.execute(
        "CREATE TABLE {s}.parts_1 PARTITION OF {s}.parts FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')"
    )
    assert app.restore(app.archive("parts", b"time,v\n2025-01-01,1\n")).body["rows_loaded"] == 1


def test_the_connection_uri_and_libpqs_own_environment(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    app.database.hypertable("telemetry", TELEMETRY)
    url, pg = app.archive("telemetry", CSV), app.database.pg
    uri = f"postgresql://{pg['user']}:{pg['password'] or ''}@{pg['host']}:{pg['port']}"
    assert app.restore(url, pg={"connection_uri": uri}).body["rows_loaded"] == 3
    app.database.execute("TRUNCATE {s}.telemetry")
    for name in ("host", "port", "user", "password"):
        monkeypatch.setenv(f"PG{name.upper()}", str(pg[name] or ""))
    assert app.post({"adls_url": url}).body["rows_loaded"] == 3


def test_a_role_that_is_not_superuser(app: App) -> None:
    app.database.hypertable("telemetry", TELEMETRY)
    app.database.execute("CREATE INDEX ON {s}.telemetry (value)")
    role = app.database.role("GRANT USAGE, CREATE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.telemetry")
    url = app.archive("telemetry", CSV)
    assert app.restore(url, pg=role).body["rows_loaded"] == 3
    staged = app.restore(url, pg=role, destination={"mode": "staging"})
    assert (staged.status, staged.body["rows_skipped"]) == (200, 3)
    assert staged.body["status"] == "ok"
