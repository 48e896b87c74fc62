"""The states of a backfill, of its groups and of its days: which there are, what follows which, and who moves them.

Nothing else writes them. The functions return what is written into a record, and write nothing themselves. What holds
for every operation, such as a claim, is in `jobs/transitions.py`.

A backfill has a status, which callers see, and a phase: what is to be done next.

| phase   | what is done in it                      | by                               | then                       |
|---------|-----------------------------------------|----------------------------------|----------------------------|
| plan    | look at the days, write the plan down   | the worker that holds its claim  | create (`planned`)         |
| create  | create the records of days and groups   | the same, or another after it    | run (`records_are_there`)  |
| run     | groups run; the backfill has no worker  | the workers of its groups        | refresh (`groups_ended`)   |
| refresh | refresh aggregates, sum up              | the worker that holds its claim  | an end, or plan (`reopened`) |

It ends from every phase by an error that stays, and from `plan` by a cancel before its first plan. `begun_again` lets
it plan once more after its end; `stopped` and `stopped_by_a_day` let no further day start.

A group is held until its turn (`has_its_turn`), then claimed. It waits while none of its days is due (`not_due`); a day
may be `due_earlier` than it seemed. It is handed on where an invocation ends (`handed_on`). It always ends as Succeeded
(`group_ended`): its days may have failed.

Only the worker of its group claims a day: it is always held. It ends as any restore does; or
without having begun, once its backfill is stopped (`never_started`); or with its group, once that lost too many workers
(`lost_with_its_group`). `waits_again` lets it run once more in a retry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from shared.backfills.records import BackfillPlan, decode_plan
from shared.errors import InternalError, OperationEnded, OperationNotEnded, TooManyAttempts
from shared.jobs.operation import BackfillOperation, BackfillPhase, DayOperation, GroupOperation, as_new
from shared.jobs.transitions import Change, End, end_of_waiting, waiting
from shared.model.stamp import now
from shared.postgres.transaction import outcome_unknown
from shared.restore.pending import decode_pending

_NEXT: Mapping[BackfillPhase, BackfillPhase] = {"plan": "create", "create": "run", "run": "refresh", "refresh": "plan"}


def _moved(backfill: BackfillOperation, to: BackfillPhase) -> dict[str, Any]:
    if _NEXT[backfill.phase] != to:
        raise InternalError(f"a backfill cannot come from the phase {backfill.phase} to {to}")
    return {"phase": to}


def planned(backfill: BackfillOperation, plan: BackfillPlan) -> dict[str, Any]:
    """The plan of this round is made. It is written before anything that follows from it."""
    return {**_moved(backfill, "create"), "plan": plan.encode(), "retries": 0}


def records_are_there(backfill: BackfillOperation) -> dict[str, Any]:
    """The records of days and groups are created. From now on the workers of its groups move it forward."""
    return {**_moved(backfill, "run"), "claim": "", "retries": 0}


def groups_ended(backfill: BackfillOperation) -> dict[str, Any]:
    """No group is left."""
    return _moved(backfill, "refresh")


def reopened(backfill: BackfillOperation) -> dict[str, Any]:
    """A day waits again: a planner that was taken for dead was still running, and has set it back."""
    return {**_moved(backfill, "plan"), "claim": ""}


def is_before_its_plan(backfill: BackfillOperation) -> bool:
    """Whether no plan was made yet, so that no day can have a record."""
    return backfill.phase == "plan" and not decode_plan(backfill.plan).round


def begun_again(backfill: BackfillOperation) -> dict[str, Any]:
    """A caller wants the days that are not in to be restored once more.

    Raises:
        OperationNotEnded: it has not ended.
    """
    if not backfill.has_ended:
        raise OperationNotEnded(f"the backfill has not ended: {backfill.status}")
    return {**as_new(backfill), "phase": "plan"}


def stopped(backfill: BackfillOperation, *, cancels_running: bool) -> Change:
    """A caller wants no further day to start.

    Args:
        backfill: as it is.
        cancels_running: whether the days that run are to stop as well.

    Raises:
        OperationEnded: it has ended, and was not stopped.
    """
    if backfill.has_ended:
        if backfill.is_stopped or backfill.is_canceled:
            # The same call again.
            return {}
        raise OperationEnded(f"the backfill has ended: {backfill.status}")
    if not backfill.plan and not backfill.claim:
        return end_of_waiting("backfill")
    return {"is_stopped": True, "is_canceled": backfill.is_canceled or cancels_running}


def stopped_by_a_day(backfill: BackfillOperation) -> dict[str, Any]:
    """A day has failed, and the request wants no further one to start then."""
    return {} if backfill.has_ended or backfill.is_stopped else {"is_stopped": True}


def has_its_turn() -> dict[str, Any]:
    """A group is the next one to run."""
    return {"is_held": False}


def not_due(until: str) -> dict[str, Any]:
    """None of a group's days is due before that time. Other groups may run meanwhile."""
    return waiting(is_held=True, next_attempt=until)


def due_earlier(group: GroupOperation, time: str) -> dict[str, Any]:
    """A day of a group is due earlier than expected; nothing, if the group runs: its worker reads its days again."""
    if group.status != "NotStarted" or group.next_attempt <= time:
        return {}
    return waiting(next_attempt=time)


def handed_on() -> dict[str, Any]:
    """There is no time for another day of a group in this invocation. A message brings it to the next one."""
    return waiting()


def group_ended(answer: Mapping[str, Any]) -> dict[str, Any]:
    """All days of a group have ended.

    Args:
        answer: what was done at its end.
    """
    return {"status": "Succeeded", "claim": "", "ended": now(), "answer": json.dumps(answer)}


def waits_again(day: DayOperation, planned_day: DayOperation) -> dict[str, Any]:
    """A day is planned once more; nothing, if it is in, or has not ended.

    Args:
        day: as it is.
        planned_day: as it would be created in this round.
    """
    if not day.has_ended or day.status == "Succeeded":
        return {}
    return {**as_new(day), "request": planned_day.request, "shares_chunks": planned_day.shares_chunks}


def never_started(day: DayOperation) -> Change:
    """A day of a stopped backfill is not to start; nothing, if it has, or if its rows may be in."""
    return {} if day.has_ended or day.claim or day.commit else end_of_waiting()


def lost_with_its_group(day: DayOperation, *, why: str) -> Change:
    """A group that lost its workers again and again is given up, and its days with it.

    Nothing, if the day has ended, or if another worker has it. If it names a COMMIT, its rows may be in.
    """
    if day.has_ended or (day.claim and not day.is_stale):
        return {}
    if day.commit:
        pending = decode_pending(json.loads(day.commit)["pending"])
        return End("Failed", outcome_unknown(pending.commit_id, f"the server was not asked: {why}"))
    return End("Failed", TooManyAttempts(why))


def told_to_stop(day: DayOperation) -> dict[str, Any]:
    """A day that runs is to be rolled back. Its worker looks at it with each heartbeat."""
    return {} if day.has_ended or day.is_canceled else {"is_canceled": True}
