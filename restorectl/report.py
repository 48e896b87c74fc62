"""Prints what the function app answered: operations, results, days, errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from restorectl import texts
from restorectl.exit_codes import CommandError, Kind
from restorectl.screen import Column, Screen

# What to do next with the command line; the answer's own hint speaks of the function app. {again} says under which id.
NEXT_STEPS = {
    "ArchiveNotFound": "`restorectl days` shows which days are archived",
    "OperationIdReused": "leave --id out, or choose another one",
    "OperationEnded": "`restorectl status` shows how it ended",
    "OperationNotFound": "`restorectl list` shows what is known",
    "RestoreCanceled": "if the day is still wanted, send it again{again}",
    "RestoreInProgress": "`restorectl list --status Running` shows it, if it runs behind the queue",
    "WindowNotEmpty": "--existing skip leaves the day as it is, --existing replace replaces it by its archive",
}
# Only a command that restores one day can do without the queue.
SYNC_STEPS = {
    "JobStorageUnreachable": "--sync restores without the queue",
    "SecretInAsyncRequest": "--sync restores without the queue, which would keep the secret",
}
_BY_RETRY = {
    "now": "send it again{again}",
    "later": "wait a while, and send it again{again}",
    "fix": "fix the cause, and send it again{again}",
    "ask": "do as the hint says before it is sent again{again}: the day may be there",
}
# Under the same id, the answer is the same end.
_UNDER_ANOTHER_ID = " under another id, or without one"


def print_monitor(screen: Screen, monitor: Mapping[str, Any]) -> None:
    """Print an operation."""
    is_backfill = monitor.get("kind") == "backfill"
    result, error = monitor.get("result") or {}, monitor.get("error")
    if screen.output == "json":
        screen.print_json(monitor)
    elif is_backfill:
        screen.print_facts(_backfill_facts(monitor) | {"warnings": _codes(monitor.get("warnings"))})
        _print_open_days(screen, monitor)
    else:
        screen.print_facts(_monitor_facts(monitor) | _result_facts(result))
    _say_of_result(screen, monitor if is_backfill else result)
    # A day of a backfill is retried by the backfill.
    backfill = monitor.get("id") if is_backfill else monitor.get("backfill")
    if error and monitor.get("status") in ("NotStarted", "Running"):
        _say_last_attempt(screen, monitor, error)
    elif error and monitor.get("status") != "Succeeded":
        step = _next_step(error, _UNDER_ANOTHER_ID) if backfill is None else _backfill_step(backfill, monitor, error)
        _say_error_body(screen, error, None, step)
    elif is_backfill and monitor.get("status") == "Canceled":
        screen.say_word("  next:", _retry_step(backfill), "bold")


def print_id(screen: Screen, monitor: Mapping[str, Any]) -> None:
    """Print the id of an operation and nothing else, for a script that keeps it; as JSON, the monitor."""
    if screen.output == "json":
        screen.print_json(monitor)
    else:
        screen.print_text(str(monitor["id"]))


def print_result(screen: Screen, result: Mapping[str, Any]) -> None:
    """Print the answer of a call that waited."""
    if screen.output == "json":
        screen.print_json(result)
    else:
        facts = {
            "database": result.get("database"),
            "table": result.get("target_table"),
            "day": str((result.get("date_window") or {}).get("start", ""))[:10],
        }
        screen.print_facts(facts | _result_facts(result))
    _say_of_result(screen, result)


def _backfill_facts(monitor: Mapping[str, Any]) -> dict[str, Any]:
    progress, days = monitor.get("progress") or {}, monitor.get("days") or {}
    total = progress.get("compressed_bytes_total")
    return {
        "id": monitor.get("id"),
        "status": monitor["status"],
        "outcome": monitor.get("outcome"),
        "phase": monitor.get("phase"),
        "stopping": "no further day starts" if monitor.get("stopping") else None,
        "archives": monitor.get("adls_url"),
        "database": monitor.get("database"),
        "table": monitor.get("target_table"),
        "days": texts.count(days.get("total")),
        **{f"  {name}": texts.count(days.get(name) or None) for name in _OUTCOMES},
        "archives read": f"{texts.percent(progress.get('percent'))} of {texts.size(total)}" if total else None,
        "rows read": texts.count(progress.get("rows") or None),
        "time": texts.seconds(progress.get("seconds") or None),
        "estimated end": None if monitor.get("ended") else texts.moment(progress.get("estimated_end")),
        "created": texts.moment(monitor.get("created")),
        "ended": texts.moment(monitor.get("ended")),
    }


_OUTCOMES = ("restored", "skipped", "missing", "failed", "canceled", "running", "waiting")
# A day that is in, or is left as it is, needs no line of its own; of those that wait, there may be thousands.
_TO_LOOK_AT = frozenset({"running", "missing", "failed", "canceled"})


def _print_open_days(screen: Screen, monitor: Mapping[str, Any]) -> None:
    days = [day for day in monitor.get("value") or () if day.get("outcome") in _TO_LOOK_AT]
    if not days:
        return
    columns = (
        Column("DAY"),
        Column("OUTCOME"),
        Column("STAGE", rank=3),
        Column("ROWS", is_number=True, rank=2),
        Column("ERROR", rank=1),
        Column("RESTORE", rank=4),
    )
    rows = [
        [
            day.get("day"),
            day["outcome"],
            day.get("stage") if day["outcome"] == "running" else None,
            # Rows of a day that failed or was canceled are not in.
            texts.count(day.get("rows") or None) if day["outcome"] == "running" else None,
            (day.get("error") or {}).get("code"),
            day.get("operation_id"),
        ]
        for day in days
    ]
    screen.print_text("")
    screen.print_table(columns, rows)


def print_plan(screen: Screen, plan: Mapping[str, Any]) -> None:
    """Print what a backfill would do."""
    failing = plan.get("failing") or ()
    if screen.output == "json":
        screen.print_json(plan)
    else:
        screen.print_facts(_plan_facts(plan, failing))
    if failing:
        text = f"{len(failing)} of {texts.count(plan.get('days'), 'days')} would fail: they hold rows"
        screen.say_word("problem", f"WindowNotEmpty: {text}", "bold red")
        screen.say_word("  next:", NEXT_STEPS["WindowNotEmpty"], "bold")


def _plan_facts(plan: Mapping[str, Any], failing: Sequence[Any]) -> dict[str, Any]:
    total = plan.get("days")
    return {
        "database": plan.get("database"),
        "table": plan.get("target_table"),
        "days to restore": texts.count(None if total is None else total - len(failing)),
        "would fail": _listed(failing),
        "with rows": _listed([day for day in plan.get("existing") or () if day not in failing]),
        "in groups": texts.count(len(plan.get("groups") or ())),
        "at once": plan.get("parallel"),
        "archives": texts.size(plan.get("bytes")),
        "skipped": _listed(plan.get("skipped")),
        "missing": _listed(plan.get("missing")),
    }


def say_plan(screen: Screen, plan: Mapping[str, Any]) -> None:
    """Say what a backfill would do, before the user is asked for consent."""
    screen.say(
        f"{texts.count(plan.get('days'), 'days')} would be restored into {plan.get('target_table')}"
        f" ({texts.size(plan.get('bytes'))}), {len(plan.get('existing') or ())} of them hold rows;"
        f" {len(plan.get('skipped') or ())} are left as they are, {len(plan.get('missing') or ())} are missing"
    )


def _listed(days: Sequence[Any] | None) -> str:
    """Return how many days there are, and the first ones."""
    if not days:
        return ""
    most = 10
    more = ", ..." if len(days) > most else ""
    return f"{len(days)}: {', '.join(str(day) for day in days[:most])}{more}"


def _codes(notes: Iterable[Mapping[str, Any]] | None) -> str:
    return ", ".join(str(note.get("code")) for note in notes or ())


def _monitor_facts(monitor: Mapping[str, Any]) -> dict[str, Any]:
    progress = monitor.get("progress") or {}
    total = progress.get("compressed_bytes_total")
    read, loaded = texts.size(progress.get("compressed_bytes")), texts.percent(progress.get("percent"))
    csv = progress.get("csv_bytes_total")
    return {
        "id": monitor.get("id"),
        "status": monitor["status"],
        "canceling": "a cancel was taken; it ends soon" if monitor.get("canceling") else None,
        "archive": monitor.get("archive"),
        "database": monitor.get("database"),
        "table": monitor.get("target_table"),
        "day": monitor.get("day"),
        "backfill": monitor.get("backfill"),
        "stage": progress.get("stage"),
        "archive read": f"{read} of {texts.size(total)}" if total else None,
        "loaded": f"{loaded} of {texts.size(csv)}" if csv else None,
        "rows read": texts.count(progress.get("rows") or None),
        "time": texts.seconds(progress.get("seconds") or None),
        "attempt": monitor.get("attempt") or None,
        **{f"  attempt {one.get('attempt')}": _failed_attempt(one) for one in _earlier_attempts(monitor)},
        "next attempt": texts.moment(monitor.get("next_attempt")),
        "created": texts.moment(monitor.get("created")),
        "started": texts.moment(monitor.get("started")),
        "heartbeat": texts.moment(monitor.get("heartbeat")),
        "ended": texts.moment(monitor.get("ended")),
        # The log has what a monitor lacks, under this id.
        "request_id": monitor.get("request_id"),
    }


def _earlier_attempts(monitor: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the attempts that failed. The last one of a restore that has ended is what the whole says."""
    last = monitor.get("attempt") if monitor.get("ended") else None
    return [one for one in monitor.get("attempts") or () if one.get("attempt") != last]


