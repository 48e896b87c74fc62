"""The HTTP functions around backfills: post, monitor, result, cancel, retry, list. Bytes and headers -> an answer."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from functools import partial

from shared.api.call import HttpCall, bad_parameter, base_url, check_names, read_day, whole_number
from shared.api.handle import HttpAnswer, answer_request, json_reply, replied
from shared.api.parse import require_json
from shared.backfills.lifecycle import begun_again, stopped, told_to_stop
from shared.backfills.planner import describe_all, make_plan, refuse_missing
from shared.backfills.records import BackfillPlan, Records, backfill_record
from shared.backfills.request import Backfill, parse_backfill
from shared.backfills.summary import backfill_links, backfill_monitor, listed_backfill, waited_for
from shared.errors import OperationNotFound
from shared.jobs.enqueue import enqueue
from shared.jobs.http import Shown, check_status, list_newest, result_answer, until_it_ends
from shared.jobs.monitor import retry_after_seconds
from shared.jobs.operation import BackfillOperation
from shared.jobs.storage import job_storage
from shared.jobs.submit import add_token, chosen_id, record, refuse_secrets, stored_request
from shared.jobs.transitions import update
from shared.model.backfill_answer import BackfillDryRun, BackfillList
from shared.model.report import Report
from shared.restore.access import authorize
from shared.settings import Settings, load_settings

_MOST_DAYS_LISTED, _DAYS_LISTED = 1000, 100


def backfills(call: HttpCall) -> HttpAnswer:
    """Take a backfill, show one, list them, or stop one. Raises nothing."""
    backfill_id = call.route.get("id")
    if call.method == "POST":
        return _post(call)
    if backfill_id is None:
        return _answered(call, lambda settings, records: _list(call, settings, records))
    if call.method == "DELETE":
        return _answered(call, lambda settings, records: _stop(call, settings, records, backfill_id))
    return _answered(call, lambda settings, records: _show(call, settings, records, records.backfills.get(backfill_id)))


def retry(call: HttpCall) -> HttpAnswer:
    """Restore again the days of a backfill that are not in. Raises nothing."""
    return _answered(call, lambda settings, records: _retry(call, settings, records))


def result(call: HttpCall) -> HttpAnswer:
    """Answer how a backfill ended; 202 until then. Raises nothing."""

    def answer(settings: Settings, records: Records) -> HttpAnswer:
        base = base_url(call, settings, f"/backfills/{call.route.get('id')}/result")

        def show(operation: BackfillOperation) -> Shown:
            days = records.all_days(operation)
            body = backfill_monitor(operation, days, base, most=_DAYS_LISTED)
            seconds = retry_after_seconds(waited_for(operation, days))
            return Shown(body, backfill_links(base, operation)["result"], seconds)

        return result_answer(call, records.backfills, show)

    return _answered(call, answer)


def _answered(call: HttpCall, work: Callable[[Settings, Records], HttpAnswer]) -> HttpAnswer:
    def answer() -> HttpAnswer:
        settings = load_settings()
        return work(settings, Records.of(job_storage(settings)))

    return answer_request(call.request_id, answer)


def _post(call: HttpCall) -> HttpAnswer:
    report = Report(call.request_id, "backfill")

    def answer() -> HttpAnswer:
        if call.route.get("id") is not None:
            raise OperationNotFound("a backfill is posted to the address without an id")
        if call.body:
            require_json(call.headers.get("Content-Type"))
        settings = load_settings()
        backfill = parse_backfill(call.body, settings)
        request = backfill.request_of(backfill.request.days[0])
        describe_all(report, backfill)
        refuse_secrets(request)
        database = authorize(request, settings).database
        if backfill.request.dry_run or backfill.request.missing == "error":
            plan = make_plan(backfill, backfill.request.days, settings, report)
            refuse_missing(backfill, plan)
            if backfill.request.dry_run:
                body = _plan_answer(backfill, plan, database, report)
                return json_reply(200, body, request_id=report.request_id)
        return _take(call, backfill, database, settings)

    return replied(report, answer).answer


def _plan_answer(backfill: Backfill, plan: BackfillPlan, database: str, report: Report) -> BackfillDryRun:
    days = [day for group in plan.groups for day in group]
    return {
        "status": "dry_run",
        "database": database,
        "target_table": str(report.target_table),
        "days": len(days),
        "groups": plan.groups,
        "missing": plan.missing,
        "skipped": sorted(plan.skipped),
        "existing": plan.existing,
        "failing": [day for day in plan.existing if plan.on_existing.get(day, backfill.request.existing) == "error"],
        "bytes": sum(plan.sizes.get(day, 0) for day in days),
        "parallel": backfill.parallel,
        "request_id": report.request_id,
    }


def _take(call: HttpCall, backfill: Backfill, database: str, settings: Settings) -> HttpAnswer:
    asked = backfill_record(
        chosen_id(call.headers) or str(uuid.uuid4()),
        stored_request(call.body),
        backfill,
        database,
    )
    records = Records.of(job_storage(settings))

    def is_same(other: BackfillOperation) -> bool:
        return parse_backfill(other.request.encode(), settings).request == backfill.request

    submitted = record(records.backfills, asked, call.traceparent, is_same)
    base = base_url(call, settings, "/backfills")
    return _taken(call, submitted.operation, submitted.token, records, base)


def _taken(call: HttpCall, operation: BackfillOperation, token: str, records: Records, base: str) -> HttpAnswer:
    addresses, days = backfill_links(base, operation), records.all_days(operation)
    seconds = retry_after_seconds(waited_for(operation, days))
    headers = {"Operation-Location": addresses["self"], **until_it_ends(addresses["result"], token, seconds)}
    body = backfill_monitor(operation, days, base, most=_DAYS_LISTED)
    return json_reply(202, body, headers, request_id=call.request_id)


def _show(
    call: HttpCall, settings: Settings, records: Records, operation: BackfillOperation, status: int = 200
) -> HttpAnswer:
    base = base_url(call, settings, f"/backfills/{operation.id}")
    most = whole_number(call, "top", most=_MOST_DAYS_LISTED, default=_DAYS_LISTED)
    after = read_day(call, "after").isoformat() if call.query.get("after") else ""
    days = records.all_days(operation)
    body = backfill_monitor(operation, days, base, most=most, after=after)
    seconds = retry_after_seconds(waited_for(operation, days))
    headers = {} if operation.has_ended else {"Retry-After": str(seconds)}
    return json_reply(status, body, headers, request_id=call.request_id)


def _stop(call: HttpCall, settings: Settings, records: Records, backfill_id: str) -> HttpAnswer:
    running = call.query.get("running")
    if running not in (None, "cancel"):
        raise bad_parameter("running", "must be cancel, or be left out")
    store = records.backfills
    decide = partial(stopped, cancels_running=running == "cancel")
    backfill = update(store, store.get(backfill_id), decide)
    if backfill.has_ended:
        return _show(call, settings, records, backfill, 202)
    if running == "cancel":
        _cancel_running(records, backfill)
    # Groups whose turn has not come, or whose message is still hidden, end at once.
    enqueue(store, backfill)
    return _show(call, settings, records, store.get(backfill_id), 202)


def _cancel_running(records: Records, backfill: BackfillOperation) -> None:
    """Cancel the days that run. One that is claimed after this look finds the backfill stopped."""
    for day in records.all_days(backfill):
        if day.status == "Running":
            records.days.update(day, told_to_stop)


def _retry(call: HttpCall, settings: Settings, records: Records) -> HttpAnswer:
    store = records.backfills
    again = store.update(store.get(call.route.get("id", "")), begun_again)
    enqueue(store, again)
    token = secrets.token_urlsafe(32)
    again = add_token(store, store.get(again.id), token)
    base = base_url(call, settings, f"/backfills/{again.id}/retry")
    return _taken(call, again, token, records, base)


def _list(call: HttpCall, settings: Settings, records: Records) -> HttpAnswer:
    check_names(call, ("status", "top", "after"))
    status = call.query.get("status") or None
    check_status(status)
    equal = {} if status is None else {"status": status}
    page = list_newest(call, settings, records.backfills, "/backfills", equal, equal)
    body: BackfillList = {
        "value": [listed_backfill(one, page.base) for one in page.operations],
        "nextLink": page.next_link,
    }
    return json_reply(200, body, request_id=call.request_id)
