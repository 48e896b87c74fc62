"""The root of the tree, and the errors that are nobody's fault but ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Fault:
    """One of several faults behind a single error.

    Attributes:
        code: stable PascalCase code.
        message: what is wrong, for a person.
        target: where: a path into the request (`copy.csv_options.QUOTE`), a column, a CSV line.
        info: further facts by name (`line`, `column`, `sqlstate`), JSON values only.
    """

    code: str
    message: str
    target: str | None = None
    info: tuple[tuple[str, Any], ...] = ()


class RestoreError(Exception):
    """A restore that did not happen. The target is as it was before.

    Args:
        message: what is wrong, for a person; no secret ever.
        target: the part of the request or of the archive that is meant.
        hint: what to do about it; the class's own hint where None.
        details: the single faults, where there are several or where they hold more.
    """

    code: ClassVar[str]
    status: ClassVar[int]
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str | None] = None
    default_target: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        *,
        target: str | None = None,
        hint: str | None = None,
        details: Sequence[Fault] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.target = target if target is not None else self.default_target
        self.hint = hint if hint is not None else self.default_hint
        self.details = tuple(details)


class ConfigurationError(RestoreError):
    """A setting of the function app is missing or cannot be read."""

    code = "InvalidConfiguration"
    status = 500
    default_hint = "correct the app setting that target names; docs/settings.md lists all of them"


class InternalError(RestoreError):
    """A bug of this project. The log holds the traceback under the request id; the caller sees only the id."""

    code = "InternalError"
    status = 500
    default_hint = "look for the request_id in the function's log"
