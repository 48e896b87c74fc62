"""A time column of version 7 UUIDs (RFC 9562): their first 48 bits are the time, in milliseconds."""

from __future__ import annotations

import uuid
from datetime import datetime, timezone
from typing import Any

import pytest

from tests.integration.fix_app import Answer, App
from tests.integration.fix_compressed import actions, chunk_states, partial_chunks

# TimescaleDB partitions by such a column from here on.
FIRST_VERSION = (2, 22)
REPLACE: dict[str, Any] = {"on_existing": "replace", "min_rows_ratio": 0}


def uuid7(time: str, tail: int = 0) -> str:
    """Return the version 7 UUID of a time with so much after it: 0 is the lowest, -1 the highest."""
    milliseconds = round(datetime.fromisoformat(time).replace(tzinfo=timezone.utc).timestamp() * 1000)
    # 12 bits of what follows stand between version and variant, and 62 behind them.
    first, rest = (tail >> 62) & ((1 << 12) - 1), tail & ((1 << 62) - 1)
    return str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | first << 64 | 2 << 62 | rest))


def uuid4(time: str) -> str:
    """Return a version 4 UUID that sorts like one of a time."""
    return uuid7(time)[:14] + "4" + uuid7(time)[15:]


FIRST, LAST = uuid7("2025-01-01 00:00"), uuid7("2025-01-01 23:59:59.999", -1)
NOON, EVENING = uuid7("2025-01-01 12:00", 5), uuid7("2025-01-01 20:00", 6)
BEFORE, AFTER = uuid7("2024-12-31 23:59:59.999", -1), uuid7("2025-01-02 00:00")
NEIGHBOURS = {BEFORE: -1, AFTER: -2}


def rows_of(rows: dict[str, int]) -> str:
    return ", ".join(f"('{id_}', {v})" for id_, v in rows.items())


def csv_of(*ids: str) -> bytes:
    return "".join(["id,v\n", *(f"{id_},{number}\n" for number, id_ in enumerate(ids, 1))]).encode()


def hypertable(app: App, rows: dict[str, int], *, interval: str = "interval '1 day'", columns: str = "") -> None:
    if app.database.version < FIRST_VERSION:
        pytest.skip("this TimescaleDB does not partition by uuid")
    app.database.hypertable("t", columns or "id uuid PRIMARY KEY, v int", time="id", interval=interval)
    if rows:
        app.database.execute(f"INSERT INTO {{s}}.t VALUES {rows_of(rows)}")


def plain(app: App, rows: dict[str, int]) -> None:
    app.database.execute("CREATE TABLE {s}.t (id uuid, v int)")
    app.database.execute(f"INSERT INTO {{s}}.t VALUES {rows_of(rows)}")


def restore(app: App, csv: bytes, destination: dict[str, Any] | None = None, **request: Any) -> Answer:
    return app.restore(app.archive("t", csv), destination=destination or {}, **request)


def values(app: App) -> list[int]:
    return sorted(row[0] for row in app.database.fetch("SELECT v FROM {s}.t"))


@pytest.mark.parametrize(
    ("mode", "format_", "interval"),
    [
        ("direct", "text", "interval '1 day'"),
        ("direct", "binary", "interval '7 days'"),
        ("direct", "binary", "interval '6 hours'"),
        ("staging", "binary", "interval '1 day'"),
        ("staging", "text", "interval '7 days'"),
    ],
)
def test_replace_takes_the_day_and_leaves_its_neighbours(app: App, mode: str, format_: str, interval: str) -> None:
    hypertable(app, NEIGHBOURS | {FIRST: 7, LAST: 8}, interval=interval)
    destination = REPLACE | {"mode": mode}
    body = restore(app, csv_of(FIRST, NOON, LAST), destination, copy={"format": format_}).body
    assert (body["status"], body["rows_removed"], body["copy"]["format"]) == ("ok", 2, format_)
    found = body["verification"]
    assert (found["rows_before"], found["rows_after"]) == (2, 3)
    assert (found["min_time"], found["max_time"]) == ("2025-01-01T00:00:00Z", "2025-01-01T23:59:59.999000Z")
    assert values(app) == [-2, -1, 1, 2, 3]


def test_replace_truncates_only_what_lies_inside_the_day(app: App) -> None:
    hypertable(app, NEIGHBOURS | {FIRST: 7, LAST: 8})
    body = restore(app, csv_of(NOON), REPLACE, dry_run=True).body
    assert [chunk["would"] for chunk in body["dry_run"]["chunks"]] == [["truncate, or delete its rows"]]
    body = restore(app, csv_of(NOON), REPLACE).body
    assert ([warning["code"] for warning in body["warnings"]], body["rows_loaded"]) == (["ReplacedByFewer"], 1)
    assert values(app) == [-2, -1, 1]


