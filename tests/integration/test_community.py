"""Compression and continuous aggregates, on a community edition of TimescaleDB."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.fix_app import App
from tests.integration.fix_compressed import actions, chunk_states, partial_chunks

pytestmark = pytest.mark.community

CSV = b"time,device,v\n2025-01-01 01:00Z,a,1\n2025-01-01 02:00Z,b,2\n"
APPEND = {"on_existing": "append"}
COLUMNS = "time timestamptz NOT NULL, device text, v int"


def compressed_table(
    app: App, *, interval: str = "interval '1 day'", rows: str = "'2025-01-01 05:00Z', 'a', 7"
) -> None:
    app.database.hypertable("t", COLUMNS, interval=interval)
    app.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress, timescaledb.compress_segmentby = 'device')")
    app.database.execute("INSERT INTO {s}.t VALUES (" + rows + ")")
    app.database.execute("SELECT public.compress_chunk(c) FROM public.show_chunks('{s}.t') c")


@pytest.mark.parametrize("interval", ["interval '1 day'", "interval '7 days'", "interval '6 hours'"])
@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_overlapping_chunks_are_decompressed_and_compressed_again(community_app: App, interval: str, mode: str) -> None:
    compressed_table(community_app, interval=interval)
    body = community_app.restore(
        community_app.archive("t", CSV), destination={"mode": mode, "on_existing": "append"}
    ).body
    assert (body["status"], body["edition"]) == ("ok", "community")
    assert ("decompress", "done") in actions(body)
    assert ("recompress", "done") in actions(body)
    assert body["timescaledb"]["decompress_window"] == body["timescaledb"]["recompress_window"] == "done"
    assert community_app.database.value("SELECT count(*) FROM {s}.t") == 3
    assert (True,) in chunk_states(community_app)
    assert partial_chunks(community_app) == 0


def test_a_chunk_that_does_not_overlap_is_left_alone(community_app: App) -> None:
    compressed_table(community_app, rows="'2025-01-02 00:00Z', 'a', 7")
    body = community_app.restore(community_app.archive("t", CSV)).body
    assert actions(body) == [("create", "done")]
    assert chunk_states(community_app) == [(False,), (True,)]


def test_without_decompression_the_rows_wait_until_recompression_folds_them_in(community_app: App) -> None:
    compressed_table(community_app)
    url = community_app.archive("t", CSV)
    keep = {"decompress_window": False, "recompress_window": False}
    body = community_app.restore(url, destination=APPEND, timescaledb=keep).body
    assert body["timescaledb"]["decompress_window"] == "not requested"
    assert actions(body) == []
    assert partial_chunks(community_app) == 1
    body = community_app.restore(url, destination=APPEND, timescaledb={"decompress_window": False}).body
    assert actions(body) == [("recompress", "done")]
    assert partial_chunks(community_app) == 0
    assert community_app.database.value("SELECT count(*) FROM {s}.t") == 5


def test_a_failed_decompression_and_recompression_do_not_fail_the_restore(community_app: App) -> None:
    """Both take the owner's rights; INSERT alone is enough for the rows."""
    compressed_table(community_app)
    role = community_app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.t")
    body = community_app.restore(community_app.archive("t", CSV), pg=role, destination=APPEND).body
    assert body["status"] == "ok_with_warnings"
    assert actions(body) == [("decompress", "failed"), ("recompress", "failed")]
    assert [warning["code"] for warning in body["warnings"]] == ["DecompressFailed", "RecompressFailed"]
    assert body["chunks"][0]["error"]["code"] == "DatabasePermissionDenied"
    assert community_app.database.value("SELECT count(*) FROM {s}.t") == 3


def test_warnings_are_in_the_order_of_their_time(community_app: App) -> None:
    """The look at the table, its decompression, the rows, the new chunks; and then what runs after the COMMIT."""
    if community_app.database.connection.server_version < 170000:
        pytest.skip("ON_ERROR needs PostgreSQL 17")
    compressed_table(community_app, interval="interval '6 hours'")
    role = community_app.database.role("GRANT USAGE, CREATE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.t")
    csv = b"time,device,v,gone\n2025-01-01 01:00Z,a,1,\n2025-01-01 02:00Z,b,x,\n2025-01-01 13:00Z,b,2,\n"
    body = community_app.restore(
        community_app.archive("t", csv),
        pg=role,
        destination={"mode": "staging"},
        copy={"on_error": "skip", "max_rejected_rows": 1},
        timescaledb={"compress_new_chunks": True, "refresh_caggs": ["nix"]},
    ).body
    assert [warning["code"] for warning in body["warnings"]] == [
        "ColumnsIgnored",
        "MayHoldDuplicates",
        "DecompressFailed",
        "RowsRejected",
        "CompressFailed",
        "RecompressFailed",
        "RefreshFailed",
    ]
    assert actions(body) == [
        ("decompress", "failed"),
        ("create", "done"),
        ("compress", "failed"),
        ("recompress", "failed"),
    ]


