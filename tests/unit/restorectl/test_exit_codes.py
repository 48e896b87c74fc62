from __future__ import annotations

from typing import get_args

import pytest

from restorectl import commands
from restorectl.exit_codes import (
    DAYS_FAILED_CODE,
    NOT_ALLOWED_CODES,
    ExitCode,
    code_of_error,
    code_of_monitor,
    code_of_plan,
    code_of_result,
)
from restorectl.report import NEXT_STEPS, SYNC_STEPS
from shared.errors import RestoreError
from shared.model.calendar import DayState
from shared.model.monitor import STATUSES
from tests.fix_errors import errors


def test_the_codes_that_are_not_allowed_are_those_that_answer_403() -> None:
    """The program is installed without the function app, so it has a list of its own."""
    assert {kind.code for kind in errors() if kind.status in (401, 403)} == NOT_ALLOWED_CODES


def test_each_code_with_a_next_step_exists() -> None:
    assert {*NEXT_STEPS, *SYNC_STEPS} <= {kind.code for kind in errors()}


# Of days that failed, the monitor alone knows whether others are in.
ALIKE = [kind for kind in errors() if kind.code != DAYS_FAILED_CODE]


@pytest.mark.parametrize("kind", ALIKE, ids=lambda kind: kind.code)
def test_an_error_ends_alike_from_a_call_and_from_a_monitor(kind: type[RestoreError]) -> None:
    error = {"code": kind.code}
    assert code_of_monitor({"status": "Failed", "error": error}) == code_of_error(error)


def test_the_ends_of_an_operation() -> None:
    problems = {"dry_run": {"problems": [{"code": "WindowNotEmpty"}]}}
    assert code_of_monitor({"status": "Succeeded", "result": {"status": "ok"}}) == ExitCode.DONE
    assert code_of_monitor({"status": "Succeeded", "result": problems}) == ExitCode.FAILED
    assert code_of_monitor({"status": "Canceled", "error": {"code": "RestoreCanceled"}}) == ExitCode.CANCELED
    assert code_of_monitor({"status": "Failed"}) == ExitCode.FAILED
    assert code_of_error({"code": "RestoreCanceled"}) == ExitCode.CANCELED
    failed = {"status": "Failed", "error": {"code": "DaysFailed"}}
    assert code_of_monitor(failed | {"days": {"restored": 1, "failed": 1}}) == ExitCode.PARTLY
    assert code_of_monitor(failed | {"days": {"skipped": 1, "failed": 1}}) == ExitCode.PARTLY
    assert code_of_monitor(failed | {"days": {"restored": 0, "skipped": 0, "failed": 2}}) == ExitCode.FAILED
    assert code_of_result({"dry_run": {"problems": []}}) == ExitCode.DONE


def test_the_words_that_options_take_are_those_of_the_function_app() -> None:
    assert get_args(commands.DayState) == get_args(DayState)
    assert get_args(commands.Status) == STATUSES


def test_a_plan_ends_as_its_days_would() -> None:
    day, other = "2025-01-01", "2025-01-02"
    assert code_of_plan({"days": 2, "skipped": [], "failing": []}) == ExitCode.DONE
    assert code_of_plan({"days": 2, "skipped": [], "failing": [day]}) == ExitCode.PARTLY
    assert code_of_plan({"days": 1, "skipped": [other], "failing": [day]}) == ExitCode.PARTLY
    assert code_of_plan({"days": 2, "skipped": [], "failing": [day, other]}) == ExitCode.FAILED
