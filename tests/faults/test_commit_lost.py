"""The connection breaks at the COMMIT: what became of it is found out, never guessed."""

from __future__ import annotations

import pytest

from tests.faults.fix_proxy import Action, Link, Proxy
from tests.faults.fix_scene import Scene
from tests.integration.fix_site import Site


@pytest.fixture(autouse=True)
def limits(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    # After `site`, which clears the environment.
    assert site
    monkeypatch.setenv("PG_STATEMENT_TIMEOUT_SECONDS", "1")
    monkeypatch.setenv("PG_LOCK_TIMEOUT_SECONDS", "2")
    monkeypatch.setattr("shared.postgres.connect._GRACE_SECONDS", 0.5)


@pytest.mark.parametrize("action", [Link.cut, Link.stall], ids=["cut", "stalled"])
def test_the_commit_does_not_reach_the_server(scene: Scene, proxy: Proxy, action: Action) -> None:
    scene.request["pg"] = proxy.pg(scene.site)
    proxy.when(b"COMMIT\0", action)
    answer = scene.send()
    proxy.mend()
    scene.check_failed(answer, "DatabaseUnreachable", 503, retryable=True)
    scene.check_repeat()


@pytest.mark.parametrize("action", [Link.cut, Link.stall_answers], ids=["cut", "stalled"])
def test_the_answer_to_the_commit_does_not_arrive(scene: Scene, proxy: Proxy, action: Action) -> None:
    scene.request["pg"] = proxy.pg(scene.site)
    proxy.when(b"COMMIT\0", action, answers=True)
    answer = scene.send()
    proxy.mend()
    assert answer.body["status"] == "ok_with_warnings", answer.body
    assert [warning["code"] for warning in answer.body["warnings"]] == ["CommitConfirmedLate"]
    scene.check_done(answer)


def gone(proxy: Proxy) -> Action:
    def action(link: Link) -> None:
        proxy.is_refusing = True
        link.cut()

    return action


def test_the_server_is_gone_for_good_before_it_commits(scene: Scene, proxy: Proxy) -> None:
    """Not retryable: whoever sends it again must look first."""
    scene.request["pg"] = proxy.pg(scene.site)
    proxy.when(b"COMMIT\0", gone(proxy))
    answer = scene.send()
    assert "pg_xact_status" in answer.body["error"]["hint"]
    scene.check_failed(answer, "CommitOutcomeUnknown", 500, retryable=False)
    proxy.mend()
    scene.check_repeat()


def test_the_server_is_gone_for_good_after_it_committed(scene: Scene, proxy: Proxy) -> None:
    scene.request["pg"] = proxy.pg(scene.site)
    proxy.when(b"COMMIT\0", gone(proxy), answers=True)
    answer = scene.send()
    assert (answer.code, answer.status) == ("CommitOutcomeUnknown", 500), answer.body
    proxy.mend()
    scene.check_complete()
    scene.check_nothing_left()
    again = scene.send()
    if scene.is_replace or scene.is_staging:
        assert again.status == 200
    else:
        assert again.code == "WindowNotEmpty"
    scene.check_complete()


def test_the_server_is_back_after_a_while(brief_scene: Scene, proxy: Proxy) -> None:
    """The first ask is refused, the next one is not."""
    brief_scene.request["pg"] = proxy.pg(brief_scene.site)

    def cut(link: Link) -> None:
        # The startup message names the client.
        proxy.when(b"application_name\0restore-chunk\0", Link.cut, hits=2)
        link.cut()

    proxy.when(b"COMMIT\0", cut, answers=True)
    answer = brief_scene.send()
    assert [warning["code"] for warning in answer.body["warnings"]] == ["CommitConfirmedLate"]
    brief_scene.check_done(answer)