def _failed_attempt(one: Mapping[str, Any]) -> str:
    stage = f" in {one['stage']}" if one.get("stage") else ""
    return f"{one.get('code') or 'its worker was lost'}{stage}, {texts.moment(one.get('ended'))}"


def _result_facts(result: Mapping[str, Any]) -> dict[str, Any]:
    if not result:
        return {}
    plan = result.get("dry_run")
    facts: dict[str, Any] = {"result": result.get("status")}
    if plan:
        facts |= {
            "rows in archive": texts.count(plan.get("rows_in_archive")),
            "rows of the day": texts.count(plan.get("rows_existing")),
            "on existing": plan.get("on_existing"),
            "chunks": texts.count(len(plan.get("chunks") or ())),
            "problems": _codes(plan.get("problems")) or "none",
        }
    else:
        facts |= {
            "rows loaded": texts.count(result.get("rows_loaded")),
            "rows skipped": texts.count(result.get("rows_skipped") or None),
            "rows removed": texts.count(result.get("rows_removed")),
            "rows rejected": texts.count(result.get("rows_rejected")),
            "time": texts.seconds((result.get("timings") or {}).get("total")),
        }
    return facts | {"warnings": _codes(result.get("warnings")), "request_id": result.get("request_id")}


def _say_of_result(screen: Screen, result: Mapping[str, Any]) -> None:
    for problem in (result.get("dry_run") or {}).get("problems") or ():
        screen.say_word("problem", f"{problem.get('code')}: {problem.get('message')}", "bold red")
    for warning in result.get("warnings") or ():
        screen.say_word("warning", f"{warning.get('code')}: {warning.get('message')}", "yellow")


