"""`GET /api/days`: a query -> which days are archived, which the table holds, which were restored."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from shared.api.call import HttpCall, bad_parameter, base_url, check_names, page_link, read_day, whole_number
from shared.api.handle import HttpAnswer, answer_request, json_reply
from shared.api.parse import parse_for
from shared.calendar.look import Question, look_at_days
from shared.calendar.pattern import days_between, read_pattern
from shared.calendar.state import KnownDay
from shared.errors import RestoreError, UnknownColumn
from shared.model.calendar import MOST_DAYS, CalendarDay, CalendarPage
from shared.model.report import Report
from shared.model.stamp import stamp
from shared.settings import Settings, load_settings

_MOST_LISTED, _LISTED = 1_000, 400
# Fields of a request for a restore, and the parameters that stand for them.
_FIELDS = {
    "pg.database": "database",
    "destination.target_table": "target_table",
    "destination.time_column": "time_column",
}
_PARAMETERS = ("adls_url", "from", "to", "target_table", "database", "time_column", "counts", "top")


def get_days(call: HttpCall) -> HttpAnswer:
    """Show days of a table. Raises nothing."""

    def answer() -> HttpAnswer:
        settings = load_settings()
        try:
            question, following = _question(call, settings)
            known = look_at_days(question, settings, Report(call.request_id, "call"))
        except RestoreError as error:
            raise _in_words_of_the_query(error) from error.__cause__
        body: CalendarPage = {
            "value": [calendar_day(day, facts) for day, facts in known.items()],
            "nextLink": None if following is None else _link(call, settings, following),
        }
        return json_reply(200, body, request_id=call.request_id)

    return answer_request(call.request_id, answer)


def _question(call: HttpCall, settings: Settings) -> tuple[Question, date | None]:
    """Read a query. Also return the first day of the next answer, if one answer cannot hold all days."""
    query = call.query
    check_names(call, _PARAMETERS)
    first, last = read_day(call, "from"), read_day(call, "to")
    if last < first:
        raise bad_parameter("to", "must not lie before from")
    if (last - first).days >= MOST_DAYS:
        raise bad_parameter("to", f"must lie within {MOST_DAYS} days of from")
    most = whole_number(call, "top", most=_MOST_LISTED, default=_LISTED)
    days = list(days_between(first, last))
    counts = query.get("counts", "false").lower()
    if counts not in ("true", "false"):
        raise bad_parameter("counts", "must be true or false")
    pattern = read_pattern(query.get("adls_url", ""), settings)
    body: dict[str, Any] = {
        "adls_url": pattern.url(first),
        "destination": {"target_table": query.get("target_table"), "time_column": query.get("time_column")},
        "pg": {"database": query.get("database")},
    }
    request = parse_for(json.dumps(body).encode(), settings)
    following = first + timedelta(days=most) if len(days) > most else None
    return Question(pattern, request, days[:most], counts == "true"), following


def _in_words_of_the_query(error: RestoreError) -> RestoreError:
    """Let an error name the parameters of the query, and not the fields of a request for a restore."""
    for field, parameter in _FIELDS.items():
        error.message = error.message.replace(field, parameter)
        error.hint = None if error.hint is None else error.hint.replace(field, parameter)
    if isinstance(error, UnknownColumn):
        # The only column that a query names.
        error.hint = "name a column of the table in time_column"
    error.target = _FIELDS.get(error.target or "", error.target)
    error.details = tuple(replace(one, target=_FIELDS.get(one.target or "", one.target)) for one in error.details)
    return error


def calendar_day(day: date, known: KnownDay) -> CalendarDay:
    """Return a day as callers see it."""
    archive, last = known.archive, known.last
    return {
        "day": day.isoformat(),
        "state": known.state,
        "archive": None
        if archive is None
        else {
            "bytes": archive.size,
            "etag": archive.etag,
            "modified": stamp(archive.modified, "auto"),
            "tier": archive.tier,
        },
        "table": {"rows": known.rows.rows, "count": known.rows.count},
        "last_restore": None
        if last is None
        else {
            "outcome": last.outcome,
            "code": last.code or None,
            "at": last.at,
            "request_id": last.request_id,
            "operation_id": last.operation_id or None,
            "restored_at": last.restored_at,
            "restored_etag": last.restored_etag,
            "restored_rows": last.restored_rows,
        },
    }


def _link(call: HttpCall, settings: Settings, following: date) -> str:
    """Return the address of the next days."""
    kept = {name: value for name, value in call.query.items() if name in _PARAMETERS} | {"from": following.isoformat()}
    return page_link(base_url(call, settings, "/days") + "/days", kept)
