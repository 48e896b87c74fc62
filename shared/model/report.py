"""What is known of a restore while it runs: its facts, its warnings, and how long each stage took. No SQL, no I/O."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from shared.model.answer import Outcomes, Plan
from shared.model.request import RestoreRequest
from shared.model.results import CaggStep, ChunkStep, Count, Kept, Rejected


class Stopwatch:
    """Seconds by stage, on a clock that never goes back. A stage that is entered again adds up."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._stages: dict[str, float] = {}
        self.current: str | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the body's time for a stage."""
        begin = time.monotonic()
        self.current = name
        try:
            yield
        finally:
            self._stages[name] = self._stages.get(name, 0.0) + time.monotonic() - begin
        self.current = None

    def seconds(self) -> dict[str, float]:
        """Return the stages so far and the total, rounded to milliseconds."""
        stages = {name: round(seconds, 3) for name, seconds in self._stages.items()}
        return stages | {"total": round(time.monotonic() - self._begin, 3)}


# What a day's CSV has of bytes for each stored one.
_USUAL_EXPANSION = 3.5


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


@dataclass
class Report:
    """What is known of one restore so far. `restore()` fills it in; whatever fails, the log line tells the rest.

    Sizes are bytes, counts are rows; `loads` counts how often the load was begun. `rows_inserted` and `rows_skipped`
    exist in staging mode only, and `skips_conflicts` says whether rows in conflict were left out there.
    """

    request_id: str
    clock: Stopwatch = field(default_factory=Stopwatch)
    archive_url: str | None = None
    etag: str | None = None
    compressed_bytes: int | None = None
    csv_bytes: int | None = None
    transfer: Literal["spool", "stream"] | None = None
    waited_seconds: float | None = None
    format: Literal["text", "binary"] | None = None
    text_because: str | None = None
    indexes_set_aside: tuple[str, ...] = ()
    indexes_kept: tuple[Kept, ...] = ()
    database: str | None = None
    target_table: str | None = None
    day: date | None = None
    mode: Literal["direct", "staging"] | None = None
    edition: str | None = None
    timescaledb_version: str | None = None
    columns_loaded: tuple[str, ...] = ()
    columns_ignored: tuple[str, ...] = ()
    columns_defaulted: tuple[str, ...] = ()
    rows_loaded: int | None = None
    rows_inserted: int | None = None
    rows_skipped: int | None = None
    skips_conflicts: bool = False
    rows_removed: int | None = None
    removed_by: Literal["truncate", "delete"] | None = None
    rejected: Rejected | None = None
    loads: int = 0
    verification: Verification | None = None
    dry_run: Plan | None = None
    is_skipped: bool = False
    is_committed: bool = False
    chunks: list[ChunkStep] = field(default_factory=list)
    caggs: list[CaggStep] = field(default_factory=list)
    options: Outcomes = field(default_factory=Outcomes)
    warnings: list[Notice] = field(default_factory=list)

    def describe(self, request: RestoreRequest) -> None:
        """Take down what the request asks for, as far as it is known before anything is done."""
        self.archive_url, self.day = request.archive.url, request.archive.day
        self.target_table, self.mode = str(request.target_table), request.destination.mode
        self.database = request.pg.parameters.get("dbname", request.archive.database)

    def begin_load(self) -> None:
        """Count the load, and forget what one noted that was rolled back and is begun anew."""
        self.loads += 1
        self.rows_loaded = self.rows_inserted = self.rows_skipped = self.rows_removed = None
        self.removed_by = self.rejected = self.verification = self.waited_seconds = None
        self.indexes_set_aside = self.indexes_kept = ()
        self.format = self.text_because = None
        self.chunks, self.warnings = [], []

    @property
    def probable_csv_bytes(self) -> int:
        """How long the CSV is: about, as long as it was not read to its end."""
        return self.csv_bytes or int((self.compressed_bytes or 0) * _USUAL_EXPANSION)

    @property
    def rows_read(self) -> int:
        """How many rows of the file PostgreSQL has seen, taken or left out."""
        return (self.rows_loaded or 0) + (0 if self.rejected is None else self.rejected.rows)

    def skip(self, rows: int) -> None:
        """Note that the day is left as it is."""
        self.is_skipped, self.rows_loaded = True, 0
        self.verification = Verification(rows, Count(rows), 0, Count(0))

    def warn(self, code: str, message: str) -> None:
        """Tell the caller something although the rows are in."""
        notice = Notice(code, message)
        if notice not in self.warnings:
            self.warnings.append(notice)

    def add_chunk_steps(self, steps: list[ChunkStep]) -> None:
        """Add what was done to chunks; a failure becomes a warning, and so does a chunk that was left as it is."""
        self.chunks += steps
        for step in steps:
            if step.error is not None:
                self.warn(f"{step.action.capitalize()}Failed", f"{step.chunk}: {step.error.message}")
            elif step.outcome == "not available":
                self.warn(
                    f"{step.action.capitalize()}NotAvailable",
                    f"{step.chunk} was left as it is: it would be merged into another chunk, or is not the load's own",
                )

    def add_cagg_steps(self, steps: list[CaggStep]) -> None:
        """Add what was refreshed; a failure becomes a warning, and so do buckets that lack rows."""
        self.caggs += steps
        for step in steps:
            if step.error is not None:
                self.warn("RefreshFailed", f"{step.cagg}: {step.error.message}")
            for begin, end in step.gaps:
                self.warn(
                    "BucketsLackRows",
                    f"{step.cagg}: its buckets reach into {begin} - {end}, for which the table has no chunk;"
                    " they now count only the rows that are there",
                )

    @property
    def status(self) -> Literal["ok", "ok_with_warnings", "skipped", "dry_run"]:
        """`ok`; `ok_with_warnings` where a best-effort step failed; `skipped`, `dry_run`: nothing was written."""
        if self.dry_run is not None:
            return "dry_run"
        if self.is_skipped:
            return "skipped"
        return "ok_with_warnings" if self.warnings else "ok"
