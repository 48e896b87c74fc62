"""The app's own storage account fails: its queue, its tables or its blobs, at any step, in any way."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from shared.errors import JobStorageUnreachable
from shared.jobs import storage
from shared.jobs.day_notes import partition_of, read_days, try_to_write_day
from shared.jobs.storage import forget_job_storage
from shared.settings import load_settings
from tests.faults.fix_account import SERVICES, Account, Kind, Service
from tests.faults.fix_fault_case import FaultCase, gate, make_fault_case
from tests.faults.fix_jobs import Jobs
from tests.integration.fix_app import DAY, App
from tests.integration.fix_threads import Call
from tools.local_server import free_port
from tools.process import wait_until

pytestmark = pytest.mark.any_server

# Longer than the function tries here before it says that the account is away, as 30 s are in earnest.
SECONDS = 1.2
# The requests by which a worker takes an operation, says that it lives, prepares its COMMIT, and ends the operation.
STEPS = {
    "claim": rb'"status": "Running"',
    "heartbeat": rb'\n\{(?!.*"status").*"stage": "copy"',
    "commit": rb"/commit-[0-9a-f]{32}",
    "end": rb"/answer-[0-9a-f]{32}",
}
# Of the function, before a test shortens it.
PATIENCE = dict(storage.OPTIONS)
ALL: tuple[Kind, ...] = ("away", "slow", "late", "busy", "refused")


@pytest.fixture
def day(app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FaultCase:
    return make_fault_case(app, "direct-fast", tmp_path / "spool", monkeypatch)


@pytest.fixture
def brisk(account: Account, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> Jobs:  # noqa: ARG001 - before the jobs
    """All texts are in blobs, and nothing waits for long."""
    monkeypatch.setattr("shared.jobs.store.LONGEST_TEXT", 10)
    monkeypatch.setattr("shared.jobs.claim.PAUSE_SECONDS", 0.2)
    monkeypatch.setattr("shared.jobs.operation.STALE_SECONDS", 3)
    monkeypatch.setattr("shared.jobs.enqueue.FIRST_DELAY_SECONDS", 0)
    return jobs


def check_once(jobs: Jobs, day: FaultCase, operation_id: str, *, seconds: float = 40) -> None:
    """The operation ends well, and the day is there once."""
    jobs.serve_until_ended(operation_id, seconds=seconds)
    state = jobs.monitor(operation_id).body
    assert state["status"] == "Succeeded", state
    assert state["result"]["rows_loaded"] == len(day.numbers())
    day.check_complete()
    day.wait_until_gone()
    day.check_nothing_left()


@pytest.mark.parametrize(
    ("step", "service", "kind"),
    [
        *((step, "table", kind) for step in STEPS for kind in ALL),
        *((step, "blob", "away") for step in ("claim", "commit", "end")),
        *(("commit", "blob", kind) for kind in ("late", "refused")),
    ],
)
def test_while_a_worker_restores(
    brisk: Jobs, account: Account, day: FaultCase, step: str, service: Service, kind: Kind
) -> None:
    operation = brisk.taken(day.job_body())
    account.trouble(service, kind, at=STEPS[step], seconds=SECONDS)
    with gate(day) as let_go:
        worker = Call(lambda: check_once(brisk, day, operation.id))
        if step == "heartbeat":
            assert account.began.wait(20)
        let_go()
        worker.result()
    assert account.began.is_set()
    assert brisk.state(operation.id).crashes <= 1


@pytest.mark.parametrize("step", STEPS)
def test_thirty_seconds_without_any_of_it(
    brisk: Jobs, account: Account, day: FaultCase, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In earnest: with the function's own patience."""
    for name, value in PATIENCE.items():
        monkeypatch.setitem(storage.OPTIONS, name, value)
    monkeypatch.setattr("shared.jobs.claim.PAUSE_SECONDS", 2)
    monkeypatch.setattr("shared.jobs.operation.STALE_SECONDS", 120)
    forget_job_storage()
    operation = brisk.taken(day.job_body())
    for service in SERVICES:
        account.trouble(service, "away", at=STEPS[step], seconds=30)
    with gate(day) as let_go:
        worker = Call(lambda: check_once(brisk, day, operation.id, seconds=150))
        if step == "heartbeat":
            assert account.began.wait(20)
        let_go()
        worker.result()
    assert account.began.is_set()
    # Nobody took it from a worker that lived.
    assert brisk.state(operation.id).crashes == 0


@pytest.mark.parametrize(
    ("service", "kind"),
    [*((service, kind) for service in ("queue", "table") for kind in ALL), ("blob", "away"), ("blob", "refused")],
)
def test_while_a_restore_is_taken(brisk: Jobs, account: Account, day: FaultCase, service: Service, kind: Kind) -> None:
    account.trouble(service, kind)
    answer = brisk.post(day.job_body(), Prefer="respond-async", Operation_Id="mine")
    account.mend()
    if kind == "slow":
        assert answer.status == 202, answer.body
    elif answer.status != 202:
        assert (answer.status, answer.code) == (503, "JobStorageUnreachable")
        assert service != "queue" or brisk.monitor("mine").code == "OperationNotFound"
        assert brisk.post(day.job_body(), Prefer="respond-async", Operation_Id="mine").status == 202
    check_once(brisk, day, "mine")


def test_a_second_call_of_an_id_takes_nothing_from_the_first(brisk: Jobs, account: Account, day: FaultCase) -> None:
    """The first one was answered 202. The second finds the queue away, before it is noted that the message is in it."""
    first = brisk.taken(day.job_body(), Operation_Id="mine")
    brisk.store.change(first, is_queued=False)
    account.trouble("queue", "away")
    assert brisk.post(day.job_body(), Prefer="respond-async", Operation_Id="mine").code == "JobStorageUnreachable"
    account.mend()
    check_once(brisk, day, "mine")


