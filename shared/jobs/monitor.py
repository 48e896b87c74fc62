"""What callers see of an operation: its status monitor, and the links to it. Pure."""

from __future__ import annotations

import json

from shared.jobs.operation import DayOperation, RestoreOperation
from shared.model.monitor import Monitor, OperationLinks
from shared.model.stamp import stamp
from shared.progress.progress import percent_of

# How soon a caller should look again, in seconds.
RETRY_AFTER_SECONDS = 5


def restore_links(base: str, operation: RestoreOperation) -> OperationLinks:
    """Return the addresses of a restore. None of them holds its token."""
    own = f"{base}/restores/{operation.id}"
    return {"self": own, "result": f"{own}/result", "cancel": own}


def restore_monitor(operation: RestoreOperation, base: str, *, with_result: bool = True) -> Monitor:
    """Return the status monitor, in the shape of Azure's REST guidelines for long-running operations.

    https://github.com/microsoft/api-guidelines/blob/vNext/azure/ConsiderationsForServiceDesign.md#long-running-operations

    Args:
        operation: the record.
        base: what links begin with.
        with_result: whether to add the request, and the answer of a success.
    """
    shown: Monitor = {
        "id": operation.id,
        "kind": "restore",
        "backfill": operation.backfill if isinstance(operation, DayOperation) else None,
        "status": operation.status,
        "created": operation.created,
        "started": operation.started or None,
        "ended": operation.ended or None,
        "attempt": operation.attempt,
        "heartbeat": _heartbeat(operation),
        "next_attempt": operation.next_attempt or None,
        "archive": operation.archive,
        "database": operation.database,
        "target_table": operation.target_table,
        "day": operation.day,
        "progress": {
            "stage": operation.stage or None,
            "compressed_bytes": operation.compressed_bytes,
            "compressed_bytes_total": operation.compressed_bytes_total or None,
            "percent": percent_of(operation.compressed_bytes, operation.compressed_bytes_total),
            "rows": operation.rows,
            "seconds": operation.seconds,
        },
        "links": restore_links(base, operation),
    }
    if with_result:
        shown["request"] = json.loads(operation.request)
    if with_result and operation.status == "Succeeded" and operation.answer:
        shown["result"] = json.loads(operation.answer)
    if operation.error:
        shown["error"] = json.loads(operation.error)
    return shown


def _heartbeat(operation: RestoreOperation) -> str | None:
    if operation.status != "Running" or operation.written is None:
        return None
    return stamp(operation.written, "seconds")
