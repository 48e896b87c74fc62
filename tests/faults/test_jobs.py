"""Restores behind the queue: done exactly once, whatever happens to messages, workers, the queue and the database."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from azure.data.tables import TableClient

from shared.backfills.worker import dispatch_message
from shared.errors import ArchiveBeingRehydrated
from shared.jobs.claim import claim_operation
from shared.jobs.day_notes import RestoredDay, partition_of, read_days
from shared.jobs.message import UnreadableMessageError
from shared.jobs.operation import RestoreOperation
from shared.jobs.store import Conflict, OperationStore
from shared.jobs.sweep import end_poisoned, sweep
from shared.jobs.transitions import waiting
from shared.model.stamp import read_stamp
from shared.progress.progress import Progress, Stage
from shared.restore.pending import was_committed
from shared.settings import load_settings
from tests.faults.fix_clock import Clock
from tests.faults.fix_fault_case import FaultCase, gate, make_fault_case
from tests.faults.fix_jobs import STALE_SECONDS, Jobs
from tests.faults.fix_proxy import Link, Proxy
from tests.faults.fix_quiet import CANARY
from tests.integration.fix_app import App
from tests.integration.fix_azure import PATH, Azure, Refusal
from tests.integration.fix_database import PATIENCE_SECONDS
from tests.integration.fix_threads import Call
from tools.config import LOOPBACK
from tools.local_server import free_port
from tools.process import wait_until

AFTER_COMMIT = ("recompress", "refresh")
STAGES = ["connect", "download", "inspect", "replace", "copy", "insert", "verify", "commit", *AFTER_COMMIT]


@pytest.fixture(params=["direct-fast", "staging-replace-plain"])
def day(request: pytest.FixtureRequest, app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FaultCase:
    return make_fault_case(app, request.param, tmp_path / "spool", monkeypatch)


@pytest.fixture
def staged(app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FaultCase:
    """A restore of as many stages as there are."""
    return make_fault_case(app, "staging-replace-plain", tmp_path / "spool", monkeypatch)


def message(operation_id: str) -> str:
    return json.dumps({"version": 1, "id": operation_id})


def last_of_day(operation: RestoreOperation) -> RestoredDay:
    """Return what the calendar knows of the last restore of an operation's day."""
    day = date.fromisoformat(operation.day)
    (note,) = read_days(load_settings(), partition_of(operation.database, operation.target_table), day, day).values()
    return note


def check_succeeded(jobs: Jobs, day: FaultCase, operation_id: str) -> None:
    state = jobs.monitor(operation_id).body
    assert state["status"] == "Succeeded", state
    assert state["result"]["rows_loaded"] == len(day.numbers())
    assert state["result"]["verification"]["rows_loaded"] == len(day.numbers())
    day.check_complete()
    day.wait_until_gone()
    day.check_nothing_left()


def test_a_worker_that_is_killed_while_it_copies(jobs: Jobs, day: FaultCase) -> None:
    operation = jobs.taken(day.job_body())
    with ExitStack() as stack:
        stack.enter_context(gate(day))
        worker = stack.enter_context(jobs.worker(jobs.receive().content))
        day.wait_until_locked_out()
        # It lives: a second message is dropped.
        dispatch_message(message(operation.id).encode())
        worker.kill()
        worker.wait()
        day.wait_until_gone()
    assert day.table() == day.before
    jobs.sweep_until_queued(operation.id)
    jobs.work()
    assert jobs.state(operation.id).crashes == 1
    check_succeeded(jobs, day, operation.id)


