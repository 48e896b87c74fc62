"""Notes the last restore of each day of a table: which archive, how many rows, or why it failed. Best effort.

The calendar of a table reads the notes. A restore never fails because of a note, and never waits for it.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import date
from functools import cache
from typing import Any

from shared.api.parse import parse_for
from shared.errors import ArchiveOtherVersion, RestoreError
from shared.jobs.operation import Operation, RestoreOperation
from shared.jobs.storage import job_storage, job_storage_if_any, reaching_storage
from shared.log_redaction import OUR_LOGGER
from shared.model.location import bare_etag
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
    """Return the note of a restore that has ended; None if it says nothing about the day.

    Args:
        report: of the restore.
        error: why it failed; None if it did not.
        at: when it ended, ISO 8601.
        operation_id: of an asynchronous one.
    """
    if isinstance(error, ArchiveOtherVersion):
        # It tried another version of the archive, which says nothing about the present one.
        return None
    # A dry run that failed has no `dry_run` in its report, and has not changed the day either.
    if report.is_dry_run or report.day is None or report.database is None or report.target_table is None:
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
            "restored_etag": bare_etag(report.etag or ""),
            "restored_rows": (report.rows_loaded or 0) if verified is None else verified.after.rows,
            "restored_at": at,
        }
    return DayNote(partition_of(report.database, report.target_table), report.day.isoformat(), last)


def note_without_worker(settings: Settings, before: Operation, after: Operation) -> DayNote | None:
    """Return the note of a restore that ended between two looks at its record, without a worker that could note it.

    Args:
        settings: the function app's.
        before: an operation, as it was read.
        after: the same, as it was left.

    Returns:
        The note; None if the operation did not end between the two looks, or says nothing about the day.
    """
    if not isinstance(after, RestoreOperation) or after.status not in ("Failed", "Canceled") or before.has_ended:
        return None
    # If the settings refuse the request by now, its end is noted as that of a restore.
    with suppress(RestoreError):
        if parse_for(after.request.encode(), settings).dry_run:
            return None
    last = {
        "outcome": "failed",
        "code": json.loads(after.error)["code"],
        "at": after.ended,
        "request_id": json.loads(after.answer_headers)["x-ms-request-id"],
        "operation_id": after.id,
    }
    return DayNote(partition_of(after.database, after.target_table), after.day, last)


@dataclass(frozen=True)
class RestoredDay:
    """What is noted of the last restore of a day.

    Attributes:
        outcome: `status` of the answer, or `failed`.
        code: of the error; empty if there was none.
        at: when it ended, ISO 8601.
        request_id: of its log line.
        operation_id: of an asynchronous one, else empty.
        restored_etag: of the archive that is in, without quotes; None if no restore has succeeded.
        restored_rows: rows of the day that were counted after it; None if none has succeeded, or none were counted.
        restored_at: when that was; None if none has succeeded.
    """

    outcome: str
    code: str
    at: str
    request_id: str
    operation_id: str
    restored_etag: str | None = None
    restored_rows: int | None = None
    restored_at: str | None = None

    @property
    def has_failed(self) -> bool:
        """Whether the last restore failed. One that was canceled has failed as well."""
        return self.outcome == "failed"


def read_days(settings: Settings, table: str, first: date, last: date) -> dict[date, RestoredDay]:
    """Read the notes of a range of days.

    Args:
        settings: name the app's own storage account. Without one there are no notes.
        table: the partition, see `partition_of`.
        first: the first day.
        last: the last day, included.

    Raises:
        JobStorageUnreachable: the account cannot be reached.
    """
    storage = job_storage_if_any(settings)
    if storage is None:
        return {}
    known = {one.name for one in fields(RestoredDay)}
    with reaching_storage():
        found = storage.days.query_entities(
            "PartitionKey eq @table and RowKey ge @first and RowKey le @last",
            parameters={"table": table, "first": first.isoformat(), "last": last.isoformat()},
        )
        return {
            date.fromisoformat(str(entity["RowKey"])): RestoredDay(
                **{name: value for name, value in entity.items() if name in known}
            )
            for entity in found
        }


def write_day(settings: Settings, note: DayNote) -> None:
    """Write a note now.

    Raises:
        ConfigurationError: the app has no storage account of its own.
        JobStorageUnreachable: the account cannot be reached.
    """
    entity = {"PartitionKey": note.table, "RowKey": note.day, **note.properties}
    table = job_storage(settings).days
    with reaching_storage():
        table.upsert_entity(entity)


def write_day_soon(settings: Settings, note: DayNote | None, *, join: Callable[[], None] = lambda: None) -> None:
    """Write a note in a thread of its own, without waiting for it. A failure is only logged.

    Args:
        settings: name the app's own storage account.
        note: what to write; None: nothing.
        join: is called before, in that thread. It makes the host keep what the note's failure says in the log.
    """
    if note is None or not settings.web_jobs_storage.is_set:
        return

    def write() -> None:
        with suppress(Exception):
            join()
        try_to_write_day(settings, note)

    try:
        _waiting().put_nowait(write)
    except queue.Full:
        _log.warning("the note of %s %s is left out: too many wait", note.table, note.day)


@cache
def _waiting() -> queue.Queue[Callable[[], None]]:
    notes: queue.Queue[Callable[[], None]] = queue.Queue(_MOST_WAITING)

    def run() -> None:
        while True:
            notes.get()()
            notes.task_done()

    threading.Thread(target=run, name="days", daemon=True).start()
    return notes


def try_to_write_day(settings: Settings, note: DayNote | None) -> None:
    """Write a note; a failure is only logged."""
    if note is None:
        return
    try:
        write_day(settings, note)
    except RestoreError as error:
        _log.warning("the note of %s %s could not be written: %s", note.table, note.day, error.message)
    except Exception:  # noqa: BLE001 - best effort
        _log.warning("the note of %s %s could not be written", note.table, note.day, exc_info=True)
