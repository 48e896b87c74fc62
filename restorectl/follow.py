"""Waits for an operation and shows how far it is: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from restorectl import texts
from restorectl.exit_codes import CommandError, ExitCode, Kind
from restorectl.screen import Screen
from restorectl.service import Answer, Service, Unanswered, operation_path

ENDED = frozenset({"Succeeded", "Failed", "Canceled"})
# Poll sooner at first: the service's interval is meant for long restores.
_FIRST_PAUSE = 0.5
_PAUSE = 5.0
_LINE_SECONDS = 30.0
_LINE_PERCENT = 10.0

# More bars than that would push the whole off a small terminal.
_MOST_BARS = 12

Monitor = Mapping[str, Any]


def has_ended(monitor: Monitor) -> bool:
    """Whether an operation has ended."""
    return monitor["status"] in ENDED


def follow(service: Service, screen: Screen, kind: Kind, first: Answer, seconds: float | None) -> Answer:
    """Return the monitor of an operation that has ended.

    Args:
        service: the function app.
        screen: what sees the progress.
        kind: of the operation.
        first: the monitor as it is known.
        seconds: how long to wait at most, or None.

    Raises:
        CommandError: the wait ran out, or the service went away; the operation may run on.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    answer, pause = first, _FIRST_PAUSE
    operation_id = str(first.body["id"])
    with _shown(screen) as show:
        while True:
            show(answer.body, _running_days(service, answer.body) if screen.is_watched else ())
            if has_ended(answer.body):
                return answer
            wait = min(pause, answer.retry_after or _PAUSE)
            if deadline is not None and time.monotonic() + wait > deadline:
                raise _left(operation_id, f"after {seconds:g} s {operation_id} has not ended ({answer.body['status']})")
            time.sleep(wait)
            pause *= 1.5
            try:
                answer = service.get(operation_path(kind, operation_id), look_at(kind))
            except Unanswered as exc:
                if exc.code == ExitCode.NOT_ALLOWED:
                    raise
                raise _left(operation_id, str(exc)) from None


def look_at(kind: Kind) -> dict[str, str]:
    """Return the query for an operation: a backfill lists a hundred days, unless more are asked for."""
    return {"top": "1000"} if kind == "backfills" else {}


def days_of(monitor: Monitor) -> list[dict[str, Any]]:
    """Return the days that a monitor lists; none of a restore."""
    days = monitor.get("value")
    return days if isinstance(days, list) else []


def _running_days(service: Service, monitor: Monitor) -> list[Monitor]:
    """Return the monitors of the days of a backfill that run, as far as they can be had at once."""
    running = [day.get("operation_id") for day in days_of(monitor) if day.get("outcome") == "running"]
    found: list[Monitor] = []
    for operation_id in [one for one in running if one][:_MOST_BARS]:
        try:
            found.append(service.get(operation_path("restores", str(operation_id)), retries=False).body)
        except CommandError:  # noqa: PERF203 - there are few
            continue
    return found


def _left(operation_id: str, message: str) -> CommandError:
    return CommandError(message, code=ExitCode.WAIT_RAN_OUT, next_step=leaving(operation_id))


def leaving(operation_id: str) -> str:
    """Return what to print about an operation that runs on without a wait."""
    watch, cancel = f"restorectl watch {operation_id}", f"restorectl cancel {operation_id}"
    return f"it runs on: see it with `{watch}`, cancel it with `{cancel}`"


@contextmanager
def _shown(screen: Screen) -> Iterator[Callable[[Monitor, Sequence[Monitor]], None]]:
    days = _EndedDays(screen)
    if not screen.is_watched:
        lines = _Lines(screen)

        def show_lines(monitor: Monitor, _: Sequence[Monitor]) -> None:
            days.show(monitor)
            lines.show(monitor)

        yield show_lines
        return
    bars = _Bars(screen)

    def show_bars(monitor: Monitor, running: Sequence[Monitor]) -> None:
        days.show(monitor)
        bars.show(monitor, running)

    with bars.progress:
        yield show_bars


class _EndedDays:
    """A line for each day of a backfill that ends. What ended before the first look is history."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._known: dict[str, Any] | None = None

    def show(self, monitor: Monitor) -> None:
        days = days_of(monitor)
        if self._known is not None:
            for day in days:
                if day.get("outcome") in _TOLD and self._known.get(str(day.get("day"))) != day.get("outcome"):
                    self._say(day)
        self._known = {str(day.get("day")): day.get("outcome") for day in days}

    def _say(self, day: Monitor) -> None:
        outcome, error = str(day["outcome"]), day.get("error")
        style = "bold red" if outcome == "failed" else ""
        if outcome == "failed" and isinstance(error, dict):
            text = f"{error.get('code')}: {error.get('message')}"
        else:
            text = texts.count(day.get("rows") or None, "rows")
        self._screen.say_word(f"{day.get('day')} {outcome}", text, style)


# Outcomes that get a line. Skipped days may number thousands, and are only counted.
_TOLD = frozenset({"restored", "failed", "canceled"})


class _Lines:
    """A line for each change, and now and then one more."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._said: tuple[str, ...] = ()
        self._at = 0.0
        self._percent = 0.0

    def show(self, monitor: Monitor) -> None:
        progress = _progress_of(monitor)
        now = time.monotonic()
        said = tuple(str(one) for one in (monitor["status"], _stage(monitor), monitor.get("attempt")))
        percent = progress.get("percent") or 0.0
        if said == self._said and now < self._at + _LINE_SECONDS and percent < self._percent + _LINE_PERCENT:
            return
        self._said, self._at, self._percent = said, now, percent
        self._screen.say(_line(monitor))


