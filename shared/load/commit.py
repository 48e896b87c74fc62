"""The COMMIT of a load: the checks right before it, and what a refused COMMIT or a lost answer means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from shared.errors import DatabaseUnreachable, DataRejected, RestoreError
from shared.load.clear.references import refused_by_server
from shared.load.day import Day, Loaded
from shared.load.locks.chunk_locks import no_other_transactions
from shared.load.locks.restore_lock import RestoreLock
from shared.load.plan import Fallback
from shared.load.verify.proof import rows_show_commit
from shared.model.results import Notice
from shared.postgres.connect import Cursor
from shared.postgres.sqlstate import CopiedRows, translated
from shared.postgres.transaction import (
    CommitId,
    CommitInterruptedError,
    Transaction,
    make_commit_durable,
    resolve_commit,
    transaction,
)
from shared.timescale.chunks import Chunk
from shared.timescale.sequences import Reached, advance


def commit(
    tx: Transaction,
    lock: RestoreLock,
    day: Day,
    loaded: Loaded,
    truncated: Sequence[Chunk],
    numbers: Sequence[Reached],
) -> Loaded:
    """Commit, and believe it only when the server says so, on another connection if need be.

    Cancels are refused from the COMMIT on, and taken again once it is known that it did not take place.

    Raises:
        Fallback: another transaction has begun since the chunks were truncated, and would find them empty.
        ReferencedRows: a deferred foreign key does not let the day's rows go.
        DatabaseUnreachable: the connection broke, and the server says that it rolled back.
        CommitOutcomeUnknown: the server cannot say whether the COMMIT took place.
    """
    make_commit_durable(tx.cursor)

    def last_look(commit_id: CommitId) -> None:
        day.before_commit(commit_id, loaded)
        lock.confirm()
        # Each of these steps may take a while. So sequences are locked as late as possible, and other transactions are
        # looked for last.
        if day.request.destination.sequences == "advance":
            advance(tx.cursor, numbers)
        if truncated and not no_other_transactions(lock.cursor, tx.cursor):
            raise Fallback(readers=True)
        day.progress.refuse_cancels()

    try:
        # A deferred constraint refuses its rows now.
        with translated(CopiedRows(loaded.target.table.name, (), day.row_errors)):
            tx.commit(last_look)
    except CommitInterruptedError as exc:
        loaded = _ask_again(day, loaded, exc)
    except RestoreError as exc:
        day.progress.take_cancels()
        if isinstance(exc, DataRejected):
            _judge_refused_commit(tx, day, loaded, exc)
        raise
    day.progress.is_committed = True
    day.committed(loaded)
    return loaded


def _ask_again(day: Day, loaded: Loaded, interrupted: CommitInterruptedError) -> Loaded:
    """Ask the server, on another connection, whether a COMMIT whose answer was lost took place."""
    patience = day.settings.pg_lock_timeout_seconds
    if not resolve_commit(
        day.connect_again,
        interrupted.commit_id,
        partial(_rows_show_commit, loaded=loaded),
        session_settings=day.session_settings,
        patience_seconds=patience,
    ):
        day.progress.take_cancels()
        message = "the connection broke at the COMMIT, and the server rolled the restore back"
        raise DatabaseUnreachable(message) from interrupted
    message = "the connection broke at the COMMIT; the server confirmed it when asked again"
    return replace(loaded, warnings=(*loaded.warnings, Notice("CommitConfirmedLate", message)))


def _rows_show_commit(cursor: Cursor, loaded: Loaded) -> bool | None:
    """Tell by the day's rows whether the load was committed; None where they were not counted, or do not tell."""
    counts, window = loaded.verification, loaded.target.window
    if counts is None or window is None:
        return None
    before, after = counts.rows_before, counts.after.rows
    return rows_show_commit(cursor, loaded.target.table, window, before=before, after=after)


def _judge_refused_commit(tx: Transaction, day: Day, loaded: Loaded, error: DataRejected) -> None:
    """Say so if the COMMIT was refused because rows refer to the day's, which the archive does not bring back.

    Raises:
        ReferencedRows: it was.
    """
    if loaded.removed is None:
        return
    with transaction(tx.cursor.connection, "READ COMMITTED", day.session_settings) as asking:
        refused = refused_by_server(
            asking.cursor, day.request.archive.day, loaded.target, loaded.removed.referenced, error, at_commit=True
        )
    if refused is not None:
        raise refused from error
