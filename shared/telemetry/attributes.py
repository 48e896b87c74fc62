"""The attributes of spans and metrics. Pure. No value is a secret, a row, or a text of the server.

The names without the prefix `restore.` are those of OpenTelemetry's semantic conventions, version 1.37 and newer:

- https://opentelemetry.io/docs/specs/semconv/database/postgresql/ (`db.namespace` is the database, since the schema is
  part of the table's name)
- https://opentelemetry.io/docs/specs/semconv/registry/attributes/file/ and .../error/
- https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/, which knows no name for Azure's storage queues
"""

from __future__ import annotations

from typing import Any, TypeAlias

from shared.errors import RestoreError
from shared.model.report import Report

Attributes: TypeAlias = "dict[str, str | int | float | bool]"

DATABASE = {"db.system.name": "postgresql"}
_QUEUE_SYSTEM = "azure_storage_queue"


def of_queue(operation: str, *, queue: str, operation_id: str) -> Attributes:
    """Return the attributes that identify a message.

    Args:
        operation: `send` or `process`.
        queue: its name.
        operation_id: of the record that the message names.
    """
    return {
        "messaging.system": _QUEUE_SYSTEM,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": queue,
        "messaging.message.conversation_id": operation_id,
    }


def of_target(report: Report) -> Attributes:
    """Return the attributes of the table and its database, as far as they are known."""
    return DATABASE | known({"db.namespace": report.database, "db.collection.name": report.target_table})


def of_archive(report: Report) -> Attributes:
    """Return the attributes of the archive. Its URL has no query, and so no SAS."""
    url = report.archive_url
    return known(
        {
            "restore.archive": url,
            "restore.day": None if report.day is None else report.day.isoformat(),
            "file.name": None if url is None else url.rpartition("/")[2],
            "file.size": report.compressed_bytes,
        }
    )


def of_outcome(report: Report, error: RestoreError | None) -> Attributes:
    """Return the attributes of a restore's outcome, in the words of its log line."""
    return known(
        {
            "restore.outcome": report.status if error is None else error.code,
            "error.type": None if error is None else error.code,
        }
    )


def of_restore(report: Report, error: RestoreError | None) -> Attributes:
    """Return the attributes of a restore's span at its end. Rows are counted only if they were committed."""
    return (
        of_target(report)
        | of_archive(report)
        | of_outcome(report, error)
        | known(
            {
                "restore.request_id": report.request_id,
                "restore.failed_in": None if error is None else report.progress.stage_name,
                "restore.mode": report.mode,
                "restore.transfer": report.transfer,
                "restore.format": report.format,
                "restore.csv_bytes": report.csv_bytes,
                "restore.rows_read": report.rows_read,
                "restore.rows_loaded": report.rows_loaded,
                "restore.rows_skipped": report.rows_skipped,
                "restore.rows_removed": report.rows_removed,
                "restore.rows_rejected": None if report.rejected is None else report.rejected.rows,
                "restore.loads": report.progress.loads or None,
                "restore.timescaledb": report.timescaledb_version,
                "restore.edition": report.edition,
                "restore.warnings": len(report.warnings) or None,
            }
        )
    )


def of_failure(exc: BaseException) -> Attributes:
    """Return what ended a stage: a stable code, or the class of what no code stands for yet, and the SQLSTATE."""
    code = exc.code if isinstance(exc, RestoreError) else type(exc).__qualname__
    of_server = exc.__cause__ if isinstance(exc, RestoreError) else exc
    return known({"error.type": code, "db.response.status_code": getattr(of_server, "pgcode", None)})


def known(facts: dict[str, Any]) -> Attributes:
    """Return the facts that are known."""
    return {name: value for name, value in facts.items() if value is not None}
