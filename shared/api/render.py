"""What happened -> the body of an answer: that of a 200, and that of an error. No SQL, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TypeVar, cast

from shared.errors import Fault, InternalError, RestoreError
from shared.model.answer import (
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
    Occasional,
    WarningNote,
    failure,
    referenced_row,
)
from shared.model.report import Report
from shared.model.results import CaggStep, ChunkStep, Notice, Verification
from shared.model.window import day_bounds, iso

T = TypeVar("T")


def success_answer(report: Report) -> Answer:
    """Return the body of a 200."""
    return {
        "status": report.status,
        "database": _known(report.database),
        "target_table": _known(report.target_table),
        "date_window": _date_window(_known(report.day)),
        "mode": _known(report.mode),
        "columns_loaded": list(report.columns_loaded),
        "columns_ignored": list(report.columns_ignored),
        "columns_defaulted": list(report.columns_defaulted),
        "rows_read": report.rows_read,
        "rows_loaded": report.rows_loaded,
        "rows_skipped": report.rows_skipped,
        **_occasional(report),
        "verification": None if report.verification is None else _counted(report.verification),
        "source": {
            "path": _known(report.archive_url),
            "etag": _known(report.etag),
            "compressed_bytes": _known(report.compressed_bytes),
            "csv_bytes": report.csv_bytes,
        },
        "copy": _copy(report),
        "edition": report.edition,
        "timescaledb_version": report.timescaledb_version,
        "timescaledb": report.options,
        "chunks": [chunk_outcome(step) for step in report.chunks],
        "caggs": [cagg_outcome(step) for step in report.caggs],
        "warnings": [note(warning) for warning in report.warnings],
        "timings": report.progress.seconds(),
        "request_id": report.request_id,
    }


def error_answer(error: RestoreError, request_id: str, warnings: Sequence[WarningNote] = ()) -> ErrorAnswer:
    """Return the body of an error, in the shape of Azure's REST API guidelines."""
    # Our own bug is in the log, under the id; what it says may be anything.
    ours = isinstance(error, InternalError)
    message, details = _INTERNAL if ours else error.message, [_detail(fault) for fault in error.details]
    body = _error(error, message, details, request_id)
    if warnings:
        body["warnings"] = [*warnings]
    return body


def internal_error(report: Report) -> ErrorAnswer:
    """Return the body of the answer if another one could not be made. Uses nothing that may itself be faulty."""
    is_in = report.progress.is_committed
    error = InternalError("", hint="the rows are in: do not send the request again" if is_in else None)
    return _error(error, f"{_INTERNAL}; the rows were committed" if is_in else _INTERNAL, [], report.request_id)


_INTERNAL = "an internal error; the log holds it under the request_id"


def _error(error: RestoreError, message: str, details: list[ErrorDetail], request_id: str) -> ErrorAnswer:
    return {
        "status": "error",
        "error": {
            "code": error.code,
            "message": message,
            "target": error.target,
            "hint": error.hint,
            "retryable": error.retryable,
            "retry": error.retry,
            "details": details,
        },
        "request_id": request_id,
    }


def _known(fact: T | None) -> T:
    # Every restore that ends well has set it. Nothing may fail after the commit, so it is not checked here: the tests
    # compare each answer with its schema.
    return cast("T", fact)


def _occasional(report: Report) -> Occasional:
    answer: Occasional = {}
    if report.rows_removed is not None:
        answer |= {"rows_removed": report.rows_removed, "removed_by": _known(report.removed_by)}
    if report.referenced_rows:
        answer |= {"referenced_rows": [referenced_row(rows) for rows in report.referenced_rows]}
    if report.rejected is not None:
        answer |= {"rows_rejected": report.rejected.rows, "rejected_lines": list(report.rejected.lines)}
    if report.dry_run is not None:
        answer |= {"dry_run": report.dry_run}
    return answer


def _counted(verification: Verification) -> CountedRows:
    """Return the proof's part of the answer; the times are those of the day's rows and of the rows outside."""
    first = [time for time in (verification.after.first, verification.outside.first) if time is not None]
    last = [time for time in (verification.after.last, verification.outside.last) if time is not None]
    return {
        "rows_before": verification.rows_before,
        "rows_after": verification.after.rows,
        "rows_loaded": verification.rows_loaded,
        "rows_outside_window": verification.outside.rows,
        "min_time": iso(min(first)) if first else None,
        "max_time": iso(max(last)) if last else None,
    }


def _copy(report: Report) -> CopyOutcome | None:
    if report.waited_seconds is None:
        return None
    return {
        "transfer": _known(report.transfer),
        "format": _known(report.format),
        "text_because": report.text_because,
        "indexes_deferred": list(report.indexes_deferred),
        "indexes_kept": [{"index": one.index, "code": one.code, "reason": one.reason} for one in report.indexes_kept],
        "index_memory_bytes": report.index_memory_bytes,
        "waited_seconds": round(report.waited_seconds, 3),
    }


def _date_window(day: date) -> DateWindow:
    begin, end = day_bounds(day)
    return {"start": str(iso(begin)), "end": str(iso(end))}


def note(notice: Notice) -> WarningNote:
    """Return a warning as an answer has it."""
    return {"code": notice.code, "message": notice.message}


def chunk_outcome(step: ChunkStep) -> ChunkOutcome:
    """Return an action on a chunk as an answer has it."""
    return {"name": step.chunk, "action": step.action, "outcome": step.outcome, **failure(step.error)}


def cagg_outcome(step: CaggStep) -> CaggOutcome:
    """Return the refresh of an aggregate as an answer has it."""
    window = None if step.window is None else CaggWindow(start=step.window[0], end=step.window[1])
    return {"name": step.cagg, "window": window, "outcome": step.outcome, **failure(step.error)}


def _detail(fault: Fault) -> ErrorDetail:
    # The facts of a fault are named where it is raised. No type checks the names; the tests do.
    facts = cast("Facts", dict(fault.info))
    return {"code": fault.code, "message": fault.message, "target": fault.target, **facts}
