"""Sessions that stay open between calls: who may use one, what is left in it, and when it ends."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from shared.api.handle import new_report
from shared.api.parse import parse_for
from shared.errors import DatabaseAccessDenied, RestoreError, TooManyConnections
from shared.model.report import Report
from shared.postgres.connect import APPLICATION_NAME, Connection, Limits
from shared.postgres.endpoint import Endpoint, allowed_endpoint
from shared.postgres.kept import IDLE_NAME, MOST_IDLE, SESSIONS, KeptSessions
from shared.restore.pending import PendingCommit, was_committed
from shared.restore.restore import restore
from shared.restore.server import Server
from shared.settings import load_settings
from tests.faults.fix_own_server import OwnServer
from tests.faults.fix_proxy import Proxy
from tests.faults.fix_seen_sessions import note_sessions, seen
from tests.integration.fix_app import Answer, App
from tests.integration.fix_database import PATIENCE_SECONDS, Database
from tests.integration.fix_host import running_host
from tests.integration.fix_threads import at_once
from tools.config import REPOSITORY
from tools.process import wait_until

_OURS = f"application_name LIKE '{APPLICATION_NAME}%'"
_IDLE = f"application_name = '{IDLE_NAME}' AND state = 'idle'"
_CSV = b"time,v\n2025-01-01 00:00Z,1\n2025-01-01 12:00Z,2\n"
_SECONDS = 10


def make(database: Database, state: str = "NULL", then: str = "") -> None:
    """Make a table `t` that notes in which session each restore's rows came, and does something in it."""
    database.hypertable("t", "time timestamptz PRIMARY KEY, v int")
    note_sessions(database, "AFTER", state, then)


def again(app: App, **request: Any) -> Answer:
    """Put the day in anew."""
    return app.restore(app.archive("t", _CSV), **{"destination": {"on_existing": "replace"}, **request})


def check_day(database: Database) -> None:
    assert database.fetch("SELECT v FROM {s}.t ORDER BY time") == [(1,), (2,)]


def idle(database: Database) -> set[int]:
    found = database.fetch(f"SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND {_IDLE}")
    return {pid for (pid,) in found}


def gone(database: Database, condition: str = _OURS) -> bool:
    return bool(wait_until(lambda: not database.has_session(condition), PATIENCE_SECONDS))


