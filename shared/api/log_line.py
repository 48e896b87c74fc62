"""What happened -> lines of `key=value` for the log: at the start, during the restore, at the end. Pure."""

from __future__ import annotations

import json
from typing import Any

from shared.errors import RestoreError
from shared.model.report import Report

_BYTES_PER_MB = 1_000_000


def start_line(report: Report) -> str:
    """Return the line that says which restore begins."""
    return _line(
        "restore-start",
        {
            "request_id": report.request_id,
            "archive": report.archive_url,
            "database": report.database,
            "target": report.target_table,
            "mode": report.mode,
        },
    )


def progress_line(report: Report) -> str:
    """Return the line about the restore's progress: the stage, and how much was read and sent to PostgreSQL."""
    progress = report.progress
    return _line(
        "restore-progress",
        {
            "request_id": report.request_id,
            "stage": progress.stage_name,
            "percent": progress.percent,
            "mb": round(progress.compressed_bytes / _BYTES_PER_MB, 1),
            "rows_read": progress.rows,
            "csv_mb": round(progress.csv_bytes / _BYTES_PER_MB, 1) if progress.csv_bytes else None,
            "loads": progress.loads if progress.loads > 1 else None,
            "seconds": progress.seconds()["total"],
        },
    )


def log_line(report: Report, error: RestoreError | None = None) -> str:
    """Return the one line that the log keeps of this restore, backfill or call.

    Args:
        report: what is known. It has counts of rows only if they were committed.
        error: why the restore failed; None where it did not.
    """
    facts: dict[str, Any] = {
        "request_id": report.request_id,
        "outcome": report.status if error is None else error.code,
        "error": None if error is None else error.message,
        "faults": None if error is None else ",".join(f.target for f in error.details if f.target) or None,
        "failed_in": None if error is None else report.progress.stage_name,
        "archive": report.archive_url,
        "database": report.database,
        "target": report.target_table,
        "mode": report.mode,
        "rows_read": report.rows_read,
        "rows_loaded": report.rows_loaded,
        "rows_skipped": report.rows_skipped,
        "rows_removed": report.rows_removed,
        "rows_rejected": None if report.rejected is None else report.rejected.rows,
        "rows_before": None if report.verification is None else report.verification.rows_before,
        "rows_after": None if report.verification is None else report.verification.after.rows,
        "compressed_bytes": report.compressed_bytes,
        "csv_bytes": report.csv_bytes,
        "transfer": report.transfer,
        "format": report.format,
        "text_because": report.text_because,
        "indexes_deferred": None if report.waited_seconds is None else len(report.indexes_deferred),
        "indexes_kept": ",".join(dict.fromkeys(kept.code for kept in report.indexes_kept)) or None,
        "loads": report.progress.loads if report.progress.loads > 1 else None,
        "waited_s": None if report.waited_seconds is None else round(report.waited_seconds, 3),
        "queued_s": None if report.queued_seconds is None else round(report.queued_seconds, 3),
        "edition": report.edition,
        "timescaledb": report.timescaledb_version,
        "warnings": "; ".join(f"{warning.code}: {warning.message}" for warning in report.warnings) or None,
    }
    facts |= {
        f"{stage}_s": seconds for stage, seconds in report.progress.seconds().items() if seconds or stage == "total"
    }
    return _line(report.work, facts)


def _line(name: str, facts: dict[str, Any]) -> str:
    return f"{name} " + " ".join(f"{key}={_logged(value)}" for key, value in facts.items() if value is not None)


def _logged(value: Any) -> str:
    """Write a value so that it stays on its line: what is not plain goes into JSON's quotes."""
    text = str(value)
    plain = text.isascii() and text.isprintable() and not any(character in text for character in ' "=')
    return text if plain and text else json.dumps(text)
