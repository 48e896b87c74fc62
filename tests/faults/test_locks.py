"""Others at the same table: readers, lockers, a deadlock, a compression job."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest

from tests.faults.fix_fault_case import GATE, PAIRS, SECOND_GATE, FaultCase, gate, make_fault_case
from tests.integration.fix_app import Answer, App
from tests.integration.fix_database import PATIENCE_SECONDS
from tests.integration.fix_threads import Call
from tools.process import wait_until

WAITS_FOR_A_TABLE = "pid IN (SELECT pid FROM pg_locks WHERE NOT granted AND locktype = 'relation')"


@pytest.fixture(autouse=True)
def limits(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    # After `app`, which clears the environment.
    assert app
    monkeypatch.setenv("PG_LOCK_TIMEOUT_SECONDS", "1")


@contextmanager
def holding(fault_case: FaultCase, *statements: str) -> Iterator[psycopg2.extensions.cursor]:
    """Keep a transaction of another session open."""
    with closing(fault_case.app.database.session()) as other, other.cursor() as cursor:
        cursor.execute("SET application_name = 'the other session'")
        for statement in ("BEGIN", *statements):
            cursor.execute(statement.format(t=f'"{fault_case.app.database.schema}".t'))
        yield cursor


@pytest.mark.parametrize("mode", ["ACCESS EXCLUSIVE", "SHARE"])
def test_a_lock_that_blocks(fault_case: FaultCase, mode: str) -> None:
    with holding(fault_case, f"LOCK TABLE {{t}} IN {mode} MODE"):
        answer = fault_case.send()
    fault_case.check_failed(answer, "TargetLocked", 503, retryable=True)
    lock = f"{mode.title().replace(' ', '')}Lock"
    assert re.search(rf"held by pid \d+ \(role \w+, the other session, {lock}\)$", answer.body["error"]["message"])
    fault_case.check_repeat()


@pytest.mark.parametrize("fault_case", PAIRS[:1], indirect=True)
def test_a_reader_is_not_named_beside_the_session_that_blocks(fault_case: FaultCase) -> None:
    with holding(fault_case, "SELECT FROM {t}"), holding(fault_case, "LOCK TABLE {t} IN SHARE MODE"):
        message = fault_case.send().body["error"]["message"]
    assert re.findall(r"\w+Lock\b", message.partition("held by")[2]) == ["ShareLock"]


def test_beside_a_reader(fault_case: FaultCase) -> None:
    """A load does not wait for readers; a replaced day is deleted then, since a TRUNCATE would."""
    with holding(fault_case, "SELECT count(*) FROM {t}"):
        answer = fault_case.send()
        assert answer.status == 200, answer.body
        assert answer.body.get("removed_by") == ("delete" if fault_case.is_replace else None)
    fault_case.check_done(answer)


def test_a_row_that_another_session_holds(fault_case: FaultCase) -> None:
    """The same key, not yet committed: nobody knows whether it will be in conflict."""
    with holding(fault_case, "INSERT INTO {t} VALUES ('2025-01-01 00:00:05Z', -9)"):
        answer = fault_case.send()
    fault_case.check_failed(answer, "TargetLocked", 503, retryable=True)
    # The stronger one is that of a session that has made a chunk.
    assert re.search(r"the other session, (RowExclusive|ShareUpdateExclusive)Lock", answer.body["error"]["message"])
    fault_case.check_repeat()


@contextmanager
def rows_come_behind_the_look(fault_case: FaultCase, *rows: str) -> Iterator[Call[Answer]]:
    """Start a restore that has looked at an empty day, and let rows come before it has its locks."""
    with holding(fault_case, "LOCK TABLE {t} IN SHARE MODE") as other:
        call = fault_case.start()
        fault_case.wait_until_locked_out()
        other.execute(f'INSERT INTO "{fault_case.app.database.schema}".t VALUES {", ".join(rows)}; COMMIT')
        yield call


@pytest.mark.parametrize("fault_case", ["direct-replace-fast"], indirect=True)
def test_rows_that_come_after_the_look(fault_case: FaultCase) -> None:
    """The load looks again, and the day's chunk is emptied as if the rows had been there before."""
    fault_case.app.database.execute("DELETE FROM {s}.t WHERE v IN (-3, -4)")
    with rows_come_behind_the_look(fault_case, "('2025-01-01 23:00Z', -5)") as call:
        answer = call.result()
    assert (answer.status, answer.body["removed_by"]) == (200, "truncate"), answer.body
    fault_case.check_done(answer)


def test_a_deadlock(fault_case: FaultCase) -> None:
    """The restore holds the table and waits for the second gate; its keeper waits for the table."""
    with (
        gate(fault_case, GATE) as let_go,
        closing(fault_case.app.database.session()) as other,
        other.cursor() as cursor,
    ):
        # The restore's own check, one second after it has begun to wait, is to find the deadlock.
        cursor.execute("SET deadlock_timeout = '1h'; SELECT pg_advisory_lock(%s)", (SECOND_GATE,))
        call = fault_case.start()
        fault_case.wait_until_locked_out()
        blocked = Call(lambda: lock_table(fault_case, cursor))
        fault_case.app.database.wait_for_session(WAITS_FOR_A_TABLE)
        let_go()
        answer = call.result()
        blocked.result()
    assert answer.body["error"]["details"][0]["sqlstate"] == "40P01", answer.body
    fault_case.check_failed(answer, "TargetLocked", 503, retryable=True)
    fault_case.check_repeat()


