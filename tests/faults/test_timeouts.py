"""Timeouts that the server has for a role: those of a restore replace them, and one that ends it is named."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.fix_aftermath import Aftermath
from tests.faults.fix_proxy import Link, Proxy
from tests.integration.fix_app import App

CSV = b"time,v\n" + b"".join(b"2025-01-01 00:00:0%dZ,%d\n" % (second, second) for second in range(5))
FIRST_TRANSACTION_TIMEOUT = 170000
MODES = [{"mode": "direct"}, {"mode": "staging"}]
# Each far shorter than the load below, and none of them the role's own business to change for it.
SHORT = {
    "statement_timeout": "300ms",
    "lock_timeout": "300ms",
    "idle_in_transaction_session_timeout": "300ms",
    "transaction_timeout": "900ms",
}


def slow_rows(app: App, statement: str) -> None:
    """Run a statement for each row, which takes as long as 0.4 s."""
    app.database.hypertable("t", "time timestamptz NOT NULL, v int", interval="interval '7 days'")
    app.database.execute(
        "CREATE FUNCTION {s}.wait() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$BEGIN {statement} PERFORM pg_sleep(0.4); RETURN NEW; END$$"
    )
    app.database.execute("CREATE TRIGGER wait BEFORE INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.wait()")


def skip_without_transaction_timeout(app: App) -> None:
    if app.database.connection.server_version < FIRST_TRANSACTION_TIMEOUT:
        pytest.skip("transaction_timeout takes PostgreSQL 17")


def hurried_role(app: App, setting: str, rights: str) -> dict[str, Any]:
    role = app.database.role(f"GRANT {rights} ON SCHEMA {{s}}", "GRANT pg_read_all_data, pg_write_all_data")
    app.database.execute(f"ALTER ROLE {role['user']} SET {setting} = '{SHORT[setting]}'")
    return role


@pytest.mark.parametrize("destination", MODES, ids=["direct", "staging"])
@pytest.mark.parametrize("setting", SHORT)
def test_a_timeout_of_the_role_does_not_end_a_restore(
    app: App, aftermath: Aftermath, setting: str, destination: dict[str, Any]
) -> None:
    """The load takes 2 s, and the session of its lock is idle meanwhile."""
    if setting == "transaction_timeout":
        skip_without_transaction_timeout(app)
    slow_rows(app, "")
    role = hurried_role(app, setting, "USAGE, CREATE")
    answer = app.restore(app.archive("t", CSV), pg=role, destination=destination)
    assert answer.status == 200, answer.body
    assert app.database.value("SELECT count(*) FROM {s}.t") == 5
    aftermath.assert_nothing_left()


def test_a_timeout_of_the_role_does_not_hide_a_commit(app: App, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that may have crashed at the COMMIT is not asked for its transaction: the day's rows are counted."""
    monkeypatch.setenv("PG_LOCK_TIMEOUT_SECONDS", "5")
    monkeypatch.setattr("shared.postgres.transaction.ServerIncarnation.is_same", lambda *_: False)
    app.database.hypertable("t", "time timestamptz NOT NULL, v int", interval="interval '7 days'")
    role = hurried_role(app, "statement_timeout", "USAGE, CREATE")

    def slow_down(link: Link) -> None:
        """From here on each session takes 0.4 s to plan its first query of the table."""
        app.database.execute(
            "CREATE FUNCTION {s}.slow() RETURNS bool LANGUAGE plpgsql IMMUTABLE AS"
            " $$BEGIN PERFORM pg_sleep(0.4); RETURN true; END$$"
        )
        app.database.execute("CREATE INDEX ON {s}.t (v) WHERE {s}.slow()")
        link.cut()

    proxy.when(b"COMMIT\0", slow_down, answers=True)
    login = {name: role[name] for name in ("user", "password")}
    answer = app.restore(app.archive("t", CSV), pg=proxy.pg(app) | login)
    assert [warning["code"] for warning in answer.body["warnings"]] == ["CommitConfirmedLate"], answer.body


