"""One transaction: BEGIN, COMMIT, and whether a COMMIT whose answer was lost took place.

psycopg2's own transaction handling is off (autocommit), and BEGIN and COMMIT are statements like any other: this is the
only way to read the answer to a COMMIT. If the transaction had already failed, PostgreSQL answers COMMIT with
`ROLLBACK`, and psycopg2 raises nothing.

If the answer to a COMMIT is lost, the server is asked for the outcome by the transaction's id. A server that was
restarted in between (a crash, a failover) may have lost the transaction and given its id to another one: after a crash
the server reuses an id that never reached the disk (measured on 17 and 18: `pg_xact_status` then says committed). So
the id is trusted only if the server has not restarted since it assigned the id. Otherwise the day's rows are counted:
they are as many as before the load, or as many as after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal, TypeAlias

import psycopg2
import psycopg2.extensions
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, TRANSACTION_STATUS_INERROR, TRANSACTION_STATUS_UNKNOWN

from shared.errors import CommitOutcomeUnknown, InternalError, RestoreError
from shared.postgres.connect import Connection, Cursor
from shared.postgres.search_path import SET_USERS
from shared.postgres.timeouts import SessionSettings, set_transaction_limits


@dataclass(frozen=True)
class ServerIncarnation:
    """What differs between a server and the same one after a crash.

    Attributes:
        start: when its postmaster was started, as text.
        processes: pids of its own processes (checkpointer, background writer, ...). After a crash of a single backend
            the same postmaster restarts all of them. Every role may see their pids.
    """

    start: str
    processes: frozenset[int]

    def is_same(self, later: ServerIncarnation) -> bool:
        """Whether the server has not crashed in between; some of its processes may have come and gone."""
        return self.start == later.start and bool(self.processes & later.processes)


def server_incarnation(cursor: psycopg2.extensions.cursor) -> ServerIncarnation:
    """Ask the server for its start time and its processes."""
    cursor.execute(
        # A plain cast would depend on the session's DateStyle and TimeZone.
        "SELECT pg_catalog.to_char(pg_catalog.pg_postmaster_start_time() AT TIME ZONE 'UTC',"
        " 'YYYY-MM-DD HH24:MI:SS.US+00'),"
        " ARRAY(SELECT pid FROM pg_catalog.pg_stat_activity WHERE usesysid IS NULL)"
    )
    row = cursor.fetchone()
    return ServerIncarnation("", frozenset()) if row is None else ServerIncarnation(row[0], frozenset(row[1]))


@dataclass(frozen=True)
class CommitId:
    """What identifies a COMMIT when the server is asked later whether it took place.

    Attributes:
        xid: the transaction's id, as `pg_xact_status` takes it.
        server: the server that gave the id, as it ran then.
    """

    xid: str
    server: ServerIncarnation


# With these the server ends the session itself; it may have committed before, and waited for a replica.
_SESSION_ENDED = ("08", "57")

_NOTHING_TO_ROLL_BACK = (TRANSACTION_STATUS_IDLE, TRANSACTION_STATUS_UNKNOWN)


Isolation: TypeAlias = Literal["READ COMMITTED", "REPEATABLE READ", "REPEATABLE READ READ ONLY"]


class Transaction:
    """One transaction. It is rolled back unless `commit()` was called and the server confirmed it."""

    def __init__(self, connection: Connection, cursor: Cursor) -> None:
        self._connection = connection
        self.cursor = cursor

    def commit(self, last_look: Callable[[CommitId], None]) -> None:
        """Commit, and believe it only when the server says so.

        Args:
            last_look: called right before the COMMIT with what identifies it; what it raises leaves the
                transaction open.

        Raises:
            CommitInterruptedError: the connection broke while COMMIT was under way; it knows the transaction's id.
            InternalError: the transaction had failed before, or the server answered with a rollback.
        """
        if self._connection.info.transaction_status == TRANSACTION_STATUS_INERROR:
            raise InternalError("the transaction had failed before its COMMIT")
        self.cursor.execute("SELECT pg_catalog.pg_current_xact_id()::text")
        row = self.cursor.fetchone()
        commit_id = CommitId("" if row is None else row[0], server_incarnation(self.cursor))
        last_look(commit_id)
        # What waits for the COMMIT is the user's: deferred triggers and constraints.
        self.cursor.execute(SET_USERS)
        try:
            self.cursor.execute("COMMIT")
        except psycopg2.Error as exc:
            if exc.pgcode is None or self._connection.closed or exc.pgcode.startswith(_SESSION_ENDED):
                raise CommitInterruptedError(commit_id) from exc
            raise
        if self.cursor.statusmessage != "COMMIT":
            raise InternalError(f"the server answered COMMIT with {self.cursor.statusmessage!r:.100}")


class CommitInterruptedError(Exception):
    """The connection broke in the middle of a COMMIT."""

    def __init__(self, commit_id: CommitId) -> None:
        super().__init__(commit_id.xid)
        self.commit_id = commit_id


@contextmanager
def transaction(
    connection: Connection,
    isolation: Isolation,
    session_settings: SessionSettings,
    interruptible: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[Transaction]:
    """Begin a transaction with timeouts of its own; what the body did not commit is rolled back at its end.

    It has no snapshot yet.

    Args:
        connection: in autocommit.
        isolation: of the transaction.
        session_settings: of its statements, whatever the role or the database has set.
        interruptible: lets another thread interrupt the statements of the body, and never the ROLLBACK.
    """
    with connection.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL " + isolation)
        try:
            set_transaction_limits(cursor, session_settings)
            with interruptible():
                yield Transaction(connection, cursor)
        finally:
            _roll_back(connection)


def _roll_back(connection: Connection) -> None:
    """End the transaction, if there is one; a broken connection has ended it already."""
    if connection.closed or connection.info.transaction_status in _NOTHING_TO_ROLL_BACK:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("ROLLBACK")
    except Exception:  # noqa: BLE001 - an error here must not replace the restore's own error or answer
        connection.close()


def make_commit_durable(cursor: Cursor) -> None:
    """Let the COMMIT wait for the disk, so that an answered 200 survives a crash of the server.

    The session's own value is restored, since `remote_apply` and its like wait for replicas too. Where that value is
    "off", it becomes "on": the COMMIT waits for the local disk and the synchronous replicas.
    """
    cursor.execute(
        "SET LOCAL synchronous_commit TO DEFAULT; SELECT pg_catalog.current_setting('synchronous_commit') = 'off'"
    )
    row = cursor.fetchone()
    if row is not None and row[0]:
        cursor.execute("SET LOCAL synchronous_commit = on")


_POLL_SECONDS = 0.5


def resolve_commit(
    connect_again: Callable[[], AbstractContextManager[Connection]],
    commit_id: CommitId,
    rows_show_commit: Callable[[Cursor], bool | None],
    *,
    session_settings: SessionSettings,
    patience_seconds: float,
) -> bool:
    """Return whether a transaction was committed.

    Args:
        connect_again: opens a new connection to the same database.
        commit_id: of the transaction.
        rows_show_commit: tells by the day's rows whether it was committed; None where they do not tell. It gets a
            cursor in READ COMMITTED.
        session_settings: of the queries.
        patience_seconds: how long the server may be unreachable, or still busy with the COMMIT.

    Raises:
        CommitOutcomeUnknown: the server did not say in time.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        is_committed = _ask(connect_again, commit_id, rows_show_commit, session_settings)
        if is_committed is not None:
            return is_committed
        if time.monotonic() > deadline:
            raise outcome_unknown(commit_id, "the server does not say")
        time.sleep(_POLL_SECONDS)


