"""The server crashes: every process of it dies at once, and what it had not written down is gone."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from tests.faults.fix_copies import check_way
from tests.faults.fix_own_server import OwnServer
from tests.faults.fix_proxy import Link, Proxy
from tests.faults.fix_scene import PAIRS, Scene, gate, make_scene
from tools.process import wait_until

PATIENCE = "3"  # seconds; the crash and the recovery are over by then


@pytest.fixture(params=PAIRS)
def own_scene(
    request: pytest.FixtureRequest, own_server: OwnServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Scene:
    return make_scene(own_server.site, request.param, tmp_path / "spool", monkeypatch)


def test_in_the_middle_of_the_copy(own_scene: Scene, own_server: OwnServer) -> None:
    with gate(own_scene):
        call = own_scene.start()
        own_scene.wait_until_locked_out()
        own_server.server.kill()
        answer = call.result()
    own_scene.site = own_server.restart()
    own_scene.check_failed(answer, "DatabaseUnreachable", 503, retryable=True)
    own_scene.check_repeat()


@pytest.fixture(
    params=[
        {},
        {"synchronous_commit": "off"},
        # What one transaction makes is not in the WAL then: its files are on the disk before the COMMIT is.
        {"wal_level": "minimal", "max_wal_senders": "0", "wal_skip_threshold": "0"},
    ],
    ids=["usual", "no waiting for the WAL", "minimal WAL"],
)
def careless_server(request: pytest.FixtureRequest, own_server: OwnServer) -> Iterator[OwnServer]:
    """A server whose settings leave less on the disk."""
    usual = dict(own_server.server.settings)
    own_server.server.stop()
    own_server.server.settings.update(request.param)
    own_server.restart()
    own_server.site.database.execute("CREATE EXTENSION IF NOT EXISTS amcheck SCHEMA public")
    yield own_server
    own_server.server.stop()
    own_server.server.settings = usual


@pytest.mark.parametrize("case", ["direct-fast", "direct-replace-fast"])
def test_nothing_is_lost_after_the_200(
    careless_server: OwnServer, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four times each: the crash comes when the COMMIT's answer is on its way, before the caller has its 200.

    All of it is the transaction's own: the chunk, or the file that it has after a TRUNCATE, the rows and the indexes.
    """
    own = careless_server
    scene = make_scene(own.site, case, tmp_path / "spool", monkeypatch)
    scene.copy["synchronous_commit_off"] = True
    expected = [number for _, number in scene.before]
    proxy = own.proxy()
    try:
        for day in range(3, 7):
            if scene.is_replace:
                scene.site.database.execute("INSERT INTO {s}.t VALUES (%s, -5)", f"2025-01-{day:02} 23:00Z")
            scene.url = scene.site.archive("t", scene.csv(day), day=f"2025-01-{day:02}")
            scene.request["pg"] = proxy.pg(scene.site)
            proxy.when(b"COMMIT\0", lambda _: own.server.kill(), answers=True, hits=1)
            # BEGIN and COMMIT of the guard are other statements: the first COMMIT is the load's.
            answer = scene.send()
            assert answer.status == 200, answer.body
            assert not own.server.is_running()
            scene.site = own.restart()
            check_way(answer, scene.copy, scene.site.database)
            expected += scene.numbers()
            assert [number for _, number in scene.table()] == expected
            check_trees(scene)
    finally:
        proxy.close()
    scene.check_nothing_left()


def check_trees(scene: Scene) -> None:
    """Every index of every chunk holds every row, which PostgreSQL's own checker looks up."""
    chunks = "format('%%I.%%I', chunk_schema, chunk_name)::regclass"
    checked = scene.site.database.fetch(
        f"SELECT public.bt_index_check(indexrelid, true) FROM timescaledb_information.chunks"
        f" JOIN pg_index ON indrelid = {chunks} WHERE hypertable_schema = %s",
        scene.site.database.schema,
    )
    assert len(checked) == scene.site.database.value("SELECT count(*) FROM public.show_chunks('{s}.t')")


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


@pytest.mark.parametrize("own_scene", PAIRS[:1], indirect=True)
def test_the_proxy_is_whole_without_rules(own_scene: Scene, own_server: OwnServer) -> None:
    proxy: Proxy = own_server.proxy()
    try:
        own_scene.request["pg"] = proxy.pg(own_scene.site)
        own_scene.check_repeat()
    finally:
        proxy.close()