class Kept:
    """Sessions that are kept in a test."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.sessions = KeptSessions()

    def endpoint(self, **pg: Any) -> Endpoint:
        given = {name: str(value) for name, value in (self.app.database.pg | pg).items()}
        return allowed_endpoint(given, None, load_settings({}), database=self.app.database.name)

    def pid(self, work: Callable[[Connection], Any] = lambda _: None, /, **pg: Any) -> int:
        """Use a session, and return the process of its server."""
        with self.connect(**pg) as connection:
            work(connection)
            return int(connection.info.backend_pid)

    def connect(self, seconds: int = _SECONDS, **pg: Any) -> Any:
        name = f"{APPLICATION_NAME}/{uuid.uuid4()}"
        return self.sessions.connect(self.endpoint(**pg), Limits(5, 60), idle_seconds=seconds, application_name=name)


@pytest.fixture
def kept(app: App) -> Iterator[Kept]:
    found = Kept(app)
    yield found
    found.sessions.close_idle()


def test_calls_that_follow_one_another_use_the_same_two_sessions(app: App) -> None:
    make(app.database)
    answers = [again(app) for _ in range(3)]
    assert [answer.status for answer in answers] == [200] * 3, answers[-1].body
    # The lock's is another one than the load's, and each has the name of the call that uses it.
    assert len(set(seen(app.database, "pid"))) == 1
    assert len(idle(app.database)) == 2
    assert seen(app.database, "named") == [f"{APPLICATION_NAME}/{answer.body['request_id']}" for answer in answers]
    assert not app.database.has_session(f"{_OURS} AND NOT ({_IDLE})")
    check_day(app.database)


def test_without_the_setting_each_call_has_its_own(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_IDLE_SESSION_SECONDS", "0")
    make(app.database)
    assert [again(app).status for _ in range(2)] == [200, 200]
    assert len(set(seen(app.database, "pid"))) == 2
    assert gone(app.database)


def test_they_end_when_their_time_is_up_though_nobody_calls(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_IDLE_SESSION_SECONDS", "1")
    make(app.database)
    assert again(app).status == 200
    assert len(idle(app.database)) == 2
    assert gone(app.database)


def test_their_thread_ends_with_the_last_one_and_begins_with_the_next(kept: Kept) -> None:
    def thread() -> threading.Thread | None:
        return kept.sessions._thread

    assert thread() is None
    for _ in range(2):
        with kept.connect(1):
            pass
        used = thread()
        assert used is not None
        assert used.is_alive()
        assert wait_until(lambda: thread() is None, PATIENCE_SECONDS)
        used.join(PATIENCE_SECONDS)
        assert not used.is_alive()


def test_calls_at_once_have_two_sessions_each(app: App) -> None:
    for table in ("a", "b", "c"):
        app.database.hypertable(table, "time timestamptz PRIMARY KEY, v int")
    for _ in range(3):
        tables = iter(("a", "b", "c"))
        urls = [app.archive(table, _CSV) for table in tables]
        given = iter(urls)
        replace = {"on_existing": "replace"}
        answers = at_once(3, lambda: app.restore(next(given), destination=replace))  # noqa: B023 - called at once
        assert [answer.status for answer in answers] == [200] * 3
        assert wait_until(lambda: len(idle(app.database)) <= MOST_IDLE, PATIENCE_SECONDS)
    for table in ("a", "b", "c"):
        assert app.database.value(f"SELECT count(*) FROM {{s}}.{table}") == 2


# What a session may hold, and how a trigger changes it. All of it outlives a transaction.
_SETTINGS = {
    "IntervalStyle": "iso_8601",
    "DateStyle": "SQL, DMY",
    "TimeZone": "Asia/Kolkata",
    "search_path": "nowhere",
    "session_replication_role": "replica",
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "serializable",
    "synchronous_commit": "off",
    "timescaledb.restoring": "on",
    "client_encoding": "LATIN1",
    "application_name": "another",
    "idle_session_timeout": "1234s",
    "statement_timeout": "4321s",
    # Last: it may not set all of them.
    "role": "pg_monitor",
}
_STATE = f"""pg_catalog.concat_ws(' ', current_user, session_user,
    (SELECT string_agg(current_setting(name, true), ' ' ORDER BY name)
     FROM unnest(ARRAY[{", ".join(f"'{name}'" for name in _SETTINGS if name != "application_name")}]) name),
    (SELECT count(*) FROM pg_class WHERE oid = to_regclass('pg_temp.mine')),
    (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_listening_channels()),
    (SELECT count(*) FROM pg_cursors WHERE is_holdable),
    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711))"""
_HOLDS = """
    EXECUTE 'CREATE TEMP TABLE mine (v int)'; EXECUTE 'PREPARE mine AS SELECT 1'; EXECUTE 'LISTEN mine';
    PERFORM pg_advisory_lock(4711);"""


def test_nothing_is_left_of_the_call_before(kept: Kept) -> None:
    """What a trigger could set for a session, whether or not a restore would come to its end with it."""
    database = kept.app.database
    known = {name for (name,) in database.fetch("SELECT name FROM pg_settings")}

    def look(connection: Connection) -> str:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {_STATE}")
            (state,) = cursor.fetchone() or ("",)
            return str(state)

    def spoil(connection: Connection) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"DO $$ BEGIN {_HOLDS} END $$")
            cursor.execute("DECLARE held CURSOR WITH HOLD FOR SELECT 1")
            for name, value in _SETTINGS.items():
                if name in known or "." in name or name == "role":
                    cursor.execute("SELECT set_config(%s, %s, false)", (name, value))

    states: list[str] = []
    first = kept.pid(lambda connection: states.append(look(connection)))
    for _ in range(2):
        assert kept.pid(spoil) == first
        assert kept.pid(lambda connection: states.append(look(connection))) == first
    assert states == [states[0]] * 3
    assert database.value("SELECT pg_try_advisory_lock(4711)")
    database.execute("SELECT pg_advisory_unlock(4711)")
    # It is the state of a new session, too.
    kept.sessions.close_idle()
    assert kept.pid(lambda connection: states.append(look(connection))) != first
    assert states[-1] == states[0]


def test_a_trigger_leaves_nothing_for_the_next_call(app: App) -> None:
    """As far as it may go: with these, the load itself comes to its end."""
    names = ("IntervalStyle", "TimeZone", "search_path", "session_replication_role")
    changes = "".join(f"PERFORM set_config('{name}', '{_SETTINGS[name]}', false);" for name in names)
    make(app.database, _STATE, changes + _HOLDS)
    answers = [again(app) for _ in range(3)]
    assert [answer.status for answer in answers] == [200] * 3, answers[-1].body
    assert len(set(seen(app.database, "pid"))) == 1
    states = seen(app.database, "state")
    assert states == [states[0]] * 3
    check_day(app.database)


def test_a_session_is_for_one_way_in_alone(kept: Kept) -> None:
    role = kept.app.database.role()
    first = kept.pid()
    assert kept.pid() == first
    theirs = kept.pid(**role)
    assert theirs != first
    # Of another role or with other parameters; and one with a wrong password is refused as ever.
    assert kept.pid(**role, options="-c work_mem=1MB") != theirs
    with pytest.raises(DatabaseAccessDenied):
        kept.pid(**role | {"password": "wrong"})
    assert kept.pid(**role) == theirs
    assert kept.pid() == first


def fail(_: Connection) -> None:
    raise ZeroDivisionError


def begin(connection: Connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")


def test_a_session_in_which_something_went_wrong_is_not_kept(kept: Kept) -> None:
    first = kept.pid()
    with pytest.raises(ZeroDivisionError):
        kept.pid(fail)
    second = kept.pid()
    assert second != first
    assert kept.pid(begin) == second
    third = kept.pid()
    assert third not in (first, second)
    assert gone(kept.app.database, f"pid IN ({first}, {second})")


def test_no_more_than_some_are_kept_and_those_used_last(kept: Kept) -> None:
    with ExitStack() as stack:
        pids = [stack.enter_context(kept.connect()).info.backend_pid for _ in range(MOST_IDLE + 2)]
    assert len(set(pids)) == MOST_IDLE + 2
    # They are given back in reverse.
    assert wait_until(lambda: idle(kept.app.database) == set(pids[:MOST_IDLE]), PATIENCE_SECONDS)


def test_one_that_is_idle_is_ended_by_the_server_if_this_side_is_stuck(kept: Kept) -> None:
    if kept.app.database.connection.server_version < 140000:
        pytest.skip("before PostgreSQL 14 a server ends no idle session")
    timeouts: list[Any] = []

    def note(connection: Connection) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SHOW idle_session_timeout")
            timeouts.append(cursor.fetchone())

    kept.pid(note)
    kept.pid(note)
    # Its own time is up in a second, and this side does not close it.
    kept.sessions.close_idle()
    with kept.connect(1) as connection:
        pid = connection.info.backend_pid
    kept.sessions._idle[0].expires += 3600
    assert kept.app.database.has_session(f"pid = {pid}")
    assert gone(kept.app.database, f"pid = {pid}")
    assert kept.pid(note) != pid
    assert set(timeouts) == {("0",)}


# What decides about a login, or gives its session something, and how to undo it.
_CHANGES = {
    "a setting of the role": "ALTER ROLE {role} SET work_mem = '77MB'",
    "a setting of the role in the database": "ALTER ROLE {role} IN DATABASE {database} SET work_mem = '77MB'",
    "a setting of the database": "ALTER DATABASE {database} SET work_mem = '77MB'",
    "what the role may": "ALTER ROLE {role} CREATEROLE",
    "an extension's version": "ALTER EXTENSION pg_trgm UPDATE",
    "an extension": "DROP EXTENSION pg_trgm",
    "a membership of its role": "REVOKE {owner} FROM {role}",
    # ALTER ROLE ... SET role names nobody then, or another one.
    "the name of its role": "ALTER ROLE {owner} RENAME TO {owner}_x",
    # A line of pg_hba.conf may be for the members of a role.
    "a membership": "REVOKE {group} FROM {role}",
    "a membership of a role that it is a member of": "REVOKE {outer} FROM {group}",
}


@pytest.mark.parametrize("change", _CHANGES.values(), ids=_CHANGES)
def test_what_a_login_would_notice_is_noticed(kept: Kept, change: str) -> None:
    database = kept.app.database
    role, owner, group, outer = (database.role() for _ in range(4))
    database.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm VERSION '1.5'")
    names = {"role": role["user"], "owner": owner["user"], "group": group["user"], "outer": outer["user"]}
    try:
        database.execute("GRANT {outer} TO {group}; GRANT {group} TO {role}".format(**names))
        database.execute(f"GRANT {owner['user']} TO {role['user']}")
        database.execute(f"ALTER ROLE {role['user']} SET role = '{owner['user']}'")
        first = kept.pid(**role)
        assert kept.pid(**role) == first
        database.execute(change.format(**names, database=database.name, s="{s}"))
        second = kept.pid(**role)
        assert second != first
        assert kept.pid(**role) == second
    finally:
        database.execute("DROP EXTENSION IF EXISTS pg_trgm")
        if "RENAME" in change:
            database.execute("ALTER ROLE {owner}_x RENAME TO {owner}".format(**names))
        database.execute(f"ALTER DATABASE {database.name} RESET ALL")
        database.execute(f"ALTER ROLE {role['user']} RESET ALL")


_REFUSALS = {
    "no login": "ALTER ROLE {role} NOLOGIN",
    "its time is up": "ALTER ROLE {role} VALID UNTIL '2020-01-01'",
    "no connection left": "ALTER ROLE {role} CONNECTION LIMIT 0",
    "another name": "ALTER ROLE {role} RENAME TO {role}_x",
    "dropped": "DROP ROLE {role}",
    "no CONNECT": "REVOKE CONNECT ON DATABASE {database} FROM PUBLIC",
}


@pytest.mark.parametrize("change", _REFUSALS.values(), ids=_REFUSALS)
def test_who_may_not_come_in_any_more_does_not(kept: Kept, change: str) -> None:
    database = kept.app.database
    role = database.role()
    name = role["user"]
    kept.pid(**role)
    database.execute(change.format(role=name, database=database.name))
    try:
        with pytest.raises(RestoreError) as raised:
            kept.pid(**role)
        assert raised.value.code in ("DatabaseAccessDenied", "DatabasePermissionDenied", "TooManyConnections")
    finally:
        database.execute(f"GRANT CONNECT ON DATABASE {database.name} TO PUBLIC")
        if database.value("SELECT count(*) FROM pg_roles WHERE rolname = %s", f"{name}_x"):
            database.execute(f"ALTER ROLE {name}_x RENAME TO {name}")
        if "DROP" in change:
            database.roles.remove(name)


def test_a_right_that_was_taken_away_is_missing_at_once(app: App) -> None:
    make(app.database)
    role = app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT ALL ON ALL TABLES IN SCHEMA {s}")
    app.database.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {{s}} TO {role['user']}")
    assert app.restore(app.archive("t", _CSV), pg=role).status == 200
    app.database.execute(f"REVOKE INSERT ON {{s}}.t FROM {role['user']}")
    answer = app.restore(app.archive("t", _CSV, day="2025-01-02"), pg=role)
    assert answer.code == "DatabasePermissionDenied", answer.body


def test_a_password_that_was_changed_counts_a_minute_after_the_login(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role cannot read whether its password is still the same."""
    role = kept.app.database.role()
    first = kept.pid(**role)
    kept.app.database.execute(f"ALTER ROLE {role['user']} PASSWORD 'another'")
    assert kept.pid(**role | {"password": "another"}) != first
    assert kept.pid(**role) == first
    monkeypatch.setattr("shared.postgres.kept.MOST_SECONDS", 0)
    assert kept.pid(**role) == first
    # It was used for the last time.
    with pytest.raises(DatabaseAccessDenied):
        kept.pid(**role)