@pytest.mark.any_server
@pytest.mark.parametrize("stage", STAGES)
def test_a_worker_that_is_killed_at_each_stage(
    jobs: Jobs, staged: FaultCase, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.jobs.operation.STALE_SECONDS", 2)
    operation = jobs.taken(staged.job_body())
    with jobs.worker(jobs.receive().content, TEST_KILLED_AT=stage) as worker:
        assert worker.wait(60) == -signal.SIGKILL
    staged.wait_until_gone()
    jobs.serve_until_ended(operation.id)
    assert jobs.state(operation.id).crashes == 1
    check_succeeded(jobs, staged, operation.id)


@pytest.mark.any_server
@pytest.mark.parametrize("stage", STAGES)
def test_a_cancel_during_each_stage(jobs: Jobs, staged: FaultCase, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    operation = jobs.taken(staged.job_body())
    stage_of, canceled_at = Progress.stage, list[float]()

    @contextmanager
    def canceling(progress: Progress, name: Stage) -> Iterator[None]:
        with stage_of(progress, name):
            if name == stage and not canceled_at:
                assert jobs.cancel(operation.id).status == 202
                canceled_at.append(time.monotonic())
                assert wait_until(lambda: progress.is_canceled or progress.is_committed, 10)
            yield

    with monkeypatch.context() as patched:
        patched.setattr(Progress, "stage", canceling)
        jobs.work()
    assert time.monotonic() - canceled_at[0] < 10
    if stage in AFTER_COMMIT:
        check_succeeded(jobs, staged, operation.id)
        return
    assert jobs.monitor(operation.id).body["status"] == "Canceled"
    assert staged.table() == staged.before
    staged.wait_until_gone()
    staged.check_nothing_left()


@pytest.mark.any_server
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_jumps_while_it_restores(jobs: Jobs, staged: FaultCase, clock: Clock, hours: int) -> None:
    operation = jobs.taken(staged.job_body())
    with gate(staged) as let_go, jobs.worker(jobs.receive().content, **clock.environ) as worker:
        staged.wait_until_locked_out()
        clock.jump(hours * 3600)
        before = jobs.state(operation.id).seconds
        # Heartbeats go on, and no sweep takes it away, by whichever clock.
        assert wait_until(lambda: jobs.state(operation.id).seconds > before + STALE_SECONDS, 30)
        with jobs.worker("", **clock.environ) as sweeping:
            assert sweeping.wait(60) == 0
        sweep()
        assert jobs.state(operation.id).status == "Running"
        let_go()
        assert worker.wait(60) == 0
    state = jobs.state(operation.id)
    assert (state.attempt, state.crashes) == (1, 0)
    check_succeeded(jobs, staged, operation.id)


@pytest.mark.any_server
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_wrong_while_one_waits(
    jobs: Jobs, staged: FaultCase, clock: Clock, hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message is lost. A sweep gives another one to what is due by the Table service's clock, and only to that."""
    clock.jump(hours * 3600)
    is_due = hours < 0
    monkeypatch.setattr("shared.jobs.enqueue.FIRST_DELAY_SECONDS", 1 if is_due else 600)
    operation = jobs.taken(staged.job_body())
    with monkeypatch.context() as away:
        away.setenv("PGPORT", str(free_port()))
        jobs.work()
    jobs.storage.queue.clear_messages()
    assert wait_until(lambda: jobs.state(operation.id).is_stale, 30)
    with jobs.worker("", **clock.environ) as sweeping:
        assert sweeping.wait(60) == 0
    assert jobs.store.queue_is_empty() is not is_due
    if is_due:
        with jobs.worker(jobs.receive().content, **clock.environ) as worker:
            assert worker.wait(60) == 0
        check_succeeded(jobs, staged, operation.id)


@pytest.mark.any_server
def test_nothing_that_is_kept_holds_a_secret_or_a_row(
    jobs: Jobs, staged: FaultCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages, records, long texts, notes of days, and what monitors and results show."""
    monkeypatch.setattr("shared.jobs.store.LONGEST_TEXT", 10)
    app = staged.app
    role = app.database.role("GRANT USAGE, CREATE ON SCHEMA {s}", "GRANT pg_read_all_data, pg_write_all_data")
    app.database.execute(f"ALTER ROLE {role['user']} PASSWORD '{CANARY}'")
    app.database.execute(f"ALTER TABLE {{s}}.t OWNER TO {role['user']}")
    for name, value in {"PGUSER": role["user"], "PGPASSWORD": CANARY, "PGSSLPASSWORD": CANARY}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("shared.jobs.enqueue.FIRST_DELAY_SECONDS", 0)
    shown: list[object] = []
    broken = app.archive("t", staged.csv(3).replace(b",3,", f",{CANARY},".encode()), day="2025-01-03")
    for change, settings, status in (
        ({}, {}, "Succeeded"),
        ({"adls_url": broken}, {}, "Failed"),
        ({}, {"PGPASSWORD": f"{CANARY}-wrong"}, "Failed"),
        ({}, {"PGPORT": str(free_port())}, "NotStarted"),
    ):
        taken = jobs.post(staged.job_body() | change, Prefer="respond-async")
        shown += [message.content for message in jobs.storage.queue.peek_messages()]
        with monkeypatch.context() as changed:
            for name, value in settings.items():
                changed.setenv(name, value)
            jobs.work()
        monitor = jobs.monitor(taken.body["id"])
        assert monitor.body["status"] == status, monitor.body
        result = jobs.result(taken.headers["Location"])
        shown += [taken, monitor, result.body, result.headers, jobs.listed().body]
        token = taken.headers["Location"].partition("token=")[2]
        kept = [dict(entity) for entity in jobs.storage.table.list_entities()]
        assert token not in str(kept)
        shown += [*kept, *(dict(entity) for entity in jobs.storage.days.list_entities())]
    blobs = [jobs.storage.container.download_blob(name).readall() for name in jobs.storage.container.list_blob_names()]
    shown += blobs
    assert len(blobs) > 5
    key = dict(part.split("=", 1) for part in app.storage.connection_string.split(";") if part)["AccountKey"]
    for one in shown:
        for secret in (CANARY, key):
            assert secret.lower() not in str(one).lower(), str(one)[:500]


def behind(proxy: Proxy) -> dict[str, str]:
    """Return the settings that name a proxy before the server."""
    return {"PGHOST": LOOPBACK, "PGPORT": str(proxy.port), "PGSSLMODE": "disable"}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_worker_that_is_killed_at_its_commit(
    jobs: Jobs, day: FaultCase, proxy: Proxy, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent, and perhaps carried out; nobody has noted it. The next worker asks the server."""
    operation = jobs.taken(day.job_body())
    with jobs.worker(jobs.receive().content, **behind(proxy)) as worker:
        proxy.when(b"COMMIT\0", lambda _: worker.kill(), answers=moment == "after")
        worker.wait(timeout=60)
    day.wait_until_gone()
    assert jobs.state(operation.id).commit
    jobs.sweep_until_queued(operation.id)
    monkeypatch.setenv("PG_LOCK_TIMEOUT_SECONDS", "5")
    jobs.work()
    check_succeeded(jobs, day, operation.id)


def lost_behind_its_commit(jobs: Jobs, day: FaultCase) -> str:
    """Return the id of an operation that waits; its worker was killed between its COMMIT and the note of it."""
    operation = jobs.taken(day.job_body())
    with jobs.worker(jobs.receive().content, TEST_KILLED_AT="recompress") as worker:
        worker.wait(60)
    day.wait_until_gone()
    jobs.sweep_until_queued(operation.id)
    return operation.id


@pytest.mark.any_server
def test_a_cancel_while_the_server_is_asked_for_a_commit(
    jobs: Jobs, staged: FaultCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are in: no answer may say that nothing was changed."""
    operation_id = lost_behind_its_commit(jobs, staged)
    assert jobs.cancel(operation_id).status == 202

    def ask_slowly(*arguments: Any) -> bool:
        # Two heartbeats: each reads that the operation is to be canceled.
        assert wait_until(lambda: jobs.state(operation_id).seconds > 1, 20)
        return was_committed(*arguments)

    monkeypatch.setattr("shared.jobs.worker.was_committed", ask_slowly)
    jobs.work()
    check_succeeded(jobs, staged, operation_id)


@pytest.mark.any_server
def test_a_cancel_while_the_server_is_asked_for_a_commit_that_did_not_take_place(
    jobs: Jobs, staged: FaultCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = lost_behind_its_commit(jobs, staged)
    jobs.cancel(operation_id)
    monkeypatch.setattr("shared.jobs.worker.was_committed", lambda *_: False)
    jobs.work()
    assert jobs.monitor(operation_id).body["status"] == "Canceled"


@pytest.mark.any_server
def test_a_server_that_cannot_be_asked_for_a_commit(
    jobs: Jobs, staged: FaultCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked again and again, also if the operation is to be canceled. Then nobody knows; the rows may be in."""
    monkeypatch.setattr("shared.jobs.enqueue.FIRST_DELAY_SECONDS", 0)
    monkeypatch.setenv("JOB_MAX_ATTEMPTS", "2")
    operation_id = lost_behind_its_commit(jobs, staged)
    jobs.cancel(operation_id)
    with monkeypatch.context() as away:
        away.setenv("PGPORT", str(free_port()))
        for status in ("NotStarted", "Failed"):
            jobs.work()
            state = jobs.monitor(operation_id).body
            error = state["error"]
            assert (state["status"], error["code"], error["retry"]) == (status, "CommitOutcomeUnknown", "ask"), state
            assert "cannot be asked" in error["message"]
            # While it goes on, the queue asks.
            assert ("pg_xact_status" in error["hint"]) == (status == "Failed")
    staged.check_complete()


def interrupting_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "cancel"]


@pytest.mark.any_server
def test_nothing_goes_on_canceling_once_an_attempt_has_ended(
    jobs: Jobs, staged: FaultCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even one that could not ask for its COMMIT: a thread that never ends stays for the life of the process."""
    operation_id = lost_behind_its_commit(jobs, staged)
    jobs.cancel(operation_id)

    def ask_in_vain(*arguments: Any) -> bool:
        assert wait_until(lambda: bool(interrupting_threads()), 20)
        return was_committed(*arguments)

    monkeypatch.setattr("shared.jobs.worker.was_committed", ask_in_vain)
    monkeypatch.setenv("PGPORT", str(free_port()))
    jobs.work()
    assert jobs.monitor(operation_id).body["error"]["code"] == "CommitOutcomeUnknown"
    assert wait_until(lambda: not interrupting_threads(), 5)


@pytest.mark.any_server
def test_a_commit_that_the_server_rolled_back_is_not_asked_for_again(
    jobs: Jobs, staged: FaultCase, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its outcome is known. A server that is away, or was restarted, cannot make it unknown."""
    monkeypatch.setattr("shared.jobs.enqueue.FIRST_DELAY_SECONDS", 0)
    operation = jobs.taken(staged.job_body())
    with monkeypatch.context() as through:
        for name, value in behind(proxy).items():
            through.setenv(name, value)
        proxy.when(b"COMMIT\0", Link.cut)
        jobs.work()
    state = jobs.state(operation.id)
    assert (state.status, state.commit) == ("NotStarted", "")
    assert "rolled the restore back" in json.loads(state.error)["message"]
    with monkeypatch.context() as away:
        away.setenv("PGPORT", str(free_port()))
        jobs.work()
        assert jobs.monitor(operation.id).body["error"]["code"] == "DatabaseUnreachable"
    jobs.work()
    check_succeeded(jobs, staged, operation.id)


@pytest.mark.any_server
@pytest.mark.parametrize("end", ["refused", "cut"])
def test_a_cancel_at_a_commit_that_does_not_take_place(
    jobs: Jobs, app: App, proxy: Proxy, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts, whatever kept the rows out."""
    app.database.execute(
        "CREATE TABLE {s}.t (time timestamptz NOT NULL, v int);"
        " CREATE FUNCTION {s}.refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'not now' USING ERRCODE = 'serialization_failure'; END $$"
    )
    if end == "refused":
        app.database.execute(
            "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON {s}.t DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION {s}.refuse()"
        )
    operation = jobs.taken({"adls_url": app.archive("t", b"time,v\n2025-01-01 00:00Z,1\n")})

    def cancel(link: Link) -> None:
        jobs.cancel(operation.id)
        # The heartbeat has read it.
        assert wait_until(lambda: bool(interrupting_threads()), 20)
        if end == "cut":
            link.cut()

    for name, value in behind(proxy).items():
        monkeypatch.setenv(name, value)
    proxy.when(b"COMMIT\0", cancel)
    jobs.work()
    state = jobs.monitor(operation.id).body
    assert (state["status"], state["error"]["code"]) == ("Canceled", "RestoreCanceled")
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0


@pytest.mark.any_server
def test_workers_that_die_after_the_commit(jobs: Jobs, staged: FaultCase, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after it is given up at last. The rows are in, and the answer says so."""
    monkeypatch.setenv("JOB_MAX_CRASHES", "2")
    operation_id = lost_behind_its_commit(jobs, staged)
    with jobs.worker(jobs.receive().content, TEST_KILLED_AT="recompress") as worker:
        assert worker.wait(60) == -signal.SIGKILL
    jobs.sweep_until_queued(operation_id)
    jobs.work()
    state = jobs.monitor(operation_id).body
    assert (state["status"], state["result"]["status"]) == ("Succeeded", "ok_with_warnings"), state
    assert [warning["code"] for warning in state["result"]["warnings"]] == ["AfterCommitFailed"]
    check_succeeded(jobs, staged, operation_id)


@pytest.mark.any_server
def test_the_same_message_twice(jobs: Jobs, day: FaultCase) -> None:
    operation = jobs.taken(day.job_body())
    with gate(day) as let_go, jobs.worker(message(operation.id)) as first, jobs.worker(message(operation.id)) as second:
        day.wait_until_locked_out()
        # One has it, and the other one has dropped its message.
        assert wait_until(lambda: first.poll() is not None or second.poll() is not None, 30)
        let_go()
        assert [first.wait(60), second.wait(60)] == [0, 0]
    dispatch_message(message(operation.id).encode())
    assert jobs.state(operation.id).attempt == 1
    check_succeeded(jobs, day, operation.id)


def test_two_jobs_for_a_partition_and_its_parent(jobs: Jobs, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that comes second waits in the queue, and then finds the day there."""
    monkeypatch.setattr("shared.jobs.enqueue.FIRST_DELAY_SECONDS", 1)
    app.database.execute(
        "CREATE TABLE {s}.t (time timestamptz NOT NULL, v int) PARTITION BY RANGE (time);"
        " CREATE TABLE {s}.leaf PARTITION OF {s}.t FOR VALUES FROM ('2025-01-01Z') TO ('2025-02-01Z');"
        " CREATE FUNCTION {s}.gate() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN NEW; END $$;"
        " CREATE TRIGGER gate BEFORE INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.gate()"
    )
    csv = b"time,v\n2025-01-01 00:00Z,1\n"
    taken = [jobs.taken({"adls_url": app.archive(table, csv)}).id for table in ("t", "leaf")]
    with closing(app.database.session()) as keeper, keeper.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(4711)")
        running = Call(jobs.work)
        app.database.wait_for_session("wait_event = 'advisory'")
        jobs.work()
        assert sorted(jobs.state(one).status for one in taken) == ["NotStarted", "Running"]
    running.result()
    jobs.work()
    ended = [jobs.monitor(one).body for one in taken]
    assert sorted(state["status"] for state in ended) == ["Failed", "Succeeded"], ended
    assert [state["error"]["code"] for state in ended if state["status"] == "Failed"] == ["WindowNotEmpty"]
    assert app.database.value("SELECT count(*) FROM {s}.t") == 1


def takes_claim(jobs: Jobs, operation_id: str) -> bool:
    """Write another worker's claim, unless the heartbeat comes first."""
    try:
        jobs.store.change(jobs.state(operation_id), claim="another")
    except Conflict:
        return False
    return True


@pytest.mark.any_server
@pytest.mark.parametrize("heartbeat_seconds", [0.5, 3600])
def test_a_claim_that_was_lost_commits_nothing(
    jobs: Jobs, day: FaultCase, heartbeat_seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heartbeat finds it out; without one, the write before the COMMIT does."""
    monkeypatch.setattr("shared.jobs.claim.HEARTBEAT_SECONDS", heartbeat_seconds)
    operation = jobs.taken(day.job_body())
    with gate(day) as let_go:
        running = Call(jobs.work)
        day.wait_until_locked_out()
        assert wait_until(lambda: takes_claim(jobs, operation.id), PATIENCE_SECONDS)
        let_go()
        running.result()
    assert day.table() == day.before
    assert jobs.state(operation.id).status == "Running"


def test_a_cancel_at_any_time(jobs: Jobs, day: FaultCase) -> None:
    waiting = jobs.taken(day.job_body())
    assert jobs.cancel(waiting.id).body["status"] == "Canceled"
    jobs.work()
    assert jobs.state(waiting.id).attempt == 0
    running = jobs.taken(day.job_body())
    with gate(day):
        worker = Call(jobs.work)
        day.wait_until_locked_out()
        begin = time.monotonic()
        assert not jobs.monitor(running.id).body["canceling"]
        assert jobs.cancel(running.id).body["canceling"]
        assert jobs.cancel(running.id).body["canceling"]
        assert [one["canceling"] for one in jobs.listed().body["value"]] == [True, False]
        worker.result()
        assert time.monotonic() - begin < 10
    state = jobs.monitor(running.id).body
    assert (state["status"], state["error"]["code"]) == ("Canceled", "RestoreCanceled")
    assert (state["canceling"], state["outcome"]) == (False, None)
    assert day.table() == day.before
    done = jobs.taken(day.job_body())
    jobs.work()
    assert (jobs.cancel(done.id).status, jobs.cancel(done.id).code) == (409, "OperationEnded")
    check_succeeded(jobs, day, done.id)


@pytest.mark.any_server
def test_the_monitor_tells_the_last_heartbeat(jobs: Jobs, day: FaultCase) -> None:
    operation = jobs.taken(day.job_body())

    def heartbeat() -> datetime | None:
        text = jobs.monitor(operation.id).body["heartbeat"]
        return text and read_stamp(text)

    assert heartbeat() is None
    with gate(day) as let_go:
        running = Call(jobs.work)
        day.wait_until_locked_out()
        first = heartbeat()
        assert first is not None
        # By the clock of the service, in whole seconds.
        assert timedelta(seconds=-1) < jobs.store.service_time() - first < timedelta(seconds=STALE_SECONDS)
        assert wait_until(lambda: (heartbeat() or first) > first, PATIENCE_SECONDS)
        let_go()
        running.result()
    check_succeeded(jobs, day, operation.id)
    assert heartbeat() is None


@pytest.mark.any_server
def test_looks_at_a_restore_that_runs_share_a_read(jobs: Jobs, day: FaultCase, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a moment, and until this process changes the record."""
    reads = 0
    get_entity = TableClient.get_entity

    def counting(*args: Any, **options: Any) -> Any:
        nonlocal reads
        reads += 1
        return get_entity(*args, **options)

    running = jobs.taken(day.job_body())
    with gate(day):
        worker = Call(jobs.work)
        day.wait_until_locked_out()
        monkeypatch.setattr(TableClient, "get_entity", counting)
        for shown_seconds, most_reads in ((3600, 20), (0, 1000)):
            monkeypatch.setattr("shared.jobs.store.SHOWN_SECONDS", shown_seconds)
            reads = 0
            for _ in range(100):
                assert jobs.monitor(running.id).body["status"] == "Running"
            assert (reads >= 100) == (shown_seconds == 0)
            assert reads <= most_reads
        monkeypatch.setattr("shared.jobs.store.SHOWN_SECONDS", 3600)
        assert jobs.monitor(running.id).body["status"] == "Running"
        assert jobs.cancel(running.id).status == 202
        worker.result()
    assert jobs.monitor(running.id).body["status"] == "Canceled"


def test_a_database_unreachable_for_a_while(jobs: Jobs, day: FaultCase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.jobs.enqueue.FIRST_DELAY_SECONDS", 1)
    operation = jobs.taken(day.job_body())
    with monkeypatch.context() as away:
        away.setenv("PGPORT", str(free_port()))
        for attempt in (1, 2):
            jobs.work()
            state = jobs.monitor(operation.id).body
            assert (state["status"], state["attempt"]) == ("NotStarted", attempt)
            assert state["error"]["code"] == "DatabaseUnreachable"
            assert state["next_attempt"]
    jobs.work()
    check_succeeded(jobs, day, operation.id)


@pytest.mark.any_server
def test_an_error_that_stays_ends_it_at_last(jobs: Jobs, day: FaultCase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.jobs.enqueue.FIRST_DELAY_SECONDS", 0)
    monkeypatch.setenv("JOB_MAX_ATTEMPTS", "3")
    monkeypatch.setenv("PGPORT", str(free_port()))
    operation = jobs.taken(day.job_body())
    for _ in range(3):
        jobs.work()
    state = jobs.state(operation.id)
    assert (state.status, state.attempt, state.answer_status) == ("Failed", 3, 503)
    assert jobs.store.queue_is_empty()
    failed = jobs.monitor(operation.id).body["attempts"]
    assert [(one["attempt"], one["stage"], one["code"]) for one in failed] == [
        (attempt, "connect", "DatabaseUnreachable") for attempt in (1, 2, 3)
    ]
    assert [one["ended"] for one in failed] == sorted(one["ended"] for one in failed)
    assert "attempts" not in jobs.listed().body["value"][0]


@pytest.mark.any_server
def test_workers_that_die_again_and_again(jobs: Jobs, day: FaultCase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOB_MAX_CRASHES", "2")
    operation = jobs.taken(day.job_body())
    with gate(day):
        for _ in range(2):
            with jobs.worker(jobs.receive().content) as worker:
                day.wait_until_locked_out()
                # The heartbeat writes it.
                assert wait_until(lambda: jobs.state(operation.id).stage == "copy", 20)
                worker.kill()
                worker.wait()
            day.wait_until_gone()
            jobs.sweep_until_queued(operation.id)
    jobs.work()
    state = jobs.monitor(operation.id).body
    assert (state["status"], state["error"]["code"]) == ("Failed", "TooManyAttempts")
    assert "copy" in state["error"]["message"]
    assert [(one["attempt"], one["stage"], one["code"]) for one in state["attempts"]] == [
        (1, "copy", None),
        (2, "copy", None),
        (3, None, "TooManyAttempts"),
    ]
    assert day.table() == day.before
    note = last_of_day(operation)
    assert (note.outcome, note.code, note.operation_id) == ("failed", "TooManyAttempts", operation.id)


@pytest.mark.any_server
def test_a_cancel_of_a_restore_that_lost_its_worker(jobs: Jobs, day: FaultCase) -> None:
    """The next worker ends it, and the calendar knows of it."""
    operation = jobs.taken(day.job_body())
    with gate(day), jobs.worker(jobs.receive().content) as worker:
        day.wait_until_locked_out()
        worker.kill()
        worker.wait()
    assert jobs.cancel(operation.id).status == 202
    jobs.sweep_until_queued(operation.id)
    jobs.work()
    assert jobs.state(operation.id).status == "Canceled"
    assert day.table() == day.before
    note = last_of_day(operation)
    assert (note.outcome, note.code, note.operation_id) == ("failed", "RestoreCanceled", operation.id)


@pytest.mark.any_server
@pytest.mark.usefixtures("managed_identity", "quick_retries")
def test_an_archive_that_is_being_rehydrated(jobs: Jobs, azure: Azure, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a schedule of its own: these attempts do not count as those of other errors."""
    monkeypatch.delenv("ADLS_CONNECTION_STRING")
    monkeypatch.setenv("JOB_MAX_ATTEMPTS", "2")
    monkeypatch.setattr(ArchiveBeingRehydrated, "retry_delay_seconds", 0)
    monkeypatch.setattr(ArchiveBeingRehydrated, "most_retries", 4)
    azure.refusals[f"/fs1/{PATH}"] = Refusal(409, "BlobBeingRehydrated")
    operation = jobs.taken({"adls_url": f"abfss://fs1@account.dfs.core.windows.net/{PATH}"})
    for attempt in range(1, 5):
        jobs.work()
        state = jobs.monitor(operation.id).body
        assert (state["status"], state["attempt"]) == ("NotStarted", attempt)
        assert (state["error"]["code"], state["error"]["retry"]) == ("ArchiveBeingRehydrated", "later")
    jobs.work()
    state = jobs.monitor(operation.id).body
    assert (state["status"], state["error"]["code"]) == ("Failed", "ArchiveBeingRehydrated")
    assert jobs.store.queue_is_empty()


@pytest.mark.any_server
@pytest.mark.parametrize(
    "text", [b"", b"no JSON", b"[]", b'{"id": "x"}', b'{"version": 2, "id": "x"}', b'{"version": 1}', b"[" * 100_000]
)
def test_a_message_that_says_nothing(jobs: Jobs, text: bytes) -> None:
    with pytest.raises(UnreadableMessageError) as caught:
        dispatch_message(text)
    assert "x" not in str(caught.value).split()
    end_poisoned(text)
    assert jobs.listed().body["value"] == []


@pytest.mark.any_server
def test_a_message_that_the_host_gave_up(jobs: Jobs, day: FaultCase) -> None:
    operation = jobs.taken(day.job_body())
    jobs.store.change(operation, stage="copy", error=json.dumps({"code": "TargetLocked"}))
    end_poisoned(message(operation.id).encode())
    state = jobs.monitor(operation.id).body
    assert (state["status"], state["error"]["code"]) == ("Failed", "TooManyAttempts")
    assert all(word in state["error"]["message"] for word in ("copy", "TargetLocked"))
    # The calendar knows of it.
    note = last_of_day(operation)
    assert (note.outcome, note.code, note.at) == ("failed", "TooManyAttempts", state["ended"])
    answer = json.loads(jobs.state(operation.id).answer)
    assert (note.operation_id, note.request_id) == (operation.id, answer["request_id"])
    jobs.work()
    assert day.table() == day.before
    rehearsal = jobs.taken(day.job_body() | {"dry_run": True})
    end_poisoned(message(rehearsal.id).encode())
    assert jobs.state(rehearsal.id).status == "Failed"
    assert last_of_day(operation) == note
    end_poisoned(message("unknown").encode())
    dispatch_message(message("unknown").encode())


@pytest.mark.any_server
def test_a_heartbeat_takes_no_claim_back_that_is_given_up_meanwhile(jobs: Jobs, day: FaultCase) -> None:
    claim = claim_operation(jobs.store, jobs.taken(day.job_body()))
    assert claim is not None
    give_up = partial(claim.write, **waiting())
    given_up: list[threading.Thread] = []

    class Slow(Progress):
        """Gives the other thread of the worker time to give the claim up, in the middle of a heartbeat."""

        def seconds(self) -> dict[str, float]:
            if not given_up:
                given_up.append(threading.Thread(target=give_up))
                given_up[0].start()
                given_up[0].join(2)
            return super().seconds()

    claim.renew(Slow())
    given_up[0].join()
    claim.renew(Progress())
    assert (jobs.state(claim.operation.id).claim, claim.is_lost) == ("", False)


@pytest.mark.any_server
def test_a_message_that_was_lost(jobs: Jobs, day: FaultCase) -> None:
    operation = jobs.taken(day.job_body())
    jobs.storage.queue.clear_messages()
    assert wait_until(lambda: jobs.state(operation.id).is_stale, 30)
    sweep()
    jobs.work()
    check_succeeded(jobs, day, operation.id)


@pytest.mark.any_server
def test_records_end_when_they_are_old(jobs: Jobs, day: FaultCase, monkeypatch: pytest.MonkeyPatch) -> None:
    ended, waiting = jobs.taken(day.job_body()), jobs.taken(day.job_body())
    jobs.cancel(ended.id)
    sweep()
    assert {one["id"] for one in jobs.listed().body["value"]} == {ended.id, waiting.id}
    later = jobs.store.service_time() + timedelta(days=31)
    monkeypatch.setattr(OperationStore, "service_time", lambda _: later)
    sweep()
    assert [one["id"] for one in jobs.listed().body["value"]] == [waiting.id]
    assert jobs.monitor(ended.id).code == "OperationNotFound"


@pytest.mark.any_server
def test_a_record_that_is_old_takes_its_texts_along(
    jobs: Jobs, day: FaultCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a record that is kept stay. The id may be used again, also after a sweep that ended in the middle."""
    monkeypatch.setattr("shared.jobs.store.LONGEST_TEXT", 10)
    ended, kept = (jobs.taken(day.job_body(), Operation_Id=name) for name in ("old", "old-2"))
    jobs.cancel(ended.id)
    jobs.store.delete(jobs.state(ended.id))
    assert not list(jobs.storage.container.list_blob_names(name_starts_with=f"restore/{ended.id}/"))
    assert jobs.state(kept.id).request == kept.request
    assert [entity["RowKey"] for entity in jobs.storage.table.list_entities()] == [f"id~{kept.id}", kept.row_key]
    again = jobs.taken(day.job_body(), Operation_Id=ended.id)
    with pytest.raises(Conflict):
        jobs.store.delete(replace(again, etag=ended.etag))
    jobs.store.delete(ended)
    assert jobs.state(again.id).request == again.request
    jobs.work()
    jobs.work()


@pytest.mark.any_server
def test_no_storage_account(jobs: Jobs, day: FaultCase, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore that somebody waits for does not need it."""
    port = free_port()
    away = f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YQ==;TableEndpoint=http://127.0.0.1:{port}/a;"
    away += f"QueueEndpoint=http://127.0.0.1:{port}/a;BlobEndpoint=http://127.0.0.1:{port}/a;"
    monkeypatch.setenv("AzureWebJobsStorage", away)
    refused = jobs.post(day.job_body(), Prefer="respond-async")
    assert (refused.status, refused.code) == (503, "JobStorageUnreachable")
    assert jobs.monitor("x").code == "JobStorageUnreachable"
    begin = time.monotonic()
    assert jobs.post(day.job_body()).status == 200
    assert time.monotonic() - begin < 20
    day.check_complete()


def test_a_restore_in_progress_leads_to_its_operation(jobs: Jobs, day: FaultCase) -> None:
    running = jobs.taken(day.job_body())
    assert jobs.monitor(running.id).body["attempt_request_id"] is None
    other = jobs.taken(day.job_body())
    with gate(day):
        worker = Call(jobs.work)
        day.wait_until_locked_out()
        refused = jobs.post(day.job_body())
        assert refused.code == "RestoreInProgress"
        assert "request_id=<id>" in refused.body["error"]["hint"]
        (found,) = jobs.listed(request_id=refused.body["error"]["details"][0]["request_id"]).body["value"]
        assert found["id"] == running.id != other.id
    worker.result()
    ended = jobs.monitor(running.id).body
    assert ended["attempt_request_id"] == ended["result"]["request_id"] == found["attempt_request_id"]
