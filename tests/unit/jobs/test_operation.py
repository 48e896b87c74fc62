"""What an operation forgets that is to run again."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from shared.jobs.operation import (
    MOST_ATTEMPTS,
    BackfillOperation,
    DayOperation,
    GroupOperation,
    Operation,
    RestoreOperation,
    as_new,
)

ASKED: dict[str, Any] = {"request": "{}", "archive": "archive", "database": "db", "target_table": "public.t"}
CREATED = "2025-01-02T00:00:00.000Z"
NEW = [
    RestoreOperation(id="id", created=CREATED, day="2025-01-01", **ASKED),
    DayOperation(id="id", created=CREATED, day="2025-01-01", backfill="whole", **ASKED),
    GroupOperation(id="id", created=CREATED, backfill="whole"),
    BackfillOperation(id="id", created=CREATED, parallel=1, phase="plan", **ASKED),
]
# What was asked, where the record is, and what is known beyond one run. A field that is new is in one of the two.
STAYS = {
    *("id", "row_key", "etag", "written", "read", "created", "tokens", "traceparent"),
    *("request", "archive", "database", "target_table", "day"),
    *("backfill", "is_held", "parallel", "shares_chunks", "phase", "plan"),
    *("attempt", "attempts", "commit"),
}


@pytest.mark.parametrize("new", NEW)
def test_each_field_stays_or_is_reset(new: Operation) -> None:
    names = {one.name for one in fields(new)}
    assert names == (STAYS & names) | as_new(new).keys()
    assert not STAYS & as_new(new).keys()


def test_no_other_field_is_named() -> None:
    assert {one.name for new in NEW for one in fields(new)} >= STAYS


@pytest.mark.parametrize("new", NEW)
def test_what_starts_over_is_as_it_was_created(new: Operation) -> None:
    used: dict[str, Any] = {name: f"used {name}" for name in as_new(new)}
    assert replace(replace(new, **used), **as_new(new)) == new


def test_a_restore_that_names_a_backfill_is_a_day_of_it() -> None:
    # A record that was written before there were types names none as an empty text.
    assert [RestoreOperation.type_of({"backfill": one}) for one in ("whole", "")] == [DayOperation, RestoreOperation]
    assert RestoreOperation.type_of({}) is RestoreOperation


def test_the_last_attempts_that_failed_are_kept() -> None:
    """Their texts stay far below what a property of the table holds."""
    operation = RestoreOperation(id="id", created=CREATED, day="2025-01-01", **ASKED)
    for attempt in range(1, MOST_ATTEMPTS + 3):
        operation = replace(operation, attempt=attempt)
        operation = replace(operation, **operation.failure_changes("recompress", "CommitOutcomeUnknown"))
    kept = json.loads(operation.attempts)
    assert [one["attempt"] for one in kept] == list(range(3, MOST_ATTEMPTS + 3))
    assert kept[0].keys() == {"attempt", "ended", "stage", "code"}
    assert len(operation.attempts) < 10_000


def test_an_attempt_is_lost_only_with_its_worker() -> None:
    operation = RestoreOperation(id="id", created=CREATED, day="2025-01-01", attempt=2, stage="copy", **ASKED)
    assert operation.loss_changes() == {}
    lost = json.loads(replace(operation, claim="a worker's").loss_changes()["attempts"])
    assert [(one["attempt"], one["stage"], one["code"]) for one in lost] == [(2, "copy", None)]
