"""The connections of one restore to its server."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from shared.model.report import Report
from shared.model.request import RestoreRequest
from shared.postgres.connect import (
    APPLICATION_NAME,
    Connect,
    Connection,
    Limits,
    cancel_session,
    session_name,
)
from shared.postgres.endpoint import Endpoint
from shared.postgres.kept import SESSIONS
from shared.postgres.limited_cursor import set_statement_limit
from shared.postgres.timeouts import SessionSettings
from shared.postgres.transaction import Isolation, Transaction, transaction
from shared.progress.progress import Progress
from shared.restore.access import authorize
from shared.settings import Settings
from shared.timescale.needed_settings import session_settings_of


@dataclass(frozen=True)
class Server:
    """The ways to the server of one restore.

    Attributes:
        connect: opens a connection of the restore, or takes one that was kept, and keeps it.
        connect_to_look: does the same for a query that may fail: it may not take longer than a connect.
        connect_anew: opens a connection of the restore, whatever is kept: the server may be another one by now.
        connect_to_cancel: opens one that is not canceled itself. A query on it may not take longer than a connect.
        session: the `application_name` of the restore's connections.
        session_settings: what each transaction of the restore begins with.
        progress: of the restore. A cancel of it ends waits for a connection.
    """

    connect: Connect
    connect_to_look: Connect
    connect_anew: Connect
    connect_to_cancel: Connect
    session: str
    session_settings: SessionSettings
    progress: Progress

    @classmethod
    def for_request(cls, request: RestoreRequest, settings: Settings, report: Report) -> Server:
        """Return the ways to the server of a request, if it is allowed.

        Args:
            request: what is asked for.
            settings: what is allowed, and how to log in.
            report: gets the database's name. Its id names the session, and a cancel of its progress ends waits.

        Raises:
            RestoreError: as `authorize`.
        """
        return cls.of(authorize(request, settings), settings, report)

    @classmethod
    def of(cls, endpoint: Endpoint, settings: Settings, report: Report) -> Server:
        """Return the ways to a server. The arguments are those of `for_request`."""
        report.database = endpoint.database
        seconds, session = settings.pg_connect_timeout_seconds, session_name(report.request_id)
        session_settings = session_settings_of(settings)
        limits = Limits(seconds, session_settings.statement_seconds)
        brief = Limits(seconds, seconds)
        idle = settings.pg_idle_session_seconds
        opener = partial(SESSIONS.connect, idle_seconds=idle) if idle else SESSIONS.connect_anew
        of_restore = partial(opener, endpoint, application_name=session, check=report.progress.check)
        return cls(
            partial(of_restore, limits),
            partial(of_restore, brief),
            partial(SESSIONS.connect_anew, endpoint, limits, application_name=session, check=report.progress.check),
            partial(SESSIONS.connect_anew, endpoint, brief, application_name=f"{APPLICATION_NAME} cancel"),
            session,
            session_settings,
            report.progress,
        )

    def keep(self, connection: Connection) -> None:
        """Let a connection that was opened to look run the statements of the restore."""
        set_statement_limit(connection, self.session_settings.statement_seconds)

    def transaction(self, connection: Connection, isolation: Isolation) -> AbstractContextManager[Transaction]:
        """Begin a transaction that a cancel interrupts. Arguments as of `transaction` in postgres/transaction.py."""
        return transaction(connection, isolation, self.session_settings, self.interruptible)

    def interruptible(self) -> AbstractContextManager[None]:
        """Let a cancel interrupt what the body waits for on a connection of the restore."""
        return self.progress.interruptible(self.cancel)

    def cancel(self) -> None:
        """End the statement that runs on the restore's connection."""
        with self.connect_to_cancel() as other, other.cursor() as cursor:
            cancel_session(cursor, self.session)
