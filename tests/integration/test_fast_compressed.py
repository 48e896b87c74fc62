"""The fast ways into chunks that end compressed, or are compressed already."""

from __future__ import annotations

import random

import pytest

from tests.integration.fix_app import App
from tests.integration.fix_fast_day import FORMATS, MODES, PLAIN, ROWS, check_deferred, csv, error_of, indexes, make


def compressed(app: App, *, interval: str = "interval '1 day'") -> None:
    make(app, interval=interval)
    app.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress, timescaledb.compress_segmentby = 'device_id')")


@pytest.mark.community
@MODES
@FORMATS
def test_a_fresh_day_that_ends_compressed(community_app: App, mode: str, format_: str) -> None:
    compressed(community_app)
    url = community_app.archive("t", csv(ROWS))
    answer = community_app.restore(
        url, destination={"mode": mode}, copy={"format": format_}, timescaledb={"compress_new_chunks": True}
    )
    check_deferred(community_app, answer)
    assert answer.body["status"] == "ok"
    assert answer.body["timescaledb"]["compress_new_chunks"] == "done"
    assert [step["action"] for step in answer.body["chunks"]] == ["create", "compress"]
    query = "SELECT is_compressed FROM timescaledb_information.chunks WHERE hypertable_schema = %s"
    assert community_app.database.fetch(query, community_app.database.schema) == [(True,)]
    assert community_app.database.value("SELECT count(*) FROM {s}.t") == len(ROWS)
    assert len(indexes(community_app.database)) == 3


@pytest.mark.community
def test_a_chunk_that_would_be_merged_is_not_called_compressed(community_app: App) -> None:
    compressed(community_app)
    community_app.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress_chunk_time_interval = '2 days')")
    answer = community_app.restore(community_app.archive("t", csv(ROWS)), timescaledb={"compress_new_chunks": True})
    assert (answer.status, answer.body["rows_loaded"]) == (200, len(ROWS))
    assert answer.body["timescaledb"]["compress_new_chunks"] == "not available"
    assert [warning["code"] for warning in answer.body["warnings"]] == ["CompressNotAvailable"]
    assert answer.body["status"] == "ok_with_warnings"


@pytest.mark.community
def test_a_duplicate_in_a_day_that_is_to_end_compressed(community_app: App) -> None:
    compressed(community_app)
    url = community_app.archive("t", csv([*ROWS, ROWS[0]]))
    plain = community_app.restore(url, copy=PLAIN)
    answer = community_app.restore(url, timescaledb={"compress_new_chunks": True})
    assert plain.code == "DataRejected"
    assert error_of(answer) == error_of(plain)
    assert community_app.database.value("SELECT count(*) FROM {s}.t") == 0


@pytest.mark.community
@pytest.mark.parametrize(
    ("change", "row"),
    [
        ("SELECT", f"2025-01-01 23:59Z,9,1,{random.Random(2).randbytes(9000).hex()}"),  # noqa: S311
        ("CREATE INDEX ON {s}.t ((1 / (v - 4000.5)))", "2025-01-01 23:59Z,9,4000.5,x"),
    ],
    ids=["too long for the index", "an expression that fails"],
)
def test_what_an_index_refuses_is_not_compressed(community_app: App, change: str, row: str) -> None:
    compressed(community_app)
    community_app.database.execute(change)
    url = community_app.archive("t", csv([*ROWS, row]))
    plain = community_app.restore(url, copy=PLAIN)
    assert plain.code == "DataRejected"
    assert error_of(community_app.restore(url, timescaledb={"compress_new_chunks": True})) == error_of(plain)
    good = community_app.restore(community_app.archive("t", csv(ROWS)), timescaledb={"compress_new_chunks": True})
    assert good.body["timescaledb"]["compress_new_chunks"] == "done"
    community_app.database.execute("SELECT public.decompress_chunk(c) FROM public.show_chunks('{s}.t') c")


@pytest.mark.community
@pytest.mark.parametrize("extra", [[], ROWS[:1]], ids=["good", "a duplicate"])
def test_checks_that_wait_for_the_commit(community_app: App, extra: list[str]) -> None:
    compressed(community_app)
    community_app.database.execute("ALTER TABLE {s}.t DROP CONSTRAINT t_pkey")
    community_app.database.execute("ALTER TABLE {s}.t ADD UNIQUE (device_id, time) DEFERRABLE INITIALLY DEFERRED")
    url = community_app.archive("t", csv([*ROWS, *extra]))
    answer = community_app.restore(url, timescaledb={"compress_new_chunks": True})
    assert (answer.status, answer.code) == ((422, "DataRejected") if extra else (200, None)), answer.body
    assert community_app.database.value("SELECT count(*) FROM {s}.t") == (0 if extra else len(ROWS))


