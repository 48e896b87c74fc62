"""What is written and logged when the status of an operation changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from shared.errors import OperationEnded
from shared.jobs.operation import BackfillOperation, DayOperation, GroupOperation, Operation, RestoreOperation
from shared.jobs.store import OperationStore
from shared.jobs.transitions import End, canceled, given_up, update

ASKED: dict[str, Any] = {"request": "{}", "archive": "archive", "database": "db", "target_table": "public.t"}
CREATED = "2025-01-02T00:00:00.000Z"
WAITING = RestoreOperation(id="id", day="2025-01-01", created=CREATED, **ASKED)
HELD = DayOperation(id="id", day="2025-01-01", created=CREATED, backfill="whole", **ASKED)
RUNNING = replace(WAITING, status="Running", claim="a worker", attempt=1)
CANCELED = replace(WAITING, status="Canceled", is_canceled=True)


class Contended:
    """A store in which other writers come first: each of them leaves the record as it is given."""

    def __init__(self, *found: RestoreOperation) -> None:
        self._found = found

    def update(self, _: RestoreOperation, decide: Callable[[RestoreOperation], Mapping[str, Any]]) -> RestoreOperation:
        for operation in self._found:
            changes = decide(operation)
        return replace(operation, **changes)


def decided(decide: Callable[[RestoreOperation], Any], *found: RestoreOperation) -> RestoreOperation:
    return update(cast("OperationStore[RestoreOperation]", Contended(*found)), found[0], decide)


def test_an_end_that_is_decided_twice_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    ended = decided(canceled, WAITING, replace(WAITING, tokens=("another call's",)))
    assert (ended.status, ended.is_canceled, ended.answer_status) == ("Canceled", True, 409)
    assert json.loads(ended.error)["code"] == "RestoreCanceled"
    (record,) = caplog.records
    assert "outcome=RestoreCanceled" in record.getMessage()
    # By this id the line is found.
    assert json.loads(ended.answer_headers)["x-ms-request-id"] in record.getMessage()


def test_an_end_that_another_call_wrote_is_not_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    assert decided(canceled, WAITING, CANCELED) == CANCELED
    assert not caplog.records


def test_a_cancel_of_what_runs_or_may_be_in_only_tells_its_worker() -> None:
    assert canceled(RUNNING) == canceled(replace(WAITING, commit="{}")) == {"is_canceled": True}


@pytest.mark.parametrize("is_canceled", [True, False])
@pytest.mark.parametrize("status", ["Succeeded", "Failed"])
def test_what_has_ended_is_not_canceled(status: Any, *, is_canceled: bool) -> None:
    with pytest.raises(OperationEnded):
        canceled(replace(WAITING, status=status, is_canceled=is_canceled))


def test_what_the_host_gives_up_fails_with_its_last_stage_and_error() -> None:
    tried = replace(WAITING, attempt=5, stage="copy", error='{"code": "DatabaseUnreachable"}')
    end = given_up(tried)
    assert isinstance(end, End)
    assert (end.status, end.error.code) == ("Failed", "TooManyAttempts")
    assert end.error.message == (
        "the host gave the restore up after 5 attempts in 'copy'; its last error was DatabaseUnreachable"
    )


@pytest.mark.parametrize(
    "operation",
    [
        replace(WAITING, commit="{}"),
        GroupOperation(id="id", created=CREATED, backfill="whole"),
        BackfillOperation(id="id", created=CREATED, parallel=1, phase="plan", **ASKED),
    ],
)
def test_what_may_be_in_or_ends_with_its_days_is_not_failed_but_waits(operation: Operation) -> None:
    assert given_up(operation) == {"status": "NotStarted", "claim": "", "is_queued": False}


@pytest.mark.parametrize("operation", [RUNNING, CANCELED, HELD])
def test_what_a_worker_has_or_has_ended_or_has_no_message_is_left_alone(operation: Operation) -> None:
    assert given_up(operation) == {}
