"""Looks at a range of days of one table: the archives, the rows, the last restores. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial

from shared.archive.listing import list_archives
from shared.calendar.pattern import ArchivePattern
from shared.calendar.state import KnownDay
from shared.errors import RestoreError
from shared.jobs.day_notes import partition_of, read_days
from shared.jobs.operation import RestoreOperation
from shared.jobs.storage import job_storage_if_any
from shared.jobs.store import OperationStore, each_page
from shared.model.report import Report
from shared.model.request import RestoreRequest
from shared.process import result_of, started
from shared.restore.server import Server
from shared.restore.target_table import table_to_read
from shared.settings import Settings
from shared.timescale.rows_of_days import find_days


@dataclass(frozen=True)
class Question:
    """Which days of which table.

    Attributes:
        pattern: of the archives.
        request: a restore of the first day. It names the table, the database and the time column.
        days: oldest first.
        counts: whether the rows are counted.
    """

    pattern: ArchivePattern
    request: RestoreRequest
    days: Sequence[date]
    counts: bool = False


def look_at_days(question: Question, settings: Settings, report: Report) -> dict[date, KnownDay]:
    """Find out what is known of each day.

    The archives are listed in a thread of their own, beside the other looks. Rows are counted only after that: it may
    take minutes, which would be wasted if the listing fails. The records are read before the rows: a restore that ends
    meanwhile shows as running, and not as rows of an unknown origin.

    Args:
        question: the days.
        settings: name the server and hold the credentials.
        report: of the call. Its id names the session on the server, and a cancel of its progress ends what runs there.

    Raises:
        StorageAccessDenied: the function may not list the file system.
        JobStorageUnreachable: the app's own storage account cannot be reached.
        RestoreError: as of a restore, by access, storage and server.
    """
    request, days = question.request, question.days
    server, check = Server.for_request(request, settings, report), report.progress.check
    locations = {day: question.pattern.location(day) for day in days}
    database, target = str(report.database), str(request.target_table)
    listing = started(partial(list_archives, locations, settings), name="list")
    try:
        last = read_days(settings, partition_of(database, target), days[0], days[-1])
        running = _running(settings, database, target)
        if question.counts:
            result_of(listing, check=check)
        with table_to_read(server, request) as (cursor, table):
            rows = find_days(cursor, table, days, counts=question.counts)
        archives = result_of(listing, check=check)
    except RestoreError:
        # Of two errors, that of the listing is always the answer, whichever came first.
        result_of(listing, check=check)
        raise
    finally:
        # An exception keeps this frame, and the frame would keep the future with the exception: a cycle.
        del listing
    return {day: KnownDay(archives.get(day), rows[day], last.get(day), day in running) for day in days}


def _running(settings: Settings, database: str, target_table: str) -> set[date]:
    """Find the days of which an asynchronous restore waits or runs."""
    storage = job_storage_if_any(settings)
    if storage is None:
        return set()
    store = OperationStore(storage, RestoreOperation)
    return {
        date.fromisoformat(operation.day)
        for status in ("NotStarted", "Running")
        for operation in each_page(store, {"status": status, "database": database, "target_table": target_table})
    }