@pytest.mark.community
def test_a_reference_that_is_checked_at_the_commit(community_app: App) -> None:
    compressed(community_app)
    community_app.database.execute("CREATE TABLE {s}.device (id int PRIMARY KEY)")
    community_app.database.execute("INSERT INTO {s}.device SELECT generate_series(0, 9)")
    community_app.database.execute(
        "ALTER TABLE {s}.t ADD FOREIGN KEY (device_id) REFERENCES {s}.device DEFERRABLE INITIALLY DEFERRED"
    )
    answer = community_app.restore(community_app.archive("t", csv(ROWS)), timescaledb={"compress_new_chunks": True})
    assert (answer.status, answer.body["timescaledb"]["compress_new_chunks"]) == (200, "done"), answer.body


@pytest.mark.community
@MODES
@pytest.mark.parametrize(("old_rows", "decompresses"), [(3, True), (20_000, False)])
def test_auto_decompresses_where_that_is_cheaper(
    community_app: App, mode: str, old_rows: int, decompresses: bool
) -> None:
    compressed(community_app, interval="interval '7 days'")
    community_app.database.execute(
        "INSERT INTO {s}.t SELECT '2024-12-28'::timestamptz + i * interval '1 second', 1, i, 'before'"
        " FROM generate_series(1, %s) i",
        old_rows,
    )
    community_app.database.execute("SELECT public.compress_chunk(c) FROM public.show_chunks('{s}.t') c")
    large = [row.replace("next", "x" * 100) for row in ROWS]
    answer = community_app.restore(
        community_app.archive("t", csv(large)), destination={"mode": mode}, timescaledb={"decompress_window": "auto"}
    )
    assert answer.status == 200, answer.body
    actions = [step["action"] for step in answer.body["chunks"]]
    assert actions == (["decompress", "recompress"] if decompresses else ["recompress"])
    assert answer.body["timescaledb"]["decompress_window"] == ("done" if decompresses else "nothing to do")
    assert answer.body["verification"]["rows_loaded"] == len(ROWS)
    assert community_app.database.value("SELECT count(*) FROM {s}.t") == len(ROWS) + old_rows


@pytest.mark.community
@MODES
def test_a_role_whose_rows_are_compressed_on_the_way(community_app: App, mode: str) -> None:
    app = community_app
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    app.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress)")
    role = app.database.role("GRANT ALL ON SCHEMA {s}", "GRANT ALL ON {s}.t")
    for setting in ("enable_direct_compress_copy", "enable_direct_compress_insert"):
        app.database.execute(f"ALTER ROLE {role['user']} SET timescaledb.{setting} = on")
    destination = {"mode": mode, "rows_outside_window": "allow"}
    url = app.archive("t", b"time,v\n2025-01-01 01:00Z,1\n2025-01-03 01:00Z,2\n")
    answer = app.restore(url, pg=role, destination=destination)
    assert (answer.status, answer.body["rows_loaded"]) == (200, 2), answer.body
    query = "SELECT is_compressed FROM timescaledb_information.chunks WHERE hypertable_schema = %s"
    assert app.database.fetch(query, app.database.schema) == [(False,), (False,)]


@pytest.mark.community
def test_rows_that_are_replaced_are_decompressed_first(community_app: App) -> None:
    compressed(community_app, interval="interval '7 days'")
    community_app.database.execute("INSERT INTO {s}.t SELECT '2025-01-01', n, n, 'x' FROM generate_series(1, 3000) n")
    community_app.database.execute("SELECT public.compress_chunk(c) FROM public.show_chunks('{s}.t') c")
    answer = community_app.restore(
        community_app.archive("t", csv(ROWS)),
        destination={"on_existing": "replace", "min_rows_ratio": 0},
        timescaledb={"decompress_window": "auto"},
    )
    assert answer.status == 200, answer.body
    assert "decompress" in [step["action"] for step in answer.body["chunks"]]
    assert community_app.database.value("SELECT count(*) FROM {s}.t") == len(ROWS)
