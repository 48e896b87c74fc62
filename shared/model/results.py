"""What became of the best-effort steps: one record each, for the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from shared.errors import (
    RestoreError,
)
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
    window: tuple[str, str] | None = None
    error: RestoreError | None = None
    gaps: tuple[tuple[str, str], ...] = ()


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
class Kept:
    """Why an index stays where it is.

    Attributes:
        index: its name; None where it is all of them.
        code: stable.
        reason: for a person.
    """

    index: str | None
    code: str
    reason: str
