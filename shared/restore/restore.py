"""One restore, from top to bottom: unpack the archive, load it in one transaction, then look after the rest."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TypeAlias

from shared.archive.download import Archive, checked, open_archive
from shared.archive.gunzip import gunzip, refuse_stored
from shared.archive.unpacked import StreamedCsv, spooled_csv
from shared.csvfile.format_hints import wide_encoding
from shared.csvfile.head import read_header, read_ignored_header, read_line
from shared.csvfile.preamble import NOT_SO_MANY_LINES, Preamble
from shared.csvfile.source import CsvSource
from shared.errors import (
    ArchiveTooExpensive,
    DataRejected,
    Fault,
    HeaderInvalid,
    HeaderMissing,
    RestoreCanceled,
    RestoreError,
)
from shared.load.columns import FileHeader, file_columns
from shared.load.day import Day, Loaded, Skipped
from shared.load.load import load_day
from shared.load.locks import RestoreLock, find_running, restore_lock
from shared.load.refusals import in_progress
from shared.model.progress import Progress
from shared.model.report import Report
from shared.model.request import Copy, RestoreRequest
from shared.postgres.connect import Connection
from shared.postgres.session import attempt_in_autocommit
from shared.postgres.transaction import CommitId, Isolation, transaction
from shared.process import CpuBudget
from shared.restore.access import authorize
from shared.restore.after_commit import Left, PutOff, after_commit, note_failure_after_commit
from shared.restore.dry_run import DryRun
from shared.restore.explain import explained
from shared.restore.pending import PendingCommit, pending_commit
from shared.restore.report import note_loaded, note_target
from shared.restore.server import Server
from shared.settings import Settings

BeforeCommit: TypeAlias = Callable[[PendingCommit, Report], None]


def restore(
    request: RestoreRequest,
    settings: Settings,
    report: Report,
    before_commit: BeforeCommit | None = None,
    put_off: PutOff | None = None,
) -> None:
    """Put one archived day back.

    Args:
        request: what to restore, and how.
        settings: the function app's.
        report: is filled in; `report.progress` may be canceled by another thread.
        before_commit: is called right before the COMMIT, with what must be known to go on behind it, and with the
            report as it will be if the COMMIT takes place. What it raises rolls back.
        put_off: as of `after_commit`.

    Raises:
        RestoreCanceled: the restore was canceled before its COMMIT began.
        RestoreError: nothing was loaded; the target is as it was before.
    """
    progress = report.progress
    try:
        endpoint = authorize(request, settings)
        report.database = endpoint.database
        server = Server.of(endpoint, settings, report)
        if not request.dry_run:
            _refuse_running(request, server, report)
        with _unpacked(request, settings, report) as csv:
            _restore(request, settings, server, csv, report, before_commit, put_off)
    except Exception as exc:
        if progress.is_committed:
            note_failure_after_commit(report, exc)
        elif progress.is_canceled and isinstance(exc, RestoreError):
            # Whatever the cancel interrupted: a statement, a download, a wait for a lock.
            raise RestoreCanceled("the restore was canceled; nothing was changed") from exc
        else:
            raise
    finally:
        progress.end()


def _refuse_running(request: RestoreRequest, server: Server, report: Report) -> None:
    """Refuse a restore beside a running one of the same day, before the archive is downloaded.

    Only the lock itself keeps a second restore out, and it is taken later. So a server that cannot be reached, or does
    not let us in, is no error yet. A path that is mistyped names a wrong database too, and the archive's error says
    more then.

    Raises:
        RestoreInProgress: another restore of the day is running.
        RestoreCanceled: the restore was told to stop.
    """
    table, day = request.target_table, request.archive.day
    with report.progress.stage("connect"):
        try:
            with server.connect_to_look() as connection, report.progress.interruptible(server.cancel):
                running, _ = attempt_in_autocommit(connection, partial(find_running, table=table, day=day))
        except RestoreError:
            report.progress.check()
            return
        if running is not None:
            raise in_progress(table, running)


def _restore(
    request: RestoreRequest,
    settings: Settings,
    server: Server,
    csv: CsvSource,
    report: Report,
    before_commit: BeforeCommit | None,
    put_off: PutOff | None,
) -> None:
    header = _read_header(request, csv)
    with ExitStack() as stack:
        with report.progress.stage("connect"):
            connection = stack.enter_context(server.connect())
        if request.dry_run:
            _dry_run(request, settings, server, connection, header, csv, report)
            return
        # Held until the chunks are compressed and the aggregates refreshed.
        lock = stack.enter_context(_locked_day(request, server, report))
        loaded = _load(request, settings, server, connection, lock, header, csv, report, before_commit)
        if isinstance(loaded, Skipped):
            report.skip(loaded.rows)
            report.add_warnings(loaded.target.warnings)
            return
        if connection.closed:
            connection = stack.enter_context(server.connect())
        left = Left(loaded.to_recompress, loaded.target.window, loaded.spans, loaded.created)
        after_commit(connection, request, settings, loaded.target.table, left, report, put_off)


@contextmanager
def _locked_day(request: RestoreRequest, server: Server, report: Report) -> Iterator[RestoreLock]:
    """Hold the lock against a second restore of the day, on a connection of its own."""
    with ExitStack() as stack:
        with report.progress.stage("connect"):
            own = stack.enter_context(server.connect())
            lock = stack.enter_context(
                restore_lock(
                    own,
                    request.target_table,
                    request.archive.day,
                    request_id=report.request_id,
                    connect_to_cancel=server.connect_to_cancel,
                )
            )
        yield lock


def _dry_run(
    request: RestoreRequest,
    settings: Settings,
    server: Server,
    connection: Connection,
    header: FileHeader,
    csv: CsvSource,
    report: Report,
) -> None:
    progress = report.progress
    is_full = request.dry_run == "full"
    if not is_full:
        # Before the transaction, whose snapshot keeps the server from cleaning up.
        with progress.stage("count"):
            csv.drain()
    # As the load's own: READ WRITE, unless the server has been set to read-only.
    isolation: Isolation = "REPEATABLE READ" if is_full else "REPEATABLE READ READ ONLY"
    with (
        explained(connection, request, settings, report.request_id),
        progress.interruptible(server.cancel),
        transaction(connection, isolation) as work,
    ):
        DryRun(work.cursor, request, settings, header, csv, report).run()


def _load(
    request: RestoreRequest,
    settings: Settings,
    server: Server,
    connection: Connection,
    lock: RestoreLock,
    header: FileHeader,
    csv: CsvSource,
    report: Report,
    before_commit: BeforeCommit | None,
) -> Loaded | Skipped:
    def about_to_commit(commit_id: CommitId, loaded: Loaded) -> None:
        if before_commit is not None:
            expected = report.copy()
            note_loaded(expected, loaded)
            before_commit(pending_commit(commit_id, loaded), expected)

    day = Day(
        request,
        settings,
        header,
        csv,
        report.request_id.replace("-", ""),
        report.progress,
        server.connect,
        found=partial(note_target, report),
        before_commit=about_to_commit,
        committed=partial(note_loaded, report),
    )
    with explained(connection, request, settings, report.request_id):
        return load_day(connection, lock, day)


@contextmanager
def _unpacked(request: RestoreRequest, settings: Settings, report: Report) -> Iterator[CsvSource]:
    """Unpack the archive: completely, before the connection to the database; or as a stream."""
    copy = request.copy_
    report.progress.has_header = copy.csv_options.has_header
    with ExitStack() as stack:
        with report.progress.stage("download"), ExitStack() as download:
            archive = download.enter_context(
                open_archive(request.archive, settings, report.progress, expected_etag=copy.expected_etag)
            )
            report.etag, report.compressed_bytes = archive.etag, archive.size
            refuse_stored(archive.size, max_bytes=settings.csv_max_bytes)
            budget = CpuBudget(settings.prepare_cpu_seconds, partial(_too_expensive, settings))
            unpack = partial(_unpack, archive, request, settings, report.progress, budget)
            preamble = Preamble(copy.skip_lines)
            csv: CsvSource
            if copy.transfer == "stream" or (
                copy.transfer == "auto" and archive.size > settings.spool_max_archive_bytes
            ):
                report.transfer = "stream"
                csv = StreamedCsv(
                    unpack, copy.csv_options.dialect, archive.size, report.progress, preamble, loaded=budget.renew
                )
                stack.push(download.pop_all())
            else:
                report.transfer = "spool"
                csv = stack.enter_context(
                    spooled_csv(
                        unpack(),
                        max_memory_bytes=settings.spool_max_memory_bytes,
                        dialect=copy.csv_options.dialect,
                        progress=report.progress,
                        preamble=preamble,
                    )
                )
                report.csv_bytes = csv.size
        yield csv
        report.csv_bytes = csv.size


def _unpack(
    archive: Archive, request: RestoreRequest, settings: Settings, progress: Progress, budget: CpuBudget
) -> Generator[bytes, None, None]:
    stored = checked(archive.chunks(), sha256=request.copy_.expected_sha256, md5=archive.content_md5)

    def check() -> None:
        progress.check()
        budget.check()

    # In the thread that unpacks; it takes in the blocks as well, so that the count is part of its time.
    budget.begin()
    yield from gunzip(stored, max_bytes=settings.csv_max_bytes, max_expansion=settings.csv_max_expansion, check=check)
    check()


def _too_expensive(settings: Settings) -> ArchiveTooExpensive:
    return ArchiveTooExpensive(
        f"to read the archive takes more than the {settings.prepare_cpu_seconds} s of processor time that"
        " PREPARE_CPU_SECONDS allows"
    )


def _not_in_postgresql(encoding: str, *, has_header: bool) -> RestoreError:
    """Return the error for a file in an encoding that PostgreSQL does not have."""
    message = f"the file is {encoding}, which PostgreSQL does not have"
    hint = (
        "convert the file to UTF-8, and store that: gunzip < archive.csv.gz"
        f" | iconv -f {encoding} -t UTF-8 | gzip > converted.csv.gz"
    )
    target = "copy.csv_options.ENCODING"
    if has_header:
        return HeaderInvalid(message, target=target, hint=hint)
    return DataRejected(message, target=target, hint=hint, details=[Fault(DataRejected.code, message, target)])


def _read_header(request: RestoreRequest, csv: CsvSource) -> FileHeader:
    copy = request.copy_
    try:
        return _read_header_of(copy, csv)
    except HeaderMissing as exc:
        if not copy.skip_lines:
            raise
        message = f"nothing follows the {copy.skip_lines} lines that copy.skip_lines skips, so there is no header line"
        raise HeaderMissing(message, target="copy.skip_lines", hint=NOT_SO_MANY_LINES) from exc


def _read_header_of(copy: Copy, csv: CsvSource) -> FileHeader:
    dialect = copy.csv_options.dialect
    wide = wide_encoding(csv.preamble.beginning)
    if wide is not None:
        raise _not_in_postgresql(wide, has_header=copy.csv_options.has_header)
    if copy.header == "ignore":
        ignored = read_ignored_header(csv.head, dialect, len(copy.columns or ()))
        return FileHeader(file_columns(None, copy), ignored, "copy.header")
    if copy.csv_options.has_header:
        return FileHeader(file_columns(read_header(csv.head, dialect, copy.left_out), copy))
    skipped = read_line(csv.preamble.last, dialect)
    return FileHeader(file_columns(None, copy), skipped, "copy.skip_lines")
