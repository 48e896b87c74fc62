"""The types of what the functions around operations answer. `docs/jobs.md` describes each field; see `answer.py`."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from typing_extensions import NotRequired, TypedDict

from shared.model.answer import Answer, ErrorBody, RestoreOutcome

Kind: TypeAlias = Literal["restore", "group", "backfill"]
KINDS: tuple[Kind, ...] = ("restore", "group", "backfill")
Status: TypeAlias = Literal["NotStarted", "Running", "Succeeded", "Failed", "Canceled"]
STATUSES: tuple[Status, ...] = ("NotStarted", "Running", "Succeeded", "Failed", "Canceled")


class OperationProgress(TypedDict):
    """How far the last attempt came."""

    stage: str | None
    compressed_bytes: int
    compressed_bytes_total: int | None
    csv_bytes: int
    csv_bytes_total: int | None
    percent: float | None
    rows: int
    seconds: float


class FailedAttempt(TypedDict):
    """An attempt that failed, or whose worker was lost."""

    attempt: int
    ended: str
    stage: str | None
    code: str | None


class OperationLinks(TypedDict):
    """Addresses of an operation."""

    self: str
    result: str
    cancel: str


class Monitor(TypedDict):
    """An asynchronous restore: what was asked, how far it is, how it ended."""

    id: str
    kind: Literal["restore"]
    backfill: str | None
    status: Status
    outcome: RestoreOutcome | None
    canceling: bool
    created: str
    started: str | None
    ended: str | None
    attempt: int
    attempt_request_id: str | None
    heartbeat: str | None
    next_attempt: str | None
    archive: str
    database: str
    target_table: str
    day: str
    progress: OperationProgress
    request: NotRequired[dict[str, Any]]
    attempts: NotRequired[list[FailedAttempt]]
    result: NotRequired[Answer]
    error: NotRequired[ErrorBody]
    links: OperationLinks


class MonitorList(TypedDict):
    """Asynchronous restores, newest first."""

    value: list[Monitor]
    nextLink: str | None
