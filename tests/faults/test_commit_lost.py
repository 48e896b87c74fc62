"""The connection breaks at the COMMIT: whether it took place is asked, never guessed."""

from __future__ import annotations

import pytest

from tests.faults.fix_fault_case import FaultCase
from tests.faults.fix_proxy import Action, Link, Proxy
from tests.integration.fix_app import App


@pytest.fixture(autouse=True)
def limits(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    # After `app`, which clears the environment.
    assert app
    monkeypatch.setenv("PG_STATEMENT_TIMEOUT_SECONDS", "1")
    monkeypatch.setenv("PG_LOCK_TIMEOUT_SECONDS", "2")
    monkeypatch.setattr("shared.postgres.limited_cursor.GRACE_SECONDS", 0.5)


@pytest.mark.parametrize("action", [Link.cut, Link.stall], ids=["cut", "stalled"])
def test_the_commit_does_not_reach_the_server(fault_case: FaultCase, proxy: Proxy, action: Action) -> None:
    fault_case.request["pg"] = proxy.pg(fault_case.app)
    proxy.when(b"COMMIT\0", action)
    answer = fault_case.send()
    proxy.mend()
    fault_case.check_failed(answer, "DatabaseUnreachable", 503, retryable=True)
    fault_case.check_repeat()


@pytest.mark.parametrize("action", [Link.cut, Link.stall_answers], ids=["cut", "stalled"])
def test_the_answer_to_the_commit_does_not_arrive(fault_case: FaultCase, proxy: Proxy, action: Action) -> None:
    fault_case.request["pg"] = proxy.pg(fault_case.app)
    proxy.when(b"COMMIT\0", action, answers=True)
    answer = fault_case.send()
    proxy.mend()
    assert answer.body["status"] == "ok_with_warnings", answer.body
    assert [warning["code"] for warning in answer.body["warnings"]] == ["CommitConfirmedLate"]
    fault_case.check_done(answer)


def gone(proxy: Proxy) -> Action:
    def action(link: Link) -> None:
        proxy.is_refusing = True
        link.cut()

    return action


def test_the_server_is_gone_for_good_before_it_commits(fault_case: FaultCase, proxy: Proxy) -> None:
    """Not retryable: look first, before the request is sent again."""
    fault_case.request["pg"] = proxy.pg(fault_case.app)
    proxy.when(b"COMMIT\0", gone(proxy))
    answer = fault_case.send()
    assert "pg_xact_status" in answer.body["error"]["hint"]
    fault_case.check_failed(answer, "CommitOutcomeUnknown", 500, retryable=False)
    proxy.mend()
    fault_case.check_repeat()


def test_the_server_is_gone_for_good_after_it_committed(fault_case: FaultCase, proxy: Proxy) -> None:
    fault_case.request["pg"] = proxy.pg(fault_case.app)
    proxy.when(b"COMMIT\0", gone(proxy), answers=True)
    answer = fault_case.send()
    assert (answer.code, answer.status) == ("CommitOutcomeUnknown", 500), answer.body
    proxy.mend()
    fault_case.check_complete()
    fault_case.check_nothing_left()
    again = fault_case.send()
    if fault_case.is_replace or fault_case.is_staging:
        assert again.status == 200
    else:
        assert again.code == "WindowNotEmpty"
    fault_case.check_complete()


def test_the_server_is_back_after_a_while(brief_fault_case: FaultCase, proxy: Proxy) -> None:
    """The first ask is refused, the next one is not."""
    brief_fault_case.request["pg"] = proxy.pg(brief_fault_case.app)

    def cut(link: Link) -> None:
        # The startup message names the client.
        proxy.when(b"application_name\0restore-chunk\0", Link.cut, hits=2)
        link.cut()

    proxy.when(b"COMMIT\0", cut, answers=True)
    answer = brief_fault_case.send()
    assert [warning["code"] for warning in answer.body["warnings"]] == ["CommitConfirmedLate"]
    brief_fault_case.check_done(answer)
