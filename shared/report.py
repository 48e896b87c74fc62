"""What happened -> the JSON answer and the log line, success and failure alike. No SQL, no I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, TypeVar, cast

from shared.answer import (
    Answer,
    CaggOutcome,
    CaggWindow,
    ChunkOutcome,
    CopyOutcome,
    CountedRows,
    DateWindow,
    ErrorAnswer,
    ErrorDetail,
    Facts,
    Failure,
    Occasional,
    Outcomes,
    Plan,
)
from shared.database.aside_rules import Kept
from shared.database.rejects import Rejected
from shared.database.steps import CaggStep, ChunkStep
from shared.database.verification import Count
from shared.database.window import day_bounds, iso
from shared.errors import Fault, InternalError, RestoreError
from shared.request import RestoreRequest
from shared.stopwatch import Stopwatch

T = TypeVar("T")

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

    def answer(self) -> CountedRows:
        """Return its part of the answer; the times are those of the day's rows and of the rows outside."""
        first = [time for time in (self.after.first, self.outside.first) if time is not None]
        last = [time for time in (self.after.last, self.outside.last) if time is not None]
        return {
            "rows_before": self.rows_before,
            "rows_after": self.after.rows,
            "rows_loaded": self.rows_loaded,
            "rows_outside_window": self.outside.rows,
            "min_time": iso(min(first)) if first else None,
            "max_time": iso(max(last)) if last else None,
        }


@dataclass
class Report:
    """What is known of one restore so far. `restore()` fills it in; whatever fails, the log line tells the rest.

    Sizes are bytes, counts are rows. `rows_inserted` and `rows_skipped` exist in staging mode only.
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
    rows_removed: int | None = None
    removed_by: Literal["truncate", "delete"] | None = None
    rejected: Rejected | None = None
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
        """Forget what a load noted that was rolled back and is begun anew."""
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
        """Add what was done to chunks; a failure becomes a warning."""
        self.chunks += steps
        for step in steps:
            if step.error is not None:
                self.warn(f"{step.action.capitalize()}Failed", f"{step.chunk}: {step.error.message}")

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

    def answer(self) -> Answer:
        """Return the body of a 200."""
        return {
            "status": self.status,
            "database": _known(self.database),
            "target_table": _known(self.target_table),
            "date_window": _date_window(_known(self.day)),
            "mode": _known(self.mode),
            "columns_loaded": list(self.columns_loaded),
            "columns_ignored": list(self.columns_ignored),
            "columns_defaulted": list(self.columns_defaulted),
            "rows_loaded": self.rows_loaded,
            **self._occasional(),
            "verification": None if self.verification is None else self.verification.answer(),
            "source": {
                "path": _known(self.archive_url),
                "etag": _known(self.etag),
                "compressed_bytes": _known(self.compressed_bytes),
                "csv_bytes": self.csv_bytes,
            },
            "copy": self._copy(),
            "edition": self.edition,
            "timescaledb_version": self.timescaledb_version,
            "timescaledb": self.options,
            "chunks": [_chunk(step) for step in self.chunks],
            "caggs": [_cagg(step) for step in self.caggs],
            "warnings": [{"code": warning.code, "message": warning.message} for warning in self.warnings],
            "timings": self.clock.seconds(),
            "request_id": self.request_id,
        }

    def _occasional(self) -> Occasional:
        answer: Occasional = {}
        if self.rows_inserted is not None:
            answer |= {"rows_inserted": self.rows_inserted, "rows_skipped": _known(self.rows_skipped)}
        if self.rows_removed is not None:
            answer |= {"rows_removed": self.rows_removed, "removed_by": _known(self.removed_by)}
        if self.rejected is not None:
            answer |= {"rows_rejected": self.rejected.rows, "rejected_lines": list(self.rejected.lines)}
        if self.dry_run is not None:
            answer |= {"dry_run": self.dry_run}
        return answer

    def _copy(self) -> CopyOutcome | None:
        if self.waited_seconds is None:
            return None
        return {
            "transfer": _known(self.transfer),
            "format": _known(self.format),
            "text_because": self.text_because,
            "indexes_set_aside": list(self.indexes_set_aside),
            "indexes_kept": [{"index": one.index, "code": one.code, "reason": one.reason} for one in self.indexes_kept],
            "waited_seconds": round(self.waited_seconds, 3),
        }

    def log_line(self, error: RestoreError | None = None) -> str:
        """Return the one line that the log keeps of this restore: `key=value`, text in JSON's quotes."""
        facts: dict[str, Any] = {
            "request_id": self.request_id,
            "outcome": self.status if error is None else error.code,
            "archive": self.archive_url,
            "database": self.database,
            "target": self.target_table,
            "mode": self.mode,
            "rows": self.rows_loaded,
            "rows_inserted": self.rows_inserted,
            "rows_skipped": self.rows_skipped,
            "rows_removed": self.rows_removed,
            "rows_rejected": None if self.rejected is None else self.rejected.rows,
            "rows_before": None if self.verification is None else self.verification.rows_before,
            "rows_after": None if self.verification is None else self.verification.after.rows,
            "compressed_bytes": self.compressed_bytes,
            "csv_bytes": self.csv_bytes,
            "transfer": self.transfer,
            "format": self.format,
            "indexes_set_aside": None if self.waited_seconds is None else len(self.indexes_set_aside),
            "waited_s": None if self.waited_seconds is None else round(self.waited_seconds, 3),
            "edition": self.edition,
            "timescaledb": self.timescaledb_version,
            "failed_in": None if error is None else self.clock.current,
            "error": None if error is None else error.message,
            "faults": None if error is None else ",".join(f.target for f in error.details if f.target) or None,
            "warnings": "; ".join(f"{warning.code}: {warning.message}" for warning in self.warnings) or None,
        }
        facts |= {f"{stage}_s": seconds for stage, seconds in self.clock.seconds().items()}
        return "restore " + " ".join(f"{name}={_logged(value)}" for name, value in facts.items() if value is not None)