def test_a_failed_load_leaves_the_chunk_compressed(community_app: App) -> None:
    compressed_table(community_app)
    answer = community_app.restore(community_app.archive("t", CSV + b"2025-01-01 03:00Z,c,oops\n"), destination=APPEND)
    assert answer.code == "DataRejected"
    assert chunk_states(community_app) == [(True,)]
    assert community_app.database.value("SELECT count(*) FROM {s}.t") == 1


def cagg(app: App, name: str, width: str, *, source: str = "t", value: str = "v") -> None:
    app.database.execute(
        f"CREATE MATERIALIZED VIEW {{s}}.{name} WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS"
        f" SELECT public.time_bucket({width}) AS bucket, sum({value}) AS total FROM {{s}}.{source}"
        " GROUP BY 1 WITH NO DATA"
    )


def windows(body: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["name"].partition(".")[2]: (c["window"]["start"], c["window"]["end"]) for c in body["caggs"]}


@pytest.mark.parametrize(
    ("width", "window"),
    [
        ("'1 hour', time", ("2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z")),
        ("'1 day', time", ("2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z")),
        ("'7 hours', time", ("2024-12-31T18:00:00Z", "2025-01-02T05:00:00Z")),
        ("'1 week', time", ("2024-12-30T00:00:00Z", "2025-01-06T00:00:00Z")),
        ("'1 month', time", ("2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z")),
        ("'1 day', time, 'Europe/Berlin'", ("2024-12-31T23:00:00Z", "2025-01-02T23:00:00Z")),
        ("'1 month', time, 'America/New_York'", ("2024-12-01T05:00:00Z", "2025-02-01T05:00:00Z")),
        ("'1 year', time", ("2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z")),
        (
            "'1 week', time, origin => '2000-01-01 00:00Z'::timestamptz",
            ("2024-12-28T00:00:00Z", "2025-01-04T00:00:00Z"),
        ),
        ("'1 day', time, \"offset\" => '6 hours'::interval", ("2024-12-31T06:00:00Z", "2025-01-02T06:00:00Z")),
    ],
)
def test_the_day_is_widened_to_whole_buckets(community_app: App, width: str, window: tuple[str, str]) -> None:
    community_app.database.hypertable("t", COLUMNS)
    cagg(community_app, "c", width)
    body = community_app.restore(
        community_app.archive("t", CSV), timescaledb={"refresh_caggs": [f"{community_app.database.schema}.c"]}
    ).body
    assert [c["outcome"] for c in body["caggs"]] == ["done"], body
    assert windows(body) == {"c": window}
    assert community_app.database.value("SELECT sum(total) FROM {s}.c") == 3


@pytest.mark.parametrize(
    ("time_type", "interval", "width", "values"),
    [
        ("timestamp", "interval '1 day'", "'1 week', time", ("2025-01-01 01:00", "2025-01-01 02:00")),
        ("date", "interval '1 day'", "'1 week', time", ("2025-01-01", "2025-01-01")),
        ("bigint", "86400", "604800, time", ("1735689600", "1735689601")),
        ("int", "86400", "7200, time", ("1735689600", "1735689601")),
    ],
)
def test_every_time_type_refreshes(
    community_app: App, time_type: str, interval: str, width: str, values: tuple[str, str]
) -> None:
    community_app.database.hypertable("t", f"time {time_type} NOT NULL, v int", interval=interval)
    if "int" in time_type:
        community_app.database.execute(
            "CREATE FUNCTION {s}.unix_now() RETURNS " + time_type + " LANGUAGE sql STABLE AS"
            " $$ SELECT extract(epoch FROM now())::" + time_type + " $$"
        )
        community_app.database.execute("SELECT public.set_integer_now_func('{s}.t', '{s}.unix_now')")
    cagg(community_app, "c", width)
    csv = f"time,v\n{values[0]},1\n{values[1]},2\n".encode()
    body = community_app.restore(community_app.archive("t", csv), timescaledb={"refresh_caggs": "all"}).body
    assert [c["outcome"] for c in body["caggs"]] == ["done"], body
    assert community_app.database.value("SELECT sum(total) FROM {s}.c") == 3