@pytest.mark.community
def test_a_timeout_of_the_role_does_not_end_a_refresh(community_app: App) -> None:
    database = community_app.database
    skip_without_transaction_timeout(community_app)
    database.hypertable("t", "time timestamptz NOT NULL, v int")
    role = hurried_role(community_app, "transaction_timeout", "USAGE, CREATE")
    database.execute(f"ALTER TABLE {{s}}.t OWNER TO {role['user']}")
    database.execute(
        "CREATE FUNCTION {s}.slow(v int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS"
        " $$BEGIN PERFORM pg_sleep(0.4); RETURN v; END$$"
    )
    database.execute(
        "CREATE MATERIALIZED VIEW {s}.hourly WITH (timescaledb.continuous) AS"
        " SELECT public.time_bucket('1 hour', time) AS hour, max({s}.slow(v)) AS v FROM {s}.t GROUP BY 1 WITH NO DATA"
    )
    database.execute(f"ALTER MATERIALIZED VIEW {{s}}.hourly OWNER TO {role['user']}")
    wishes = {"refresh_caggs": "all"}
    answer = community_app.restore(community_app.archive("t", CSV), pg=role, timescaledb=wishes)
    assert (answer.body["status"], answer.body["timescaledb"]["refresh_caggs"]) == ("ok", "done"), answer.body


@pytest.mark.parametrize("destination", MODES, ids=["direct", "staging"])
def test_a_transaction_timeout_that_is_set_again_is_named(
    app: App, aftermath: Aftermath, destination: dict[str, Any]
) -> None:
    """It ends the session, in a COPY without psycopg2's noticing why."""
    skip_without_transaction_timeout(app)
    slow_rows(app, "SET LOCAL transaction_timeout = '600ms';")
    answer = app.restore(app.archive("t", CSV), destination=destination)
    assert (answer.status, answer.code) == (503, "StatementCanceled"), answer.body
    error = answer.body["error"]
    assert "transaction_timeout" in error["message"]
    assert "PG_STATEMENT_TIMEOUT_SECONDS" not in error["hint"]
    assert (error["retryable"], error["details"][0]["sqlstate"]) == (True, "25P04")
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0
    aftermath.assert_nothing_left()


def test_a_timeout_of_the_restore_is_not_a_cancel_nor_a_cancel_a_timeout(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told apart by the time that the statement ran: the server's messages are in its own language."""
    slow_rows(app, "IF NEW.v = 2 THEN PERFORM pg_cancel_backend(pg_backend_pid()); END IF;")
    canceled = app.restore(app.archive("t", CSV))
    assert (canceled.status, canceled.code) == (409, "RestoreCanceled"), canceled.body
    assert canceled.body["error"]["retryable"] is False
    app.database.execute(
        "CREATE OR REPLACE FUNCTION {s}.wait() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN PERFORM pg_sleep(0.4); RETURN NEW; END$$"
    )
    monkeypatch.setenv("PG_STATEMENT_TIMEOUT_SECONDS", "1")
    late = app.restore(app.archive("t", CSV))
    assert (late.status, late.code) == (503, "StatementCanceled"), late.body
    assert "PG_STATEMENT_TIMEOUT_SECONDS" in late.body["error"]["hint"]
    assert late.headers["Retry-After"] == "30"


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("pg_cancel_backend(pg_backend_pid()), pg_sleep(5)", (409, "RestoreCanceled")),
        ("pg_sleep(5)", (503, "StatementCanceled")),
    ],
    ids=["cancel", "timeout"],
)
def test_a_step_that_may_fail_is_not_left_out_if_it_is_canceled(
    app: App, aftermath: Aftermath, monkeypatch: pytest.MonkeyPatch, statement: str, error: tuple[int, str]
) -> None:
    """The function that tells the unit of integer times may fail. But a cancel or a timeout means the restore."""
    app.database.hypertable("t", "time bigint NOT NULL, v int", interval="86400")
    app.database.execute(
        "CREATE FUNCTION {s}.now() RETURNS bigint LANGUAGE plpgsql STABLE AS"
        f" $$BEGIN PERFORM {statement}; RETURN 1735689600; END$$"
    )
    app.database.execute("SELECT public.set_integer_now_func('{s}.t', '{s}.now')")
    monkeypatch.setenv("PG_STATEMENT_TIMEOUT_SECONDS", "1")
    answer = app.restore(app.archive("t", b"time,v\n1735689600,1\n"))
    assert (answer.status, answer.code) == error, answer.body
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0
    aftermath.assert_nothing_left()
