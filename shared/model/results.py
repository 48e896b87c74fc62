"""What a restore found and did, one frozen record each: counts, steps, rejected rows, indexes that were kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from shared.errors import RestoreError
from shared.model.window import TimeValue, iso

Outcome: TypeAlias = Literal["done", "failed", "not available", "nothing to do", "not requested"]
ChunkAction: TypeAlias = Literal["create", "compress", "decompress", "recompress"]


@dataclass(frozen=True)
class ChunkStep:
    """Something that was done to a chunk."""

    chunk: str
    action: ChunkAction
    outcome: Outcome
    error: RestoreError | None = None


@dataclass(frozen=True)
class CaggStep:
    """The refresh of a continuous aggregate.

    Attributes:
        cagg: its name.
        outcome: what became of it.
        window: the bounds that were refreshed, in ISO 8601 or as integers, whole buckets.
        error: why it failed.
        gaps: spans of the window, outside the day, for which the hypertable has no chunk.
    """

    cagg: str
    outcome: Outcome
    window: tuple[str | int, str | int] | None = None
    error: RestoreError | None = None
    gaps: tuple[tuple[str | int, str | int], ...] = ()


def summary(steps: list[ChunkStep] | list[CaggStep], *, requested: bool, available: bool) -> Outcome:
    """Say in one word what became of an option of the request.

    Args:
        steps: what was done for it.
        requested: whether the request asked for it.
        available: whether this database has it at all.
    """
    if not requested:
        return "not requested"
    if not available:
        return "not available"
    if not steps:
        return "nothing to do"
    # The worst of them, so that "done" means all.
    outcomes = {step.outcome for step in steps}
    worst: tuple[Outcome, ...] = ("failed", "not available")
    return next((outcome for outcome in worst if outcome in outcomes), "done")


@dataclass(frozen=True)
class Count:
    """How many rows, and between which times. Both times are None where there are no rows."""

    rows: int
    first: TimeValue | None = None
    last: TimeValue | None = None

    def describe(self) -> str:
        """Say it in a message."""
        between = "" if self.first is None or self.last is None else f", from {iso(self.first)} to {iso(self.last)}"
        return f"{self.rows} rows{between}"


@dataclass(frozen=True)
class Rejected:
    """Rows that were left out.

    Attributes:
        rows: how many.
        lines: the CSV lines of the first hundred, as PostgreSQL counts lines.
    """

    rows: int
    lines: tuple[int, ...]


@dataclass(frozen=True)
class KeptIndex:
    """Why an index stays where it is.

    Attributes:
        index: its name; None where it is all of them.
        code: stable.
        reason: for a person.
    """

    index: str | None
    code: str
    reason: str


@dataclass(frozen=True)
class Notice:
    """Something that the caller should know although the rows are in."""

    code: str
    message: str


@dataclass(frozen=True)
class Verification:
    """The proof of a load: the day's rows before it and after it, and what it added.

    Attributes:
        rows_before: rows of the day before the load, and before their removal where they were replaced.
        after: rows of the day after it.
        rows_loaded: rows that the load added to the target.
        outside: those of them that are not in the day.
    """

    rows_before: int
    after: Count
    rows_loaded: int
    outside: Count


@dataclass(frozen=True)
class Removed:
    """The day's rows that were taken away before the archive's came."""

    rows: int
    by: Literal["truncate", "delete"]


@dataclass(frozen=True)
class Transferred:
    """How the archive's rows got into the target.

    Attributes:
        format: how they were copied.
        text_because: why as text; None where they were not.
        waited_seconds: how long PostgreSQL waited for the next rows.
        rows: how many PostgreSQL took from the file.
        rejected: those that it left out; None where it was not allowed to.
        inserted: how many of them went on from staging into the target; None in direct mode.
        skips_conflicts: whether rows in conflict were left out on that way.
        staged_outside: the staged rows that are not of the archive's day.
    """

    format: Literal["text", "binary"]
    text_because: str | None
    waited_seconds: float
    rows: int
    rejected: Rejected | None = None
    inserted: int | None = None
    skips_conflicts: bool = False
    staged_outside: Count = Count(0)

    @property
    def rows_read(self) -> int:
        """How many rows of the file PostgreSQL has seen, taken or left out."""
        return self.rows + (0 if self.rejected is None else self.rejected.rows)

    @property
    def added(self) -> int:
        """How many rows the target got."""
        return self.rows if self.inserted is None else self.inserted

    @property
    def skipped(self) -> int | None:
        """How many staged rows the target did not get; None in direct mode."""
        return None if self.inserted is None else self.rows - self.inserted


@dataclass(frozen=True)
class IndexOutcome:
    """What happened to the indexes of the day's chunks.

    Attributes:
        deferred: names of those that were dropped before the rows came and rebuilt after them.
        kept: those that were maintained row by row, with the reason.
    """

    deferred: tuple[str, ...]
    kept: tuple[KeptIndex, ...]
