"""The loop that repeats a load: what each way in which an attempt ends leads to. The attempts are the test's own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from datetime import date
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest

from shared.errors import (
    DatabaseUnreachable,
    DataRejected,
    Fault,
    RestoreCanceled,
    RestoreError,
    TargetLocked,
)
from shared.load import find_row, load
from shared.load.load import MAX_CHANGED_ATTEMPTS, load_day
from shared.load.plan import DayNotLocked, Fallback, LoadPlan, TargetChanged
from shared.progress.progress import Progress

DONE = object()
OTHER_DAYS = frozenset({date(2025, 1, 2)})


class Case:
    """A load whose attempts end as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *ends: object) -> None:
        self._ends = list(ends)
        self.plans: list[LoadPlan] = []
        self.locked: list[object] = []
        self.progress = Progress()
        self._search: Callable[[], object] = lambda: pytest.fail("no row is looked for")
        monkeypatch.setattr(load, "attempt", self._attempt)
        monkeypatch.setattr(find_row, "make_room", lambda *_: self._search())
        monkeypatch.setattr(LoadPlan, "for_request", lambda _: LoadPlan())

    def run(self) -> object:
        request = SimpleNamespace(archive=SimpleNamespace(day=date(2025, 1, 1)))
        tx = SimpleNamespace(cursor=None)
        day: Any = SimpleNamespace(request=request, progress=self.progress, transaction=lambda *_: nullcontext(tx))
        lock: Any = SimpleNamespace(take=self.locked.append, cancel=lambda: None)
        connection: Any = SimpleNamespace(info=SimpleNamespace(parameter_status=lambda _: "restore-chunk/7"))
        return load_day(connection, lock, day)

    def search_ends(self, error: BaseException) -> None:
        def search() -> object:
            raise error

        self._search = search

    def _attempt(self, *given: Any) -> object:
        plan: LoadPlan = given[3]
        self.plans.append(plan)
        end = self._ends.pop(0)
        if isinstance(end, BaseException):
            raise end
        return end


def refused(*, line: int | None = None) -> DataRejected:
    """Return the error of a row, as PostgreSQL refuses it."""
    facts = (("sqlstate", "23505"),) if line is None else (("sqlstate", "22P02"), ("line", line))
    error = DataRejected("refused", details=[Fault("DataRejected", "refused", info=facts)])
    error.__cause__ = psycopg2.Error()
    return error


def test_a_target_that_keeps_changing_is_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(monkeypatch, *[TargetChanged() for _ in range(MAX_CHANGED_ATTEMPTS)])
    with pytest.raises(TargetLocked):
        case.run()
    assert case.plans == [LoadPlan()] * MAX_CHANGED_ATTEMPTS == [LoadPlan()] * case.progress.loads


def test_a_day_that_was_not_locked_is_locked_for_the_next_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(monkeypatch, DayNotLocked(OTHER_DAYS), DONE)
    assert case.run() is DONE
    assert (case.locked, case.plans) == ([OTHER_DAYS], [LoadPlan()] * 2)


def test_a_fallback_gives_a_permission_up(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(monkeypatch, Fallback(readers=True), TargetChanged(), DONE)
    assert case.run() is DONE
    assert case.plans == [LoadPlan(), LoadPlan(truncate=False), LoadPlan(truncate=False)]


def test_a_row_with_its_line_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    error = refused(line=3)
    with pytest.raises(DataRejected) as raised:
        Case(monkeypatch, error).run()
    assert raised.value is error


@pytest.mark.parametrize(
    "end",
    [
        TargetChanged(),
        DayNotLocked(OTHER_DAYS),
        Fallback(readers=True),
        TargetLocked("x"),
        DatabaseUnreachable("x"),
        DataRejected("a trigger refuses the DELETE"),
    ],
    ids=lambda end: type(end).__name__,
)
def test_a_search_that_fails_leaves_the_error_of_the_row(monkeypatch: pytest.MonkeyPatch, end: Exception) -> None:
    """The archive does not load, so no error may ask the caller to try again."""
    error = refused()
    case = Case(monkeypatch, error)
    case.search_ends(end)
    with pytest.raises(RestoreError) as raised:
        case.run()
    assert raised.value is error
    assert (case.locked, len(case.plans), case.progress.loads) == ([], 1, 2)


def test_a_search_that_is_canceled_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    case, end = Case(monkeypatch, refused()), RestoreCanceled("stop")
    case.search_ends(end)
    with pytest.raises(RestoreCanceled) as raised:
        case.run()
    assert raised.value is end
