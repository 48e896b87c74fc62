"""How a command ends: its exit code, which does not depend on the form of the output. `docs/cli.md` has them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Literal, TypeAlias

# The kinds of operations, as paths name them.
Kind: TypeAlias = Literal["restores", "backfills"]


class ExitCode(IntEnum):
    """What a shell sees."""

    DONE = 0
    FAILED = 1
    USAGE = 2  # Nothing was sent.
    WAIT_RAN_OUT = 3  # It may run on.
    NOT_ALLOWED = 4
    CANCELED = 5
    PARTLY = 6
    INTERRUPTED = 130  # 128 + SIGINT, as shells have it.


# The codes of errors that a call that waits answers with 403, so that a restore behind the queue ends alike.
NOT_ALLOWED_CODES = frozenset(
    {
        "DatabaseAccessDenied",
        "DatabaseHostNotAllowed",
        "DatabaseNotAllowed",
        "DatabasePermissionDenied",
        "DatabaseUserNotAllowed",
        "SslModeNotAllowed",
        "StorageAccessDenied",
        "StorageAccountNotAllowed",
        "TargetNotAllowed",
    }
)
CANCELED_CODE = "RestoreCanceled"
DAYS_FAILED_CODE = "DaysFailed"


class CommandError(Exception):
    """A command cannot go on.

    Attributes:
        code: the exit code.
        next_step: what to do, or None.
    """

    code = ExitCode.FAILED

    def __init__(self, message: str, *, code: ExitCode | None = None, next_step: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.next_step = next_step


class UsageError(CommandError):
    """The command line or the environment is wrong. Nothing was sent."""

    code = ExitCode.USAGE


class ServiceError(CommandError):
    """The function app answered with an error of its own.

    Attributes:
        body: the whole answer.
    """

    def __init__(self, body: Mapping[str, Any]) -> None:
        error = body["error"]
        super().__init__(f"{error.get('code')}: {error.get('message')}", code=code_of_error(error))
        self.body = body


def code_of_error(error: Mapping[str, Any]) -> ExitCode:
    """Return the exit code for the `error` of an answer or of a monitor."""
    code = error.get("code")
    if code == CANCELED_CODE:
        return ExitCode.CANCELED
    if code == DAYS_FAILED_CODE:
        return ExitCode.PARTLY
    return ExitCode.NOT_ALLOWED if code in NOT_ALLOWED_CODES else ExitCode.FAILED


def code_of_result(result: Mapping[str, Any]) -> ExitCode:
    """Return the exit code for the answer of a success: a dry run that found problems has failed."""
    problems = (result.get("dry_run") or {}).get("problems")
    return ExitCode.FAILED if problems else ExitCode.DONE


def code_of_plan(plan: Mapping[str, Any]) -> ExitCode:
    """Return the exit code with which a backfill would end by its plan, as far as it is known."""
    failing = plan.get("failing") or ()
    if not failing:
        return ExitCode.DONE
    return ExitCode.PARTLY if len(failing) < (plan.get("days") or 0) or plan.get("skipped") else ExitCode.FAILED


def code_of_monitor(monitor: Mapping[str, Any]) -> ExitCode:
    """Return the exit code for an operation that has ended."""
    if monitor["status"] == "Canceled":
        return ExitCode.CANCELED
    if monitor["status"] == "Succeeded":
        return code_of_result(monitor.get("result") or {})
    code = code_of_error(monitor.get("error") or {})
    days = monitor.get("days") or {}
    # If no day is in, it is not "partly".
    if code == ExitCode.PARTLY and not (days.get("restored") or days.get("skipped")):
        return ExitCode.FAILED
    return code
