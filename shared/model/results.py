"""What a restore found and did, as frozen records: counts, steps, rejected rows, kept indexes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, TypeAlias

from shared.errors import RestoreError
from shared.model.window import TimeValue, iso
from shared.names import QualifiedName, counted

Outcome: TypeAlias = Literal["done", "failed", "later", "not available", "nothing to do", "not requested"]
# What a dry run looks at. `docs/answer.md` describes each word.
CheckName: TypeAlias = Literal[
    "archive",
    "columns",
    "rights",
    "lock",
    "existing",
    "partition",
    "chunks",
    "referenced_rows",
    "retention",
    "replacement_size",
    "values",
    "window",
    "duplicates",
]
ChunkAction: TypeAlias = Literal["create", "compress", "decompress", "recompress"]
# As SQL writes them after ON DELETE and ON UPDATE.
ReferenceAction: TypeAlias = Literal["CASCADE", "SET NULL", "SET DEFAULT", "RESTRICT", "NO ACTION"]


@dataclass(frozen=True)
class Notice:
    """Something that the caller should know although the rows are loaded."""

    code: str
    message: str


@dataclass(frozen=True)
class ChunkStep:
    """An action on a chunk, and its outcome."""

    chunk: str
    action: ChunkAction
    outcome: Outcome
    error: RestoreError | None = None

    @property
    def warnings(self) -> tuple[Notice, ...]:
        """A failure, or that the chunk was left as it is."""
        action = self.action.capitalize()
        if self.error is not None:
            return (Notice(f"{action}Failed", f"{self.chunk}: {self.error.message}"),)
        if self.outcome == "not available":
            reason = "it would be merged into another chunk, or is not the load's own"
            return (Notice(f"{action}NotAvailable", f"{self.chunk} was left as it is: {reason}"),)
        return ()


@dataclass(frozen=True)
class CaggStep:
    """The refresh of a continuous aggregate.

    Attributes:
        cagg: its name.
        outcome: how the refresh ended.
        window: the bounds of the refreshed buckets, in ISO 8601 or as integers.
        error: why it failed.
        gaps: spans of the window, outside the day, for which the hypertable has no chunk.
        retention: a warning of each retention policy that will drop what was refreshed.
    """

    cagg: str
    outcome: Outcome
    window: tuple[str | int, str | int] | None = None
    error: RestoreError | None = None
    gaps: tuple[tuple[str | int, str | int], ...] = ()
    retention: tuple[Notice, ...] = ()

    @property
    def warnings(self) -> tuple[Notice, ...]:
        """A failure, the buckets that lack rows, and the policies that will drop them."""
        failed = () if self.error is None else (Notice("RefreshFailed", f"{self.cagg}: {self.error.message}"),)
        return (
            *failed,
            *(
                Notice(
                    "BucketsLackRows",
                    f"{self.cagg}: its buckets reach into {begin} - {end}, for which the table has no chunk;"
                    " they now count only the rows that are there",
                )
                for begin, end in self.gaps
            ),
            *self.retention,
        )


def warnings_of(steps: Iterable[ChunkStep | CaggStep]) -> tuple[Notice, ...]:
    """Return the warnings of steps, in their order."""
    return tuple(warning for step in steps for warning in step.warnings)


def summary(steps: list[ChunkStep] | list[CaggStep], *, requested: bool, available: bool) -> Outcome:
    """Summarize the steps of a request option as one outcome.

    Args:
        steps: the steps taken for it.
        requested: whether the request asked for it.
        available: whether this database supports it.
    """
    if not requested:
        return "not requested"
    if not available:
        return "not available"
    if not steps:
        return "nothing to do"
    # The worst outcome, so that "done" means that all steps succeeded.
    outcomes = {step.outcome for step in steps}
    worst: tuple[Outcome, ...] = ("failed", "not available", "later")
    return next((outcome for outcome in worst if outcome in outcomes), "done")


@dataclass(frozen=True)
class Count:
    """A number of rows, and their first and last time. Both times are None if there are no rows."""

    rows: int
    first: TimeValue | None = None
    last: TimeValue | None = None

    def describe(self) -> str:
        """Return the count for a message."""
        between = "" if self.first is None or self.last is None else f", from {iso(self.first)} to {iso(self.last)}"
        return f"{counted(self.rows, 'row')}{between}"


@dataclass(frozen=True)
class Rejected:
    """Rows that COPY skipped because it could not parse them.

    Attributes:
        rows: how many.
        lines: the CSV lines of the first hundred, as PostgreSQL counts lines.
    """

    rows: int
    lines: tuple[int, ...]


@dataclass(frozen=True)
class KeptIndex:
    """Why an index was not deferred.

    Attributes:
        index: its name; None if the reason applies to all indexes.
        code: a stable code.
        reason: for a person.
    """

    index: str | None
    code: str
    reason: str


@dataclass(frozen=True)
class NotChecked:
    """Something that a dry run did not check, or not completely, and why."""

    name: CheckName
    reason: str


@dataclass(frozen=True)
class Verification:
    """The proof of a load: counts of the day's rows before and after it, and of the rows that it added.

    Attributes:
        rows_before: rows of the day before the load. If they were replaced, before their removal.
        after: rows of the day after the load.
        rows_loaded: rows that the load added to the target.
        outside: added rows that are not in the day.
    """

    rows_before: int
    after: Count
    rows_loaded: int
    outside: Count


@dataclass(frozen=True)
class ReferringRows:
    """Rows that refer to the day's rows by a foreign key, or to rows that change with those.

    Attributes:
        table: the table that they are in, with its schema.
        constraint: the foreign key.
        action: what the key does when the rows that it refers to go.
        rows: how many; None if they were not counted.
    """

    table: str
    constraint: str
    action: ReferenceAction
    rows: int | None

    def __str__(self) -> str:
        """Return it for a person."""
        count = "rows" if self.rows is None else counted(self.rows, "row")
        return f"{count} of {self.table} by {self.constraint} ({self.action})"


@dataclass(frozen=True)
class RunningRestore:
    """What holds the lock that a restore needs: another restore, or any session that took it.

    Attributes:
        day: whose lock it is; None: the whole table's.
        root: the topmost parent of the table, or the table itself: all its parts share the lock.
        request_id: of its request; None if it has just ended, or if the session is not a restore's.
        since: when its transaction began; None if the role may not see it, or if it has just ended.
        pid: the session's; None if it has just ended, or if a prepared transaction holds the lock.
        user: the session's role.
        application_name: what the session calls itself.
    """

    day: date | None
    root: QualifiedName
    request_id: str | None = None
    since: datetime | None = None
    pid: int | None = None
    user: str | None = None
    application_name: str | None = None


@dataclass(frozen=True)
class Removed:
    """The day's rows that were removed before the archive's rows were loaded.

    Attributes:
        rows: how many.
        by: the statement.
        referenced: rows of other tables and other days that PostgreSQL removed or changed with them.
    """

    rows: int
    by: Literal["truncate", "delete"]
    referenced: tuple[ReferringRows, ...] = ()


@dataclass(frozen=True)
class Transferred:
    """How the archive's rows were copied into the target.

    Attributes:
        format: COPY's format.
        text_because: why the format is text; None if it is binary.
        waited_seconds: how long PostgreSQL waited for rows.
        rows_read: number of rows that PostgreSQL accepted from the file.
        rejected: rows that it skipped; None if it was not allowed to skip any.
        rows_inserted: number of rows inserted from staging into the target; None in direct mode.
        skips_conflicts: whether that INSERT skipped conflicting rows.
        staged_outside: staged rows that are not in the archive's day.
    """

    format: Literal["text", "binary"]
    text_because: str | None
    waited_seconds: float
    rows_read: int
    rejected: Rejected | None = None
    rows_inserted: int | None = None
    skips_conflicts: bool = False
    staged_outside: Count = Count(0)

    @property
    def rows_seen(self) -> int:
        """Number of the file's rows that PostgreSQL has parsed, accepted or rejected."""
        return self.rows_read + (0 if self.rejected is None else self.rejected.rows)

    @property
    def rows_loaded(self) -> int:
        """Number of rows that were added to the target."""
        return self.rows_read if self.rows_inserted is None else self.rows_inserted

    @property
    def rows_skipped(self) -> int:
        """Number of accepted rows that were not added to the target, because they are in conflict; 0 in direct mode."""
        return self.rows_read - self.rows_loaded


@dataclass(frozen=True)
class IndexOutcome:
    """What happened to the indexes of the day's chunks.

    Attributes:
        deferred: names of the indexes that were dropped before the load and rebuilt after it.
        kept: the indexes that were maintained row by row, with the reason.
        memory_bytes: what the build of one deferred index could use; None: none was deferred.
    """

    deferred: tuple[str, ...]
    kept: tuple[KeptIndex, ...]
    memory_bytes: int | None = None
