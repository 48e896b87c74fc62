"""Which states of a backfill follow which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest

from shared.backfills import lifecycle
from shared.backfills.records import BackfillPlan
from shared.errors import InternalError, OperationEnded, OperationNotEnded
from shared.jobs.operation import BackfillOperation, BackfillPhase, DayOperation
from shared.jobs.transitions import End

ASKED: dict[str, Any] = {"archive": "archive", "database": "db", "target_table": "public.t", "created": ""}
BACKFILL = BackfillOperation(id="id", request="{}", parallel=0, phase="plan", **ASKED)
DAY = DayOperation(id="day", request='{"timescaledb": {}}', day="2025-01-01", backfill="id", **ASKED)
PHASES: tuple[BackfillPhase, ...] = get_args(BackfillPhase)

Move = Callable[[BackfillOperation], dict[str, Any]]
MOVES: dict[str, tuple[BackfillPhase, Move]] = {
    "planned": ("plan", lambda one: lifecycle.planned(one, BackfillPlan())),
    "records_are_there": ("create", lifecycle.records_are_there),
    "groups_ended": ("run", lifecycle.groups_ended),
    "reopened": ("refresh", lifecycle.reopened),
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("phase", PHASES)
def test_each_move_begins_in_one_phase(phase: BackfillPhase, move: str) -> None:
    start, moved = MOVES[move]
    backfill = replace(BACKFILL, phase=phase)
    if phase != start:
        with pytest.raises(InternalError):
            moved(backfill)
        return
    assert moved(backfill)["phase"] in PHASES


def test_the_moves_go_once_around() -> None:
    found = ["plan"]
    for start, moved in MOVES.values():
        assert found[-1] == start
        found.append(moved(replace(BACKFILL, phase=start))["phase"])
    assert found == [*PHASES, "plan"]


@pytest.mark.parametrize("phase", PHASES)
def test_what_has_ended_is_planned_again_from_each_phase(phase: BackfillPhase) -> None:
    ended = replace(BACKFILL, phase=phase, status="Failed", is_stopped=True, error="{}", answer_status=409)
    assert replace(ended, **lifecycle.begun_again(ended)) == BACKFILL
    with pytest.raises(OperationNotEnded):
        lifecycle.begun_again(replace(ended, status="Running"))


def test_a_stop_ends_what_was_never_planned() -> None:
    end = lifecycle.stopped(BACKFILL, cancels_running=False)
    assert isinstance(end, End)
    assert (end.changes["status"], end.changes["is_canceled"]) == ("Canceled", True)


@pytest.mark.parametrize("cancels_running", [True, False])
@pytest.mark.parametrize("change", [{"plan": "{}"}, {"claim": "a worker"}])
def test_a_stop_lets_what_runs_end(change: dict[str, str], *, cancels_running: bool) -> None:
    running = replace(BACKFILL, status="Running", **change)  # type: ignore[arg-type] # all are texts
    assert lifecycle.stopped(running, cancels_running=cancels_running) == {
        "is_stopped": True,
        "is_canceled": cancels_running,
    }
    # Once it was told to cancel what runs, a later stop does not take that back.
    assert lifecycle.stopped(replace(running, is_canceled=True), cancels_running=False) == {
        "is_stopped": True,
        "is_canceled": True,
    }


def test_a_stop_of_what_has_ended() -> None:
    ended = replace(BACKFILL, status="Succeeded")
    with pytest.raises(OperationEnded):
        lifecycle.stopped(ended, cancels_running=False)
    assert lifecycle.stopped(replace(ended, is_stopped=True), cancels_running=False) == {}


@pytest.mark.parametrize("change", [{"status": "Succeeded"}, {"claim": "a worker"}, {"commit": "{}"}])
def test_a_day_that_began_is_left_alone_by_a_stop(change: dict[str, str]) -> None:
    assert isinstance(lifecycle.never_started(DAY), End)
    assert lifecycle.never_started(replace(DAY, **change)) == {}  # type: ignore[arg-type] # all are texts


@pytest.mark.parametrize("status", ["NotStarted", "Running", "Succeeded"])
def test_a_day_that_is_in_or_has_not_ended_does_not_wait_again(status: Any) -> None:
    assert lifecycle.waits_again(replace(DAY, status=status), DAY) == {}


def test_a_day_that_waits_again_is_as_it_is_planned() -> None:
    failed = replace(DAY, status="Failed", started="then", ended="now", rows=7, attempt=2, error="{}")
    planned = replace(DAY, shares_chunks=True, request='{"timescaledb": {"compress_new_chunks": false}}')
    again = replace(failed, **lifecycle.waits_again(failed, planned))
    assert again == replace(planned, attempt=2)