def test_a_week_is_never_truncated(app: App) -> None:
    hypertable(app, NEIGHBOURS | {FIRST: 7, LAST: 8}, interval="interval '7 days'")
    body = restore(app, csv_of(NOON), REPLACE).body
    assert [warning["code"] for warning in body["warnings"]] == ["ReplacedByFewer"]
    assert body["removed_by"] == "delete"
    assert values(app) == [-2, -1, 1]


@pytest.mark.parametrize("id_", [FIRST, LAST])
@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_day_that_holds_a_row(app: App, mode: str, id_: str) -> None:
    hypertable(app, NEIGHBOURS | {id_: 7})
    answer = restore(app, csv_of(NOON), {"mode": mode, "on_existing": "error"})
    assert (answer.status, answer.code) == (409, "WindowNotEmpty")
    body = restore(app, csv_of(NOON), {"mode": mode, "on_existing": "skip"}).body
    assert (body["status"], body["verification"]["rows_before"]) == ("skipped", 1)
    assert values(app) == [-2, -1, 7]


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_day_of_which_only_the_neighbours_are_there(app: App, mode: str) -> None:
    hypertable(app, NEIGHBOURS)
    body = restore(app, csv_of(FIRST, LAST), {"mode": mode, "on_existing": "error"}).body
    assert body["status"] == "ok"
    assert (body["verification"]["rows_before"], body["verification"]["rows_after"]) == (0, 2)
    assert values(app) == [-2, -1, 1, 2]


@pytest.mark.parametrize("id_", [BEFORE, AFTER])
@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_row_of_another_day(app: App, mode: str, id_: str) -> None:
    hypertable(app, {})
    answer = restore(app, csv_of(NOON, id_), {"mode": mode})
    assert (answer.status, answer.code) == (422, "RowsOutsideWindow")
    (detail,) = answer.body["error"]["details"]
    time = {BEFORE: "2024-12-31T23:59:59.999000Z", AFTER: "2025-01-02T00:00:00Z"}[id_]
    assert (detail["rows"], detail["min_time"], detail["max_time"]) == (1, time, time)
    assert values(app) == []
    body = restore(app, csv_of(NOON, id_), {"mode": mode, "rows_outside_window": "allow"}).body
    assert (body["status"], body["verification"]["rows_outside_window"]) == ("ok", 1)
    assert values(app) == [1, 2]


@pytest.mark.parametrize("format_", ["text", "binary"])
@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_uuid_of_another_version_is_refused_as_a_row(app: App, mode: str, format_: str) -> None:
    hypertable(app, NEIGHBOURS)
    other = uuid4("2025-01-01 13:00")
    answer = restore(app, csv_of(NOON, other), {"mode": mode}, copy={"format": format_})
    assert (answer.status, answer.code) == (422, "DataRejected")
    assert "of version 7" in answer.body["error"]["message"]
    # It is a value of the row.
    assert other not in str(answer.body)
    if mode == "direct":
        assert answer.body["error"]["target"] == "line 3"
    assert values(app) == [-2, -1]


def test_a_day_before_1970_has_no_uuids(app: App) -> None:
    hypertable(app, NEIGHBOURS | {NOON: 7})
    url = app.archive("t", csv_of(EVENING), day="1969-12-31")
    answer = app.restore(url, destination=REPLACE)
    assert (answer.status, answer.code) == (422, "RowsOutsideWindow")
    assert values(app) == [-2, -1, 7]


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_partitioned_table(app: App, mode: str) -> None:
    """It is asked whether one partition takes the whole day."""
    app.database.execute("CREATE TABLE {s}.t (id uuid PRIMARY KEY, v int) PARTITION BY RANGE (id)")
    destination = REPLACE | {"mode": mode, "time_column": "id"}
    assert restore(app, csv_of(NOON), destination).code == "DataRejected"
    # Bounds as one writes them by hand: those of no version.
    bounds = [time[:8] + time[8:13] + "-0000-0000-000000000000" for time in (FIRST, NOON, AFTER)]
    parts = "CREATE TABLE {{s}}.t{} PARTITION OF {{s}}.t FOR VALUES FROM ('{}') TO ('{}')"
    app.database.execute(parts.format(1, bounds[0], bounds[1]))
    found = restore(app, csv_of(FIRST), destination, dry_run=True).body["dry_run"]
    assert (found["problems"], "partition" in found["not_checked"]) == ([], True)
    assert restore(app, csv_of(NOON), destination).code == "DataRejected"
    app.database.execute("DROP TABLE {s}.t1")
    app.database.execute(parts.format(2, bounds[0], bounds[2]))
    found = restore(app, csv_of(FIRST, LAST), destination, dry_run=True).body["dry_run"]
    assert (found["problems"], "partition" in found["checked"]) == ([], True)
    for _ in range(2):
        assert restore(app, csv_of(FIRST, NOON, LAST), destination).status == 200
        assert values(app) == [1, 2, 3]
    before_1970 = app.restore(app.archive("t", b"id,v\n", day="1969-12-31"), destination=destination)
    assert before_1970.status == 200, before_1970.body


