"""Works on the message of a backfill or of a group: plan, run groups, refresh. Nothing here relies on a message.

A backfill is planned by one message. Then as many groups as may run at once get a message each. The worker that ends a
group takes the next one in the same invocation, as long as there is time, else it puts in its message. The worker that
ends the last group refreshes the aggregates. If one of them dies, the sweep goes on.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from shared.backfills.conclusion import conclude, end_failed, lost_its_workers
from shared.backfills.group import OTHERS_SECONDS, Context, run_group
from shared.backfills.lifecycle import due_earlier, groups_ended, has_its_turn, is_before_its_plan
from shared.backfills.planner import create_round, plan_round
from shared.backfills.records import Records
from shared.backfills.request import parse_backfill
from shared.errors import (
    ConfigurationError,
    JobStorageUnreachable,
    OperationNotFound,
    RestoreCanceled,
    RestoreError,
)
from shared.jobs.claim import Claim, claim_operation
from shared.jobs.enqueue import enqueue, try_again
from shared.jobs.message import decode
from shared.jobs.operation import BackfillOperation, DayOperation, GroupOperation
from shared.jobs.storage import job_storage, job_storage_if_any
from shared.jobs.store import Conflict, OperationStore, each_page
from shared.jobs.transitions import canceled_before
from shared.jobs.worker import run_restore_message
from shared.log_redaction import OUR_LOGGER
from shared.model.report import Report
from shared.model.stamp import read_stamp, stamp
from shared.settings import Settings, load_settings

_log = logging.getLogger(OUR_LOGGER)


def dispatch_message(text: bytes, *, join: Callable[[], None] = lambda: None, seconds: float | None = None) -> None:
    """Let a message be worked on by what works on its kind: a restore, a group or a backfill.

    Args:
        text: of the message.
        join: as of `run_restore`.
        seconds: for how long further days may begin; None: without an end.

    Raises:
        UnreadableMessageError: the message names nothing; the host will move it to the poison queue.
        JobStorageUnreachable, ConfigurationError: as `run_restore_message`.
    """
    end = None if seconds is None else time.monotonic() + seconds
    message = decode(text)
    if message.kind == "restore":
        run_restore_message(message, join=join)
        return
    settings = load_settings()
    records = Records.of(job_storage(settings))
    context = Context(records, settings, join, lambda: end is None or time.monotonic() < end)
    try:
        if message.kind == "group":
            group = records.groups.get(message.operation_id)
            if group.is_held:
                _log.warning("operation=%s waits for its turn, and gets no message; this one is dropped", group.id)
                return
            _run_groups(claim_operation(records.groups, group), context)
        else:
            run_backfill(message.operation_id, context)
    except OperationNotFound:
        _log.warning("operation=%s is not recorded; its message is dropped", message.operation_id)


def run_backfill(backfill_id: str, context: Context) -> None:
    """Take the next step of a backfill that waits for no group.

    Raises:
        OperationNotFound: it is not recorded.
        JobStorageUnreachable: the app's own storage account cannot be reached.
    """
    backfills = context.records.backfills
    backfill = backfills.get(backfill_id)
    if backfill.has_ended:
        return
    if backfill.phase == "run":
        # It was stopped: its days end at once.
        _run_groups(_next_claim(backfill, context), context)
        go_on(backfill_id, context)
        return
    claim = claim_operation(backfills, backfill)
    if claim is not None and claim.work_with_heartbeat(partial(_take_step, claim, context)):
        go_on(backfill_id, context)


def _take_step(claim: Claim[BackfillOperation], context: Context, report: Report) -> bool:
    records, settings = context.records, context.settings
    try:
        if claim.operation.phase == "refresh":
            conclude(claim, records, settings, report)
            return True
        if claim.operation.crashes >= settings.job_max_crashes:
            raise lost_its_workers(claim.operation)
        backfill = parse_backfill(claim.operation.request.encode(), settings)
        if claim.operation.is_stopped and is_before_its_plan(claim.operation):
            raise canceled_before("backfill")
        if claim.operation.phase == "plan":
            plan_round(claim, records, backfill, settings, report)
        create_round(claim, records, backfill, report)
    except RestoreError as error:
        if not try_again(claim, records.backfills, settings, error):
            was_canceled = isinstance(error, RestoreCanceled) and claim.operation.is_stopped
            end_failed(claim, error, report, was_canceled=was_canceled)
    return True


def _run_groups(claim: Claim[GroupOperation] | None, context: Context) -> None:
    """Run a group that is claimed, and further ones of its backfill."""
    if claim is None:
        return
    backfill_id = claim.operation.backfill
    while claim is not None:
        if not run_group(claim, context):
            return
        backfill = context.records.backfills.get(backfill_id)
        claim = _next_claim(backfill, context) if context.has_time() else None
    go_on(backfill_id, context)


def _next_claim(backfill: BackfillOperation, context: Context) -> Claim[GroupOperation] | None:
    """Claim the group whose turn it is; None if there is none that is due."""
    records = context.records
    while True:
        found = records.next_group(backfill)
        if found is None:
            return None
        wait = seconds_until(found.next_attempt, records.groups)
        # After a stop, do not wait for a day's next attempt; wait only for a day that another worker has.
        if wait and (wait <= OTHERS_SECONDS or not backfill.is_stopped):
            return None
        claim = claim_operation(records.groups, found, **has_its_turn())
        if claim is not None:
            return claim


def seconds_until(time: str, store: OperationStore[GroupOperation]) -> int:
    """Return how many seconds it is until a time of the storage service; 0 if it is past or empty."""
    now = store.service_time()
    if time <= stamp(now):
        return 0
    return math.ceil((read_stamp(time) - now).total_seconds())


def go_on(backfill_id: str, context: Context) -> None:
    """Put in messages for as many groups as may run, and end the backfill if none is left. The sweep calls it as well.

    Raises:
        OperationNotFound, JobStorageUnreachable: as `run_backfill`.
    """
    records = context.records
    backfill = records.backfills.get(backfill_id)
    while backfill.phase == "run" and not backfill.has_ended:
        group = records.next_group(backfill)
        if group is not None and group.is_held:
            try:
                group = records.groups.change(group, **has_its_turn())
            except Conflict:
                continue
            enqueue(records.groups, group, delay_seconds=seconds_until(group.next_attempt, records.groups))
            continue
        if records.open_groups(backfill, most=1):
            return
        try:
            backfill = records.backfills.change(backfill, **groups_ended(backfill))
        except Conflict:
            backfill = records.backfills.get(backfill_id)
            continue
        if context.has_time():
            run_backfill(backfill_id, context)
        else:
            enqueue(records.backfills, backfill)


def resume_group_of(day: DayOperation, records: Records, settings: Settings) -> None:
    """Let a group go on that waits for one of its days, which is due now. A day itself gets no message.

    Raises:
        JobStorageUnreachable: the app's own storage account cannot be reached.
    """
    with suppress(OperationNotFound):
        group = records.open_group_of(records.backfills.get(day.backfill), day)
        if group is None:
            return
        group = records.groups.update(group, partial(due_earlier, time=day.next_attempt))
        if group.status == "NotStarted" and not group.is_held:
            # It had its turn, and its message is hidden until later.
            enqueue(records.groups, group)
        go_on(day.backfill, Context(records, settings, lambda: None, lambda: False))


def resume_broken_chains() -> None:
    """Resume each backfill that may have lost the message or the worker that would continue it. The timer calls this.

    Raises:
        ConfigurationError: the settings are wrong.
        JobStorageUnreachable: the app's own storage account cannot be reached; the next run does the same.
    """
    settings = load_settings()
    storage = job_storage_if_any(settings)
    if storage is None:
        return
    records = Records.of(storage)
    context = Context(records, settings, lambda: None, lambda: False)
    for backfill in each_page(records.backfills, {"status": "Running"}):
        try:
            if backfill.phase == "run":
                go_on(backfill.id, context)
            elif not backfill.claim and backfill.is_stale:
                enqueue(records.backfills, backfill)
        except (JobStorageUnreachable, ConfigurationError):  # noqa: PERF203 - see below
            raise
        except Exception:  # noqa: BLE001 - one backfill must not hold up the others
            _log.exception("backfill=%s could not go on", backfill.id)
