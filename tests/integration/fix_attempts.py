"""A restore that ended at its third attempt, in the records."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from benchmarks import many
from shared.jobs.operation import RestoreOperation
from shared.jobs.storage import job_storage
from shared.jobs.store import OperationStore
from shared.settings import load_settings


def record_three_attempts(operation_id: str, pattern: str, database: str, table: str) -> None:
    """Record a restore whose first attempt failed, whose second one lost its worker, and whose third one failed."""
    one = many.ended_restore(operation_id, date(2025, 1, 1), pattern, database, table, has_failed=True)
    for attempt, failure in enumerate(("DatabaseUnreachable", None, "WindowNotEmpty"), 1):
        one = replace(one, attempt=attempt)
        if failure is None:
            one = replace(one, **replace(one, claim="a worker's", stage="copy").loss_changes())
        else:
            one = replace(one, **one.failure_changes("connect", failure))
    OperationStore(job_storage(load_settings()), RestoreOperation).create_all([one])
