"""Notes for each day of a table what was restored last: which archive, how many rows, or why it failed. Best effort.

The calendar of a table reads it. A restore never fails by it and never waits for it.
"""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass
from functools import cache
from typing import Any

from shared.errors import RestoreError
from shared.jobs.storage import job_storage, reaching_storage
from shared.log_redaction import OUR_LOGGER
from shared.model.report import Report
from shared.settings import Settings

_log = logging.getLogger(OUR_LOGGER)

_MOST_WAITING = 1000
# What no key of a table may hold, and what stands for it here
# (https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model#characters-disallowed-in-key-fields).
_FORBIDDEN = frozenset("/\\#?%=|")


@dataclass(frozen=True)
class DayNote:
    """What is noted of one day.

    Attributes:
        table: the partition: database, schema and table.
        day: YYYY-MM-DD.
        properties: what is written; others stay as they are.
    """

    table: str
    day: str
    properties: dict[str, Any]


def partition_of(database: str, target_table: str) -> str:
    """Return the partition of a table's days."""
    return f"{_escaped(database)}|{_escaped(target_table)}"


def _escaped(name: str) -> str:
    return "".join(
        f"={ord(character):x}=" if character in _FORBIDDEN or not character.isprintable() else character
        for character in name
    )


def day_note(report: Report, error: RestoreError | None, at: str, operation_id: str = "") -> DayNote | None:
    """Return what is to be noted of a restore that has ended; None if it says nothing of the day.

    Args:
        report: of the restore.
        error: why it failed; None if it did not.
        at: when it ended, ISO 8601.
        operation_id: of an asynchronous one.
    """
    if report.dry_run is not None or report.day is None or report.database is None or report.target_table is None:
        return None
    last: dict[str, Any] = {
        "outcome": report.status if error is None else "failed",
        "code": "" if error is None else error.code,
        "at": at,
        "request_id": report.request_id,
        "operation_id": operation_id,
    }
    if error is None and not report.is_skipped:
        verified = report.verification
        last |= {
            "restored_etag": report.etag or "",
            "restored_rows": (report.rows_loaded or 0) if verified is None else verified.after.rows,
            "restored_at": at,
        }
    return DayNote(partition_of(report.database, report.target_table), report.day.isoformat(), last)


def write_day(settings: Settings, note: DayNote) -> None:
    """Write a note now.

    Raises:
        ConfigurationError: the app has no storage account of its own.
        JobStorageUnreachable: the account is away.
    """
    entity = {"PartitionKey": note.table, "RowKey": note.day, **note.properties}
    table = job_storage(settings).days
    with reaching_storage():
        table.upsert_entity(entity)


def write_day_soon(settings: Settings, note: DayNote | None) -> None:
    """Write a note in a thread of its own. Nobody waits for it, and nobody hears of a failure but the log."""
    if note is None or not settings.web_jobs_storage.is_set:
        return
    try:
        _waiting().put_nowait((settings, note))
    except queue.Full:
        _log.warning("the note of %s %s is left out: too many wait", note.table, note.day)


@cache
def _waiting() -> queue.Queue[tuple[Settings, DayNote]]:
    notes: queue.Queue[tuple[Settings, DayNote]] = queue.Queue(_MOST_WAITING)

    def run() -> None:
        while True:
            settings, note = notes.get()
            try_to_write_day(settings, note)
            notes.task_done()

    threading.Thread(target=run, name="days", daemon=True).start()
    return notes


def try_to_write_day(settings: Settings, note: DayNote | None) -> None:
    """Write a note; a failure is in the log alone."""
    if note is None:
        return
    try:
        write_day(settings, note)
    except RestoreError as error:
        _log.warning("the note of %s %s could not be written: %s", note.table, note.day, error.message)
    except Exception:  # noqa: BLE001 - best effort
        _log.warning("the note of %s %s could not be written", note.table, note.day, exc_info=True)
