"""Waits for an operation and shows how far it is: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from restorectl import texts
from restorectl.outcome import CommandError, ExitCode
from restorectl.screen import Screen
from restorectl.service import Answer, Service, Unanswered, operation_path

ENDED = frozenset({"Succeeded", "Failed", "Canceled"})
# A small day is over in a second: the first looks come sooner than the service asks for, which means a long one.
_FIRST_PAUSE = 0.5
_PAUSE = 5.0
_LINE_SECONDS = 30.0
_LINE_PERCENT = 10.0

Monitor = Mapping[str, Any]


def has_ended(monitor: Monitor) -> bool:
    """Whether an operation has ended."""
    return monitor["status"] in ENDED


def follow(service: Service, screen: Screen, kind: str, first: Answer, seconds: float | None) -> dict[str, Any]:
    """Return the monitor of an operation that has ended.

    Args:
        service: the function app.
        screen: what sees the progress.
        kind: `restores` or `backfills`.
        first: the monitor as it is known.
        seconds: how long to wait at most, or None.

    Raises:
        CommandError: the wait ran out, or the service went away; the operation may run on.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    answer, pause = first, _FIRST_PAUSE
    operation_id = str(first.body["id"])
    with _shown(screen) as show:
        show(answer.body)
        while not has_ended(answer.body):
            wait = min(pause, answer.retry_after or _PAUSE)
            if deadline is not None and time.monotonic() + wait > deadline:
                raise _left(operation_id, f"after {seconds:g} s {operation_id} has not ended ({answer.body['status']})")
            time.sleep(wait)
            pause *= 1.5
            try:
                answer = service.get(operation_path(kind, operation_id))
            except Unanswered as exc:
                if exc.code == ExitCode.NOT_ALLOWED:
                    raise
                raise _left(operation_id, str(exc)) from None
            show(answer.body)
    return answer.body


def _left(operation_id: str, message: str) -> CommandError:
    return CommandError(message, code=ExitCode.WAIT_RAN_OUT, next_step=leaving(operation_id))


def leaving(operation_id: str) -> str:
    """Return what to say of an operation that nobody waits for any more."""
    return f"it runs on: see it with `restorectl watch {operation_id}`, stop it with `restorectl cancel {operation_id}`"


@contextmanager
def _shown(screen: Screen) -> Iterator[Callable[[Monitor], None]]:
    if not screen.is_watched:
        yield _Lines(screen).show
        return
    bars = _Bars(screen)
    with bars.progress:
        yield bars.show


class _Lines:
    """A line for each change, and now and then one more."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._said = ("", "", -1)
        self._at = 0.0
        self._percent = 0.0

    def show(self, monitor: Monitor) -> None:
        progress = _progress_of(monitor)
        now = time.monotonic()
        said = (str(monitor["status"]), str(progress.get("stage")), monitor.get("attempt") or 0)
        percent = progress.get("percent") or 0.0
        if said == self._said and now < self._at + _LINE_SECONDS and percent < self._percent + _LINE_PERCENT:
            return
        self._said, self._at, self._percent = said, now, percent
        self._screen.say(_line(monitor))


def _line(monitor: Monitor) -> str:
    progress = _progress_of(monitor)
    parts = [f"{monitor.get('day')}: {monitor['status']}"]
    if monitor["status"] == "Running" and progress.get("stage"):
        parts.append(str(progress["stage"]))
    if progress.get("percent") is not None:
        parts.append(f"{texts.percent(progress['percent'])} of the archive")
    if progress.get("rows"):
        parts += [texts.count(progress["rows"], "rows"), texts.seconds(progress.get("seconds"))]
    if waits := _waits(monitor):
        parts.append(waits)
    return ", ".join(parts)


def _waits(monitor: Monitor) -> str:
    """Return why an attempt is to be made again, and when."""
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
    """A bar that is redrawn."""

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
        self._bar: TaskID | None = None
        self._said = ""

    def show(self, monitor: Monitor) -> None:
        progress = _progress_of(monitor)
        percent = progress.get("percent")
        stage = progress.get("stage") if monitor["status"] == "Running" else monitor["status"]
        facts: dict[str, Any] = {
            "description": texts.plain(f"{monitor.get('day')} {stage or ''}"),
            # Reading is not yet loading, and nobody knows how long the rest takes: the bar is the archive's.
            "total": None if percent is None else 100.0,
            "completed": percent or 0.0,
            "percent": texts.percent(percent),
            "rows": texts.count(progress.get("rows") or None, "rows"),
            "seconds": progress.get("seconds") or 0.0,
            "seconds_at": time.monotonic() if monitor["status"] == "Running" else None,
        }
        if self._bar is None:
            self._bar = self.progress.add_task(**facts)
        else:
            self.progress.update(self._bar, **facts)
        waits = _waits(monitor)
        if waits and waits != self._said:
            self._screen.say(waits, "yellow")
        self._said = waits
