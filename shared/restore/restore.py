"""One restore, from top to bottom: unpack the archive, load it in one transaction, then look after the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TypeAlias

from shared.csvfile.source import CsvSource
from shared.errors import RestoreCanceled, RestoreError
from shared.load.day import Day, Loaded, Skipped
from shared.load.file_header import FileHeader, read_file_header
from shared.load.load import load_day
from shared.load.locks import RestoreLock, find_running, restore_lock
from shared.load.refusals import in_progress
from shared.model.report import Report
from shared.model.request import RestoreRequest
from shared.postgres.connect import Connection
from shared.postgres.session import attempt_in_autocommit
from shared.postgres.transaction import CommitId, Isolation, transaction
from shared.restore.access import authorize
from shared.restore.after_commit import Left, PutOff, after_commit, note_failure_after_commit
from shared.restore.dry_run import DryRun
from shared.restore.explain import explained
from shared.restore.pending import PendingCommit, pending_commit
from shared.restore.report import note_loaded, note_target
from shared.restore.server import Server
from shared.restore.unpack import unpacked
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
        with unpacked(request, settings, report) as csv:
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
    header = read_file_header(request.copy_, csv)
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
