"""The days of a group share two sessions of the server. Nothing of one day is left in them for the next one.

`test_idle_sessions.py` shows the same of calls that follow one another.
"""

from __future__ import annotations

from typing import Any

import pytest

from shared.jobs.worker import work_on
from shared.postgres.connect import APPLICATION_NAME
from tests.faults.fix_backfills import Backfills, behind_proxy, day_of
from tests.faults.fix_seen_sessions import note_sessions, seen
from tests.integration.fix_small_day import slow_down
from tests.integration.fix_threads import Call

_OURS = f"application_name LIKE '{APPLICATION_NAME}%'"


def a_group(many: Backfills, days: int = 3) -> str:
    """Send a backfill of days of one chunk, which begins on 2 January 2025."""
    many.archive(*range(1, 1 + days))
    return many.taken(1, days)


def test_days_of_a_group_share_their_sessions(many: Backfills) -> None:
    many.table(interval="interval '7 days'")
    note_sessions(many.app.database, "BEFORE")
    assert many.finish(a_group(many))["status"] == "Succeeded"
    assert many.counts() == many.all_of(1, 2, 3)
    pids, names = seen(many.app.database, "pid"), seen(many.app.database, "named")
    assert len(pids) == 3
    assert len(set(pids)) == 1
    # Each has the id of its own request, by which a cancel finds it.
    assert len(set(names)) == 3
    many.app.database.wait_for_no_restore()


# What a session may hold, and how a trigger changes it. All of it outlives a transaction.
_STATE = """pg_catalog.concat_ws(' ', current_user, current_setting('IntervalStyle'), current_setting('work_mem'),
    current_setting('timescaledb.restoring'), current_setting('client_encoding'), current_setting('bytea_output'),
    (SELECT count(*) FROM pg_class WHERE oid = to_regclass('pg_temp.mine')),
    (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_listening_channels()),
    (SELECT count(*) FROM pg_cursors WHERE is_holdable),
    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711))"""
_CHANGES = """
    PERFORM set_config('IntervalStyle', 'iso_8601', false), set_config('work_mem', '123kB', false);
    PERFORM set_config('bytea_output', 'escape', false);
    EXECUTE 'CREATE TEMP TABLE mine (v int)'; EXECUTE 'PREPARE mine AS SELECT 1'; EXECUTE 'LISTEN mine';
    PERFORM pg_advisory_lock(4711);"""


def test_nothing_of_a_day_is_left_for_the_next_one(many: Backfills) -> None:
    many.table(interval="interval '7 days'")
    note_sessions(many.app.database, "BEFORE", _STATE, _CHANGES)
    backfill_id = a_group(many)
    assert many.finish(backfill_id)["status"] == "Succeeded", many.days(backfill_id)
    assert len(set(seen(many.app.database, "pid"))) == 1
    states = seen(many.app.database, "state")
    assert len(states) == 3
    assert set(states) == {states[0]}
    # It was a new one, and is not kept from others now.
    assert many.app.database.value("SELECT pg_try_advisory_lock(4711)")
    many.app.database.execute("SELECT pg_advisory_unlock(4711)")
    assert many.counts() == many.all_of(1, 2, 3)


