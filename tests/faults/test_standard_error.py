"""No value of a row, and no text of a server, gets to the process's standard error or output past the log's filter."""

from __future__ import annotations

import time

import pytest

from tests.faults.fix_proxy import Proxy
from tests.faults.fix_quiet import CANARY, Quiet
from tests.faults.fix_talking_server import talking_server
from tests.integration.fix_app import App
from tests.integration.fix_database import PATIENCE_SECONDS
from tests.integration.fix_threads import Call
from tools.process import wait_until

ROWS = 800_000
COPIES = "query LIKE '%%; COPY %%' AND application_name LIKE 'restore-chunk/%%'"
TEXT = {"format": "text", "indexes": "keep", "transfer": "spool"}
FIRST_LOGIN_TRIGGER = 170000


@pytest.fixture(scope="module")
def many_rows() -> bytes:
    """800,000 rows, whose COPY takes long enough to be met in its middle."""
    return b"time,v\n" + b"".join(b"2025-01-01 00:00:00Z,%s\n" % CANARY.encode() for _ in range(ROWS))


@pytest.fixture
def large_day(app: App, many_rows: bytes, monkeypatch: pytest.MonkeyPatch) -> str:
    # Rows that are all alike pack better than real ones.
    monkeypatch.setenv("CSV_MAX_EXPANSION", "1032")
    app.database.hypertable("t", "time timestamptz NOT NULL, v text")
    return app.archive("t", many_rows)


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_session_that_ends_in_a_copy_prints_no_row(app: App, large_day: str, quiet: Quiet, mode: str) -> None:
    """psycopg2 prints the first of two errors itself, in most of the runs."""
    for seconds in (0.0, 0.05, 0.1, 0.2):
        call = Call(lambda: app.restore(large_day, destination={"mode": mode}, copy=TEXT))
        app.database.wait_for_session(COPIES)
        time.sleep(seconds)
        app.database.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND {COPIES}"
        )
        answer = call.result()
        assert (answer.status, answer.code) == (503, "DatabaseUnreachable"), answer.body
        assert answer.body["error"]["details"][0]["sqlstate"] == "57P01"
        quiet.check(answer.body)
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0


def test_a_network_that_is_cut_in_a_copy_prints_no_row(app: App, large_day: str, quiet: Quiet, proxy: Proxy) -> None:
    for after in (0, 2_000_000, 5_000_000):
        proxy.when(b"COPY ", lambda link: link.cut(), after_bytes=after)
        answer = app.restore(large_day, pg=proxy.pg(app), copy=TEXT)
        assert (answer.status, answer.code) == (503, "DatabaseUnreachable"), answer.body
        quiet.check(answer.body)
        app.database.wait_for_no_restore()


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_row_that_is_refused_is_still_named_by_its_fields(app: App, quiet: Quiet, mode: str) -> None:
    app.database.hypertable("t", "time timestamptz NOT NULL, v text, n int CONSTRAINT small CHECK (n < 9)")
    for row, expected in (
        ("x", {"sqlstate": "22P02", "line": 3, "column": "n"}),
        ("99", {"sqlstate": "23514", "line": 3, "constraint": "small"}),
    ):
        lines = f"time,v,n\n2025-01-01,{CANARY},1\n2025-01-01,{CANARY},{row}\n"
        answer = app.restore(app.archive("t", lines.encode()), destination={"mode": mode})
        (detail,) = answer.body["error"]["details"]
        assert {key: detail.get(key) for key in expected} == expected
        quiet.check(answer.body)


def test_rows_that_are_left_out_are_named_and_not_printed(app: App, quiet: Quiet) -> None:
    """Their NOTICEs quote the value, and are read as text."""
    if app.database.connection.server_version < FIRST_LOGIN_TRIGGER:
        pytest.skip("ON_ERROR takes PostgreSQL 17")
    app.database.hypertable("t", "time timestamptz NOT NULL, n int")
    url = app.archive("t", f"time,n\n2025-01-01,1\n2025-01-01,{CANARY}\n2025-01-01,3\n".encode())
    answer = app.restore(url, destination={"mode": "staging"}, copy={"on_error": "skip", "max_rejected_rows": 9})
    assert (answer.body["rows_rejected"], answer.body["rejected_lines"]) == (1, [3]), answer.body
    quiet.check(answer.body)


def test_what_a_trigger_on_login_says_is_not_printed(app: App, quiet: Quiet) -> None:
    """libpq prints it, as long as it is not connected."""
    if app.database.connection.server_version < FIRST_LOGIN_TRIGGER:
        pytest.skip("triggers ON LOGIN take PostgreSQL 17")
    app.database.hypertable("t", "time timestamptz NOT NULL, v text")
    url = app.archive("t", f"time,v\n2025-01-01,{CANARY}\n".encode())
    app.database.execute(
        "CREATE FUNCTION {s}.greet() RETURNS event_trigger LANGUAGE plpgsql AS"
        f" $$BEGIN RAISE WARNING 'welcome, {CANARY}'; END$$"
    )
    app.database.execute("CREATE EVENT TRIGGER greet ON login EXECUTE FUNCTION {s}.greet()")
    try:
        answer = app.restore(url)
    finally:
        app.database.execute("DROP EVENT TRIGGER greet")
    assert answer.status == 200, answer.body
    quiet.check(answer.body)


@pytest.mark.parametrize(
    ("sqlstate", "code"), [("28P01", "DatabaseAccessDenied"), ("57P03", "DatabaseUnreachable"), ("P0001", None)]
)
def test_what_a_server_says_before_it_lets_nobody_in(app: App, quiet: Quiet, sqlstate: str, code: str | None) -> None:
    app.database.hypertable("t", "time timestamptz NOT NULL, v text")
    url = app.archive("t", b"time,v\n2025-01-01,a\n")
    with talking_server(sqlstate) as pg:
        answer = app.restore(url, pg=pg)
    assert answer.code == code or (code is None and answer.status >= 400), answer.body
    quiet.check(answer.body)


def test_both_sessions_end_while_rows_come_in(app: App, large_day: str, quiet: Quiet) -> None:
    """The lock's session is told of its end while it is idle: a message that nobody has asked for."""
    call = Call(lambda: app.restore(large_day, copy=TEXT))
    app.database.wait_for_session(COPIES)
    app.database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'restore-chunk%%'"
    )
    answer = call.result()
    assert (answer.status, answer.code) == (503, "DatabaseUnreachable"), answer.body
    quiet.check(answer.body)
    assert wait_until(lambda: not app.database.has_session("application_name LIKE 'restore-chunk%%'"), PATIENCE_SECONDS)