def test_aggregates_on_aggregates_after_their_parents(community_app: App) -> None:
    """By name alone the order would be the wrong one."""
    community_app.database.hypertable("t", COLUMNS)
    cagg(community_app, "z_day", "'1 day', time")
    cagg(community_app, "y_week", "'1 week', bucket", source="z_day", value="total")
    cagg(community_app, "a_month", "'1 month', bucket", source="z_day", value="total")
    cagg(community_app, "b_two_weeks", "'2 weeks', bucket", source="y_week", value="total")
    body = community_app.restore(community_app.archive("t", CSV), timescaledb={"refresh_caggs": "all"}).body
    assert list(windows(body)) == ["z_day", "a_month", "y_week", "b_two_weeks"]
    for name in windows(body):
        assert community_app.database.value("SELECT sum(total) FROM {s}." + name) == 3, name


def test_names_without_schema_unknown_names_and_hostile_ones(community_app: App) -> None:
    community_app.database.hypertable("t", COLUMNS)
    cagg(community_app, '"Odd ""name"", 50%"', "'1 day', time")
    names = ['Odd "name", 50%', "nix", "other.nix"]
    body = community_app.restore(community_app.archive("t", CSV), timescaledb={"refresh_caggs": names}).body
    assert [c["outcome"] for c in body["caggs"]] == ["done", "failed", "failed"]
    assert body["status"] == "ok_with_warnings"
    assert body["timescaledb"]["refresh_caggs"] == "failed"
    assert {w["code"] for w in body["warnings"]} == {"RefreshFailed"}


def test_a_refresh_without_rights_does_not_fail_the_restore(community_app: App) -> None:
    community_app.database.hypertable("t", COLUMNS)
    cagg(community_app, "c", "'1 day', time")
    role = community_app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.t")
    body = community_app.restore(community_app.archive("t", CSV), pg=role, timescaledb={"refresh_caggs": "all"}).body
    assert (body["status"], body["caggs"][0]["outcome"]) == ("ok_with_warnings", "failed")
    assert body["caggs"][0]["error"]["code"] == "DatabasePermissionDenied"
    assert community_app.database.value("SELECT count(*) FROM {s}.t") == 2


def test_a_bucket_whose_other_days_are_gone_is_a_warning(community_app: App) -> None:
    """The week was aggregated whole; six of its days are dropped, and the refresh counts what is there."""
    community_app.database.hypertable("t", COLUMNS)
    cagg(community_app, "c", "'1 week', time")
    community_app.database.execute(
        "INSERT INTO {s}.t SELECT d, 'a', 10 FROM generate_series('2024-12-30'::timestamptz, '2025-01-05', '1 day') d"
    )
    community_app.database.execute("CALL public.refresh_continuous_aggregate('{s}.c', NULL, NULL)")
    community_app.database.execute("SELECT public.drop_chunks('{s}.t', older_than => '2026-01-01'::timestamptz)")
    body = community_app.restore(community_app.archive("t", CSV), timescaledb={"refresh_caggs": "all"}).body
    assert body["status"] == "ok_with_warnings"
    assert [w["code"] for w in body["warnings"]] == ["BucketsLackRows", "BucketsLackRows"]
    assert "2024-12-30T00:00:00Z - 2025-01-01T00:00:00Z" in body["warnings"][0]["message"]
    assert "2025-01-02T00:00:00Z - 2025-01-06T00:00:00Z" in body["warnings"][1]["message"]


@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize(("interval", "how"), [("1 day", "truncate"), ("7 days", "delete")])
def test_replace_on_compressed_chunks(community_app: App, interval: str, how: str, mode: str) -> None:
    compressed_table(community_app, interval=f"interval '{interval}'")
    community_app.database.execute(
        "INSERT INTO {s}.t SELECT t, 'b', 1 FROM generate_series('2025-01-01Z'::timestamptz, '2025-01-02Z', '1 min') t"
    )
    destination = {"on_existing": "replace", "mode": mode, "min_rows_ratio": 0}
    body = community_app.restore(community_app.archive("t", CSV), destination=destination).body
    assert [warning["code"] for warning in body["warnings"]] == ["ReplacedByFewer"]
    assert (body["rows_removed"], body["removed_by"]) == (1441, how), body
    assert (body["verification"]["rows_before"], body["verification"]["rows_after"]) == (1441, 2)
    # The first instant of the next day stays.
    assert community_app.database.fetch("SELECT count(*), sum(v) FROM {s}.t") == [(3, 4)]
    assert (True,) in chunk_states(community_app)
    assert partial_chunks(community_app) == 0


def test_replace_without_decompression_still_removes_every_row(community_app: App) -> None:
    compressed_table(community_app, interval="interval '7 days'")
    body = community_app.restore(
        community_app.archive("t", CSV),
        destination={"on_existing": "replace"},
        timescaledb={"decompress_window": False, "recompress_window": False},
    ).body
    assert (body["rows_removed"], body["verification"]["rows_after"]) == (1, 2)
    assert community_app.database.value("SELECT count(*) FROM {s}.t") == 2


