"""When the indexes of a chunk are deferred, when they stay, and what the answer says of it."""

from __future__ import annotations

import random

import pytest

from shared.process import MIB
from tests.integration.fix_app import App
from tests.integration.fix_fast_day import (
    COLUMNS,
    FORMATS,
    MODES,
    PLAIN,
    ROWS,
    check_deferred,
    check_same,
    csv,
    error_of,
    indexes,
    kept,
    make,
    of_version,
)


@MODES
@pytest.mark.parametrize("policy", ["append", "replace"])
def test_a_chunk_that_others_use_keeps_its_indexes(app: App, mode: str, policy: str) -> None:
    make(app, interval="interval '7 days'")
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 23:59:59Z', 99, 1, 'was here')")
    answer = app.restore(app.archive("t", csv(ROWS)), destination={"mode": mode, "on_existing": policy})
    assert answer.status == 200, answer.body
    assert answer.body["copy"]["indexes_deferred"] == []
    assert kept(answer) == ["NotOwnChunk"]


def test_a_chunk_of_a_week(app: App) -> None:
    make(app, interval="interval '7 days'")
    check_deferred(app, app.restore(app.archive("t", csv(ROWS))))
    assert len(indexes(app.database)) == 3


def test_chunks_of_an_hour(app: App) -> None:
    """Only the first one is there in time; the others are right as well."""
    make(app, interval="interval '1 hour'")
    make(app, "plain", interval="interval '1 hour'")
    assert app.restore(app.archive("plain", csv(ROWS)), copy=PLAIN).status == 200
    answer = app.restore(app.archive("t", csv(ROWS)))
    check_deferred(app, answer)
    if app.database.version >= (2, 28):
        assert kept(answer) == ["LaterChunk"]
    check_same(app.database)


@MODES
def test_chunks_of_a_hash_dimension(app: App, mode: str) -> None:
    """Of a fresh day only the first row's is there in time; of a day that is replaced, all are."""
    for table in ("t", "plain"):
        make(app, table)
        app.database.execute(f"SELECT public.add_dimension('{{s}}.{table}', 'device_id', number_partitions => 3)")
    assert app.restore(app.archive("plain", csv(ROWS)), copy=PLAIN).status == 200
    url = app.archive("t", csv(ROWS))
    answer = app.restore(url, destination={"mode": mode})
    check_deferred(app, answer)
    if app.database.version >= (2, 28):
        assert kept(answer) == ["LaterChunk"]
    check_same(app.database)
    again = app.restore(url, destination={"mode": mode, "on_existing": "replace"})
    assert (again.status, again.body["removed_by"]) == (200, "truncate"), again.body
    if app.database.version >= (2, 28):
        assert len(again.body["copy"]["indexes_deferred"]) == len(indexes(app.database)) == 9
    check_same(app.database)


