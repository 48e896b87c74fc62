"""What happened -> one line of `key=value` for the log, success and failure alike. No SQL, no I/O."""

from __future__ import annotations

import json
from typing import Any

from shared.errors import RestoreError
from shared.model.report import Report


def log_line(report: Report, error: RestoreError | None = None) -> str:
    """Return the one line that the log keeps of this restore: `key=value`, text in JSON's quotes."""
    facts: dict[str, Any] = {
        "request_id": report.request_id,
        "outcome": report.status if error is None else error.code,
        "archive": report.archive_url,
        "database": report.database,
        "target": report.target_table,
        "mode": report.mode,
        "rows": report.rows_loaded,
        "rows_inserted": report.rows_inserted,
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
        "edition": report.edition,
        "timescaledb": report.timescaledb_version,
        "failed_in": None if error is None else report.progress.stage_name,
        "error": None if error is None else error.message,
        "faults": None if error is None else ",".join(f.target for f in error.details if f.target) or None,
        "warnings": "; ".join(f"{warning.code}: {warning.message}" for warning in report.warnings) or None,
    }
    facts |= {f"{stage}_s": seconds for stage, seconds in report.progress.seconds().items()}
    return "restore " + " ".join(f"{name}={_logged(value)}" for name, value in facts.items() if value is not None)


def _logged(value: Any) -> str:
    """Write a value so that it stays on its line: whatever is not plain goes into JSON's quotes."""
    text = str(value)
    plain = text.isascii() and text.isprintable() and not any(character in text for character in ' "=')
    return text if plain and text else json.dumps(text)
