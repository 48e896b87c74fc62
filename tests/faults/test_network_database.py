"""The network between the function and the database is cut, or takes what is sent and delivers nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.faults.fix_fault_case import FaultCase, gate, make_fault_case
from tests.faults.fix_own_server import OwnServer
from tests.faults.fix_proxy import Action, Link, Proxy
from tests.integration.fix_app import App
from tools.process import wait_until

# The network is cut between, on this side of every server.
pytestmark = pytest.mark.any_server

# By the first statement of each stage; the archive's last one is far beyond what a socket buffers.
STAGES = {
    "lock": b"pg_try_advisory_xact_lock",
    "inspect": b"WHERE e.extname = 'timescaledb'",
    "copy": b"COPY ",
    "verify": b"SET LOCAL synchronous_commit TO DEFAULT",
}
AFTER_BYTES = {"copy": 200_000}


@pytest.fixture(autouse=True)
def limits(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    # After `app`, which clears the environment.
    assert app
    monkeypatch.setenv("PG_CONNECT_TIMEOUT_SECONDS", "2")
    monkeypatch.setenv("PG_LOCK_TIMEOUT_SECONDS", "2")
    monkeypatch.setenv("PG_STATEMENT_TIMEOUT_SECONDS", "2")
    monkeypatch.setattr("shared.postgres.limited_cursor.GRACE_SECONDS", 0)


def large(fault_case: FaultCase) -> FaultCase:
    """Let the archive be larger than what a connection's buffers hold."""
    fault_case.rows = 20_000
    fault_case.url = fault_case.app.archive("t", fault_case.csv())
    return fault_case


def through(proxy: Proxy, fault_case: FaultCase) -> None:
    fault_case.request["pg"] = proxy.pg(fault_case.app)


@pytest.mark.parametrize("stage", STAGES)
def test_cut(fault_case: FaultCase, proxy: Proxy, stage: str) -> None:
    through(proxy, large(fault_case))
    proxy.when(STAGES[stage], Link.cut, after_bytes=AFTER_BYTES.get(stage, 0))
    fault_case.check_failed(fault_case.send(), "DatabaseUnreachable", 503, retryable=True)
    fault_case.check_repeat()


@pytest.mark.parametrize("action", [Link.stall_requests, Link.stall_answers], ids=["requests", "answers"])
@pytest.mark.parametrize("stage", STAGES)
def test_stalled(brief_fault_case: FaultCase, proxy: Proxy, stage: str, action: Action) -> None:
    """Whatever the server has said by then, this side does not wait forever."""
    through(proxy, large(brief_fault_case))
    proxy.when(STAGES[stage], action, after_bytes=AFTER_BYTES.get(stage, 0))
    answer = brief_fault_case.send()
    proxy.mend()
    # Where answers pass, the server's own statement_timeout may be heard first.
    code = "StatementCanceled" if answer.code == "StatementCanceled" else "DatabaseUnreachable"
    brief_fault_case.check_failed(answer, code, 503, retryable=True)
    brief_fault_case.check_repeat()


@pytest.mark.parametrize("action", [Link.cut, Link.stall], ids=["cut", "stalled"])
def test_the_look_for_a_running_restore_may_fail(
    brief_fault_case: FaultCase, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, action: Action
) -> None:
    """It is only a look: what counts is the lock. And nobody waits for it as long as for a statement."""
    monkeypatch.setenv("PG_STATEMENT_TIMEOUT_SECONDS", "100")
    through(proxy, brief_fault_case)
    proxy.when(b"pg_locks", action)
    began = time.monotonic()
    answer = brief_fault_case.send()
    assert time.monotonic() - began < 50
    proxy.mend()
    brief_fault_case.check_done(answer)


def test_refused_at_the_connect(brief_fault_case: FaultCase, proxy: Proxy) -> None:
    through(proxy, brief_fault_case)
    proxy.is_refusing = True
    brief_fault_case.check_failed(brief_fault_case.send(), "DatabaseUnreachable", 503, retryable=True)
    proxy.mend()
    brief_fault_case.check_repeat()


def test_stalled_at_the_connect(brief_fault_case: FaultCase, proxy: Proxy) -> None:
    through(proxy, brief_fault_case)
    proxy.is_mute = True
    brief_fault_case.check_failed(brief_fault_case.send(), "DatabaseUnreachable", 503, retryable=True)
    proxy.mend()
    brief_fault_case.check_repeat()


@pytest.mark.parametrize("action", [Link.cut, Link.stall], ids=["cut", "stalled"])
def test_after_the_commit_the_answer_is_still_200(brief_fault_case: FaultCase, proxy: Proxy, action: Action) -> None:
    through(proxy, brief_fault_case)
    proxy.when(b"COMMIT\0", lambda _: proxy.when(b"set_config", action))
    answer = brief_fault_case.send()
    proxy.mend()
    brief_fault_case.check_done(answer)


def keepalive_timers(server_port: int) -> list[tuple[str, int]]:
    """Return kind and centiseconds of the timers on the server's side of its connections.

    The kernel's documentation of /proc/net/tcp: 02 is "another timer (e.g. keepalive)".
    """
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    established = [line for line in lines if line[3] == "01" and int(line[1].split(":")[1], 16) == server_port]
    return [(kind, int(when, 16)) for kind, when in (line[5].split(":") for line in established)]


def test_the_server_looks_for_dead_clients_on_both_sessions(
    own_server: OwnServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client whose machine is gone says nothing. The system's own timer would keep its locks for two hours."""
    monkeypatch.setenv("PG_STATEMENT_TIMEOUT_SECONDS", "60")
    fault_case = make_fault_case(own_server.app, "direct-fast", tmp_path / "spool", monkeypatch)
    with gate(fault_case) as let_go:
        call = fault_case.start()
        fault_case.wait_until_locked_out()
        # The test's own sessions have the system's two hours; what is not acknowledged yet shows another timer.
        is_watched = wait_until(lambda: watched(own_server.server.port) == 2, 10)
        let_go()
        fault_case.check_done(call.result())
    assert is_watched, keepalive_timers(own_server.server.port)


def watched(server_port: int) -> int:
    return sum(1 for kind, when in keepalive_timers(server_port) if kind == "02" and when <= 3000)
