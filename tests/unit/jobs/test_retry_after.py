"""How soon a caller should look at operations again."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from shared.backfills.summary import waited_for
from shared.jobs.monitor import retry_after_seconds
from shared.jobs.operation import BackfillOperation, DayOperation
from shared.model.stamp import stamp

NOW = datetime(2025, 1, 1, 12, tzinfo=timezone.utc)
ASKED: dict[str, Any] = {"request": "{}", "archive": "archive", "database": "db", "target_table": "public.t"}
DAY = DayOperation(id="day", created="", day="2025-01-01", backfill="whole", read=NOW, **ASKED)
BACKFILL = BackfillOperation(id="whole", created="", parallel=1, phase="run", status="Running", read=NOW, **ASKED)


def waiting(seconds: float) -> DayOperation:
    return replace(DAY, next_attempt=stamp(NOW + timedelta(seconds=seconds)))


RUNNING = replace(waiting(3600), status="Running")
ENDED = replace(DAY, status="Failed")


@pytest.mark.parametrize(
    ("days", "seconds"),
    [
        ([], 5),
        ([ENDED], 5),
        ([DAY], 5),
        ([replace(waiting(3600), read=None)], 5),
        ([waiting(-10)], 5),
        ([waiting(2)], 5),
        ([waiting(29.5)], 30),
        ([waiting(3600)], 60),
        ([waiting(3600), waiting(20), ENDED], 20),
        ([waiting(3600), RUNNING], 5),
        ([waiting(3600), DAY], 5),
    ],
)
def test_the_first_that_is_due_decides(days: list[DayOperation], seconds: int) -> None:
    assert retry_after_seconds(days) == retry_after_seconds(waited_for(BACKFILL, days)) == seconds


def test_a_backfill_whose_own_attempt_is_to_come() -> None:
    """It plans its days, or refreshes aggregates: the days say nothing of that."""
    for phase in ("plan", "refresh"):
        waits = replace(BACKFILL, phase=phase, status="NotStarted", next_attempt=stamp(NOW + timedelta(seconds=40)))
        assert retry_after_seconds(waited_for(waits, [ENDED])) == 40
        assert retry_after_seconds(waited_for(replace(waits, status="Running"), [waiting(3600)])) == 5