def outcome_unknown(commit_id: CommitId, why: str) -> CommitOutcomeUnknown:
    """Return the error of a COMMIT whose outcome is unknown.

    Args:
        commit_id: of the transaction.
        why: the reason why it is unknown.
    """
    return CommitOutcomeUnknown(
        f"the connection broke at the COMMIT of transaction {commit_id.xid}, and {why}",
        hint=f"count the day's rows, or ask: SELECT pg_xact_status('{commit_id.xid}'), if the server started"
        f" at {commit_id.server.start} has not crashed since",
    )


def _ask(
    connect_again: Callable[[], AbstractContextManager[Connection]],
    commit_id: CommitId,
    rows_show_commit: Callable[[Cursor], bool | None],
    session_settings: SessionSettings,
) -> bool | None:
    try:
        with connect_again() as connection, transaction(connection, "READ COMMITTED", session_settings) as asking:
            cursor = asking.cursor
            if not commit_id.server.is_same(server_incarnation(cursor)):
                return rows_show_commit(cursor)
            cursor.execute("SELECT pg_catalog.pg_xact_status(%s::xid8)", (commit_id.xid,))
            row = cursor.fetchone()
            return None if row is None else {"committed": True, "aborted": False}.get(row[0])
    except (RestoreError, psycopg2.Error):
        return None