def test_a_session_begins_with_the_settings_of_its_role(many: Backfills, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with the role that it becomes, and with a style of dates that psycopg2 cannot read and so changes."""
    many.table(interval="interval '7 days'")
    database = many.app.database
    owner, login = database.role("GRANT ALL ON SCHEMA {s}"), database.role()
    database.execute(f"ALTER TABLE {{s}}.t OWNER TO {owner['user']}")
    database.execute(f"GRANT {owner['user']} TO {login['user']}")
    database.execute(f"ALTER ROLE {login['user']} SET role = '{owner['user']}'")
    database.execute(f"ALTER ROLE {login['user']} SET datestyle = 'SQL, DMY'")
    note_sessions(many.app.database, "BEFORE", "concat(current_user, current_setting('DateStyle'))")
    database.execute("GRANT ALL ON ALL TABLES IN SCHEMA {s} TO PUBLIC")
    database.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA {s} TO PUBLIC")
    for name in ("user", "password"):
        monkeypatch.setenv(f"PG{name.upper()}", login[name])
    backfill_id = a_group(many)
    assert many.finish(backfill_id)["status"] == "Succeeded", many.days(backfill_id)
    assert len(set(seen(many.app.database, "pid"))) == 1
    assert seen(many.app.database, "state") == [f"{owner['user']}ISO, DMY"] * 3
    assert many.counts() == many.all_of(1, 2, 3)


def test_sessions_that_end_between_days_are_replaced(many: Backfills, monkeypatch: pytest.MonkeyPatch) -> None:
    many.table(interval="interval '7 days'")
    note_sessions(many.app.database, "BEFORE")
    killed = []

    def kill_before(*arguments: Any) -> Any:
        killed.append(
            many.app.database.value(
                f"SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
                f" WHERE datname = current_database() AND {_OURS}"
            )
        )
        return work_on(*arguments)

    monkeypatch.setattr("shared.backfills.group.work_on", kill_before)
    backfill_id = a_group(many)
    assert many.finish(backfill_id)["status"] == "Succeeded", many.days(backfill_id)
    # The first one is that of the plan.
    assert killed == [1, 2, 2]
    assert many.counts() == many.all_of(1, 2, 3)
    assert len(set(seen(many.app.database, "pid"))) == 3
    days = many.days(backfill_id).values()
    assert [many.jobs.state(day["operation_id"]).attempt for day in days] == [1, 1, 1]


def test_a_cancel_of_a_day_does_not_hit_the_next_one(many: Backfills) -> None:
    many.table(interval="interval '7 days'")
    note_sessions(many.app.database, "BEFORE")
    slow_down(many.app, 1)
    backfill_id = a_group(many)
    many.work()
    worker = Call(many.work)
    first = many.days(backfill_id)[day_of(1)]["operation_id"]
    many.app.database.wait_for_session(f"{_OURS} AND wait_event = 'PgSleep'")
    assert many.jobs.cancel(first).status == 202
    worker.result()
    many.finish(backfill_id)
    outcomes = [day["outcome"] for day in many.days(backfill_id).values()]
    assert outcomes == ["canceled", "restored", "restored"]
    assert many.counts() == many.all_of(2, 3)
    # What was rolled back left no line.
    assert len(set(seen(many.app.database, "pid"))) == 1


def test_a_day_that_fails_leaves_no_session(many: Backfills) -> None:
    many.table(interval="interval '7 days'")
    note_sessions(many.app.database, "BEFORE")
    many.archive(1, 2, 3, 4)
    many.corrupt(3)
    backfill_id = many.taken(1, 4)
    assert many.finish(backfill_id)["status"] == "Failed"
    assert many.counts() == many.all_of(1, 2, 4)
    first, second, fourth = seen(many.app.database, "pid")
    assert first == second
    assert second != fourth


def test_a_commit_in_a_kept_session_whose_answer_is_lost(many: Backfills, monkeypatch: pytest.MonkeyPatch) -> None:
    many.table(interval="interval '7 days'")
    many.archive(1)
    with behind_proxy(many.app, monkeypatch) as proxy:

        def lose_second(*arguments: Any) -> Any:
            if arguments[0].operation.day == day_of(2):
                proxy.when(b"COMMIT\0", lambda link: link.cut(), answers=True)
            return work_on(*arguments)

        monkeypatch.setattr("shared.backfills.group.work_on", lose_second)
        backfill_id = a_group(many)
        assert many.finish(backfill_id)["status"] == "Succeeded", many.days(backfill_id)
    assert many.counts() == many.all_of(1, 2, 3)
    second = many.jobs.monitor(many.days(backfill_id)[day_of(2)]["operation_id"]).body
    assert [warning["code"] for warning in second["result"]["warnings"]] == ["CommitConfirmedLate"]
