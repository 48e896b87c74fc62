"""A fault after the rows: while their indexes are tried and built, or their chunk is compressed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.faults.fix_function import function_process
from tests.faults.fix_own_server import OwnServer
from tests.faults.fix_proxy import Link, Proxy
from tests.faults.fix_scene import GATE, Scene, gate, make_scene
from tests.integration.fix_site import Answer, Site
from tests.integration.fix_threads import Call

# Those whose chunk is the load's own.
CASES = ["direct-fast", "staging-fast", "direct-replace-fast"]

# Whoever builds the index `slow` over the row GATE waits there while this one is shut.
GATE_OF_THE_BUILD = GATE + 10
BUILDS = "wait_event_type = 'Lock' AND query LIKE '%CREATE INDEX%'"
COMPRESSES = "wait_event_type = 'Lock' AND query LIKE '%compress_chunk%'"


def with_slow_index(scene: Scene) -> Scene:
    """Give the table an index whose build can be held up. Tried over the first row alone, it is quick."""
    if scene.site.database.version < (2, 22):
        pytest.skip("no index is built")
    scene.site.database.execute(
        "CREATE FUNCTION {s}.slow(v int) RETURNS int IMMUTABLE LANGUAGE plpgsql SET search_path = pg_catalog"
        f" SET lock_timeout = 0 AS $$ BEGIN IF v = {GATE} THEN"
        f" PERFORM pg_advisory_xact_lock_shared({GATE_OF_THE_BUILD}); END IF; RETURN v; END $$;"
        " CREATE INDEX ON {s}.t ({s}.slow(v))"
    )
    return scene


@pytest.fixture(params=CASES)
def build_scene(request: pytest.FixtureRequest, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return with_slow_index(make_scene(site, request.param, tmp_path / "spool", monkeypatch))


@contextmanager
def building(scene: Scene) -> Iterator[Call[Answer]]:
    """Send the request, and hold it up in the build while the body runs."""
    with gate(scene, GATE_OF_THE_BUILD):
        call = scene.start()
        scene.wait_for(BUILDS)
        yield call


def test_a_backend_that_is_terminated_in_the_build(build_scene: Scene) -> None:
    with building(build_scene) as call:
        build_scene.terminate(BUILDS)
        answer = call.result()
    build_scene.check_failed(answer, "DatabaseUnreachable", 503, retryable=True)
    build_scene.check_repeat()


def cancel(scene: Scene, condition: str) -> None:
    (pid,) = scene.sessions(condition)
    scene.site.database.execute("SELECT pg_cancel_backend(%s)", pid)


def test_a_build_that_is_canceled(build_scene: Scene) -> None:
    with building(build_scene) as call:
        cancel(build_scene, BUILDS)
        answer = call.result()
    build_scene.check_failed(answer, "StatementCanceled", 503, retryable=True)
    build_scene.check_repeat()


def test_a_network_that_is_cut_in_the_build(build_scene: Scene, proxy: Proxy) -> None:
    build_scene.request["pg"] = proxy.pg(build_scene.site)
    with building(build_scene) as call:
        proxy.mend()
        answer = call.result()
    build_scene.check_failed(answer, "DatabaseUnreachable", 503, retryable=True)
    build_scene.check_repeat()


def test_a_network_that_is_cut_while_an_index_is_tried(build_scene: Scene, proxy: Proxy) -> None:
    """Once before the rows come each index is made anew, to see that it would be the same."""
    build_scene.request["pg"] = proxy.pg(build_scene.site)
    proxy.when(b"CREATE INDEX", Link.cut)
    build_scene.check_failed(build_scene.send(), "DatabaseUnreachable", 503, retryable=True)
    build_scene.check_repeat()


@pytest.mark.parametrize("build_scene", CASES[:1], indirect=True)
def test_a_function_that_is_killed_in_the_build(build_scene: Scene) -> None:
    """The server notices it in the middle of a statement."""
    with gate(build_scene, GATE_OF_THE_BUILD), function_process(build_scene.body()) as process:
        build_scene.wait_for(BUILDS)
        process.kill()
        process.wait()
        build_scene.wait_until_gone()
    assert build_scene.table() == build_scene.before
    build_scene.check_nothing_left()
    build_scene.check_repeat()


@pytest.mark.parametrize("case", CASES)
def test_a_server_that_is_killed_in_the_build(
    own_server: OwnServer, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = with_slow_index(make_scene(own_server.site, case, tmp_path / "spool", monkeypatch))
    with building(scene) as call:
        own_server.server.kill()
        answer = call.result()
    scene.site = own_server.restart()
    scene.check_failed(answer, "DatabaseUnreachable", 503, retryable=True)
    scene.check_repeat()


@pytest.fixture(params=["direct-fast", "staging-fast"])
def packed_scene(
    request: pytest.FixtureRequest, community: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Scene:
    """A day that is to end compressed."""
    scene = make_scene(community, request.param, tmp_path / "spool", monkeypatch)
    scene.site.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress)")
    scene.request["timescaledb"] = {"compress_new_chunks": True}
    return scene


@contextmanager
def compressing(scene: Scene) -> Iterator[Call[Answer]]:
    """Send the request, and hold it up when its rows are packed: the last that is done is to write down how well."""
    with closing(scene.site.database.session()) as keeper, keeper.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE _timescaledb_catalog.compression_chunk_size IN SHARE MODE")
        call = scene.start()
        scene.wait_for(COMPRESSES)
        yield call


def check_packed(scene: Scene) -> None:
    """The same request works, now that the fault is gone, and the day ends compressed."""
    answer = scene.send()
    scene.check_done(answer)
    assert answer.body["timescaledb"]["compress_new_chunks"] == "done"
    assert packed_chunks(scene) == 1


def packed_chunks(scene: Scene) -> int:
    return int(
        scene.site.database.value(
            "SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed AND hypertable_schema = %s",
            scene.site.database.schema,
        )
    )


@pytest.mark.community
def test_a_backend_that_is_terminated_while_it_compresses(packed_scene: Scene) -> None:
    with compressing(packed_scene) as call:
        packed_scene.terminate(COMPRESSES)
        answer = call.result()
    packed_scene.check_failed(answer, "DatabaseUnreachable", 503, retryable=True)
    check_packed(packed_scene)


@pytest.mark.community
def test_a_network_that_is_cut_while_the_day_is_compressed(packed_scene: Scene) -> None:
    info = packed_scene.site.database.connection.info
    with closing(Proxy(info.host, info.port)) as proxy:
        packed_scene.request["pg"] = proxy.pg(packed_scene.site)
        with compressing(packed_scene) as call:
            proxy.mend()
            answer = call.result()
        del packed_scene.request["pg"]
    packed_scene.check_failed(answer, "DatabaseUnreachable", 503, retryable=True)
    check_packed(packed_scene)


@pytest.mark.community
def test_a_compression_that_is_canceled(packed_scene: Scene) -> None:
    """It is no part of the promise: the rows are in, with all their indexes, and the answer says that it failed."""
    with compressing(packed_scene) as call:
        cancel(packed_scene, COMPRESSES)
        answer = call.result()
    packed_scene.check_done(answer)
    assert [warning["code"] for warning in answer.body["warnings"]] == ["CompressFailed"]
    assert answer.body["timescaledb"]["compress_new_chunks"] == "failed"
    assert packed_chunks(packed_scene) == 0
