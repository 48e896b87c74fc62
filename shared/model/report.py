"""What is known of a restore: its facts and its warnings, for the answer and for the log. No SQL, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Literal, TypeAlias

from shared.model.answer import DryRunOutcome, Outcomes, RestoreOutcome
from shared.model.request import RestoreRequest
from shared.model.results import CaggStep, ChunkStep, Count, KeptIndex, Notice, ReferringRows, Rejected, Verification
from shared.progress.progress import Progress

# What a line of the log is about. Counts and alerts of restores must not count a refused call for a list.
Work: TypeAlias = Literal["restore", "backfill", "call"]


@dataclass
class Report:
    """What is known of one restore. What the load did is filled in once, after the COMMIT.

    Of a backfill as a whole, and of a call that restores nothing, only the first few facts are known.

    Sizes are bytes, counts are rows. `rows_read` is the sum of `rows_loaded` and `rows_skipped`.
    """

    request_id: str
    work: Work = "restore"
    progress: Progress = field(default_factory=Progress)
    archive_url: str | None = None
    etag: str | None = None
    compressed_bytes: int | None = None
    csv_bytes: int | None = None
    transfer: Literal["spool", "stream"] | None = None
    waited_seconds: float | None = None
    queued_seconds: float | None = None
    format: Literal["text", "binary"] | None = None
    text_because: str | None = None
    indexes_deferred: tuple[str, ...] = ()
    indexes_kept: tuple[KeptIndex, ...] = ()
    index_memory_bytes: int | None = None
    database: str | None = None
    target_table: str | None = None
    day: date | None = None
    mode: Literal["direct", "staging"] | None = None
    edition: str | None = None
    timescaledb_version: str | None = None
    columns_loaded: tuple[str, ...] = ()
    columns_ignored: tuple[str, ...] = ()
    columns_defaulted: tuple[str, ...] = ()
    rows_read: int | None = None
    rows_loaded: int | None = None
    rows_skipped: int | None = None
    rows_removed: int | None = None
    removed_by: Literal["truncate", "delete"] | None = None
    referenced_rows: tuple[ReferringRows, ...] = ()
    rejected: Rejected | None = None
    verification: Verification | None = None
    is_dry_run: bool = False
    dry_run: DryRunOutcome | None = None
    is_skipped: bool = False
    chunks: list[ChunkStep] = field(default_factory=list)
    caggs: list[CaggStep] = field(default_factory=list)
    options: Outcomes = field(default_factory=Outcomes)
    warnings: list[Notice] = field(default_factory=list)

    def copy(self) -> Report:
        """Return a copy to which other facts can be added."""
        return replace(
            self,
            chunks=[*self.chunks],
            caggs=[*self.caggs],
            options=Outcomes(**self.options),
            warnings=[*self.warnings],
        )

    def describe(self, request: RestoreRequest) -> None:
        """Record what the request asks for, as far as it is known before anything is done."""
        self.archive_url, self.day = request.archive.url, request.archive.day
        self.target_table, self.mode = str(request.target_table), request.destination.mode
        self.database = request.pg.parameters.get("dbname", request.archive.database)
        self.is_dry_run = bool(request.dry_run)

    def skip(self, rows: int) -> None:
        """Note that the day is left as it is."""
        self.is_skipped, self.rows_read, self.rows_loaded, self.rows_skipped = True, 0, 0, 0
        self.verification = Verification(rows, Count(rows), 0, Count(0))

    def warn(self, code: str, message: str) -> None:
        """Add a warning: the rows are in."""
        self.add_warnings([Notice(code, message)])

    def add_warnings(self, notices: Sequence[Notice]) -> None:
        """Add warnings, each once."""
        self.warnings += [notice for notice in dict.fromkeys(notices) if notice not in self.warnings]

    @property
    def status(self) -> RestoreOutcome:
        """`ok`; `ok_with_warnings` where a best-effort step failed; `skipped`, `dry_run`: nothing was written."""
        if self.dry_run is not None:
            return "dry_run"
        if self.is_skipped:
            return "skipped"
        return "ok_with_warnings" if self.warnings else "ok"
