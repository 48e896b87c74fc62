"""A fault after the rows: while their indexes are tried and built, or their chunk is compressed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.faults.fix_fault_case import GATE, FaultCase, gate, make_fault_case
from tests.faults.fix_function import function_process
from tests.faults.fix_own_server import OwnServer
from tests.faults.fix_proxy import Link, Proxy
from tests.integration.fix_app import Answer, App
from tests.integration.fix_threads import Call

# Those whose chunk is the load's own.
CASES = ["direct-fast", "staging-fast", "direct-replace-fast"]

# A session that builds the index `slow` over the row GATE waits there while the gate is shut.
GATE_OF_THE_BUILD = GATE + 10
BUILDS = "wait_event_type = 'Lock' AND query LIKE '%CREATE INDEX%'"
COMPRESSES = "wait_event_type = 'Lock' AND query LIKE '%compress_chunk%'"


def with_slow_index(fault_case: FaultCase) -> FaultCase:
    """Give the table an index whose build can be held up. Tried over the first row alone, it is quick."""
    if fault_case.app.database.version < (2, 22):
        pytest.skip("no index is built")
    fault_case.app.database.execute(
        "CREATE FUNCTION {s}.slow(v int) RETURNS int IMMUTABLE LANGUAGE plpgsql SET search_path = pg_catalog"
        f" SET lock_timeout = 0 AS $$ BEGIN IF v = {GATE} THEN"
        f" PERFORM pg_advisory_xact_lock_shared({GATE_OF_THE_BUILD}); END IF; RETURN v; END $$;"
        " CREATE INDEX ON {s}.t ({s}.slow(v))"
    )
    return fault_case


@pytest.fixture(params=CASES)
def build_case(request: pytest.FixtureRequest, app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FaultCase:
    return with_slow_index(make_fault_case(app, request.param, tmp_path / "spool", monkeypatch))


@contextmanager
def building(fault_case: FaultCase) -> Iterator[Call[Answer]]:
    """Send the request, and hold it up in the build while the body runs."""
    with gate(fault_case, GATE_OF_THE_BUILD):
        call = fault_case.start()
        fault_case.wait_for(BUILDS)
        yield call


def test_a_backend_that_is_terminated_in_the_build(build_case: FaultCase) -> None:
    with building(build_case) as call:
        build_case.terminate(BUILDS)
        answer = call.result()
    build_case.check_failed(answer, "DatabaseUnreachable", 503, retryable=True)
    build_case.check_repeat()


def cancel(fault_case: FaultCase, condition: str) -> None:
    (pid,) = fault_case.sessions(condition)
    fault_case.app.database.execute("SELECT pg_cancel_backend(%s)", pid)


def test_a_build_that_is_canceled(build_case: FaultCase) -> None:
    with building(build_case) as call:
        cancel(build_case, BUILDS)
        answer = call.result()
    build_case.check_failed(answer, "RestoreCanceled", 409, retryable=False)
    build_case.check_repeat()


def test_a_network_that_is_cut_in_the_build(build_case: FaultCase, proxy: Proxy) -> None:
    build_case.request["pg"] = proxy.pg(build_case.app)
    with building(build_case) as call:
        proxy.mend()
        answer = call.result()
    build_case.check_failed(answer, "DatabaseUnreachable", 503, retryable=True)
    build_case.check_repeat()


def test_a_network_that_is_cut_while_an_index_is_tried(build_case: FaultCase, proxy: Proxy) -> None:
    """Once before the rows come each index is dropped and rebuilt, to see that it is the same."""
    build_case.request["pg"] = proxy.pg(build_case.app)
    proxy.when(b"CREATE INDEX", Link.cut)
    build_case.check_failed(build_case.send(), "DatabaseUnreachable", 503, retryable=True)
    build_case.check_repeat()


@pytest.mark.parametrize("build_case", CASES[:1], indirect=True)
def test_a_function_that_is_killed_in_the_build(build_case: FaultCase) -> None:
    """The server notices it in the middle of a statement."""
    with gate(build_case, GATE_OF_THE_BUILD), function_process(build_case.body()) as process:
        build_case.wait_for(BUILDS)
        process.kill()
        process.wait()
        build_case.wait_until_gone()
    assert build_case.table() == build_case.before
    build_case.check_nothing_left()
    build_case.check_repeat()


@pytest.mark.parametrize("case", CASES)
def test_a_server_that_is_killed_in_the_build(
    own_server: OwnServer, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault_case = with_slow_index(make_fault_case(own_server.app, case, tmp_path / "spool", monkeypatch))
    with building(fault_case) as call:
        own_server.server.kill()
        answer = call.result()
    fault_case.app = own_server.restart()
    fault_case.check_failed(answer, "DatabaseUnreachable", 503, retryable=True)
    fault_case.check_repeat()


@pytest.fixture(params=["direct-fast", "staging-fast"])
def compressed_case(
    request: pytest.FixtureRequest, community_app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FaultCase:
    """A day that is to end compressed."""
    fault_case = make_fault_case(community_app, request.param, tmp_path / "spool", monkeypatch)
    fault_case.app.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress)")
    fault_case.request["timescaledb"] = {"compress_new_chunks": True}
    return fault_case


@contextmanager
def compressing(fault_case: FaultCase) -> Iterator[Call[Answer]]:
    """Send the request, and hold it up when its rows are compressed, at the last step: writing the statistics."""
    with closing(fault_case.app.database.session()) as keeper, keeper.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE _timescaledb_catalog.compression_chunk_size IN SHARE MODE")
        call = fault_case.start()
        fault_case.wait_for(COMPRESSES)
        yield call


def check_compressed(fault_case: FaultCase) -> None:
    """The same request works, now that the fault is gone, and the day ends compressed."""
    answer = fault_case.send()
    fault_case.check_done(answer)
    assert answer.body["timescaledb"]["compress_new_chunks"] == "done"
    assert compressed_chunks(fault_case) == 1


def compressed_chunks(fault_case: FaultCase) -> int:
    return int(
        fault_case.app.database.value(
            "SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed AND hypertable_schema = %s",
            fault_case.app.database.schema,
        )
    )


@pytest.mark.community
def test_a_backend_that_is_terminated_while_it_compresses(compressed_case: FaultCase) -> None:
    with compressing(compressed_case) as call:
        compressed_case.terminate(COMPRESSES)
        answer = call.result()
    compressed_case.check_failed(answer, "DatabaseUnreachable", 503, retryable=True)
    check_compressed(compressed_case)


@pytest.mark.community
def test_a_network_that_is_cut_while_the_day_is_compressed(compressed_case: FaultCase) -> None:
    info = compressed_case.app.database.connection.info
    with closing(Proxy(info.host, info.port)) as proxy:
        compressed_case.request["pg"] = proxy.pg(compressed_case.app)
        with compressing(compressed_case) as call:
            proxy.mend()
            answer = call.result()
        del compressed_case.request["pg"]
    compressed_case.check_failed(answer, "DatabaseUnreachable", 503, retryable=True)
    check_compressed(compressed_case)


@pytest.mark.community
def test_a_compression_that_is_canceled(compressed_case: FaultCase) -> None:
    """It is not part of the promise: the rows are in, with all their indexes, and the answer says that it failed."""
    with compressing(compressed_case) as call:
        cancel(compressed_case, COMPRESSES)
        answer = call.result()
    compressed_case.check_done(answer)
    assert [warning["code"] for warning in answer.body["warnings"]] == ["CompressFailed"]
    assert answer.body["timescaledb"]["compress_new_chunks"] == "failed"
    assert compressed_chunks(compressed_case) == 0