def print_monitors(screen: Screen, kind: Kind, monitors: Sequence[Mapping[str, Any]]) -> None:
    """Print a list of operations."""
    if screen.output == "json":
        screen.print_json({"value": monitors})
        return
    if not monitors:
        screen.say(f"no {kind} found")
        return
    if kind == "backfills":
        _print_backfills(screen, monitors)
        return
    columns = (
        Column("ID"),
        Column("STATUS"),
        Column("DAY", rank=2),
        Column("OUTCOME", rank=1),
        Column("TABLE", rank=3),
        Column("DATABASE", rank=6),
        Column("ROWS READ", is_number=True, rank=5),
        Column("TIME", is_number=True, rank=7),
        Column("CREATED", rank=4),
    )
    screen.print_table(columns, [_monitor_row(monitor) for monitor in monitors])


def _print_backfills(screen: Screen, monitors: Sequence[Mapping[str, Any]]) -> None:
    columns = (
        Column("ID"),
        Column("STATUS"),
        Column("OUTCOME", rank=1),
        Column("TABLE", rank=2),
        Column("DATABASE", rank=4),
        Column("CREATED", rank=3),
    )
    rows = [
        [
            monitor.get("id"),
            monitor["status"],
            outcome_of(monitor) or (monitor.get("phase") if monitor["status"] == "Running" else None),
            monitor.get("target_table"),
            monitor.get("database"),
            texts.minute(monitor.get("created")),
        ]
        for monitor in monitors
    ]
    screen.print_table(columns, rows)