def _stage(monitor: Monitor) -> str:
    """Return what an operation does, or how it ended."""
    if monitor["status"] != "Running":
        return str(monitor["status"])
    if monitor.get("canceling"):
        return "canceling"
    return str(monitor.get("phase") or _progress_of(monitor).get("stage") or "Running")


def _name(monitor: Monitor) -> str:
    """Return what a person calls an operation: its day, or how many of its days have ended."""
    days = monitor.get("days")
    if not isinstance(days, dict):
        return str(monitor.get("day"))
    open_days = (days.get("waiting") or 0) + (days.get("running") or 0)
    total = days.get("total") or 0
    # Before the plan is made, their number is unknown.
    return f"{total - open_days} of {texts.count(total, 'days')}" if total else "days"


def _line(monitor: Monitor) -> str:
    progress = _progress_of(monitor)
    parts = [f"{_name(monitor)}: {monitor['status']}"]
    if monitor.get("outcome") not in (None, "ok"):
        parts.append(str(monitor["outcome"]))
    if _stage(monitor) != monitor["status"]:
        parts.append(_stage(monitor))
    if progress.get("percent") is not None:
        what = "archive" if "day" in monitor else "archives"
        parts.append(f"{texts.percent(progress['percent'])} of the {what}")
    if progress.get("rows"):
        parts += [texts.count(progress["rows"], "rows read"), texts.seconds(progress.get("seconds"))]
    if (days := monitor.get("days")) and has_ended(monitor):
        parts += [f"{days[name]} {name}" for name in ("skipped", "missing", "failed", "canceled") if days.get(name)]
    if waits := _waits(monitor):
        parts.append(waits)
    return ", ".join(parts)


def _waits(monitor: Monitor) -> str:
    """Return why another attempt follows, and when."""
    if not monitor.get("next_attempt") or has_ended(monitor):
        return ""
    code = (monitor.get("error") or {}).get("code")
    return f"attempt {monitor.get('attempt')} ended with {code}; again at {texts.moment(monitor['next_attempt'])}"


def _progress_of(monitor: Monitor) -> Mapping[str, Any]:
    progress = monitor.get("progress")
    return progress if isinstance(progress, dict) else {}


class _Seconds(ProgressColumn):
    """How long it has run, by the service's clock, which goes on between two looks."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        begun = task.fields["seconds_at"]
        ticking = 0.0 if begun is None else time.monotonic() - begun
        return Text(texts.seconds(task.fields["seconds"] + ticking), justify="right")


class _Bars:
    """Bars that are redrawn: one for the whole, and one for each day of a backfill that runs."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[percent]}", markup=False, justify="right"),
            TextColumn("{task.fields[rows]}", markup=False, justify="right"),
            _Seconds(),
            console=screen.talk,
            transient=True,
            expand=True,
        )
        self._bars: dict[str, TaskID] = {}
        self._said = ""

    def show(self, monitor: Monitor, running: Sequence[Monitor]) -> None:
        shown = {str(one.get("id")): one for one in (monitor, *running)}
        for gone in self._bars.keys() - shown.keys():
            self.progress.remove_task(self._bars.pop(gone))
        for name, one in shown.items():
            facts = _bar(one)
            if name in self._bars:
                self.progress.update(self._bars[name], **facts)
            else:
                self._bars[name] = self.progress.add_task(**facts)
        waits = _waits(monitor)
        if waits and waits != self._said:
            self._screen.say(waits, "yellow")
        self._said = waits


def _bar(monitor: Monitor) -> dict[str, Any]:
    progress = _progress_of(monitor)
    percent = progress.get("percent")
    return {
        "description": texts.plain(f"{_name(monitor)} {_stage(monitor)}"),
        # Reading is not yet loading, and how long the rest takes is unknown: the bar is the archive's.
        "total": None if percent is None else 100.0,
        "completed": percent or 0.0,
        "percent": texts.percent(percent),
        "rows": texts.count(progress.get("rows") or None, "rows"),
        "seconds": progress.get("seconds") or 0.0,
        "seconds_at": time.monotonic() if monitor["status"] == "Running" else None,
    }