@pytest.mark.parametrize("interval", ["1 day", "7 days"])
def test_an_aggregate_over_replaced_rows_does_not_stay_stale(community_app: App, interval: str) -> None:
    compressed_table(community_app, interval=f"interval '{interval}'")
    cagg(community_app, "c", "'1 hour', time")
    community_app.database.execute("CALL public.refresh_continuous_aggregate('{s}.c', NULL, NULL)")
    assert community_app.database.fetch("SELECT sum(total), count(*) FROM {s}.c") == [(7, 1)]
    body = community_app.restore(
        community_app.archive("t", CSV), destination={"on_existing": "replace"}, timescaledb={"refresh_caggs": "all"}
    ).body
    assert body["status"] == "ok", body
    assert community_app.database.fetch("SELECT sum(total), count(*) FROM {s}.c") == [(3, 2)]


def test_skip_and_error_see_compressed_rows(community_app: App) -> None:
    compressed_table(community_app)
    url = community_app.archive("t", CSV)
    assert community_app.restore(url).code == "WindowNotEmpty"
    body = community_app.restore(url, destination={"on_existing": "skip"}).body
    assert (body["status"], body["verification"]["rows_before"]) == ("skipped", 1)
    assert chunk_states(community_app) == [(True,)]


def test_the_proof_on_a_chunk_that_stays_compressed(community_app: App) -> None:
    compressed_table(community_app)
    body = community_app.restore(
        community_app.archive("t", CSV), destination=APPEND, timescaledb={"decompress_window": False}
    ).body
    proof = body["verification"]
    assert (proof["rows_before"], proof["rows_after"], proof["rows_loaded"]) == (1, 3, 2)


@pytest.mark.parametrize("decompress", [True, False])
def test_rows_outside_the_day_are_distinguished_from_decompressed_ones(community_app: App, decompress: bool) -> None:
    compressed_table(
        community_app, interval="interval '7 days'", rows="'2025-01-01 12:00Z', 'a', 7), ('2024-12-30 12:00Z', 'a', 8"
    )
    csv = CSV + b"2024-12-31 01:00Z,c,3\n"
    request: dict[str, Any] = {"timescaledb": {"decompress_window": decompress}}
    answer = community_app.restore(community_app.archive("t", csv), destination=APPEND, **request)
    assert answer.code == "RowsOutsideWindow"
    assert answer.body["error"]["details"][0]["rows"] == 1
    destination = APPEND | {"rows_outside_window": "allow"}
    body = community_app.restore(community_app.archive("t", csv), destination=destination, **request).body
    assert (body["status"], body["verification"]["rows_outside_window"]) == ("ok", 1)
    assert partial_chunks(community_app) == 0


def test_chunks_and_aggregates_over_the_spans_that_were_really_loaded(community_app: App) -> None:
    compressed_table(community_app, rows="'2024-12-25 12:00Z', 'a', 10")
    cagg(community_app, "c", "'1 day', time")
    csv = CSV + b"2024-12-25 01:00Z,a,3\n"
    body = community_app.restore(
        community_app.archive("t", csv),
        destination={"rows_outside_window": "allow"},
        timescaledb={"refresh_caggs": "all"},
    ).body
    assert [step["window"] for step in body["caggs"]] == [
        {"start": "2024-12-25T00:00:00Z", "end": "2024-12-26T00:00:00Z"},
        {"start": "2025-01-01T00:00:00Z", "end": "2025-01-02T00:00:00Z"},
    ]
    assert community_app.database.value("SELECT sum(total) FROM {s}.c") == 16
    assert ("recompress", "done") in actions(body)
    assert partial_chunks(community_app) == 0


def test_a_dry_run_shows_chunks_aggregates_and_missing_rights(community_app: App) -> None:
    compressed_table(community_app)
    cagg(community_app, "c", "'1 week', time")
    url = community_app.archive("t", CSV)
    found = community_app.restore(url, dry_run=True, timescaledb={"refresh_caggs": ["c", "nix"]}).body["dry_run"]
    assert [(c["is_compressed"], c["would"]) for c in found["chunks"]] == [(True, ["decompress", "recompress"])]
    assert found["caggs"][0]["window"] == {"start": "2024-12-30T00:00:00Z", "end": "2025-01-06T00:00:00Z"}
    assert found["caggs"][1]["error"]["code"] == "CaggNotFound"
    assert chunk_states(community_app) == [(True,)]
    role = community_app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.t")
    found = community_app.restore(url, dry_run=True, pg=role, timescaledb={"refresh_caggs": "all"}).body["dry_run"]
    assert [(m["right"], m["needed"]) for m in found["permissions_missing"]] == [("ownership", False)] * 2
