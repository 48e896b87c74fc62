"""One restore, from top to bottom: unpack the archive, load it in one transaction, then look after the rest.

This is the only file that opens a transaction. Each step's own rules are where it is imported from.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import IO, TypeAlias

from shared.archive.download import Archive, checked, open_archive
from shared.archive.gunzip import gunzip_within, refuse_stored
from shared.archive.unpacked import StreamedCsv, spooled_csv
from shared.csvfile.head import read_header
from shared.csvfile.source import CsvSource
from shared.load.columns import file_columns
from shared.load.load import DayLoad, Loaded
from shared.load.locks import only_restore
from shared.model.report import Report
from shared.model.request import RestoreRequest
from shared.postgres.connect import Connection, Cursor, Limits, connect
from shared.postgres.endpoint import Endpoint
from shared.postgres.transaction import CommitInterruptedError, Transaction, find_out, make_commit_durable, transaction
from shared.restore.access import open_doors
from shared.restore.after_commit import after_commit
from shared.restore.dry_run import examine
from shared.settings import Settings

_log = logging.getLogger("restore_chunk")

Connect: TypeAlias = Callable[[], AbstractContextManager[Connection]]


def restore(request: RestoreRequest, settings: Settings, report: Report) -> None:
    """Put one archived day back.

    Args:
        request: what to restore, and how.
        settings: the function app's.
        report: filled in as the restore goes on.

    Raises:
        RestoreError: nothing was loaded; the target is as it was before.
    """
    endpoint = open_doors(request, settings)
    report.database = endpoint.database
    try:
        with _unpacked(request, settings, report) as csv:
            _restore(request, settings, endpoint, csv, report)
    except Exception as exc:
        if not report.is_committed:
            raise
        # The rows are in: nothing that fails from there on may answer that they are not.
        _log.exception("restore request_id=%s failed after its commit", report.request_id)
        report.warn("AfterCommitFailed", f"the rows are in, but what comes after failed: {type(exc).__name__}")


def _restore(request: RestoreRequest, settings: Settings, endpoint: Endpoint, csv: CsvSource, report: Report) -> None:
    names = _file_columns(request, csv.head)
    limits = Limits(settings.pg_connect_timeout_seconds, settings.pg_statement_timeout_seconds)
    connect_again = partial(connect, endpoint, limits)
    with ExitStack() as stack:
        with report.clock.stage("connect"):
            connection = stack.enter_context(connect_again())
        if request.dry_run:
            with transaction(connection, "REPEATABLE READ READ ONLY") as work:
                examine(work.cursor, request, settings, names, csv, report)
            return

        with report.clock.stage("connect"):
            session = stack.enter_context(connect_again())
            guard = stack.enter_context(only_restore(session, request.target_table, request.archive.day))
        load = DayLoad(request, settings, names, csv, report)
        loaded = None
        while loaded is None:
            with transaction(connection, "REPEATABLE READ") as work:
                if not load.prepare(work.cursor, guard):
                    return
                loaded = load.run(work.cursor)
                if loaded is not None:
                    with report.clock.stage("commit"):
                        is_done = _commit(
                            work, connect_again, settings, loaded, partial(load.may_commit, guard), report
                        )
                    loaded = loaded if is_done else None
        if connection.closed:
            connection = stack.enter_context(connect_again())
        after_commit(connection, request, settings, loaded, report)


@contextmanager
def _unpacked(request: RestoreRequest, settings: Settings, report: Report) -> Iterator[CsvSource]:
    """Unpack the archive: to the temporary disk, and whole before the database hears of it; or as it is read."""
    copy = request.copy_
    with ExitStack() as stack:
        with report.clock.stage("download"), ExitStack() as download:
            archive = download.enter_context(open_archive(request.archive, settings))
            report.etag, report.compressed_bytes = archive.etag, archive.size
            refuse_stored(archive.size, max_bytes=settings.csv_max_bytes)
            unpack = partial(_unpack, archive, request, settings)
            csv: CsvSource
            if copy.transfer == "stream" or (
                copy.transfer == "auto" and archive.size > settings.spool_max_archive_bytes
            ):
                report.transfer = "stream"
                csv = StreamedCsv(unpack, copy.csv_options.dialect)
                stack.push(download.pop_all())
            else:
                report.transfer = "spool"
                csv = stack.enter_context(
                    spooled_csv(
                        unpack(), max_memory_bytes=settings.spool_max_memory_bytes, dialect=copy.csv_options.dialect
                    )
                )
                report.csv_bytes = csv.size
        yield csv
        report.csv_bytes = csv.size


def _unpack(archive: Archive, request: RestoreRequest, settings: Settings) -> Generator[bytes, None, None]:
    stored = checked(archive.chunks(), sha256=request.copy_.expected_sha256, md5=archive.content_md5)
    return gunzip_within(stored, max_bytes=settings.csv_max_bytes, max_expansion=settings.csv_max_expansion)


def _file_columns(request: RestoreRequest, file: IO[bytes]) -> tuple[str, ...]:
    options = request.copy_.csv_options
    header = read_header(file, options.dialect) if options.has_header else None
    return file_columns(header, request.copy_)


def _commit(
    work: Transaction,
    connect_again: Connect,
    settings: Settings,
    loaded: Loaded,
    last_look: Callable[[Cursor], bool],
    report: Report,
) -> bool:
    """Commit, and believe it only when the server says so, on another connection if need be."""
    make_commit_durable(work.cursor)
    try:
        if not work.commit(partial(last_look, work.cursor)):
            return False
    except CommitInterruptedError as exc:
        find_out(
            connect_again,
            exc,
            loaded.proof.landed,
            patience_seconds=settings.pg_lock_timeout_seconds,
        )
        report.warn(
            "CommitConfirmedLate", "the connection broke at the COMMIT; the server confirmed it when asked again"
        )
    report.is_committed = True
    return True