def outcome_of(monitor: Mapping[str, Any]) -> str | None:
    """Return the word that a status lacks: how a success ended, why there is none, or what is happening instead."""
    if monitor["status"] == "Succeeded":
        return monitor.get("outcome")
    if monitor["status"] == "Canceled":
        return None
    return "canceling" if monitor.get("canceling") else (monitor.get("error") or {}).get("code")


# Those have loaded their rows. A function app of an earlier version does not say it.
_LOADED = frozenset({"ok", "ok_with_warnings", None})


def _rows_that_count(monitor: Mapping[str, Any]) -> int | None:
    """Return the rows that were read; none of a restore that has ended and loaded none of them."""
    runs = monitor["status"] == "Running"
    loaded = monitor["status"] == "Succeeded" and monitor.get("outcome") in _LOADED
    return ((monitor.get("progress") or {}).get("rows") or None) if runs or loaded else None


def _monitor_row(monitor: Mapping[str, Any]) -> list[Any]:
    progress = monitor.get("progress") or {}
    stage = " ".join(filter(None, (progress.get("stage"), texts.percent(progress.get("percent")))))
    return [
        monitor.get("id"),
        monitor["status"],
        monitor.get("day"),
        outcome_of(monitor) or (stage if monitor["status"] == "Running" else None),
        monitor.get("target_table"),
        monitor.get("database"),
        texts.count(_rows_that_count(monitor)),
        texts.seconds(progress.get("seconds") or None),
        texts.minute(monitor.get("created")),
    ]


def print_days(screen: Screen, days: Sequence[Mapping[str, Any]], states: Iterable[str] | None) -> None:
    """Print days of a table; all are counted, and those of some states are shown where these are named."""
    wanted = set(states or ())
    shown = [day for day in days if not wanted or day["state"] in wanted]
    if screen.output == "json":
        screen.print_json({"value": shown, "nextLink": None})
    else:
        columns = (
            Column("DAY"),
            Column("STATE"),
            Column("ARCHIVE", is_number=True, rank=2),
            Column("TIER", rank=5),
            Column("ROWS", is_number=True, rank=1),
            Column("LAST RESTORE", rank=3),
            Column("AT", rank=4),
        )
        screen.print_table(columns, [_day_row(day) for day in shown])
    counted = Counter(str(day["state"]) for day in days)
    parts = ", ".join(f"{number} {state}" for state, number in counted.most_common())
    screen.say(f"{texts.count(len(days), 'days')}: {parts}")


def _day_row(day: Mapping[str, Any]) -> list[Any]:
    archive, table, last = (day.get(name) or {} for name in ("archive", "table", "last_restore"))
    number = table.get("count")
    return [
        day["day"],
        day["state"],
        texts.size(archive.get("bytes")),
        archive.get("tier"),
        table.get("rows") if number is None else texts.count(number),
        last.get("code") or last.get("outcome"),
        texts.moment(last.get("at")),
    ]


