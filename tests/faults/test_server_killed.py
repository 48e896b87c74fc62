"""The server crashes: every process of it dies at once, and what it had not written down is gone."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psycopg2
import pytest

from tests.faults.fix_own_server import OwnServer
from tests.faults.fix_proxy import Link, Proxy
from tests.faults.fix_scene import CASES, Scene, gate, make_scene
from tools.process import wait_until

PATIENCE = "3"  # seconds; the crash and the recovery are over by then


@pytest.fixture(params=CASES)
def own_scene(
    request: pytest.FixtureRequest, own_server: OwnServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Scene:
    return make_scene(own_server.site, request.param, tmp_path / "spool", monkeypatch)


def test_in_the_middle_of_the_copy(own_scene: Scene, own_server: OwnServer) -> None:
    with gate(own_scene):
        call = own_scene.start()
        own_scene.wait_until_locked_out()
        own_server.server.kill()
        answer = call.answer()
    own_scene.site = own_server.restart()
    own_scene.check_failed(answer, "DatabaseUnreachable", 503, retryable=True)
    own_scene.check_repeat()


@pytest.mark.parametrize("is_off_for_the_role", [False, True])
def test_nothing_is_lost_after_the_200(
    own_server: OwnServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_off_for_the_role: bool
) -> None:
    """Ten times each: the crash comes when the COMMIT's answer is on its way, before the caller has its 200."""
    scene = make_scene(own_server.site, "direct-fast", tmp_path / "spool", monkeypatch)
    if is_off_for_the_role:
        scene.site.database.execute("ALTER ROLE postgres SET synchronous_commit = off")
    proxy = own_server.proxy()
    try:
        for day in range(3, 13):
            csv = f"time,v\n2025-01-{day:02} 12:00Z,{day}\n".encode()
            url = scene.site.archive("t", csv, day=f"2025-01-{day:02}")
            proxy.when(b"COMMIT\0", lambda _: own_server.server.kill(), answers=True, hits=1)
            pg = proxy.pg(scene.site)
            request = {"adls_url": url, "pg": pg, "copy": {"synchronous_commit_off": True}}
            # BEGIN and COMMIT of the guard are other statements: the first COMMIT is the load's.
            assert scene.site.post(request).status == 200
            assert not own_server.server.is_running()
            scene.site = own_server.restart()
            assert [v for _, v in scene.table()] == [-1, -2, *range(3, day + 1)]
    finally:
        proxy.close()
        scene.site.database.execute("ALTER ROLE postgres RESET synchronous_commit")
    scene.check_nothing_left()


def test_a_crash_at_the_commit_is_told_from_a_commit(
    own_scene: Scene, own_server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server comes back while the restore asks what became of its transaction."""
    monkeypatch.setenv("PG_LOCK_TIMEOUT_SECONDS", PATIENCE)
    proxy = own_server.proxy()
    own_scene.request["pg"] = proxy.pg(own_scene.site)

    def crash(link: Link) -> None:
        own_server.server.kill()
        own_scene.site = own_server.restart()
        link.cut()

    try:
        proxy.when(b"COMMIT\0", crash)
        own_scene.check_failed(own_scene.send(), "DatabaseUnreachable", 503, retryable=True)
        own_scene.check_repeat()
    finally:
        proxy.close()


@pytest.mark.parametrize("is_in_place", [False, True], ids=["server", "backend"])
def test_a_transaction_id_given_twice_is_no_commit(
    own_scene: Scene, own_server: OwnServer, monkeypatch: pytest.MonkeyPatch, is_in_place: bool
) -> None:
    """What was never written down is forgotten: after the crash another transaction gets the id, and commits.

    Where a single backend is killed, for instance by the OOM killer, all others start anew below the same postmaster.
    """
    monkeypatch.setenv("PG_LOCK_TIMEOUT_SECONDS", PATIENCE)
    proxy = own_server.proxy()
    own_scene.request["pg"] = proxy.pg(own_scene.site)

    def crash_and_go_on(link: Link) -> None:
        latest = own_scene.site.database.value("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        if is_in_place:
            (pid,) = own_scene.sessions("backend_xid IS NOT NULL")
            os.kill(pid, signal.SIGKILL)
            # The postmaster ends the others before it starts anew.
            assert wait_until(lambda: not answers(own_scene), 20)
            assert wait_until(own_server.server.is_ready, 20)
        else:
            own_server.server.kill()
        own_scene.site = own_server.restart()
        take = "SELECT pg_current_xact_id()::text::bigint"
        assert wait_until(lambda: own_scene.site.database.value(take) > latest, 20)
        link.cut()

    try:
        proxy.when(b"COMMIT\0", crash_and_go_on)
        answer = own_scene.send()
        assert answer.code in {"DatabaseUnreachable", "CommitOutcomeUnknown"}, answer.body
        assert own_scene.table() == own_scene.before
        own_scene.check_nothing_left()
        own_scene.check_repeat()
    finally:
        proxy.close()


def answers(scene: Scene) -> bool:
    """Whether the test's own session has lived through it."""
    try:
        return bool(scene.site.database.value("SELECT true"))
    except psycopg2.Error:
        return False


def test_the_proxy_is_whole_without_rules(own_scene: Scene, own_server: OwnServer) -> None:
    proxy: Proxy = own_server.proxy()
    try:
        own_scene.request["pg"] = proxy.pg(own_scene.site)
        own_scene.check_repeat()
    finally:
        proxy.close()
