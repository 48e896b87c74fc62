"""Runs the days of one group one after the other, and compresses their chunks once at the end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from shared.api.parse import parse_for
from shared.api.render import chunk_outcome, note
from shared.backfills.lifecycle import (
    group_ended,
    handed_on,
    lost_with_its_group,
    never_started,
    not_due,
    stopped_by_a_day,
    told_to_stop,
)
from shared.backfills.records import GroupPlan, Records, decode_group_plan, lefts_of
from shared.errors import OperationNotFound, RestoreError
from shared.jobs.claim import Claim, ClaimLost, claim_operation
from shared.jobs.day_notes import note_without_worker, try_to_write_day
from shared.jobs.enqueue import enqueue, try_again
from shared.jobs.operation import DayOperation, GroupOperation
from shared.jobs.transitions import update
from shared.jobs.worker import work_on
from shared.log_redaction import OUR_LOGGER
from shared.model.report import Report
from shared.model.results import ChunkStep, warnings_of
from shared.model.stamp import stamp
from shared.restore.left import Left
from shared.restore.server import Server
from shared.restore.target_table import table_to_maintain
from shared.settings import Settings
from shared.timescale.compression import compress_after_commit

_log = logging.getLogger(OUR_LOGGER)

# How soon a group looks again at a day that another worker has.
OTHERS_SECONDS = 10


@dataclass(frozen=True)
class Context:
    """What the worker of a backfill has.

    Attributes:
        records: where the records are.
        settings: the function app's.
        join: as of `run_restore`.
        has_time: whether another day may begin in this invocation.
    """

    records: Records
    settings: Settings
    join: Callable[[], None]
    has_time: Callable[[], bool]


def run_group(claim: Claim[GroupOperation], context: Context) -> bool:
    """Run the days of a group that is claimed, as far as they are due and there is time.

    Args:
        claim: of the group.
        context: of the worker's run.

    Returns:
        Whether this worker may go on with another group. If not, a message brings this one to the next worker.

    Raises:
        JobStorageUnreachable: the app's own storage account cannot be reached.
    """

    def work(report: Report) -> bool:
        try:
            group = _Group(claim, context, report)
        except OperationNotFound:
            # The group has no worker any more.
            _log.error("operation=%s ends, since its backfill is not recorded any more", claim.operation.id)
            claim.write_patiently(**group_ended({}))
            return False
        return group.run()

    return claim.work_with_heartbeat(work)


class _Group:
    def __init__(self, claim: Claim[GroupOperation], context: Context, report: Report) -> None:
        self._claim = claim
        self._report = report
        self._context = context
        self._records = context.records
        self._backfill = context.records.backfills.get(claim.operation.backfill)
        self._plan = decode_group_plan(claim.operation.plan)
        self._others: dict[str, str] = {}

    def run(self) -> bool:
        """See `run_group`."""
        has_run = False
        if (days := self._days()) and self._crashes(days) >= self._context.settings.job_max_crashes:
            return self._give_up(days)
        while True:
            days = self._days()
            open_days = [day for day in days if not day.has_ended]
            if not open_days:
                return self._finish(days)
            time = stamp(self._records.days.service_time())
            due = [day for day in open_days if self._due_at(day) <= time]
            for day in due:
                if self._claim.is_lost:
                    raise ClaimLost
                # At least one day: otherwise a message could be passed on forever without any progress.
                if has_run and not self._context.has_time():
                    self._hand_on()
                    return False
                self._run_day(day)
                has_run = True
            if not due:
                first = min(map(self._due_at, open_days))
                if self._backfill.is_stopped:
                    # A group of a stopped backfill does not wait for a later time.
                    first = min(first, self._in_a_while())
                self._claim.write_patiently(**not_due(first))
                return True

    def _days(self) -> list[DayOperation]:
        days = self._records.days_of(self._backfill, self._plan.days)
        if len(days) < len(self._plan.days):
            # The others are restored: otherwise a group with a day that cannot be read would be tried forever.
            _log.error("operation=%s: %d of its days have a record", self._claim.operation.id, len(days))
        return days

    def _crashes(self, days: list[DayOperation]) -> int:
        """Return how often the group lost its worker between its days. Each day counts the workers that it lost."""
        # A day that is still claimed has a worker that was lost as well, or will be counted when it is claimed again.
        return self._claim.operation.crashes - sum(day.crashes + bool(day.claim) for day in days)

    def _give_up(self, days: list[DayOperation]) -> bool:
        """End the group without another try at anything that may have killed its workers."""
        lost = f"the group of this day lost its worker {self._claim.operation.crashes} times"
        ends = [update(self._records.days, day, partial(lost_with_its_group, why=lost)) for day in days]
        settings = self._context.settings
        for day, ended in zip(days, ends, strict=True):
            try_to_write_day(settings, note_without_worker(settings, day, ended))
        if not all(day.has_ended for day in ends):
            # Another worker has one, which may be dead.
            self._claim.write_patiently(**not_due(self._in_a_while()))
            return True
        if any(day.status == "Succeeded" and day.left for day in days):
            self._report.warn("RecompressFailed", f"chunks of {self._plan.days[0]} and later: {lost}")
        return self._end()

    def _due_at(self, day: DayOperation) -> str:
        """Return when to look at a day again.

        If the backfill is stopped, at once; unless another worker has the day, or the server is to be asked for its
        COMMIT: it needs its time to come back.
        """
        next_attempt = "" if self._backfill.is_stopped and not day.commit else day.next_attempt
        return max(next_attempt, self._others.get(day.day, ""))

    def _in_a_while(self) -> str:
        return stamp(self._records.days.service_time() + timedelta(seconds=OTHERS_SECONDS))

    def _hand_on(self) -> None:
        released = self._claim.write_patiently(**handed_on())
        enqueue(self._records.groups, released)

    def _run_day(self, day: DayOperation) -> None:
        days = self._records.days
        if self._backfill.is_stopped and not day.commit and not day.claim:
            update(days, day, never_started)
            return
        claim = claim_operation(days, day)
        if claim is None:
            # Another worker has it, which may be dead.
            self._others[day.day] = self._in_a_while()
            return
        # Read after the claim: a stop of the backfill looks for claimed days after that.
        self._backfill = self._records.backfills.at(self._backfill.row_key, load=False)
        if self._backfill.is_stopped:
            # If the day names a COMMIT, the server is asked for that first; a day that is in stays in.
            claim.write(**told_to_stop(claim.operation))
        ended = work_on(claim, days, self._context.settings, self._context.join)
        if ended is not None and ended.status == "Failed" and self._plan.stops:
            self._backfill = self._records.backfills.update(self._backfill, stopped_by_a_day)

    def _finish(self, days: list[DayOperation]) -> bool:
        """Compress the chunks that the days have left, and end the group."""
        lefts = lefts_of(days)
        report = self._report
        if len(self._plan.days) > 1 and lefts:
            try:
                report.add_warnings(warnings_of(compress_left(days[0], self._plan, lefts, self._context, report)))
            except RestoreError as error:
                if try_again(self._claim, self._records.groups, self._context.settings, error):
                    return True
                report.warn("RecompressFailed", f"chunks of {self._plan.days[0]} and later: {error.message}")
        return self._end()

    def _end(self) -> bool:
        report = self._report
        answer = {
            "chunks": [chunk_outcome(step) for step in report.chunks],
            "warnings": [note(warning) for warning in report.warnings],
        }
        self._claim.write_patiently(**group_ended(answer))
        return True


def compress_left(
    day: DayOperation, plan: GroupPlan, lefts: list[Left], context: Context, report: Report
) -> list[ChunkStep]:
    """Compress the chunks that days have left, each once.

    Raises:
        RestoreError: the server cannot be reached, or the table is gone.
    """
    settings = context.settings
    request = parse_for(day.request.encode(), settings)
    report.describe(request)
    again = list(dict.fromkeys(chunk for left in lefts for chunk in left.to_recompress))
    if not request.timescaledb.recompress_window:
        again = []
    known = {str(chunk) for chunk in again}
    new = [chunk for left in lefts for chunk in left.created if str(chunk) not in known]
    if not plan.compress_new_chunks:
        new = []
    if not again and not new:
        return []
    server = Server.for_request(request, settings, report)
    with table_to_maintain(server, request) as (connection, table):
        if table.compression is None:
            return []
        compress = partial(compress_after_commit, connection, table.compression, table)
        steps = [*compress(again, "recompress"), *compress(list(dict.fromkeys(new)), "compress")]
    report.chunks += steps
    return steps