def say_error(screen: Screen, error: CommandError) -> None:
    """Say why a command could not go on, and what to do."""
    screen.say_word("error:", str(error), "bold red")
    if error.next_step:
        screen.say_word("  next:", error.next_step, "bold")


def say_service_error(screen: Screen, body: Mapping[str, Any], *, can_sync: bool = False) -> None:
    """Say what the function app refused, and what to do.

    Args:
        screen: where it is said.
        body: the answer.
        can_sync: whether the command can do without the queue.
    """
    error = body["error"]
    sync_step = SYNC_STEPS.get(str(error.get("code"))) if can_sync else None
    _say_error_body(screen, error, body.get("request_id"), sync_step or _next_step(error))


def _next_step(error: Mapping[str, Any], again: str = "") -> str | None:
    """Return what to do next.

    Args:
        error: of an answer or of a monitor.
        again: how it is to be sent again.
    """
    step = NEXT_STEPS.get(str(error.get("code"))) or _BY_RETRY.get(str(error.get("retry")))
    return None if step is None else step.format(again=again)


def _retry_step(backfill_id: Any) -> str:
    return f"`restorectl retry {backfill_id}` restores the days that are not in"


def _backfill_step(backfill_id: Any, monitor: Mapping[str, Any], error: Mapping[str, Any]) -> str:
    """Return what to do after a backfill, or a day of one: a retry is the same request, and may fail as it did."""
    failed = (day.get("error") or {} for day in monitor.get("value") or () if day.get("outcome") == "failed")
    codes = {one.get("code") for one in failed} or {error.get("code")}
    retry = f"fix the cause, then {_retry_step(backfill_id)}"
    if codes == {"RestoreCanceled"}:
        return _retry_step(backfill_id)
    if "WindowNotEmpty" in codes:
        other = (
            "a retry is the same request, by which days that hold rows fail again: send a new backfill with"
            " --existing skip, which leaves them as they are, or with --existing replace"
        )
        return other if codes == {"WindowNotEmpty"} else f"{retry}; {other}"
    return f"{retry}; it is the same request: send a new backfill if the path, the table or an option was wrong"


def _say_last_attempt(screen: Screen, monitor: Mapping[str, Any], error: Mapping[str, Any]) -> None:
    """Say why an operation that goes on by itself has not ended yet."""
    screen.say_word("last attempt:", f"{error.get('code')}: {error.get('message')}", "yellow")
    due = monitor.get("next_attempt")
    when = f"tried again by itself at {texts.moment(due)}" if due else "being tried again"
    screen.say_word("  next:", f"nothing: it is {when}", "bold")


def _say_error_body(screen: Screen, error: Mapping[str, Any], request_id: Any, step: str | None) -> None:
    code, message = str(error.get("code")), str(error.get("message"))
    screen.say_word("error:", f"{code}: {message}", "bold red")
    if error.get("hint"):
        screen.say_word("  hint:", str(error["hint"]), "bold")
    word = "  details:"
    for detail in error.get("details") or ():
        if text := _detail_text(detail, error):
            screen.say_word(word, text, "bold")
            word = " " * len(word)
    if step:
        screen.say_word("  next:", f"{step} (docs/errors.md has {code})", "bold")
    if request_id:
        screen.say(f"  request_id: {request_id}")


def _detail_text(detail: Mapping[str, Any], error: Mapping[str, Any]) -> str:
    """Return what a detail adds to the message: a message of its own, and the facts that the hint speaks of."""
    message, target = str(detail.get("message") or ""), str(detail.get("target") or "")
    facts = {name: value for name, value in detail.items() if name not in {"code", "message", "target"}}
    text = ""
    if message and message not in str(error.get("message")):
        text = message if message.startswith(target) else f"{target}: {message}"
    elif target != str(error.get("target") or ""):
        facts = {"target": target or None, **facts}
    return "; ".join(filter(None, (text, texts.facts(facts))))
