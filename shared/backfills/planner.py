"""Plans a backfill: which days are restored, in which groups. Then creates their records."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Literal, TypeAlias

from shared.backfills.lifecycle import planned, records_are_there, waits_again
from shared.backfills.records import BackfillPlan, GroupPlan, Records, day_record, decode_plan, group_records
from shared.backfills.request import Backfill
from shared.backfills.summary import MOST_DETAILS
from shared.calendar.look import Question, look_at_days
from shared.calendar.state import KnownDay
from shared.errors import ArchiveNotFound, Fault, OperationNotFound
from shared.jobs.claim import Claim
from shared.jobs.operation import BackfillOperation, DayOperation
from shared.model.backfill import BackfillRequest, Existing
from shared.model.report import Report
from shared.model.request import OnExisting
from shared.restore.server import Server
from shared.restore.target_table import table_to_read
from shared.settings import Settings
from shared.timescale.days_by_chunk import group_days

Choice: TypeAlias = Literal["missing", "skip", "restore"]

# With these, what happens to the rows of a day follows from the day.
_BY_DAY = ("append", "stale")


def choose(known: KnownDay, existing: Existing) -> Choice:
    """Decide what to do with a day. What cannot be known before the restore is left to it."""
    rows, state = known.rows.rows, known.state
    if existing == "skip" and rows == "yes":
        return "skip"
    if existing == "stale" and rows not in ("no", "unknown") and state != "stale":
        return "skip"
    if known.archive is None:
        return "missing"
    # If its archive were added again, the day would hold each of its rows twice.
    return "skip" if existing in _BY_DAY and state in ("running", "restored") else "restore"


def on_existing_of(known: KnownDay, request: BackfillRequest) -> OnExisting:
    """Decide what happens to the rows of a day that is to be restored.

    Rows that come after the look are never removed, and are never taken for those of the archive.
    """
    rows, state = known.rows.rows, known.state
    if request.existing == "stale":
        # If no column of the table tells the day, the restore says so.
        return "replace" if state == "stale" else "skip"
    if request.existing == "append":
        # A day without rows may be loaded by another restore first. If a day was loaded from another version of its
        # archive, or has lost some of its rows since, the rows that it holds may be the archive's.
        is_loaded_beside = rows == "no" and request.destination.rows_outside_window == "allow"
        return "append" if state == "present" or rows == "unknown" or is_loaded_beside else "error"
    return request.existing


def describe_all(report: Report, backfill: Backfill) -> None:
    """Note what a backfill asks for. Its archive is the pattern: an error need not be about the first day."""
    report.describe(backfill.request_of(backfill.request.days[0]))
    report.archive_url, report.day = backfill.pattern.text, None


def make_plan(backfill: Backfill, days: Sequence[date], settings: Settings, report: Report) -> BackfillPlan:
    """Look at days, and plan what to do with them.

    Args:
        backfill: the request.
        days: oldest first.
        settings: name the server and hold the credentials.
        report: of the call; its id names the session.

    Raises:
        RestoreError: as `look_at_days`.
    """
    if not days:
        return BackfillPlan()
    request = backfill.request_of(days[0])
    describe_all(report, backfill)
    known = look_at_days(Question(backfill.pattern, request, days), settings, report)
    chosen = {day: choose(facts, backfill.request.existing) for day, facts in known.items()}
    to_restore = [day for day in days if chosen[day] == "restore"]
    return BackfillPlan(
        groups=[[day.isoformat() for day in group] for group in _groups(backfill, to_restore, settings, report)],
        missing=[day.isoformat() for day in days if chosen[day] == "missing"],
        skipped={day.isoformat(): known[day].state for day in days if chosen[day] == "skip"},
        on_existing={day.isoformat(): on_existing_of(known[day], backfill.request) for day in to_restore}
        if backfill.request.existing in _BY_DAY
        else {},
        existing=[day.isoformat() for day in to_restore if known[day].rows.rows in ("yes", "partly")],
        sizes={day.isoformat(): facts.archive.size for day, facts in known.items() if facts.archive is not None},
    )


def refuse_missing(backfill: Backfill, plan: BackfillPlan) -> None:
    """Refuse a plan without archives.

    Raises:
        ArchiveNotFound: days are missing that must not be; or all of them are, as with a pattern that is mistyped.
    """
    missing = plan.missing
    if not missing or (backfill.request.missing == "skip" and (plan.groups or plan.skipped)):
        return
    pattern = backfill.pattern
    raise ArchiveNotFound(
        f"{len(missing)} of {len(backfill.request.days)} archives are not there, the first of {missing[0]}",
        details=[
            Fault(ArchiveNotFound.code, f"{pattern.url(date.fromisoformat(day))} is not there", day)
            for day in missing[:MOST_DETAILS]
        ],
    )


def plan_round(
    claim: Claim[BackfillOperation], records: Records, backfill: Backfill, settings: Settings, report: Report
) -> None:
    """Plan the first round or a retry, and record the plan.

    Raises:
        RestoreError: as `make_plan`.
    """
    operation = claim.operation
    before = decode_plan(operation.plan)
    if not before.round:
        plan = make_plan(backfill, backfill.request.days, settings, report)
        refuse_missing(backfill, plan)
    else:
        again = {one.day for one in records.all_days(operation) if one.status != "Succeeded"}
        found = make_plan(backfill, _dates({*again, *before.missing}), settings, report)
        newly = {day for group in found.groups for day in group} - again
        groups = _groups(backfill, _dates(again | newly), settings, report)
        plan = BackfillPlan(
            round=before.round + 1,
            groups=[[day.isoformat() for day in group] for group in groups],
            missing=[day for day in found.missing if day not in again],
            skipped=before.skipped | {day: state for day, state in found.skipped.items() if day not in again},
            on_existing=found.on_existing,
            sizes=before.sizes | found.sizes,
        )
    claim.write(**planned(operation, plan))


def create_round(claim: Claim[BackfillOperation], records: Records, backfill: Backfill, report: Report) -> None:
    """Create the records that follow from the plan, and let the groups run. Once more changes nothing."""
    operation = claim.operation
    plan = decode_plan(operation.plan)
    compresses = backfill.request.timescaledb.compress_new_chunks
    days = [
        day_record(
            operation,
            day,
            backfill.pattern.location(date.fromisoformat(day)).url,
            backfill.body_of(
                date.fromisoformat(day),
                plan.on_existing.get(day, _otherwise(backfill.request.existing)),
                compresses_new_chunks=len(group) == 1,
            ),
            shares_chunks=len(group) > 1,
        )
        for group in plan.groups
        for day in group
    ]
    if plan.round == 1:
        records.days.create_all(days)
    else:
        for day in days:
            # A planner that was taken for dead must not touch days that another planner has started meanwhile.
            claim.renew(report.progress)
            _renew(records, operation, day)
    groups = [
        GroupPlan(group, backfill.request.on_failure == "stop", compresses and len(group) > 1) for group in plan.groups
    ]
    records.groups.create_all(group_records(operation, plan.round, groups))
    claim.write(**records_are_there(claim.operation))


def _otherwise(existing: Existing) -> OnExisting:
    """Return what happens to the rows of a day for which the plan does not say it."""
    if existing == "append" or existing == "stale":  # noqa: PLR1714 - mypy understands no other way to write it
        # A day that failed is to be tried again, and another restore has loaded it since.
        return "skip"
    return existing


def _renew(records: Records, backfill: BackfillOperation, day: DayOperation) -> None:
    """Create a day; or let it wait again, if it has ended and is not in."""
    try:
        found = records.day(backfill, day.day)
    except OperationNotFound:
        records.days.create(day)
        return
    records.days.update(found, lambda current: waits_again(current, day))


def _dates(days: set[str]) -> list[date]:
    return [date.fromisoformat(day) for day in sorted(days)]


def _groups(backfill: Backfill, days: Sequence[date], settings: Settings, report: Report) -> list[list[date]]:
    if not days:
        return []
    request = backfill.request_of(days[0])
    server = Server.for_request(request, settings, report)
    with table_to_read(server, request) as (cursor, table):
        return group_days(cursor, table, days)
