"""Prints what the function app answered: operations, results, days, errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from restorectl import texts
from restorectl.outcome import CommandError
from restorectl.screen import Column, Screen

# What to do next, where the command line has a way; the answer's own hint says it for the function app.
NEXT_STEPS = {
    "ArchiveNotFound": "`restorectl days` shows which days are archived",
    "JobStorageUnreachable": "--sync restores without the queue",
    "OperationIdReused": "leave --id out, or choose another one",
    "OperationNotFound": "`restorectl list` shows what is known",
    "RestoreInProgress": "`restorectl list --status Running` shows it, if it runs behind the queue",
    "SecretInAsyncRequest": "--sync restores without the queue, which would keep the secret",
    "WindowNotEmpty": "--existing skip leaves the day as it is, --existing replace replaces it by its archive",
}
_BY_RETRY = {
    "now": "send it again",
    "later": "wait a while, and send it again",
    "fix": "mend the cause, and send it again",
    "ask": "do as the hint says before it is sent again: the day may be there",
}


def print_monitor(screen: Screen, monitor: Mapping[str, Any]) -> None:
    """Print an operation."""
    if screen.output == "json":
        screen.print_json(monitor)
    else:
        screen.print_facts(_monitor_facts(monitor) | _result_facts(monitor.get("result") or {}))
    result, error = monitor.get("result"), monitor.get("error")
    if result:
        _say_of_result(screen, result)
    if error and monitor.get("status") != "Succeeded":
        _say_error_body(screen, error, None)


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


def _monitor_facts(monitor: Mapping[str, Any]) -> dict[str, Any]:
    progress = monitor.get("progress") or {}
    total = progress.get("compressed_bytes_total")
    read = texts.percent(progress.get("percent"))
    return {
        "id": monitor.get("id"),
        "status": monitor["status"],
        "archive": monitor.get("archive"),
        "database": monitor.get("database"),
        "table": monitor.get("target_table"),
        "day": monitor.get("day"),
        "stage": progress.get("stage"),
        "archive read": f"{read} of {texts.size(total)}" if total else None,
        "rows read": texts.count(progress.get("rows") or None),
        "time": texts.seconds(progress.get("seconds") or None),
        "attempt": monitor.get("attempt") or None,
        "next attempt": texts.moment(monitor.get("next_attempt")),
        "created": texts.moment(monitor.get("created")),
        "started": texts.moment(monitor.get("started")),
        "heartbeat": texts.moment(monitor.get("heartbeat")),
        "ended": texts.moment(monitor.get("ended")),
    }


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
            "problems": ", ".join(str(one.get("code")) for one in plan.get("problems") or ()) or "none",
        }
    else:
        facts |= {
            "rows loaded": texts.count(result.get("rows_loaded")),
            "rows skipped": texts.count(result.get("rows_skipped") or None),
            "rows removed": texts.count(result.get("rows_removed")),
            "rows rejected": texts.count(result.get("rows_rejected")),
            "seconds": (result.get("timings") or {}).get("total"),
        }
    warnings = [str(one.get("code")) for one in result.get("warnings") or ()]
    return facts | {"warnings": ", ".join(warnings), "request_id": result.get("request_id")}


def _say_of_result(screen: Screen, result: Mapping[str, Any]) -> None:
    for problem in (result.get("dry_run") or {}).get("problems") or ():
        screen.say_word("problem", f"{problem.get('code')}: {problem.get('message')}", "bold red")
    for warning in result.get("warnings") or ():
        screen.say_word("warning", f"{warning.get('code')}: {warning.get('message')}", "yellow")


def print_monitors(screen: Screen, monitors: Sequence[Mapping[str, Any]]) -> None:
    """Print a list of operations."""
    if screen.output == "json":
        screen.print_json({"value": monitors})
        return
    if not monitors:
        screen.say("there is none")
        return
    columns = (
        Column("ID"),
        Column("STATUS"),
        Column("DAY", rank=1),
        Column("TABLE", rank=3),
        Column("DATABASE", rank=6),
        Column("STAGE", rank=5),
        Column("READ", is_number=True, rank=4),
        Column("ROWS", is_number=True, rank=4),
        Column("TIME", is_number=True, rank=5),
        Column("ERROR", rank=2),
        Column("CREATED", rank=5),
    )
    screen.print_table(columns, [_monitor_row(monitor) for monitor in monitors])


def _monitor_row(monitor: Mapping[str, Any]) -> list[Any]:
    progress = monitor.get("progress") or {}
    runs = monitor["status"] == "Running"
    return [
        monitor.get("id"),
        monitor["status"],
        monitor.get("day"),
        monitor.get("target_table"),
        monitor.get("database"),
        progress.get("stage") if runs else None,
        texts.percent(progress.get("percent")) if runs else None,
        texts.count(progress.get("rows") or None),
        texts.seconds(progress.get("seconds") or None),
        (monitor.get("error") or {}).get("code"),
        texts.moment(monitor.get("created")),
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
    screen.say(f"{len(days)} days: {parts}")


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


def say_service_error(screen: Screen, body: Mapping[str, Any]) -> None:
    """Say what the function app refused, and what to do."""
    _say_error_body(screen, body["error"], body.get("request_id"))


def _say_error_body(screen: Screen, error: Mapping[str, Any], request_id: Any) -> None:
    code, message = str(error.get("code")), str(error.get("message"))
    screen.say_word("error:", f"{code}: {message}", "bold red")
    if error.get("hint"):
        screen.say_word("  hint:", str(error["hint"]), "bold")
    for detail in error.get("details") or ():
        if detail.get("message") not in (None, message):
            target = f"{detail['target']}: " if detail.get("target") else ""
            screen.say(f"    {target}{detail['message']}")
    step = NEXT_STEPS.get(code) or _BY_RETRY.get(str(error.get("retry")))
    if step:
        screen.say_word("  next:", f"{step} (docs/errors.md has {code})", "bold")
    if request_id:
        screen.say(f"  request_id: {request_id}")
