"""Others at the same table: readers, lockers, a deadlock, a compression job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest

from tests.faults.fix_scene import GATE, PAIRS, SECOND_GATE, Scene, gate, make_scene
from tests.integration.fix_database import PATIENCE_SECONDS
from tests.integration.fix_site import Answer, Site
from tests.integration.fix_threads import Call
from tools.process import wait_until

WAITS_FOR_A_TABLE = "pid IN (SELECT pid FROM pg_locks WHERE NOT granted AND locktype = 'relation')"


@pytest.fixture(autouse=True)
def limits(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    # After `site`, which clears the environment.
    assert site
    monkeypatch.setenv("PG_LOCK_TIMEOUT_SECONDS", "1")


@contextmanager
def holding(scene: Scene, *statements: str) -> Iterator[None]:
    """Keep a transaction of another session open."""
    with closing(scene.site.database.session()) as other, other.cursor() as cursor:
        for statement in ("BEGIN", *statements):
            cursor.execute(statement.format(t=f'"{scene.site.database.schema}".t'))
        yield


@pytest.mark.parametrize("mode", ["ACCESS EXCLUSIVE", "SHARE"])
def test_a_lock_that_blocks(scene: Scene, mode: str) -> None:
    with holding(scene, f"LOCK TABLE {{t}} IN {mode} MODE"):
        answer = scene.send()
    scene.check_failed(answer, "TargetLocked", 503, retryable=True)
    scene.check_repeat()


def test_beside_a_reader(scene: Scene) -> None:
    """A load does not wait for readers; a replaced day is deleted then, since a TRUNCATE would."""
    with holding(scene, "SELECT count(*) FROM {t}"):
        answer = scene.send()
        assert answer.status == 200, answer.body
        assert answer.body.get("removed_by") == ("delete" if scene.is_replace else None)
    scene.check_done(answer)


def test_a_row_that_another_session_holds(scene: Scene) -> None:
    """The same key, not yet committed: nobody knows whether it will be in conflict."""
    with holding(scene, "INSERT INTO {t} VALUES ('2025-01-01 00:00:05Z', -9)"):
        answer = scene.send()
    scene.check_failed(answer, "TargetLocked", 503, retryable=True)
    scene.check_repeat()


def test_a_deadlock(scene: Scene) -> None:
    """The restore holds the table and waits for the second gate; its keeper waits for the table."""
    with gate(scene, GATE) as let_go, closing(scene.site.database.session()) as other, other.cursor() as cursor:
        # The restore's own check, one second after it has begun to wait, is to find the deadlock.
        cursor.execute("SET deadlock_timeout = '1h'; SELECT pg_advisory_lock(%s)", (SECOND_GATE,))
        call = scene.start()
        scene.wait_until_locked_out()
        blocked = Call(lambda: lock_table(scene, cursor))
        scene.site.database.wait_for_session(WAITS_FOR_A_TABLE)
        let_go()
        answer = call.result()
        blocked.result()
    assert answer.body["error"]["details"][0]["sqlstate"] == "40P01", answer.body
    scene.check_failed(answer, "TargetLocked", 503, retryable=True)
    scene.check_repeat()


def lock_table(scene: Scene, cursor: psycopg2.extensions.cursor) -> None:
    cursor.execute(f'BEGIN; LOCK TABLE "{scene.site.database.schema}".t IN ACCESS EXCLUSIVE MODE; ROLLBACK')


def test_a_statement_that_takes_too_long(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_STATEMENT_TIMEOUT_SECONDS", "1")
    with gate(scene):
        answer = scene.send()
    scene.check_failed(answer, "StatementCanceled", 503, retryable=True)
    scene.check_repeat()


@pytest.fixture(params=PAIRS)
def compressed_scene(
    request: pytest.FixtureRequest, community: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Scene:
    scene = make_scene(community, request.param, tmp_path / "spool", monkeypatch)
    monkeypatch.setenv("PG_LOCK_TIMEOUT_SECONDS", "1")
    scene.site.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress)")
    if not scene.is_replace:
        # A chunk for the job: an hour later than the archive's rows.
        scene.site.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 23:00Z', -4)")
        scene.destination["on_existing"] = "append"
    scene.before = scene.table()
    return scene


def check_whole(scene: Scene, answer: Answer) -> None:
    assert answer.status == 200, answer.body
    kept = [] if scene.is_replace else [-4]
    assert [number for _, number in scene.table()] == [-1, *scene.numbers(), *kept, -2]
    scene.check_nothing_left()


@pytest.mark.community
def test_a_chunk_that_is_being_compressed(compressed_scene: Scene) -> None:
    """Afterwards the same request finds a compressed chunk, and compresses it again when it is done."""
    scene = compressed_scene
    with closing(scene.site.database.session()) as job, job.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(
            f"SELECT public.compress_chunk(c) FROM public.show_chunks('\"{scene.site.database.schema}\".t') c"
        )
        answer = scene.send()
        cursor.execute("COMMIT")
    scene.check_failed(answer, "TargetLocked", 503, retryable=True)
    again = scene.send()
    check_whole(scene, again)
    assert again.body["timescaledb"]["recompress_window"] == "done"


@pytest.mark.community
def test_a_compression_job_that_comes_during_the_copy(compressed_scene: Scene) -> None:
    """It waits, and compresses the whole day."""
    scene = compressed_scene
    table = f'"{scene.site.database.schema}".t'
    # The scheduler is not to run it by itself, which it would do at once.
    start = "initial_start => '2100-01-01Z'::timestamptz"
    job_id = scene.site.database.value(f"SELECT public.add_compression_policy('{table}', interval '1 day', {start})")
    with gate(scene) as let_go, closing(scene.site.database.session()) as job, job.cursor() as cursor:
        call = scene.start()
        scene.wait_until_locked_out()
        running = Call(lambda: run_job(cursor, job_id))
        blocked = wait_until(lambda: scene.site.database.has_session(WAITS_FOR_A_TABLE), PATIENCE_SECONDS)
        let_go()
        answer = call.result()
        running.result()
    # The chunks are locked before the first row is copied, in staging as well.
    assert blocked
    if answer.status == 503:
        scene.check_failed(answer, "TargetLocked", 503, retryable=True)
        answer = scene.send()
    check_whole(scene, answer)


def run_job(cursor: psycopg2.extensions.cursor, job_id: int) -> None:
    cursor.execute("CALL public.run_job(%s)", (job_id,))