def error_answer(error: RestoreError, request_id: str) -> ErrorAnswer:
    """Return the body of an error, in the shape of Azure's REST API guidelines."""
    ours = isinstance(error, InternalError)
    return {
        "status": "error",
        "error": {
            "code": error.code,
            # Our own bug is in the log, under the id; what it says may be anything.
            "message": "an internal error; the log holds it under the request_id" if ours else error.message,
            "target": error.target,
            "hint": error.hint,
            "retryable": error.retryable,
            "details": [_detail(fault) for fault in error.details],
        },
        "request_id": request_id,
    }


def _known(fact: T | None) -> T:
    # Noted by every restore that ends well. Nothing may fail after the commit, so this does not look: the tests
    # compare each answer with its schema.
    return cast("T", fact)


def _detail(fault: Fault) -> ErrorDetail:
    # Whoever raised the error has put the facts together by name, which no type follows; the tests do.
    facts = cast("Facts", dict(fault.info))
    return {"code": fault.code, "message": fault.message, "target": fault.target, **facts}


def _date_window(day: date) -> DateWindow:
    begin, end = day_bounds(day)
    return {"start": iso(begin), "end": iso(end)}


def _chunk(step: ChunkStep) -> ChunkOutcome:
    return {"name": step.chunk, "action": step.action, "outcome": step.outcome, **failure(step.error)}


def _cagg(step: CaggStep) -> CaggOutcome:
    window = None if step.window is None else CaggWindow(start=step.window[0], end=step.window[1])
    return {"name": step.cagg, "window": window, "outcome": step.outcome, **failure(step.error)}


def failure(error: RestoreError | None) -> Failure:
    """Return the part of a step's answer that says why it failed, or nothing."""
    return {} if error is None else {"error": {"code": error.code, "message": error.message}}


def _logged(value: Any) -> str:
    """Write a value so that it stays on its line: whatever is not plain goes into JSON's quotes."""
    text = str(value)
    plain = text.isascii() and text.isprintable() and not any(character in text for character in ' "=')
    return text if plain and text else json.dumps(text)
