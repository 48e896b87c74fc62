"""One restore, from top to bottom: gunzip the archive, load it in one transaction, then compress and refresh."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from shared.csvfile.source import CsvSource
from shared.errors import RestoreCanceled, RestoreError
from shared.load.day import Day, Loaded, Skipped
from shared.load.load import load_day
from shared.load.locks.restore_lock import RestoreLock, find_running, restore_lock
from shared.load.refusals import in_progress
from shared.load.target.file_header import FileHeader, read_file_header
from shared.model.report import Report
from shared.model.request import RestoreRequest
from shared.postgres.connect import Connection
from shared.postgres.optional_step import attempt_in_autocommit
from shared.postgres.transaction import CommitId, Isolation
from shared.restore.after_commit import PutOff, after_commit, note_failure_after_commit
from shared.restore.dry_run import DryRun
from shared.restore.explain import explained
from shared.restore.left import Left
from shared.restore.pending import PendingCommit, pending_commit
from shared.restore.report import note_loaded, note_target
from shared.restore.server import Server
from shared.restore.spool_or_stream import open_csv
from shared.settings import Settings

# How long a connection may have been idle to be used again. A server, or a gateway on the way, ends one in time.
IDLE_SECONDS = 10

BeforeCommit: TypeAlias = Callable[[PendingCommit, Report], None]


def restore(
    request: RestoreRequest,
    settings: Settings,
    report: Report,
    before_commit: BeforeCommit | None = None,
    put_off: PutOff | None = None,
) -> None:
    """Restore one archived day.

    Args:
        request: what to restore, and how.
        settings: the function app's.
        report: is filled in; `report.progress` may be canceled by another thread.
        before_commit: is called right before the COMMIT, with what must be known to continue after it, and with the
            report as it will be if the COMMIT takes place. What it raises rolls back.
        put_off: as of `after_commit`.

    Raises:
        RestoreCanceled: the restore was canceled before its COMMIT began.
        CommitOutcomeUnknown: the server cannot say whether the COMMIT took place.
        RestoreError: nothing was loaded; the target is unchanged.
    """
    progress = report.progress
    try:
        one = _Restore(request, settings, Server.for_request(request, settings, report), report)
        with ExitStack() as stack:
            looked_on = None if request.dry_run else one.refuse_running(stack)
            csv = stack.enter_context(open_csv(request, settings, report))
            if request.dry_run:
                one.dry_run(csv)
            else:
                one.run(csv, looked_on, before_commit, put_off)
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


@dataclass(frozen=True)
class _LookedOn:
    """The connection on which a running restore was looked for, and when it became idle, by `time.monotonic`."""

    connection: Connection
    since: float

    @property
    def is_fresh(self) -> bool:
        """Whether the load may use it."""
        return not self.connection.closed and time.monotonic() - self.since < IDLE_SECONDS


@dataclass(frozen=True)
class _Restore:
    """One restore, whose target is allowed.

    Attributes:
        request: what to restore, and how.
        settings: the function app's.
        server: the ways to the server.
        report: is filled in.
    """

    request: RestoreRequest
    settings: Settings
    server: Server
    report: Report

    def refuse_running(self, stack: ExitStack) -> _LookedOn | None:
        """Refuse a restore beside a running one of the same day, before the archive is downloaded.

        Only the lock itself keeps a second restore out, and it is taken later. So a server that cannot be reached, or
        does not let us in, is not an error yet. A path that is mistyped names a wrong database too, and the archive's
        error says more then.

        Args:
            stack: keeps the connection open.

        Returns:
            The connection, for the load; None if there is none.

        Raises:
            RestoreInProgress: another restore of the day is running.
            RestoreCanceled: the restore was canceled.
        """
        table, day, progress = self.request.target_table, self.request.archive.day, self.report.progress
        with progress.stage("connect"):
            try:
                connection = stack.enter_context(self.server.connect_to_look())
                with self.server.interruptible():
                    running, _ = attempt_in_autocommit(
                        connection, "look for a running restore", partial(find_running, table=table, day=day)
                    )
            except RestoreError:
                progress.check()
                return None
            if running is not None:
                raise in_progress(table, running)
        return _LookedOn(connection, time.monotonic())

    def dry_run(self, csv: CsvSource) -> None:
        """Report what the restore would do."""
        header = read_file_header(self.request.copy_, csv)
        progress = self.report.progress
        with ExitStack() as stack:
            with progress.stage("connect"):
                connection = stack.enter_context(self.server.connect())
            is_full = self.request.dry_run == "full"
            if not is_full:
                # Before the transaction, whose snapshot keeps the server from cleaning up.
                with progress.stage("count"):
                    csv.drain()
            # As the load's own: READ WRITE, unless the server has been set to read-only.
            isolation: Isolation = "REPEATABLE READ" if is_full else "REPEATABLE READ READ ONLY"
            with self._explained(connection), self.server.transaction(connection, isolation) as work:
                DryRun(work.cursor, self._day(header, csv), self.report).run()

    def run(
        self,
        csv: CsvSource,
        looked_on: _LookedOn | None,
        before_commit: BeforeCommit | None,
        put_off: PutOff | None,
    ) -> None:
        """Load the day, and do what comes after the COMMIT. Arguments as of `refuse_running` and `restore`."""
        header = read_file_header(self.request.copy_, csv)
        with ExitStack() as stack:
            with self.report.progress.stage("connect"):
                connection = self._connection_of_load(looked_on, stack)
            # Held until the chunks are compressed and the aggregates refreshed.
            lock = stack.enter_context(self._locked_day())
            with self._explained(connection):
                loaded = load_day(connection, lock, self._day(header, csv, before_commit))
            if isinstance(loaded, Skipped):
                self.report.skip(loaded.rows)
                self.report.add_warnings(loaded.target.warnings)
                return
            if connection.closed:
                connection = stack.enter_context(self.server.connect())
            table, left = loaded.target.table, Left.of(loaded)
            after_commit(connection, self.request, self.settings, table, left, self.report, put_off)

    def _connection_of_load(self, looked_on: _LookedOn | None, stack: ExitStack) -> Connection:
        """Return the connection that is open already, or else a new one: that takes longer than a small COPY."""
        if looked_on is not None and looked_on.is_fresh:
            self.server.keep(looked_on.connection)
            return looked_on.connection
        if looked_on is not None:
            looked_on.connection.close()
        return stack.enter_context(self.server.connect())

    @contextmanager
    def _locked_day(self) -> Iterator[RestoreLock]:
        """Hold the lock against a second restore of the day, on a connection of its own."""
        with ExitStack() as stack:
            with self.report.progress.stage("connect"):
                own = stack.enter_context(self.server.connect())
                lock = stack.enter_context(
                    restore_lock(
                        own,
                        self.request.target_table,
                        self.request.archive.day,
                        self.server.session_settings,
                        request_id=self.report.request_id,
                        connect_to_cancel=self.server.connect_to_cancel,
                    )
                )
            yield lock

    def _day(self, header: FileHeader, csv: CsvSource, before_commit: BeforeCommit | None = None) -> Day:
        def about_to_commit(commit_id: CommitId, loaded: Loaded) -> None:
            if before_commit is not None:
                expected = self.report.copy()
                note_loaded(expected, loaded)
                before_commit(pending_commit(commit_id, loaded), expected)

        return Day(
            self.request,
            self.settings,
            header,
            csv,
            self.report.request_id.replace("-", ""),
            self.report.progress,
            self.server.connect_anew,
            found=partial(note_target, self.report),
            before_commit=about_to_commit,
            committed=partial(note_loaded, self.report),
        )

    def _explained(self, connection: Connection) -> AbstractContextManager[None]:
        return explained(connection, self.request, self.settings, self.report.request_id)
