"""The types of what the functions around backfills answer. `docs/backfills.md` describes them; see `answer.py`."""

from __future__ import annotations

from typing import Literal, TypeAlias

from typing_extensions import NotRequired, TypedDict

from shared.model.answer import BackfillOutcome, CaggOutcome, ChunkOutcome, ErrorBody, WarningNote
from shared.model.calendar import DayState
from shared.model.monitor import Status

DayOutcome: TypeAlias = Literal["waiting", "running", "restored", "skipped", "failed", "canceled", "missing"]
Phase: TypeAlias = Literal["plan", "restore", "refresh", "ended"]


class DayCounts(TypedDict):
    """How many days there are, and how many of each outcome."""

    total: int
    waiting: int
    running: int
    restored: int
    skipped: int
    failed: int
    canceled: int
    missing: int


class BackfillProgress(TypedDict):
    """How far all days are."""

    compressed_bytes: int
    compressed_bytes_total: int | None
    percent: float | None
    rows: int
    seconds: float
    estimated_end: str | None


class BackfillDay(TypedDict):
    """One day of a backfill."""

    day: str
    outcome: DayOutcome
    state: DayState | None
    bytes: int | None
    rows: int
    attempt: int
    stage: str | None
    started: str | None
    ended: str | None
    next_attempt: str | None
    operation_id: str | None
    warnings: list[str]
    error: NotRequired[ErrorBody]


class BackfillLinks(TypedDict):
    """Addresses of a backfill."""

    self: str
    result: str
    cancel: str
    retry: str


class BackfillAnswer(TypedDict):
    """The result of a backfill: every day that was to be restored is in."""

    status: BackfillOutcome
    id: str
    database: str
    target_table: str
    days: DayCounts
    missing: list[str]
    rows: int
    compressed_bytes: int
    chunks: list[ChunkOutcome]
    caggs: list[CaggOutcome]
    warnings: list[WarningNote]
    request_id: str


class ListedBackfill(TypedDict):
    """A backfill in a list."""

    id: str
    kind: Literal["backfill"]
    status: Status
    outcome: BackfillOutcome | None
    phase: Phase
    created: str
    started: str | None
    ended: str | None
    adls_url: str
    database: str
    target_table: str
    parallel: int
    links: BackfillLinks
    error: NotRequired[ErrorBody]


class BackfillMonitor(ListedBackfill):
    """A backfill: what was asked, how far it is, how it ended."""

    stopping: bool
    days: DayCounts
    progress: BackfillProgress
    value: list[BackfillDay]
    nextLink: str | None
    warnings: list[WarningNote]
    result: NotRequired[BackfillAnswer]


class BackfillList(TypedDict):
    """Backfills, newest first."""

    value: list[ListedBackfill]
    nextLink: str | None


class BackfillDryRun(TypedDict):
    """What a backfill would do. Nothing was written."""

    status: Literal["dry_run"]
    database: str
    target_table: str
    days: int
    groups: list[list[str]]
    missing: list[str]
    skipped: list[str]
    existing: list[str]
    failing: list[str]
    bytes: int
    parallel: int
    request_id: str