def test_the_space_partitions_of_a_uuid_hypertable(app: App) -> None:
    hypertable(app, {}, columns="id uuid NOT NULL, v int NOT NULL, PRIMARY KEY (id, v)")
    app.database.execute("SELECT public.add_dimension('{s}.t', 'v', number_partitions => 3)")
    app.database.execute(f"INSERT INTO {{s}}.t VALUES {rows_of(NEIGHBOURS | {FIRST: 7, LAST: 8})}")
    assert restore(app, csv_of(NOON, EVENING), REPLACE).body["status"] == "ok"
    assert values(app) == [-2, -1, 1, 2]


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_plain_table_has_no_day_in_a_uuid_that_is_not_named(app: App, mode: str) -> None:
    plain(app, NEIGHBOURS | {NOON: 7})
    answer = restore(app, csv_of(EVENING), REPLACE | {"mode": mode})
    assert (answer.status, answer.code) == (422, "WindowUnknown")
    body = restore(app, csv_of(EVENING), REPLACE | {"mode": mode, "time_column": "id"}).body
    assert (body["status"], body["rows_removed"]) == ("ok", 1)
    assert body["verification"]["min_time"] == "2025-01-01T20:00:00Z"
    assert values(app) == [-2, -1, 1]


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_uuids_of_other_versions_belong_to_no_day(app: App, mode: str) -> None:
    # They sort into the day.
    plain(app, NEIGHBOURS | {NOON: 7, uuid4("2025-01-01 13:00"): 8, uuid4("2025-01-01 00:00"): 9})
    destination = REPLACE | {"mode": mode, "time_column": "id"}
    body = restore(app, csv_of(EVENING), destination).body
    assert (body["status"], body["rows_removed"]) == ("ok", 1)
    assert values(app) == [-2, -1, 1, 8, 9]
    answer = restore(app, csv_of(EVENING, uuid4("2025-01-01 14:00")), destination)
    assert (answer.status, answer.code) == (422, "RowsOutsideWindow")
    (detail,) = answer.body["error"]["details"]
    assert (detail["rows"], detail["min_time"], detail["max_time"]) == (1, None, None)
    assert values(app) == [-2, -1, 1, 8, 9]


def test_the_variant_counts_as_well_as_the_version(app: App) -> None:
    of_another_variant = NOON[:19] + "0" + NOON[20:]
    plain(app, {of_another_variant: 8})
    assert restore(app, csv_of(EVENING), REPLACE | {"time_column": "id"}).body["status"] == "ok"
    assert values(app) == [1, 8]


def cut_by_function(app: App, type_: str, result: str, body: str) -> None:
    app.database.execute(
        f"CREATE FUNCTION {{s}}.time_of(x {type_}) RETURNS {result} LANGUAGE sql IMMUTABLE AS $$ SELECT {body} $$"
    )
    app.database.execute(f"CREATE TABLE {{s}}.t (id {type_} NOT NULL, v int)")
    app.database.execute("SELECT public.create_hypertable('{s}.t', 'id', time_partitioning_func => '{s}.time_of')")


MILLISECONDS = "('x' || left(encode(uuid_send(x), 'hex'), 12))::bit(48)::bigint"


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_function_of_the_users_that_cuts_uuids(app: App, mode: str) -> None:
    # The way before TimescaleDB did it. The function may read another version, so the request has to say that it is 7.
    cut_by_function(app, "uuid", "timestamptz", f"to_timestamp({MILLISECONDS} / 1000.0)")
    app.database.execute(f"INSERT INTO {{s}}.t VALUES {rows_of(NEIGHBOURS | {NOON: 7})}")
    answer = restore(app, csv_of(EVENING), REPLACE | {"mode": mode})
    assert (answer.status, answer.code, answer.body["error"]["target"]) == (
        422,
        "WindowUnknown",
        "destination.time_column",
    )
    assert "of version 7" in answer.body["error"]["hint"]
    body = restore(app, csv_of(EVENING), REPLACE | {"mode": mode, "time_column": "id"}).body
    assert (body["status"], body["rows_removed"], body["removed_by"]) == ("ok", 1, "delete")
    assert values(app) == [-2, -1, 1]