def test_no_room_to_build_an_index(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain way needs none."""
    make(app)
    monkeypatch.setenv("PG_INDEX_MEMORY_MIB", "1")
    name = app.database.name
    app.database.execute(f"ALTER DATABASE {name} SET temp_file_limit = '64kB'")
    try:
        rows = [f"2025-01-01 {n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}+00,{n},1,{n}" for n in range(80_000)]
        answer = app.restore(app.archive("t", csv(rows)))
    finally:
        app.database.execute(f"ALTER DATABASE {name} RESET temp_file_limit")
    assert (answer.status, answer.body["rows_loaded"]) == (200, 80_000)
    assert kept(answer) == of_version(app, "BuildFailed")


def test_staging_skips_conflicts_of_the_file_with_itself(app: App) -> None:
    """The index cannot be built over them, so the load starts over with all indexes in place."""
    make(app)
    answer = app.restore(app.archive("t", csv([*ROWS, *ROWS[:5]])), destination={"mode": "staging"})
    assert (answer.status, answer.body["rows_loaded"], answer.body["rows_skipped"]) == (200, len(ROWS), 5)
    codes = kept(answer)
    # Where the key stays, the second row is refused at once.
    assert codes in (["BuildFailed"], ["RowRefused"], ["TimescaleDBVersion"])


@pytest.fixture
def key_that_stays(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """As from 2.22 to 2.27, which Azure has and nobody packages: a chunk's constraint cannot be dropped."""
    if app.database.version < (2, 22):
        pytest.skip("no index is deferred before 2.22")
    monkeypatch.setattr("shared.timescale.indexes.eligibility.CONSTRAINTS_SINCE", (99, 0))


@MODES
@pytest.mark.usefixtures("key_that_stays")
def test_the_key_stays_while_the_others_are_deferred(app: App, mode: str) -> None:
    for table in ("t", "plain"):
        make(app, table)
    assert app.restore(app.archive("plain", csv(ROWS)), copy=PLAIN).status == 200
    answer = app.restore(app.archive("t", csv(ROWS)), destination={"mode": mode})
    assert (answer.status, len(answer.body["copy"]["indexes_deferred"])) == (200, 2), answer.body
    assert kept(answer) == ["TimescaleDBVersion"]
    check_same(app.database)


@FORMATS
@pytest.mark.usefixtures("key_that_stays")
@pytest.mark.parametrize(
    "bad",
    [ROWS[3], f"2025-01-01 23:59Z,9,1,{random.Random(2).randbytes(9000).hex()}"],  # noqa: S311 - the same every time
    ids=["the key", "another"],
)
def test_a_row_that_an_index_refuses_beside_a_key_that_stays(app: App, bad: str, format_: str) -> None:
    """The key refuses it in the COPY, the other index when it is built."""
    make(app)
    url = app.archive("t", csv([*ROWS, bad]))
    plain = app.restore(url, copy=PLAIN)
    assert plain.code == "DataRejected"
    assert error_of(app.restore(url, copy={"format": format_})) == error_of(plain)
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0


@FORMATS
@pytest.mark.usefixtures("key_that_stays")
def test_staging_skips_conflicts_beside_a_key_that_stays(app: App, format_: str) -> None:
    """The key refuses the second row at once: none is skipped while others are deferred. Then the load starts over."""
    make(app)
    url = app.archive("t", csv([*ROWS, *ROWS[:5]]))
    answer = app.restore(url, destination={"mode": "staging"}, copy={"format": format_})
    assert (answer.status, answer.body["rows_loaded"], answer.body["rows_skipped"]) == (200, len(ROWS), 5)
    assert kept(answer) == ["RowRefused"]
    assert len(indexes(app.database)) == 3


def test_a_day_that_is_not_known_in_the_time_column(app: App) -> None:
    app.database.hypertable("t", "time bigint NOT NULL, v int", interval="10")
    answer = app.restore(
        app.archive("t", csv(["3,1", "4,2", "5,3"], "time,v")),
        destination={"on_existing": "append", "rows_outside_window": "allow"},
    )
    assert (answer.status, answer.body["rows_loaded"], kept(answer)) == (200, 3, ["NoDay"])


@MODES
def test_a_day_that_begins_with_another_one(app: App, mode: str) -> None:
    make(app)
    url = app.archive("t", csv(["2024-12-31 23:59Z,1,1,x", "2024-12-31 23:58Z,1,1,x"]))
    answer = app.restore(url, destination={"mode": mode, "on_existing": "append", "rows_outside_window": "allow"})
    assert (answer.status, answer.body["rows_loaded"]) == (200, 2)
    assert kept(answer) == of_version(app, "NoChunk")


def test_every_reason_is_told(app: App) -> None:
    make(app, interval="interval '1 hour'")
    app.database.execute("ALTER TABLE {s}.t ADD UNIQUE (time, device_id) DEFERRABLE")
    answer = app.restore(app.archive("t", csv(ROWS)))
    assert answer.status == 200, answer.body
    assert set(kept(answer)) >= set(of_version(app, "DeferrableConstraint", "LaterChunk"))


def test_a_table_that_is_not_a_hypertable(app: App) -> None:
    app.database.execute(f"CREATE TABLE {{s}}.t ({COLUMNS})")
    answer = app.restore(app.archive("t", csv(ROWS)), destination={"on_existing": "append"})
    assert (answer.status, kept(answer)) == (200, ["NotAHypertable"])


def test_an_index_that_would_not_be_the_same(app: App) -> None:
    """The chunk is not what it was before the rows came, here by what a check does. The plain way does not mind."""
    make(app)
    app.database.execute(
        "CREATE FUNCTION {s}.f(v float8) RETURNS bool LANGUAGE plpgsql AS $$ DECLARE chunk regclass; BEGIN"
        " IF v = 400.5 THEN SELECT c INTO chunk FROM public.show_chunks('{s}.t') c;"
        " EXECUTE 'GRANT SELECT ON ' || chunk || ' TO public'; END IF; RETURN true; END $$"
    )
    app.database.execute("ALTER TABLE {s}.t ADD CHECK ({s}.f(v))")
    answer = app.restore(app.archive("t", csv(ROWS)))
    assert (answer.status, answer.body["rows_loaded"]) == (200, len(ROWS)), answer.body
    assert kept(answer) == of_version(app, "NotRepeatable")
    assert len(indexes(app.database)) == 3


def test_a_build_that_takes_too_long_is_not_tried_in_another_way(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load in another way would wait for the same limit again."""
    if app.database.version < (2, 22):
        pytest.skip("no index is built")
    monkeypatch.setenv("PG_INDEX_MEMORY_MIB", "7")
    monkeypatch.setenv("PG_STATEMENT_TIMEOUT_SECONDS", "2")
    make(app)
    app.database.execute(
        "CREATE FUNCTION {s}.wait(v float8) RETURNS float8 LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog"
        " AS $$ BEGIN IF current_setting('maintenance_work_mem') = '7MB' THEN PERFORM pg_sleep(600); END IF;"
        " RETURN v; END $$"
    )
    app.database.execute("CREATE INDEX ON {s}.t ({s}.wait(v))")
    assert app.restore(app.archive("t", csv(ROWS))).code == "StatementCanceled"
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0


def test_a_rehearsal_that_is_canceled(app: App) -> None:
    """A cancel ends the restore, and not only this attempt."""
    if app.database.version < (2, 22):
        pytest.skip("nothing is rehearsed")
    make(app)
    # Dates are written so while an index is made again, and at no other time.
    app.database.execute(
        "CREATE FUNCTION {s}.stop(v float8) RETURNS float8 LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog"
        " AS $$ BEGIN IF current_setting('datestyle') = 'ISO, YMD' THEN"
        " PERFORM pg_cancel_backend(pg_backend_pid()); PERFORM pg_sleep(10); END IF; RETURN v; END $$"
    )
    app.database.execute("CREATE INDEX ON {s}.t ({s}.stop(v))")
    assert app.restore(app.archive("t", csv(ROWS))).code == "RestoreCanceled"
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0


def test_a_role_that_does_not_own_the_table(app: App) -> None:
    make(app)
    role = app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.t")
    answer = app.restore(app.archive("t", csv(ROWS)), pg=role)
    assert (answer.status, answer.body["copy"]["indexes_deferred"]) == (200, [])
    assert kept(answer) == of_version(app, "MissingOwnership")


def test_the_memory_and_the_workers_of_the_settings(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    if app.database.version < (2, 22):
        pytest.skip("no index is built")
    monkeypatch.setenv("PG_INDEX_MEMORY_MIB", "7")
    monkeypatch.setenv("PG_INDEX_WORKERS", "0")
    make(app)
    seen_by_an_index(app)
    answer = app.restore(app.archive("t", csv(ROWS)))
    assert (answer.status, answer.body["copy"]["index_memory_bytes"]) == (200, 7 * MIB), answer.body
    assert app.database.value("SELECT last_value FROM {s}.memory") == 7 * MIB
    assert app.database.value("SELECT last_value FROM {s}.workers") == 0


def test_memory_by_the_day_and_the_server_if_no_setting_says_so(app: App) -> None:
    if app.database.version < (2, 22):
        pytest.skip("no index is built")
    make(app)
    seen_by_an_index(app)
    rows = [f"2025-01-01 {n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}+00,{n},1,{n}" for n in range(80_000)]
    url = app.archive("t", csv(rows))
    app.database.execute("ALTER SYSTEM SET maintenance_work_mem = '1MB'")
    app.database.execute("SELECT pg_reload_conf()")
    try:
        answer = app.restore(url)
        assert answer.status == 200, answer.body
        of_the_day = answer.body["source"]["csv_bytes"] // MIB * MIB
        assert answer.body["copy"]["index_memory_bytes"] == of_the_day > MIB
        assert app.database.value("SELECT last_value FROM {s}.memory") == of_the_day
        # What somebody has set for the database stays.
        app.database.execute(f"ALTER DATABASE {app.database.name} SET maintenance_work_mem = '1500kB'")
        answer = app.restore(url, destination={"on_existing": "replace"})
        assert (answer.status, answer.body["copy"]["index_memory_bytes"]) == (200, 1500 * 1024), answer.body
        assert app.database.value("SELECT last_value FROM {s}.memory") == 1500 * 1024
    finally:
        app.database.execute(f"ALTER DATABASE {app.database.name} RESET maintenance_work_mem")
        app.database.execute("ALTER SYSTEM RESET maintenance_work_mem")
        app.database.execute("SELECT pg_reload_conf()")


def seen_by_an_index(app: App) -> None:
    """Make an index whose function sees the settings of its build, and sequences that keep them."""
    schema = app.database.schema
    app.database.execute("CREATE SEQUENCE {s}.memory; CREATE SEQUENCE {s}.workers MINVALUE 0")
    app.database.execute(
        "CREATE FUNCTION {s}.look(v float8) RETURNS float8 LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog"
        f" AS $$ BEGIN PERFORM setval('{schema}.memory', pg_size_bytes(current_setting('maintenance_work_mem'))),"
        f" setval('{schema}.workers', current_setting('max_parallel_maintenance_workers')::int);"
        " RETURN v; END $$"
    )
    app.database.execute("CREATE INDEX ON {s}.t ({s}.look(v))")
