"""Restores behind the queue: done exactly once, whatever happens to messages, workers, the queue and the database."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors import ArchiveBeingRehydrated
from shared.jobs.message import UnreadableMessageError
from shared.jobs.store import OperationStore
from shared.jobs.sweep import end_poisoned, sweep
from shared.jobs.worker import run_message
from tests.faults.fix_fault_case import FaultCase, gate, make_fault_case
from tests.faults.fix_jobs import Jobs
from tests.faults.fix_proxy import Proxy
from tests.integration.fix_app import App
from tests.integration.fix_azure import PATH, Azure, Refusal
from tests.integration.fix_threads import Call
from tools.local_server import free_port
from tools.process import wait_until


@pytest.fixture(params=["direct-fast", "staging-replace-plain"])
def day(request: pytest.FixtureRequest, app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FaultCase:
    return make_fault_case(app, request.param, tmp_path / "spool", monkeypatch)


def message(operation_id: str) -> str:
    return json.dumps({"version": 1, "id": operation_id})


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
        run_message(message(operation.id).encode())
        worker.kill()
        worker.wait()
        day.wait_until_gone()
    assert day.table() == day.before
    jobs.sweep_until_queued(operation.id)
    jobs.work()
    assert jobs.state(operation.id).crashes == 1
    check_succeeded(jobs, day, operation.id)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_worker_that_is_killed_at_its_commit(
    jobs: Jobs, day: FaultCase, proxy: Proxy, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent, and perhaps carried out; nobody has noted it. The next worker asks the server."""
    operation = jobs.taken(day.job_body())
    through = {"PGHOST": "127.0.0.1", "PGPORT": str(proxy.port), "PGSSLMODE": "disable"}
    with jobs.worker(jobs.receive().content, **through) as worker:
        proxy.when(b"COMMIT\0", lambda _: worker.kill(), answers=moment == "after")
        worker.wait(timeout=60)
    day.wait_until_gone()
    assert jobs.state(operation.id).commit
    jobs.sweep_until_queued(operation.id)
    monkeypatch.setenv("PG_LOCK_TIMEOUT_SECONDS", "5")
    jobs.work()
    check_succeeded(jobs, day, operation.id)


def test_the_same_message_twice(jobs: Jobs, day: FaultCase) -> None:
    operation = jobs.taken(day.job_body())
    with gate(day) as let_go, jobs.worker(message(operation.id)) as first, jobs.worker(message(operation.id)) as second:
        day.wait_until_locked_out()
        # One has it, and the other one has dropped its message.
        assert wait_until(lambda: first.poll() is not None or second.poll() is not None, 30)
        let_go()
        assert [first.wait(60), second.wait(60)] == [0, 0]
    run_message(message(operation.id).encode())
    assert jobs.state(operation.id).attempt == 1
    check_succeeded(jobs, day, operation.id)


def test_a_claim_that_was_lost_commits_nothing(jobs: Jobs, day: FaultCase) -> None:
    operation = jobs.taken(day.job_body())
    with gate(day) as let_go:
        running = Call(jobs.work)
        day.wait_until_locked_out()
        current = jobs.state(operation.id)
        while True:
            try:
                jobs.store.change(current, claim="another")
                break
            except Exception:  # noqa: BLE001 - the heartbeat came first
                current = jobs.state(operation.id)
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
        assert jobs.cancel(running.id).status == 202
        assert jobs.cancel(running.id).status == 202
        worker.result()
        assert time.monotonic() - begin < 10
    state = jobs.monitor(running.id).body
    assert (state["status"], state["error"]["code"]) == ("Canceled", "RestoreCanceled")
    assert day.table() == day.before
    done = jobs.taken(day.job_body())
    jobs.work()
    assert (jobs.cancel(done.id).status, jobs.cancel(done.id).code) == (409, "OperationEnded")
    check_succeeded(jobs, day, done.id)


def test_a_database_that_is_away_for_a_while(jobs: Jobs, day: FaultCase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.jobs.enqueue._FIRST_DELAY_SECONDS", 1)
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


def test_an_error_that_stays_ends_it_at_last(jobs: Jobs, day: FaultCase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.jobs.enqueue._FIRST_DELAY_SECONDS", 0)
    monkeypatch.setenv("JOB_MAX_ATTEMPTS", "3")
    monkeypatch.setenv("PGPORT", str(free_port()))
    operation = jobs.taken(day.job_body())
    for _ in range(3):
        jobs.work()
    state = jobs.state(operation.id)
    assert (state.status, state.attempt, state.answer_status) == ("Failed", 3, 503)
    assert jobs.store.queue_is_empty()


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
    assert day.table() == day.before


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


@pytest.mark.parametrize(
    "text", [b"", b"no JSON", b"[]", b'{"id": "x"}', b'{"version": 2, "id": "x"}', b'{"version": 1}', b"[" * 100_000]
)
def test_a_message_that_says_nothing(jobs: Jobs, text: bytes) -> None:
    with pytest.raises(UnreadableMessageError) as caught:
        run_message(text)
    assert "x" not in str(caught.value).split()
    end_poisoned(text)
    assert jobs.listed().body["value"] == []


def test_a_message_that_the_host_gave_up(jobs: Jobs, day: FaultCase) -> None:
    operation = jobs.taken(day.job_body())
    end_poisoned(message(operation.id).encode())
    state = jobs.monitor(operation.id).body
    assert (state["status"], state["error"]["code"]) == ("Failed", "TooManyAttempts")
    jobs.work()
    assert day.table() == day.before
    end_poisoned(message("unknown").encode())
    run_message(message("unknown").encode())


def test_a_message_that_was_lost(jobs: Jobs, day: FaultCase) -> None:
    operation = jobs.taken(day.job_body())
    jobs.storage.queue.clear_messages()
    assert wait_until(lambda: jobs.state(operation.id).is_stale, 30)
    sweep()
    jobs.work()
    check_succeeded(jobs, day, operation.id)


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
