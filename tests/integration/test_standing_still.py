"""The target changes under the restore: what is counted must still be what is there."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.integration.fix_app import App
from tests.integration.fix_database import PATIENCE_SECONDS
from tests.integration.fix_small_day import CSV, DAY_FILTER, TABLE, restore, slow_down, table_with_a_day, values
from tests.integration.fix_threads import Call
from tools.process import wait_until

SLEEPS = "wait_event = 'PgSleep'"


@pytest.mark.community
@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_decompression_that_commits_meanwhile_does_not_hide_the_day(community_app: App, mode: str) -> None:
    app = community_app
    app.database.hypertable("t", "time timestamptz NOT NULL, v int", interval="interval '7 days'")
    app.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress)")
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 05:00Z', 7)")
    app.database.execute("SELECT public.compress_chunk(c) FROM public.show_chunks('{s}.t') c")
    with closing(app.database.session(autocommit=False)) as other, other.cursor() as cursor:
        cursor.execute(f"SELECT public.decompress_chunk(c) FROM public.show_chunks('\"{app.database.schema}\".t') c")
        call = Call(lambda: restore(app, mode=mode, on_existing="error"))
        app.database.wait_for_session("wait_event_type = 'Lock'")
        other.commit()
    assert call.result().code == "WindowNotEmpty"
    assert values(app) == [7]


def test_a_reader_that_begins_in_mid_replace_sees_no_hole(app: App) -> None:
    """It waits for the truncated chunk with a snapshot from before the COMMIT: the restore must delete instead."""
    table_with_a_day(app)
    slow_down(app, 0.7)
    call = Call(lambda: restore(app, on_existing="replace"))
    seen = []
    # It connects when the load is under way: it is not among those that were looked at first.
    app.database.wait_for_session(SLEEPS)
    with closing(app.database.session(autocommit=False)) as reader, reader.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        cursor.execute(f'SELECT count(*) FROM "{app.database.schema}".t WHERE {DAY_FILTER}')
        seen.append(cursor.fetchone())
        reader.rollback()
    answer = call.result()
    assert seen == [(2,)]
    assert (answer.status, answer.body["removed_by"]) == (200, "delete")
    assert values(app) == [-1, 1, 2, -2]


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_allowed_rows_outside_the_day_are_not_doubled_by_a_repeat(app: App, mode: str) -> None:
    app.database.hypertable("t", TABLE.replace(", PRIMARY KEY (time)", ""))
    csv = b"time,v\n2025-01-05 00:00Z,1\n2025-01-05 01:00Z,2\n"
    destination = {"mode": mode, "rows_outside_window": "allow", "on_existing": "error"}
    assert restore(app, csv, **destination).status == 200
    assert restore(app, csv, **destination).code == "WindowNotEmpty"
    assert values(app) == [1, 2]
    assert restore(app, csv, rows_outside_window="allow", on_existing="replace").code == "InvalidRequest"


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_trigger_that_drops_rows_is_found_out(app: App, mode: str) -> None:
    """COPY does not count what a trigger drops: only the archive's own rows show it."""
    app.database.hypertable("t", TABLE.replace(", PRIMARY KEY (time)", ""))
    app.database.execute("CREATE FUNCTION {s}.drop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$")
    app.database.execute(
        "CREATE TRIGGER drop BEFORE INSERT ON {s}.t FOR EACH ROW WHEN (NEW.v = 2) EXECUTE FUNCTION {s}.drop()"
    )
    answer = restore(app, mode=mode)
    assert (answer.status, answer.code) == (422, "VerificationFailed")
    assert values(app) == []
    answer = app.restore(app.archive("t", CSV), destination={"mode": mode}, verify=False)
    assert answer.status == 200


@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize("when", ["0044-03-15 BC", "20250-01-03", "infinity", "-infinity"])
def test_times_that_python_cannot_hold(app: App, mode: str, when: str) -> None:
    app.database.execute("CREATE TABLE {s}.t (time timestamptz, v int)")
    csv = f"time,v\n{when},1\n2025-01-01 00:00Z,2\n".encode()
    assert restore(app, csv, mode=mode).code == "RowsOutsideWindow"
    assert restore(app, csv, mode=mode, rows_outside_window="allow").status == 200


def test_a_lock_whose_session_is_lost_lets_no_second_restore_in(app: App) -> None:
    app.database.hypertable("t", TABLE.replace(", PRIMARY KEY (time)", ""))
    slow_down(app, 0.7)
    call = Call(lambda: restore(app))
    lock = "application_name LIKE 'restore-chunk guard/%' AND datname = current_database()"
    app.database.wait_for_session(SLEEPS)
    app.database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE " + lock)
    assert wait_until(lambda: not app.database.has_session(lock), PATIENCE_SECONDS)
    assert restore(app).code == "RestoreInProgress"
    answer = call.result()
    assert values(app) in ([1, 2], [])
    assert (answer.status == 200) == (values(app) == [1, 2])


TOUCH = (
    "CREATE FUNCTION {s}.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;"
    " CREATE TRIGGER touch BEFORE INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.touch()"
)


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_harmless_trigger_beside_a_replaced_day(app: App, mode: str) -> None:
    """The DELETE locks the chunk's indexes too, which are not chunks."""
    table_with_a_day(app, "interval '7 days'")
    app.database.execute("CREATE INDEX ON {s}.t (v)")
    app.database.execute(TOUCH)
    assert restore(app, mode=mode, on_existing="replace").status == 200
    outside = CSV + b"2025-01-02 01:00Z,9\n"
    assert restore(app, outside, mode=mode, on_existing="replace").code == "RowsOutsideWindow"
    assert values(app) == [-1, 1, 2, -2]


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_an_empty_archive_beside_a_trigger(app: App, mode: str) -> None:
    table_with_a_day(app)
    app.database.execute(TOUCH)
    assert app.restore(app.archive("t", b"time,v\n", day="2025-03-01"), destination={"mode": mode}).status == 200


@pytest.mark.community
@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_rows_outside_the_day_on_a_chunk_that_stays_compressed(community_app: App, mode: str) -> None:
    app = community_app
    app.database.hypertable("t", TABLE, interval="interval '7 days'")
    app.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress)")
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-03 05:00Z', 7), ('2024-12-20 05:00Z', 8)")
    app.database.execute("SELECT public.compress_chunk(c) FROM public.show_chunks('{s}.t') c")
    app.database.execute(TOUCH)
    answer = app.restore(
        app.archive("t", CSV + b"2025-01-02 01:00Z,9\n"),
        destination={"mode": mode, "rows_outside_window": "allow"},
        timescaledb={"decompress_window": False},
    )
    assert answer.status == 200, answer.body
    assert values(app) == [8, 1, 2, 9, 7]
    empty = app.restore(app.archive("t", b"time,v\n", day="2025-03-01"), destination={"mode": mode})
    assert empty.status == 200, empty.body
