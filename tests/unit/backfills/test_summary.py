"""What callers see of a backfill."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.backfills.records import BackfillPlan
from shared.backfills.summary import backfill_monitor
from shared.jobs.operation import BackfillOperation, DayOperation
from shared.model.stamp import stamp

ASKED: dict[str, Any] = {"archive": "archive", "database": "db", "target_table": "public.t", "created": ""}
DAYS = [f"2025-01-{number:02}" for number in range(1, 9)]


def ago(seconds: float) -> str:
    return stamp(datetime.now(timezone.utc) - timedelta(seconds=seconds))


def backfill(**more: Any) -> BackfillOperation:
    """Return one that began 60 s ago, with eight days of 100 bytes each."""
    plan = BackfillPlan(groups=[[day] for day in DAYS], sizes=dict.fromkeys(DAYS, 100))
    facts = {"status": "Running", "started": ago(60), "plan": plan.encode()} | more
    return BackfillOperation(id="id", request="{}", parallel=2, phase="run", **ASKED, **facts)


def days(*ended: str) -> list[DayOperation]:
    """Return the days, of which the first have ended at such times."""
    done: list[dict[str, Any]] = [{"status": "Succeeded", "ended": time} for time in ended]
    return [
        DayOperation(id=day, request="{}", day=day, backfill="id", **ASKED, **more)
        for day, more in zip(DAYS, [*done, *[{}] * (len(DAYS) - len(done))], strict=True)
    ]


def estimated_end(operation: BackfillOperation, known: list[DayOperation]) -> str | None:
    return backfill_monitor(operation, known, "base", most=100)["progress"]["estimated_end"]


def test_the_end_is_estimated_by_the_bytes_that_are_done() -> None:
    # Four of eight days in 60 s.
    found = estimated_end(backfill(), days(*map(ago, (50, 35, 20, 5))))
    assert found is not None
    left = datetime.fromisoformat(found.replace("Z", "+00:00")) - datetime.now(timezone.utc)
    assert timedelta(seconds=55) < left < timedelta(seconds=65)


@pytest.mark.parametrize(
    ("operation", "known"),
    [
        (backfill(), days(*map(ago, (50, 20)))),
        # A retry began 60 s ago: the days that ended before it say nothing of its pace.
        (backfill(), days(*map(ago, (500, 400, 300, 200, 20)))),
        (backfill(status="Succeeded", ended=ago(1)), days(*map(ago, (50, 35, 20, 5)))),
        (backfill(), days(*map(ago, range(8, 0, -1)))),
        (backfill(started=""), days()),
    ],
    ids=["two days", "days of an earlier run", "ended", "none is left", "not begun"],
)
def test_no_end_is_estimated(operation: BackfillOperation, known: list[DayOperation]) -> None:
    assert estimated_end(operation, known) is None


def test_days_are_listed_page_by_page() -> None:
    seen: list[list[str]] = []
    after = ""
    while True:
        shown = backfill_monitor(backfill(), days(), "https://base/api", most=3, after=after)
        assert shown["days"]["total"] == len(DAYS)
        seen.append([day["day"] for day in shown["value"]])
        if shown["nextLink"] is None:
            break
        link = urlsplit(shown["nextLink"])
        query = parse_qs(link.query)
        assert (link.path, query["top"]) == ("/api/backfills/id", ["3"])
        (after,) = query["after"]
    assert seen == [DAYS[:3], DAYS[3:6], DAYS[6:]]
