"""The server crashes: every process of it dies at once, and what it had not written down is gone."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from tests.faults.fix_copies import check_way
from tests.faults.fix_fault_case import PAIRS, FaultCase, gate, make_fault_case
from tests.faults.fix_own_server import OwnServer
from tests.faults.fix_proxy import Link, Proxy
from tools.process import wait_until

PATIENCE = "3"  # seconds; the crash and the recovery are over by then


@pytest.fixture(params=PAIRS)
def own_server_case(
    request: pytest.FixtureRequest, own_server: OwnServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FaultCase:
    return make_fault_case(own_server.app, request.param, tmp_path / "spool", monkeypatch)


def test_in_the_middle_of_the_copy(own_server_case: FaultCase, own_server: OwnServer) -> None:
    with gate(own_server_case):
        call = own_server_case.start()
        own_server_case.wait_until_locked_out()
        own_server.server.kill()
        answer = call.result()
    own_server_case.app = own_server.restart()
    own_server_case.check_failed(answer, "DatabaseUnreachable", 503, retryable=True)
    own_server_case.check_repeat()


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
    own_server.app.database.execute("CREATE EXTENSION IF NOT EXISTS amcheck SCHEMA public")
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
    fault_case = make_fault_case(own.app, case, tmp_path / "spool", monkeypatch)
    fault_case.copy["synchronous_commit_off"] = True
    expected = [number for _, number in fault_case.before]
    proxy = own.proxy()
    try:
        for day in range(3, 7):
            if fault_case.is_replace:
                fault_case.app.database.execute("INSERT INTO {s}.t VALUES (%s, -5)", f"2025-01-{day:02} 23:00Z")
            fault_case.url = fault_case.app.archive("t", fault_case.csv(day), day=f"2025-01-{day:02}")
            fault_case.request["pg"] = proxy.pg(fault_case.app)
            proxy.when(b"COMMIT\0", lambda _: own.server.kill(), answers=True, hits=1)
            # BEGIN and COMMIT of the lock's session are other statements: the first COMMIT is the load's.
            answer = fault_case.send()
            assert answer.status == 200, answer.body
            assert not own.server.is_running()
            fault_case.app = own.restart()
            check_way(answer, fault_case.copy, fault_case.app.database)
            expected += fault_case.numbers()
            assert [number for _, number in fault_case.table()] == expected
            check_trees(fault_case)
    finally:
        proxy.close()
    fault_case.check_nothing_left()


def check_trees(fault_case: FaultCase) -> None:
    """Every index of every chunk holds every row, which PostgreSQL's own checker looks up."""
    chunks = "format('%%I.%%I', chunk_schema, chunk_name)::regclass"
    checked = fault_case.app.database.fetch(
        f"SELECT public.bt_index_check(indexrelid, true) FROM timescaledb_information.chunks"
        f" JOIN pg_index ON indrelid = {chunks} WHERE hypertable_schema = %s",
        fault_case.app.database.schema,
    )
    assert len(checked) == fault_case.app.database.value("SELECT count(*) FROM public.show_chunks('{s}.t')")


def test_a_crash_at_the_commit_is_distinguished_from_a_commit(
    own_server_case: FaultCase, own_server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server comes back while the restore asks for the state of its transaction."""
    monkeypatch.setenv("PG_LOCK_TIMEOUT_SECONDS", PATIENCE)
    proxy = own_server.proxy()
    own_server_case.request["pg"] = proxy.pg(own_server_case.app)

    def crash(link: Link) -> None:
        own_server.server.kill()
        own_server_case.app = own_server.restart()
        link.cut()

    try:
        proxy.when(b"COMMIT\0", crash)
        own_server_case.check_failed(own_server_case.send(), "DatabaseUnreachable", 503, retryable=True)
        own_server_case.check_repeat()
    finally:
        proxy.close()


@pytest.mark.parametrize("is_in_place", [False, True], ids=["server", "backend"])
def test_a_transaction_id_given_twice_is_not_a_commit(
    own_server_case: FaultCase, own_server: OwnServer, monkeypatch: pytest.MonkeyPatch, is_in_place: bool
) -> None:
    """What was never written down is forgotten: after the crash another transaction gets the id, and commits.

    Where a single backend is killed, for instance by the OOM killer, the same postmaster restarts all others.
    """
    monkeypatch.setenv("PG_LOCK_TIMEOUT_SECONDS", PATIENCE)
    proxy = own_server.proxy()
    own_server_case.request["pg"] = proxy.pg(own_server_case.app)

    def crash_and_go_on(link: Link) -> None:
        latest = own_server_case.app.database.value("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        if is_in_place:
            (pid,) = own_server_case.sessions("backend_xid IS NOT NULL")
            os.kill(pid, signal.SIGKILL)
            # The postmaster ends the others before it restarts them.
            assert wait_until(lambda: not answers(own_server_case), 20)
            assert wait_until(own_server.server.is_ready, 20)
        else:
            own_server.server.kill()
        own_server_case.app = own_server.restart()
        take = "SELECT pg_current_xact_id()::text::bigint"
        assert wait_until(lambda: own_server_case.app.database.value(take) > latest, 20)
        link.cut()

    try:
        proxy.when(b"COMMIT\0", crash_and_go_on)
        answer = own_server_case.send()
        assert answer.code in {"DatabaseUnreachable", "CommitOutcomeUnknown"}, answer.body
        assert own_server_case.table() == own_server_case.before
        own_server_case.check_nothing_left()
        own_server_case.check_repeat()
    finally:
        proxy.close()


def answers(fault_case: FaultCase) -> bool:
    """Whether the test's own session has lived through it."""
    try:
        return bool(fault_case.app.database.value("SELECT true"))
    except psycopg2.Error:
        return False


@pytest.mark.parametrize("own_server_case", PAIRS[:1], indirect=True)
def test_the_proxy_is_whole_without_rules(own_server_case: FaultCase, own_server: OwnServer) -> None:
    proxy: Proxy = own_server.proxy()
    try:
        own_server_case.request["pg"] = proxy.pg(own_server_case.app)
        own_server_case.check_repeat()
    finally:
        proxy.close()
