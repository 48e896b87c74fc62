"""The end of a backfill: refresh the aggregates once, then say how all days ended."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from itertools import islice

from shared.api.handle import Reply, failed, json_reply
from shared.api.render import cagg_outcome, note
from shared.backfills.lifecycle import reopened
from shared.backfills.records import Records, decode_plan, lefts_of
from shared.backfills.request import read_backfill, read_fields
from shared.backfills.summary import MOST_DETAILS, count_days
from shared.errors import DaysFailed, Fault, RestoreCanceled, RestoreError, TooManyAttempts, WindowNotEmpty
from shared.jobs.claim import Claim
from shared.jobs.enqueue import try_again
from shared.jobs.operation import BackfillOperation, DayOperation
from shared.jobs.transitions import describe, ended
from shared.log_redaction import OUR_LOGGER
from shared.model.answer import ChunkOutcome, WarningNote
from shared.model.backfill_answer import BackfillAnswer
from shared.model.monitor import Status
from shared.model.report import Report
from shared.model.results import Notice, warnings_of
from shared.model.window import Window
from shared.names import counted
from shared.restore.server import Server
from shared.restore.target_table import table_to_maintain
from shared.settings import Settings
from shared.timescale.cagg_refresh import refresh

_log = logging.getLogger(OUR_LOGGER)

_NEW = 'send a new backfill in which existing is "skip" or "replace"'


def conclude(claim: Claim[BackfillOperation], records: Records, settings: Settings, report: Report) -> None:
    """Refresh the aggregates that the request names over the days that are in, and end the backfill.

    How it ends depends only on its days. If the server cannot be reached, the refresh is tried again later. If that
    does not help, or if the refresh fails by another error, it is a warning: the days are in.

    Args:
        claim: of the backfill.
        records: where the days are.
        settings: the function app's.
        report: of this attempt. If the claim is lost, its progress is canceled, and what runs on the server ends.

    Raises:
        ClaimLost, JobStorageUnreachable: as `Claim.write`.
        TooManyAttempts: its workers were lost, the last ones without a refresh.
    """
    operation = claim.operation
    if operation.crashes >= 2 * settings.job_max_crashes:
        raise lost_its_workers(operation)
    days = records.all_days(operation)
    if any(not day.has_ended for day in days):
        claim.write(**reopened(operation))
        return
    describe(report, operation)
    spans = spans_of(days)
    if spans:
        try:
            _refresh(operation, spans, settings, report)
        except RestoreError as error:
            if try_again(claim, records.backfills, settings, error):
                return
            report.warn("RefreshFailed", f"the aggregates were not refreshed: {error.message}")
        report.add_warnings(warnings_of(report.caggs))
    _end(claim, records, days, report)


def spans_of(days: Sequence[DayOperation]) -> list[Window]:
    """Return what was loaded, oldest first; days without a gap between them are one span.

    A gap is not refreshed: if its rows are gone from the table, a refresh would remove them from the aggregate too.
    """
    found: list[Window] = []
    for span in sorted((span for left in lefts_of(days) for span in left.spans), key=lambda span: span.chunk_bounds):
        if found and span.chunk_bounds[0] <= found[-1].chunk_bounds[1]:  # type: ignore[operator] # of one type
            last = found.pop()
            longer = max(last, span, key=lambda one: one.chunk_bounds[1])
            found.append(Window(last.kind, last.lower, longer.upper))
        else:
            found.append(span)
    return found


def lost_its_workers(operation: BackfillOperation) -> TooManyAttempts:
    """Return the error of a backfill whose workers were lost."""
    return TooManyAttempts(f"the backfill lost its worker {operation.crashes} times")


def _refresh(operation: BackfillOperation, spans: Sequence[Window], settings: Settings, report: Report) -> None:
    body = operation.request.encode()
    if not read_fields(body).timescaledb.refresh_caggs:
        return
    if operation.crashes >= settings.job_max_crashes:
        # The refresh may be what kills them.
        raise lost_its_workers(operation)
    # What the settings allow may have changed since the days were restored.
    backfill = read_backfill(body, settings)
    request = backfill.request_of(backfill.request.days[0])
    server = Server.for_request(request, settings, report)
    with table_to_maintain(server, request) as (connection, table):
        for span in spans:
            steps, left_out = refresh(connection, table, span, [span], request.timescaledb.refresh_caggs)
            report.caggs += steps
            report.add_warnings(left_out)


def _end(claim: Claim[BackfillOperation], records: Records, days: Sequence[DayOperation], report: Report) -> None:
    operation, plan = claim.operation, decode_plan(claim.operation.plan)
    counts = count_days(days, plan)
    chunks: list[ChunkOutcome] = []
    warnings: list[WarningNote] = []
    for group in records.answers_of_groups(operation):
        answer = json.loads(group.answer or "{}")
        chunks += answer.get("chunks", [])
        warnings += answer.get("warnings", [])
    if plan.missing:
        report.warn(
            "DaysMissing", f"without an archive: {counted(len(plan.missing), 'day')}, the first is {plan.missing[0]}"
        )
    report.add_warnings(_warnings_of_days(days))
    warnings += [note(warning) for warning in report.warnings]
    error = _error(days, counts["total"])
    if error is not None:
        end_failed(claim, error, report, warnings, was_canceled=isinstance(error, RestoreCanceled))
        return
    body: BackfillAnswer = {
        "status": "ok_with_warnings" if warnings else "ok",
        "id": operation.id,
        "database": operation.database,
        "target_table": operation.target_table,
        "days": counts,
        "missing": plan.missing,
        "rows": sum(day.rows for day in days),
        "compressed_bytes": sum(plan.sizes.get(day.day, 0) for day in days),
        "chunks": chunks,
        "caggs": [cagg_outcome(step) for step in report.caggs],
        "warnings": warnings,
        "request_id": report.request_id,
    }
    _log.info("backfill=%s ended: Succeeded; %s restored", operation.id, counted(counts["restored"], "day"))
    reply = Reply(json_reply(200, body, request_id=report.request_id), None)
    claim.write_patiently(**ended("Succeeded", reply, report))


def _warnings_of_days(days: Sequence[DayOperation]) -> list[Notice]:
    """Return one warning for each code among the warnings of the days. The monitors of the days have the messages."""
    found: dict[str, list[str]] = {}
    for day in days:
        for code in day.warned_of.split():
            found.setdefault(code, []).append(day.day)
    return [
        Notice("DaysWithWarnings", f"{code}: {counted(len(of), 'day')}, the first is {of[0]}")
        for code, of in found.items()
    ]


def _error(days: Sequence[DayOperation], total: int) -> RestoreError | None:
    """Return why not all days are in; None if they are."""
    of_failed = [day for day in days if day.status == "Failed"]
    if of_failed:
        errors = [json.loads(day.error) for day in of_failed]
        found = zip(of_failed, errors, strict=True)
        details = [Fault(error["code"], error["message"], day.day) for day, error in islice(found, MOST_DETAILS)]
        codes = dict.fromkeys(error["code"] for error in errors)
        first, last = of_failed[0].day, of_failed[-1].day
        which = first if first == last else f"the first {first}, the last {last}"
        hint = None
        if WindowNotEmpty.code in codes:
            hint = f"{DaysFailed.default_hint}; of days that are WindowNotEmpty, a retry would say the same: {_NEW}"
        message = f"{len(of_failed)} of {counted(total, 'day')} failed: {which} ({', '.join(codes)})"
        return DaysFailed(message, hint=hint, details=details)
    canceled = [day for day in days if day.status == "Canceled"]
    if canceled:
        return RestoreCanceled(
            f"canceled: {len(canceled)} of {counted(total, 'day')}; those that were restored stay in"
        )
    return None


def end_failed(
    claim: Claim[BackfillOperation],
    error: RestoreError,
    report: Report,
    warnings: Sequence[WarningNote] = (),
    *,
    was_canceled: bool,
) -> None:
    """End a backfill by an error.

    Args:
        claim: of the backfill.
        error: why.
        report: of this attempt.
        warnings: what its result shows beside the error.
        was_canceled: whether a caller wanted that: an administrator may have ended a statement in the database.
    """
    status: Status = "Canceled" if was_canceled else "Failed"
    claim.write_patiently(**ended(status, failed(report, error, warnings), report))
    level = logging.INFO if was_canceled else logging.WARNING
    _log.log(level, "backfill=%s ended: %s; %s: %s", claim.operation.id, status, error.code, error.message)