@pytest.mark.parametrize("kind", ALL)
def test_while_a_restore_is_put_back(
    brisk: Jobs, account: Account, day: FaultCase, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is away, and then the queue that would bring the operation back."""
    operation = brisk.taken(day.job_body())
    with monkeypatch.context() as away:
        away.setenv("PGPORT", str(free_port()))
        account.trouble("queue", kind, at=rb'"next_attempt": "[^"]', seconds=SECONDS)
        with suppress(JobStorageUnreachable):
            brisk.serve_once()
    assert account.began.is_set()
    assert brisk.state(operation.id).status == "NotStarted"
    check_once(brisk, day, operation.id)


@pytest.mark.parametrize("kind", ["away", "late", "refused"])
def test_a_restore_that_is_waited_for_does_not_need_it(
    brisk: Jobs,
    account: Account,
    day: FaultCase,
    kind: Kind,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The note of its day is tried only once it is answered here. Were it to wait, nothing would be tried."""
    for service in SERVICES:
        account.trouble(service, kind)
    answered = threading.Event()

    def write(*arguments: Any) -> None:
        if answered.wait(20):
            try_to_write_day(*arguments)

    monkeypatch.setattr("shared.jobs.day_notes.try_to_write_day", write)
    assert brisk.post(day.job_body()).status == 200
    answered.set()
    day.check_complete()
    assert wait_until(lambda: "could not be written" in caplog.text, 20)


@pytest.mark.parametrize("kind", ["late", "slow"])
def test_an_end_that_is_written_and_not_answered_is_an_end(
    brisk: Jobs, account: Account, day: FaultCase, kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    """The day is noted, and the log does not say that the restore was rolled back."""
    caplog.set_level("INFO", logger="restore_chunk")
    operation = brisk.taken(day.job_body())
    account.trouble("table", kind, at=rb'"status": "Succeeded"', seconds=SECONDS)
    brisk.work()
    assert account.began.is_set()
    assert f"operation={operation.id} ended: Succeeded" in caplog.messages
    assert wait_until(lambda: last_restore(day) is not None, 10)
    assert last_restore(day).operation_id == operation.id


@pytest.mark.parametrize("kind", ["late", "slow"])
def test_a_put_back_that_is_written_and_not_answered_waits_no_longer(
    brisk: Jobs, account: Account, day: FaultCase, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its message is put in by the worker, not two minutes later by the sweep."""
    operation = brisk.taken(day.job_body())
    with monkeypatch.context() as away:
        away.setenv("PGPORT", str(free_port()))
        account.trouble("table", kind, at=rb'"next_attempt": "[^"]', seconds=SECONDS)
        brisk.work()
    assert account.began.is_set()
    account.mend()
    brisk.work()
    assert brisk.monitor(operation.id).body["status"] == "Succeeded"
    day.check_complete()


def last_restore(day: FaultCase) -> Any:
    settings = load_settings()
    database = day.app.database
    found = read_days(settings, partition_of(database.name, f"{database.schema}.t"), *2 * [date.fromisoformat(DAY)])
    return found.get(date.fromisoformat(DAY))


def test_the_parts_do_not_wait_for_each_other(jobs: Jobs, account: Account, day: FaultCase) -> None:
    """Records and notes of days are in tables alone: without queue and blobs they can be read and written."""
    operation = jobs.taken(day.job_body())
    for service in ("blob", "queue"):
        account.trouble(service, "away")
    forget_job_storage()
    assert jobs.monitor(operation.id).body["status"] == "NotStarted"
    assert jobs.post(day.job_body()).status == 200
    assert wait_until(lambda: last_restore(day) is not None, 20)
    assert last_restore(day).outcome == "ok"
    assert jobs.cancel(operation.id).status == 202


def test_a_monitor_is_one_read(jobs: Jobs, account: Account, day: FaultCase) -> None:
    operation = jobs.taken(day.job_body())
    jobs.monitor(operation.id)
    account.requests.clear()
    jobs.monitor(operation.id)
    assert [(service, method) for service, method, _ in account.requests] == [("table", "GET")]
    # Another one may have the same id later.
    jobs.cancel(operation.id)
    jobs.store.delete(jobs.state(operation.id))
    assert jobs.monitor(operation.id).code == "OperationNotFound"
    again = jobs.taken(day.job_body(), Operation_Id=operation.id)
    assert again.row_key != operation.row_key
    assert jobs.monitor(operation.id).body["status"] == "NotStarted"


def test_the_lines_of_a_note_carry_the_invocation(
    jobs: Jobs, account: Account, day: FaultCase, caplog: pytest.LogCaptureFixture
) -> None:
    """The host drops those that do not."""
    account.trouble("table", "away")
    joined: list[str] = []
    local = threading.local()

    class WithInvocation(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            joined.append(f"{getattr(local, 'invocation', None)} {record.getMessage()}")
            return True

    caplog.handler.addFilter(seen := WithInvocation())
    for invocation in ("first", "second"):
        jobs.join = partial(setattr, local, "invocation", invocation)
        jobs.post(day.job_body())
    try:
        assert wait_until(lambda: sum("could not be written" in line for line in joined) == 2, 20)
    finally:
        caplog.handler.removeFilter(seen)
    notes = [line.split()[0] for line in joined if "could not be written" in line]
    assert notes == ["first", "second"]