@pytest.mark.parametrize("named", [None, "id"])
@pytest.mark.parametrize("policy", ["error", "skip", "replace"])
def test_a_time_column_without_days_is_not_asked_for_again(app: App, policy: str, named: str | None) -> None:
    cut_by_function(app, "text", "timestamptz", "timestamptz '2025-01-01 00:00Z' + length(x) * interval '1 hour'")
    app.database.execute("INSERT INTO {s}.t VALUES ('abc', 7)")
    answer = restore(app, csv_of("d"), {"on_existing": policy, "time_column": named})
    assert (answer.status, answer.code) == (422, "WindowUnknown")
    hint = answer.body["error"]["hint"]
    assert "time_column" not in hint
    assert '"append"' in hint
    body = restore(app, csv_of("d"), {"on_existing": "append", "time_column": named}).body
    assert body["warnings"][0]["code"] == "WindowUnknown"
    assert values(app) == [1, 7]


@pytest.mark.community
@pytest.mark.parametrize(
    ("mode", "policy", "decompress", "interval"),
    [
        ("direct", "append", True, "interval '1 day'"),
        ("staging", "append", False, "interval '7 days'"),
        ("direct", "append", "auto", "interval '7 days'"),
        ("direct", "replace", False, "interval '1 day'"),
        ("staging", "replace", True, "interval '7 days'"),
    ],
)
def test_compressed_chunks(community_app: App, mode: str, policy: str, decompress: bool | str, interval: str) -> None:
    app = community_app
    hypertable(app, NEIGHBOURS | {FIRST: 7, LAST: 8}, interval=interval)
    app.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress)")
    app.database.execute("SELECT public.compress_chunk(c) FROM public.show_chunks('{s}.t') c")
    wishes = {"decompress_window": decompress}
    body = restore(app, csv_of(NOON), REPLACE | {"mode": mode, "on_existing": policy}, timescaledb=wishes).body
    # Two rows of the day give way to one.
    warned = ["ReplacedByFewer"] if policy == "replace" else []
    assert [warning["code"] for warning in body["warnings"]] == warned
    assert ("recompress", "done") in actions(body)
    assert values(app) == ([-2, -1, 1] if policy == "replace" else [-2, -1, 1, 7, 8])
    assert set(chunk_states(app)) == {(True,)}
    assert partial_chunks(app) == 0


@pytest.mark.community
def test_a_new_chunk_is_compressed(community_app: App) -> None:
    hypertable(community_app, NEIGHBOURS)
    community_app.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress)")
    body = restore(community_app, csv_of(NOON, EVENING), timescaledb={"compress_new_chunks": True}).body
    assert (body["status"], actions(body)) == ("ok", [("create", "done"), ("compress", "done")])
    assert values(community_app) == [-2, -1, 1, 2]


@pytest.mark.community
def test_aggregates_over_uuids_are_refreshed(community_app: App) -> None:
    app = community_app
    hypertable(app, NEIGHBOURS | {FIRST: 7})
    app.database.execute(
        "CREATE MATERIALIZED VIEW {s}.weekly WITH (timescaledb.continuous) AS"
        " SELECT public.time_bucket(interval '7 days', id) AS week, sum(v) AS total FROM {s}.t GROUP BY 1"
    )
    app.database.execute(
        "CREATE MATERIALIZED VIEW {s}.fortnightly WITH (timescaledb.continuous) AS"
        " SELECT public.time_bucket(interval '14 days', week) AS fortnight, sum(total) AS total"
        " FROM {s}.weekly GROUP BY 1"
    )
    body = restore(app, csv_of(NOON, EVENING), REPLACE, timescaledb={"refresh_caggs": "all"}).body
    assert [(step["outcome"], step["window"]) for step in body["caggs"]] == [
        ("done", {"start": "2024-12-30T00:00:00Z", "end": "2025-01-06T00:00:00Z"}),
        ("done", {"start": "2024-12-30T00:00:00Z", "end": "2025-01-13T00:00:00Z"}),
    ]
    assert app.database.value("SELECT total FROM {s}.weekly") == 0
    assert app.database.value("SELECT total FROM {s}.fortnightly") == 0
