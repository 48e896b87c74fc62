"""How far a backfill is: only days that are in, and days that run, count."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.backfills.records import BackfillPlan
from shared.backfills.summary import backfill_monitor
from shared.jobs.operation import BackfillOperation, DayOperation
from shared.model.backfill_answer import BackfillMonitor
from shared.model.monitor import Status

ASKED: dict[str, Any] = {"request": "{}", "archive": "archive", "database": "db", "target_table": "public.t"}
DAYS = [f"2025-01-0{number}" for number in range(1, 5)]
PLAN = BackfillPlan(groups=[DAYS], sizes=dict.fromkeys(DAYS, 1000))
BACKFILL = BackfillOperation(id="whole", created="", parallel=1, phase="run", plan=PLAN.encode(), **ASKED)


def day(number: int, status: Status, **facts: Any) -> DayOperation:
    known: dict[str, Any] = {"compressed_bytes": 500, "compressed_bytes_total": 1000, "rows": 10, "left": "{}"}
    known |= ASKED | facts
    return DayOperation(id=DAYS[number], created="", day=DAYS[number], backfill="whole", status=status, **known)


def monitor(*days: DayOperation) -> BackfillMonitor:
    return backfill_monitor(BACKFILL, days, "https://app/api", most=100)


@pytest.mark.parametrize("status", ["Failed", "Canceled", "NotStarted"])
def test_what_was_rolled_back_does_not_count(status: Status) -> None:
    """It was read, and is not in. A day that waits begins again."""
    progress = monitor(day(0, "Succeeded"), day(1, status), day(2, status), day(3, "Running"))["progress"]
    assert (progress["rows"], progress["compressed_bytes"], progress["percent"]) == (20, 1500, 37.5)
    progress = monitor(*(day(number, status) for number in range(4)))["progress"]
    assert (progress["rows"], progress["compressed_bytes"], progress["percent"]) == (0, 0, 0)


def test_days_without_a_record_count_in_the_total() -> None:
    progress = monitor(day(0, "Succeeded"))["progress"]
    assert (progress["compressed_bytes_total"], progress["percent"]) == (4000, 25)


def test_a_hundred_percent_only_if_all_are_in() -> None:
    last = day(3, "Running", compressed_bytes=1000)
    before = [day(number, "Succeeded") for number in range(3)]
    assert monitor(*before, last)["progress"]["percent"] == 99.9
    assert monitor(*before, replace(last, status="Succeeded"))["progress"]["percent"] == 100
