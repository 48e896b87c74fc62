"""What callers see of a backfill: the number of days by outcome, the progress, and each day. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import cast

from shared.api.call import page_link
from shared.backfills.records import BackfillPlan, decode_plan
from shared.jobs.monitor import shown_error
from shared.jobs.operation import BackfillOperation, BackfillPhase, DayOperation, Operation
from shared.model.answer import BackfillOutcome
from shared.model.backfill_answer import (
    BackfillDay,
    BackfillLinks,
    BackfillMonitor,
    BackfillProgress,
    DayCounts,
    DayOutcome,
    ListedBackfill,
    Phase,
)
from shared.model.monitor import Status
from shared.model.stamp import read_stamp, stamp
from shared.progress.progress import percent_of

# From that many ended days on, an end is estimated.
_ENOUGH_DAYS = 3

# Percent, until all days are in.
_MOST_BEFORE_THE_END = 99.9

# How many days the details of an error name.
MOST_DETAILS = 100

_PHASES: Mapping[BackfillPhase, Phase] = {"plan": "plan", "create": "plan", "run": "restore", "refresh": "refresh"}
_OUTCOMES: Mapping[Status, DayOutcome] = {
    "NotStarted": "waiting",
    "Running": "running",
    "Failed": "failed",
    "Canceled": "canceled",
}


def outcome_of(day: DayOperation) -> DayOutcome:
    """Return the word for a day that has a record."""
    if day.status == "Succeeded":
        # A load leaves something to do, if only the span that it loaded.
        return "restored" if day.left else "skipped"
    return _OUTCOMES[day.status]


def count_days(days: Sequence[DayOperation], plan: BackfillPlan) -> DayCounts:
    """Count the days of each outcome."""
    found = Counter(map(outcome_of, days))
    found["skipped"] += len(plan.skipped)
    found["missing"] += len(plan.missing)
    # Before its record is created, a planned day waits.
    known = {day.day for day in days}
    found["waiting"] += sum(day not in known for group in plan.groups for day in group)
    return {
        "total": sum(found.values()),
        "waiting": found["waiting"],
        "running": found["running"],
        "restored": found["restored"],
        "skipped": found["skipped"],
        "failed": found["failed"],
        "canceled": found["canceled"],
        "missing": found["missing"],
    }


def waited_for(operation: BackfillOperation, days: Sequence[DayOperation]) -> Sequence[Operation]:
    """Return what a backfill waits for: its days while its groups run, else its own next attempt."""
    return days if operation.phase == "run" else [operation]


def backfill_links(base: str, operation: BackfillOperation) -> BackfillLinks:
    """Return the addresses of a backfill. None of them holds its token."""
    own = f"{base}/backfills/{operation.id}"
    return {"self": own, "result": f"{own}/result", "cancel": own, "retry": f"{own}/retry"}


def listed_backfill(operation: BackfillOperation, base: str) -> ListedBackfill:
    """Return a backfill as a list has it."""
    shown: ListedBackfill = {
        "id": operation.id,
        "kind": "backfill",
        "status": operation.status,
        "outcome": cast("BackfillOutcome", operation.outcome) or None,
        "phase": "ended" if operation.has_ended else _PHASES[operation.phase],
        "created": operation.created,
        "started": operation.started or None,
        "ended": operation.ended or None,
        "adls_url": operation.archive,
        "database": operation.database,
        "target_table": operation.target_table,
        "parallel": operation.parallel,
        "links": backfill_links(base, operation),
    }
    if operation.error:
        shown["error"] = shown_error(operation)
    return shown


def backfill_monitor(
    operation: BackfillOperation, days: Sequence[DayOperation], base: str, *, most: int, after: str = ""
) -> BackfillMonitor:
    """Return the monitor of a backfill.

    Args:
        operation: the record.
        days: all that have records.
        base: what links begin with.
        most: how many days are listed.
        after: the day before the first one that is listed.
    """
    plan = decode_plan(operation.plan)
    known = {day.day: day for day in days}
    names = sorted({*known, *plan.missing, *plan.skipped, *(day for group in plan.groups for day in group)})
    rest = [day for day in names if day > after]
    following = None
    if len(rest) > most:
        following = page_link(f"{base}/backfills/{operation.id}", {"top": str(most), "after": rest[most - 1]})
    shown = cast("BackfillMonitor", listed_backfill(operation, base))
    shown |= {
        "stopping": operation.is_stopped and not operation.has_ended,
        "days": count_days(days, plan),
        "progress": _progress(operation, days, plan),
        "value": [_day(name, known.get(name), plan) for name in rest[:most]],
        "nextLink": following,
        "warnings": [],
    }
    if operation.has_ended and operation.answer:
        answer = json.loads(operation.answer)
        shown["warnings"] = answer.get("warnings", [])
        if operation.status == "Succeeded":
            shown["result"] = answer
    return shown


def _day(name: str, day: DayOperation | None, plan: BackfillPlan) -> BackfillDay:
    shown: BackfillDay = {
        "day": name,
        "outcome": "waiting",
        "state": plan.skipped.get(name),
        "bytes": plan.sizes.get(name),
        "rows": 0,
        "attempt": 0,
        "stage": None,
        "started": None,
        "ended": None,
        "next_attempt": None,
        "operation_id": None,
        "warnings": [],
    }
    if day is None:
        if name in plan.missing:
            shown["outcome"] = "missing"
        elif name in plan.skipped:
            shown["outcome"] = "skipped"
        return shown
    shown |= {
        "outcome": outcome_of(day),
        "rows": day.rows,
        "attempt": day.attempt,
        "stage": day.stage or None,
        "started": day.started or None,
        "ended": day.ended or None,
        "next_attempt": day.next_attempt or None,
        "operation_id": day.id,
        "warnings": day.warned_of.split(),
    }
    if day.error:
        shown["error"] = shown_error(day)
    return shown


def _progress(operation: BackfillOperation, days: Sequence[DayOperation], plan: BackfillPlan) -> BackfillProgress:
    to_restore = {day.day for day in days}.union(*plan.groups)
    total = sum(plan.sizes.get(day, 0) for day in to_restore)
    ended = [day for day in days if day.has_ended]
    # A day that failed, was canceled or waits for its next attempt was rolled back: what it has read does not count.
    are_in = [day for day in days if day.status == "Succeeded"]
    run = [day for day in days if day.status == "Running"]
    read = sum(plan.sizes.get(day.day, 0) for day in are_in) + sum(day.compressed_bytes for day in run)
    percent = percent_of(read, total or None)
    return {
        "compressed_bytes": read,
        "compressed_bytes_total": total or None,
        # A day that was read is not yet loaded.
        "percent": percent if percent is None or len(are_in) == len(to_restore) else min(percent, _MOST_BEFORE_THE_END),
        "rows": sum(day.rows for day in (*are_in, *run)),
        "seconds": _seconds(operation),
        "estimated_end": _estimated_end(operation, ended, days, plan),
    }


def _seconds(operation: BackfillOperation) -> float:
    if not operation.started:
        return 0.0
    end = read_stamp(operation.ended) if operation.ended else datetime.now(timezone.utc)
    return max(0.0, round((end - read_stamp(operation.started)).total_seconds(), 3))


def _estimated_end(
    operation: BackfillOperation, ended: Sequence[DayOperation], days: Sequence[DayOperation], plan: BackfillPlan
) -> str | None:
    """Estimate when the last day ends, by the bytes of the days that have ended since the start."""
    if operation.has_ended or not operation.started or len(ended) == len(days):
        return None
    of_now = [day for day in ended if day.ended >= operation.started]
    done = sum(plan.sizes.get(day.day, 0) for day in of_now)
    if len(of_now) < _ENOUGH_DAYS or not done:
        return None
    left = sum(plan.sizes.get(day.day, 0) for day in days if not day.has_ended)
    end = datetime.now(timezone.utc) + timedelta(seconds=_seconds(operation) * left / done)
    return stamp(end, "seconds")