def test_a_setting_of_the_function_that_was_changed_counts_at_once(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    make(app.database)
    app.database.execute("GRANT ALL ON SCHEMA {s} TO PUBLIC; GRANT ALL ON ALL TABLES IN SCHEMA {s} TO PUBLIC")
    app.database.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA {s} TO PUBLIC")
    role = app.database.role()
    for name, value in role.items():
        monkeypatch.setenv(f"PG{name.upper()}", str(value))
    url = app.archive("t", _CSV)
    assert app.restore(url, pg={}).status == 200
    monkeypatch.setenv("PGPASSWORD", "wrong")
    assert app.restore(url, pg={}).code == "DatabaseAccessDenied"
    monkeypatch.setenv("PGPASSWORD", role["password"])
    assert app.restore(url, pg={}, destination={"on_existing": "skip"}).status == 200


def test_a_trigger_on_login_runs_for_each_call(kept: Kept) -> None:
    database = kept.app.database
    if database.connection.server_version < 170000:
        pytest.skip("there are none before PostgreSQL 17")
    database.execute("CREATE FUNCTION {s}.hello() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
    first = kept.pid()
    database.execute("CREATE EVENT TRIGGER hello ON LOGIN EXECUTE FUNCTION {s}.hello()")
    try:
        pids = [kept.pid() for _ in range(3)]
        assert len({first, *pids}) == 4
    finally:
        database.execute("DROP EVENT TRIGGER hello")


def test_an_extension_that_keeps_connections_of_its_own_is_not_shared(kept: Kept) -> None:
    kept.app.database.execute("CREATE EXTENSION dblink")
    try:
        assert kept.pid() != kept.pid()
    finally:
        kept.app.database.execute("DROP EXTENSION dblink")


def test_a_foreign_data_wrapper_may_keep_connections_too(kept: Kept) -> None:
    kept.app.database.execute("CREATE FOREIGN DATA WRAPPER of_another_kind")
    try:
        assert kept.pid() != kept.pid()
    finally:
        kept.app.database.execute("DROP FOREIGN DATA WRAPPER of_another_kind")


@pytest.mark.parametrize("name", ["orafce", "pg_variables", "session_variable", "set_user", "temporal_tables"])
def test_an_extension_that_keeps_something_of_its_own_is_known_by_its_name(kept: Kept, name: str) -> None:
    """They are not installed here: another one gets the name."""
    database = kept.app.database
    database.execute("CREATE EXTENSION pg_trgm")
    try:
        assert kept.pid() == kept.pid()
        database.execute(
            f"SET LOCAL allow_system_table_mods = on; UPDATE pg_extension SET extname = '{name}'"
            " WHERE extname = 'pg_trgm'"
        )
        assert kept.pid() != kept.pid()
    finally:
        database.execute(f"DROP EXTENSION IF EXISTS {name}; DROP EXTENSION IF EXISTS pg_trgm")


def test_no_session_is_used_again_that_may_have_an_origin_of_replication(own_server: OwnServer) -> None:
    """DISCARD ALL leaves it, and the rows of the next call would not go to subscribers that want no copies."""
    database = own_server.app.database
    kept = Kept(own_server.app)
    role = database.role()

    def set_up(connection: Connection) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_catalog.pg_replication_origin_create('elsewhere')")
            cursor.execute("SELECT pg_catalog.pg_replication_origin_session_setup('elsewhere')")

    theirs = kept.pid(**role)
    first = kept.pid()
    assert (kept.pid(), kept.pid(**role)) == (first, theirs)
    kept.pid(set_up)
    try:
        assert kept.pid() != first
        assert kept.pid(**role) != kept.pid(**role)
    finally:
        assert gone(database)
        database.execute("SELECT pg_replication_origin_drop('elsewhere')")
    last = kept.pid(**role)
    assert kept.pid(**role) == last
    kept.sessions.close_idle()


def test_random_numbers_do_not_go_on_where_a_call_has_set_them(kept: Kept) -> None:
    found: list[Any] = []

    def draw(connection: Connection) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_catalog.random()")
            found.append(cursor.fetchone())
            cursor.execute("SELECT pg_catalog.setseed(0.25)")

    assert len({kept.pid(draw) for _ in range(4)}) == 1
    assert len(set(found)) == 4


def test_a_session_that_cannot_be_reset_is_no_error_of_the_call(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """The day is in by then. So it is, too, if there is no thread for the sessions."""
    with monkeypatch.context() as patched, kept.connect() as connection:
        first = connection.info.backend_pid

        def refuse(_: int) -> int:
            raise OSError(errno.EMFILE, "no descriptor is left")

        patched.setattr("shared.postgres.limited_cursor.os.dup", refuse)
    with monkeypatch.context() as patched, kept.connect() as connection:
        second = connection.info.backend_pid

        def start(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        patched.setattr("threading.Thread.start", start)
    assert gone(kept.app.database, f"pid IN ({first}, {second})")
    # Nothing is left in the way of the next ones.
    with kept.connect(1) as connection:
        third = connection.info.backend_pid
    assert third not in (first, second)
    assert gone(kept.app.database, f"pid = {third}")


def test_a_name_that_leads_elsewhere_is_followed(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo
    first = kept.pid(host="localhost")
    assert kept.pid(host="localhost") == first
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **options: real("127.0.0.9", None, **options))
    second = kept.pid(host="localhost")
    assert second != first


def test_one_of_several_hosts_is_not_kept(kept: Kept) -> None:
    host, port = kept.app.database.pg["host"], kept.app.database.pg["port"]
    several: dict[str, Any] = {"host": f"{host},{host}", "port": f"{port},{port}"}
    assert kept.pid(**several) != kept.pid(**several)


def test_the_slots_of_idle_sessions_are_for_those_who_need_them(kept: Kept) -> None:
    """A role with as many connections as one restore takes."""
    role = kept.app.database.role()
    kept.app.database.execute(f"ALTER ROLE {role['user']} CONNECTION LIMIT 2")
    with kept.connect(**role), kept.connect(**role):
        pass
    other = role | {"options": "-c work_mem=1MB"}
    with kept.connect(**other), kept.connect(**other), pytest.raises(TooManyConnections), kept.connect(**other):
        pass


def test_the_slots_of_idle_sessions_are_for_all_who_need_them_at_once(kept: Kept) -> None:
    """One call closes the idle sessions, and others need their slots meanwhile."""
    role = kept.app.database.role()
    kept.app.database.execute(f"ALTER ROLE {role['user']} CONNECTION LIMIT {MOST_IDLE}")
    kinds = [role | {"options": f"-c work_mem={mib}MB"} for mib in (1, 2, 3, 4, 5, 6)]
    for kind in kinds:
        calls = at_once(MOST_IDLE, lambda: kept.pid(lambda _: time.sleep(0.5), **kind))  # noqa: B023 - called at once
        assert len(set(calls)) == MOST_IDLE


def test_the_slots_of_idle_sessions_are_for_a_connection_that_is_not_kept(app: App) -> None:
    """That which cancels a restore, or asks for the outcome of its COMMIT."""
    role = app.database.role()
    app.database.execute(f"ALTER ROLE {role['user']} CONNECTION LIMIT 2")
    given = {name: str(value) for name, value in (app.database.pg | role).items()}
    settings = load_settings({})
    endpoint = allowed_endpoint(given, None, settings, database=app.database.name)
    server = Server.of(endpoint, settings, Report(str(uuid.uuid4())))
    for connect in (server.connect_anew, server.connect_to_cancel):
        with server.connect(), server.connect():
            pass
        with connect():
            pass


def test_the_outcome_of_a_commit_is_asked_in_a_new_session(app: App) -> None:
    """An idle one may lead to a server that another one has replaced, which does not have the rows."""

    def used() -> list[Any]:
        return app.database.fetch(
            "SELECT pid, state_change FROM pg_stat_activity"
            f" WHERE datname = current_database() AND {_IDLE} ORDER BY pid"
        )

    make(app.database)
    body = {"adls_url": app.archive("t", _CSV), "pg": app.database.pg}
    settings, found = load_settings(), list[PendingCommit]()
    request = parse_for(json.dumps(body).encode(), settings)
    restore(request, settings, new_report(), lambda pending, _: found.append(pending))
    before = used()
    assert len(before) == 2
    assert was_committed(request, settings, found[0], new_report())
    assert used() == before


def test_sessions_that_were_ended_are_replaced(app: App) -> None:
    make(app.database)
    assert again(app).status == 200
    pids = idle(app.database)
    for pid in pids:
        assert app.database.value("SELECT pg_terminate_backend(%s, 10000)", pid)
    assert again(app).status == 200
    assert not pids & idle(app.database)
    assert len(set(seen(app.database, "pid"))) == 2
    check_day(app.database)


@pytest.mark.parametrize("how", ["stop", "crash", "reload"])
def test_a_server_that_was_restarted_between_two_calls(own_server: OwnServer, how: str) -> None:
    make(own_server.app.database)
    assert again(own_server.app).status == 200
    first = seen(own_server.app.database, "pid")
    app = own_server.app
    if how == "reload":
        app.database.execute("ALTER SYSTEM SET work_mem = '5MB'")
        app.database.execute("SELECT pg_reload_conf()")
    else:
        (own_server.server.kill if how == "crash" else own_server.server.stop)()
        app = own_server.restart()
    answer = again(app)
    assert answer.status == 200, answer.body
    assert answer.body["warnings"] == []
    check_day(app.database)
    if how == "reload":
        assert seen(app.database, "pid")[-1] not in first
        app.database.execute("ALTER SYSTEM RESET work_mem")
        app.database.execute("SELECT pg_reload_conf()")


@pytest.mark.parametrize("how", ["reset", "silence"])
def test_a_network_that_has_lost_an_idle_session(app: App, proxy: Proxy, how: str) -> None:
    """A gateway that has forgotten it, with a word or without one."""
    make(app.database)
    through = proxy.pg(app)
    assert again(app, pg=through).status == 200
    for link in list(proxy._links):
        link.cut() if how == "reset" else link.stall()
    began = time.monotonic()
    answer = again(app, pg=through)
    assert answer.status == 200, answer.body
    # One idle session is waited for, and not each.
    assert time.monotonic() - began < 2 * 6
    check_day(app.database)


def test_a_network_that_is_lost_at_the_end_of_a_call_does_not_hold_its_answer(kept: Kept, proxy: Proxy) -> None:
    limits = Limits(30, 60)
    endpoint = kept.endpoint(**proxy.pg(kept.app))
    with kept.sessions.connect(endpoint, limits, idle_seconds=_SECONDS, application_name=APPLICATION_NAME):
        for link in list(proxy._links):
            link.stall()
        began = time.monotonic()
    assert time.monotonic() - began < 2 * 6
    assert not kept.sessions._idle


def test_the_sessions_of_a_process_are_not_used_by_its_child(app: App) -> None:
    make(app.database)
    assert again(app).status == 200
    pids = idle(app.database)
    child = os.fork()
    if child == 0:
        # The child has none, and to end it does not end those of this process.
        os._exit(1 if SESSIONS._idle else 0)
    assert os.waitpid(child, 0)[1] == 0
    assert again(app).status == 200
    assert idle(app.database) == pids


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_the_end_of_the_host_ends_them(app: App, tmp_path: Path, end: signal.Signals) -> None:
    make(app.database)
    url = app.archive("t", _CSV)
    environ = os.environ | {f"PG{name.upper()}": str(value) for name, value in app.database.pg.items()}
    environ["PG_IDLE_SESSION_SECONDS"] = "60"
    with running_host(REPOSITORY, tmp_path / "host.log", environ) as host:
        body = f'{{"adls_url": "{url}"}}'.encode()
        reply = host.ask("POST", "/api/restore", body, {"Content-Type": "application/json"})
        assert reply.status == 200, reply.body
        assert len(idle(app.database)) == 2
        os.kill(host.pid, end)
        assert gone(app.database)


def test_a_database_can_be_dropped_once_they_have_ended(kept: Kept) -> None:
    """PostgreSQL itself waits five seconds for the sessions of a database that is dropped."""
    database = kept.app.database
    name = f"restore_test_{uuid.uuid4().hex[:12]}"
    database.execute(f"CREATE DATABASE {name}")
    with kept.connect(2, dbname=name):
        pass
    assert database.value("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", name) == 1
    database.execute(f"DROP DATABASE {name}")