def lock_table(fault_case: FaultCase, cursor: psycopg2.extensions.cursor) -> None:
    cursor.execute(f'BEGIN; LOCK TABLE "{fault_case.app.database.schema}".t IN ACCESS EXCLUSIVE MODE; ROLLBACK')


def test_a_statement_that_takes_too_long(fault_case: FaultCase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_STATEMENT_TIMEOUT_SECONDS", "1")
    with gate(fault_case):
        answer = fault_case.send()
    fault_case.check_failed(answer, "StatementCanceled", 503, retryable=True)
    fault_case.check_repeat()


@pytest.fixture(params=PAIRS)
def compressed_case(
    request: pytest.FixtureRequest, community_app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FaultCase:
    fault_case = make_fault_case(community_app, request.param, tmp_path / "spool", monkeypatch)
    monkeypatch.setenv("PG_LOCK_TIMEOUT_SECONDS", "1")
    fault_case.app.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress)")
    if not fault_case.is_replace:
        # A chunk for the job: an hour later than the archive's rows.
        fault_case.app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 23:00Z', -4)")
        fault_case.destination["on_existing"] = "append"
    fault_case.before = fault_case.table()
    return fault_case


def check_whole(fault_case: FaultCase, answer: Answer) -> None:
    assert answer.status == 200, answer.body
    kept = [] if fault_case.is_replace else [-4]
    assert [number for _, number in fault_case.table()] == [-1, *fault_case.numbers(), *kept, -2]
    fault_case.check_nothing_left()


@pytest.mark.community
def test_a_chunk_that_is_being_compressed(compressed_case: FaultCase) -> None:
    """Afterwards the same request finds a compressed chunk, and compresses it again when it is done."""
    fault_case = compressed_case
    with closing(fault_case.app.database.session()) as job, job.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(
            f"SELECT public.compress_chunk(c) FROM public.show_chunks('\"{fault_case.app.database.schema}\".t') c"
        )
        answer = fault_case.send()
        cursor.execute("COMMIT")
    fault_case.check_failed(answer, "TargetLocked", 503, retryable=True)
    again = fault_case.send()
    check_whole(fault_case, again)
    assert again.body["timescaledb"]["recompress_window"] == "done"


@pytest.mark.community
@pytest.mark.parametrize("compressed_case", ["staging-replace-plain"], indirect=True)
def test_rows_that_come_after_the_look_into_a_compressed_chunk(compressed_case: FaultCase) -> None:
    """The load waits for the strong lock before it holds a weaker one: two of them would deadlock otherwise."""
    fault_case, database = compressed_case, compressed_case.app.database
    fault_case.request = {"timescaledb": {"decompress_window": False}}
    # The day is empty, in a chunk that a day beside it shares.
    database.execute(
        "DELETE FROM {s}.t WHERE v IN (-3, -4);"
        " SELECT public.set_chunk_time_interval('{s}.t', interval '2 days');"
        " SELECT public.drop_chunks('{s}.t', newer_than => '2000-01-01Z'::timestamptz);"
        " INSERT INTO {s}.t VALUES ('2024-12-31 23:59:59.999999Z', -1), ('2025-01-02 00:00Z', -2);"
    )
    database.execute("SELECT public.compress_chunk(c) FROM public.show_chunks('{s}.t') c")
    chunks = [name for (name,) in database.fetch("SELECT c::text FROM public.show_chunks('{s}.t') c")]
    of_a_chunk = f"relation::regclass::text = ANY (ARRAY{chunks})"
    waits_for_a_chunk = f"pid IN (SELECT pid FROM pg_locks WHERE NOT granted AND {of_a_chunk})"
    held = f"SELECT mode FROM pg_locks WHERE granted AND {of_a_chunk} AND mode <> 'AccessShareLock'"
    reading = f"LOCK TABLE {', '.join(f'ONLY {name}' for name in chunks)} IN ACCESS SHARE MODE"
    with holding(fault_case, reading), rows_come_behind_the_look(fault_case, "('2025-01-01 23:00Z', -5)") as call:
        fault_case.wait_for(waits_for_a_chunk)
        assert database.fetch(held) == []
    answer = call.result()
    assert (answer.status, answer.body["timescaledb"]["decompress_window"]) == (200, "done"), answer.body
    check_whole(fault_case, answer)


@pytest.mark.community
def test_a_compression_job_that_comes_during_the_copy(compressed_case: FaultCase) -> None:
    """It waits, and compresses the whole day."""
    fault_case = compressed_case
    table = f'"{fault_case.app.database.schema}".t'
    # Keep the scheduler from running it, which it would do at once.
    start = "initial_start => '2100-01-01Z'::timestamptz"
    job_id = fault_case.app.database.value(
        f"SELECT public.add_compression_policy('{table}', interval '1 day', {start})"
    )
    with gate(fault_case) as let_go, closing(fault_case.app.database.session()) as job, job.cursor() as cursor:
        call = fault_case.start()
        fault_case.wait_until_locked_out()
        running = Call(lambda: run_job(cursor, job_id))
        blocked = wait_until(lambda: fault_case.app.database.has_session(WAITS_FOR_A_TABLE), PATIENCE_SECONDS)
        let_go()
        answer = call.result()
        running.result()
    # The chunks are locked before the first row is copied, in staging as well.
    assert blocked
    if answer.status == 503:
        fault_case.check_failed(answer, "TargetLocked", 503, retryable=True)
        answer = fault_case.send()
    check_whole(fault_case, answer)


def run_job(cursor: psycopg2.extensions.cursor, job_id: int) -> None:
    cursor.execute("CALL public.run_job(%s)", (job_id,))
