"""A COMMIT that is about to be sent, as a record that outlives the process; and how to continue after it.

A process can end between a COMMIT and the note that it took place. So everything that is needed to ask for its outcome,
and to continue, is recorded before the COMMIT is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.load.day import Loaded
from shared.load.verify.proof import rows_show_commit
from shared.model.report import Report
from shared.model.request import RestoreRequest
from shared.postgres.connect import Cursor
from shared.postgres.transaction import CommitId, ServerIncarnation, resolve_commit
from shared.restore.after_commit import PutOff, after_commit, note_failure_after_commit
from shared.restore.left import Left, decode_left
from shared.restore.server import Server
from shared.restore.target_table import read_table, table_of
from shared.settings import Settings


@dataclass(frozen=True)
class PendingCommit:
    """What is known right before a COMMIT.

    Attributes:
        commit_id: what identifies the COMMIT to the server.
        rows_before: rows of the day before the load; None where they were not counted.
        rows_after: rows of the day after it.
        left: what is to be done after the COMMIT.
    """

    commit_id: CommitId
    rows_before: int | None
    rows_after: int | None
    left: Left

    def encode(self) -> dict[str, Any]:
        """Return the record as JSON."""
        server = self.commit_id.server
        return {
            "xid": self.commit_id.xid,
            "server_start": server.start,
            "server_processes": sorted(server.processes),
            "rows_before": self.rows_before,
            "rows_after": self.rows_after,
            **self.left.encode(),
        }


def pending_commit(commit_id: CommitId, loaded: Loaded) -> PendingCommit:
    """Record what is known of a load right before its COMMIT."""
    verified = loaded.verification
    return PendingCommit(
        commit_id,
        None if verified is None else verified.rows_before,
        None if verified is None else verified.after.rows,
        Left.of(loaded),
    )


def decode_pending(record: dict[str, Any]) -> PendingCommit:
    """Read what `encode` wrote."""
    server = ServerIncarnation(record["server_start"], frozenset(record["server_processes"]))
    return PendingCommit(
        CommitId(record["xid"], server),
        record["rows_before"],
        record["rows_after"],
        decode_left(record),
    )


def was_committed(request: RestoreRequest, settings: Settings, pending: PendingCommit, report: Report) -> bool:
    """Ask the server whether a COMMIT took place. If not, nothing of the load is in the table.

    Args:
        request: what was restored.
        settings: the function app's.
        pending: what was recorded before the COMMIT.
        report: gets the time that it takes.

    Raises:
        CommitOutcomeUnknown: the server cannot say whether the COMMIT took place.
        DatabaseError: it cannot be reached.
    """
    server = Server.for_request(request, settings, report)
    with report.progress.stage("connect"), server.connect_anew():
        # A server that cannot be reached is another error than one that cannot tell.
        pass

    def by_rows(cursor: Cursor) -> bool | None:
        day = pending.left.day
        if day is None or pending.rows_before is None or pending.rows_after is None:
            return None
        table = table_of(cursor, request)
        return rows_show_commit(cursor, table, day, before=pending.rows_before, after=pending.rows_after)

    with report.progress.stage("commit"):
        report.progress.is_committed = resolve_commit(
            server.connect_anew,
            pending.commit_id,
            by_rows,
            session_settings=server.session_settings,
            patience_seconds=settings.pg_lock_timeout_seconds,
        )
    return report.progress.is_committed


def finish_committed(
    request: RestoreRequest, settings: Settings, pending: PendingCommit, report: Report, put_off: PutOff | None = None
) -> None:
    """Do what a load that is committed has left to do. Its rows are in, whatever happens here.

    Args:
        request: what was restored.
        settings: the function app's.
        pending: what was written down before the COMMIT.
        report: gets the outcome of each step.
        put_off: as of `after_commit`.
    """
    try:
        server = Server.for_request(request, settings, report)
        with server.connect() as connection:
            table = read_table(server, connection, request)
            after_commit(connection, request, settings, table, pending.left, report, put_off)
    except Exception as exc:  # noqa: BLE001 - nothing may say any more that the rows are not in
        note_failure_after_commit(report, exc)
