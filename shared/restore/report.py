"""Fills the report with what was found and done."""

from __future__ import annotations

from shared.load.day import Loaded
from shared.load.target.target import Target
from shared.model.report import Report


def note_target(report: Report, target: Target) -> None:
    """Note what the target is. It is looked up more than once, and the last look counts."""
    table, plan = target.table, target.columns
    report.target_table = str(table)
    if table.timescaledb is not None:
        report.edition, report.timescaledb_version = table.timescaledb.edition, table.timescaledb.version
    report.columns_loaded, report.columns_defaulted = plan.loaded, plan.defaulted
    report.columns_ignored = tuple(str(name) for name in plan.ignored)


def note_loaded(report: Report, loaded: Loaded) -> None:
    """Note what the load did, once the server has confirmed its COMMIT."""
    transferred, removed = loaded.transferred, loaded.removed
    report.format, report.text_because = transferred.format, transferred.text_because
    report.waited_seconds = transferred.waited_seconds
    report.rows_read, report.rejected = transferred.rows_read, transferred.rejected
    report.rows_loaded, report.rows_skipped = transferred.rows_loaded, transferred.rows_skipped
    report.indexes_deferred, report.indexes_kept = loaded.indexes.deferred, loaded.indexes.kept
    report.index_memory_bytes = loaded.indexes.memory_bytes
    if removed is not None:
        report.rows_removed, report.removed_by = removed.rows, removed.by
        report.referenced_rows = removed.referenced
    report.verification = loaded.verification
    report.options |= loaded.options
    report.add_warnings(loaded.warnings)
    report.chunks += loaded.chunk_steps
