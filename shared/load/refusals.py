"""The errors with which a load refuses what it found. Pure: each function returns the error, or None.

The load raises them, and the dry run lists them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from shared.errors import (
    DatabaseFailedOver,
    DatabasePermissionDenied,
    DatabaseReadOnly,
    DatabaseStorageFull,
    DataRejected,
    Fault,
    MissingRight,
    OnErrorNotSupported,
    OperationNotSupported,
    ReferencedRows,
    ReplacementTooSmall,
    RestoreError,
    RestoreInProgress,
    RowCountMismatch,
    RowsOutsideWindow,
    TargetNotAllowed,
    WindowNotEmpty,
    lacks,
)
from shared.model.answer import referenced_row
from shared.model.request import Copy, Destination, RestoreRequest
from shared.model.results import Count, ReferringRows, RunningRestore
from shared.model.window import iso
from shared.names import QualifiedName, counted
from shared.postgres.sqlstate import CONFLICT_HINT
from shared.timescale.chunks import Chunk
from shared.timescale.table import Table

# The first version whose COPY has ON_ERROR and names the rows: PostgreSQL 17.
_ON_ERROR_SINCE = 170000

STAGING_HINT = 'use destination.mode "staging": it inserts the rows, which works where COPY does not'
PARTITION_HINT = "create the partition, then send the request again"


def refuse(error: RestoreError | None) -> None:
    """Raise the error, if there is one."""
    if error is not None:
        raise error


def in_progress(table: QualifiedName, running: RunningRestore) -> RestoreInProgress:
    """Refuse a restore while another session holds a lock that it needs. The detail says which one.

    Args:
        table: the target.
        running: what holds the lock.
    """
    since = None if running.since is None else str(iso(running.since))
    of_day = "" if running.day is None else f" of {running.day.isoformat()}"
    into = str(table) if running.root == table else f"{running.root}, of which {table} is a part,"
    message, hint = f"a restore{of_day} into {into} is running", None
    if running.pid is not None and running.request_id is None:
        who = ", ".join(filter(None, (running.user and f"role {running.user}", running.application_name)))
        holder = f"pid {running.pid}" + (f" ({who})" if who else "")
        message = f"the lock{of_day} of {into} is held by {holder}, which is not a restore"
        hint = (
            "any role can take this advisory lock: let the session's user end its transaction, or end the session by"
            f" SELECT pg_terminate_backend({running.pid})"
        )
        if since is not None:
            message += f"; the transaction of that session began {since}"
    elif since is not None:
        message = f"a restore{of_day} into {into} has been running since {since}"
    if running.request_id is not None:
        message += f", with the request_id {running.request_id}"
    facts = {
        "request_id": running.request_id,
        "since": since,
        "pid": running.pid,
        "user": running.user,
        "application_name": running.application_name,
    }
    details = [Fault("RestoreInProgress", message, info=tuple(facts.items()))]
    return RestoreInProgress(message, hint=hint, details=details)


def day_not_empty(request: RestoreRequest, table: Table, rows: int) -> WindowNotEmpty | None:
    """Refuse a day that holds rows, if the request says so."""
    if not rows or request.destination.existing_rows != "error":
        return None
    message = f"{table} already holds {counted(rows, 'row')} of {request.archive.day.isoformat()}"
    return WindowNotEmpty(message, details=[Fault("WindowNotEmpty", message, info=(("rows", rows),))])


def day_in_children(request: RestoreRequest, table: Table, rows: int) -> WindowNotEmpty | None:
    """Refuse a day that is not in the table, but in tables that inherit from it: readers would see it twice.

    Args:
        request: what is restored, and how.
        table: the target. It holds no row of the day itself.
        rows: rows of the day in the tables that inherit from it.
    """
    if not rows or request.destination.existing_rows not in ("error", "skip"):
        return None
    message = f"tables that inherit from {table} hold {counted(rows, 'row')} of {request.archive.day.isoformat()}"
    return WindowNotEmpty(
        message,
        hint='name that table, or set destination.on_existing to "append" if the archive holds other rows',
        details=[Fault("WindowNotEmpty", message, info=(("rows", rows),))],
    )


def rows_beside(table: Table, day: date, rows: int) -> WindowNotEmpty | None:
    """Refuse rows outside the day at whose times the table holds rows already.

    Args:
        table: the target.
        day: the archive's.
        rows: rows that the table holds at those times.
    """
    if not rows:
        return None
    message = (
        f"{table} already holds {counted(rows, 'row')} at the times of the archive's rows outside {day.isoformat()}"
    )
    return WindowNotEmpty(message, details=[Fault("WindowNotEmpty", message, info=(("rows", rows),))])


# What `pg_settings.source` says of a setting that the role, the database or the client brings, and how it is taken back
# (src/backend/utils/misc/guc_tables.c). Every other source is the server's own.
_READ_ONLY_BY = {
    "database": ("the database", "ALTER DATABASE ... RESET default_transaction_read_only"),
    "user": ("the role", "ALTER ROLE ... RESET default_transaction_read_only"),
    "global": ("all roles", "ALTER ROLE ALL RESET default_transaction_read_only"),
    "database user": ("the role", "ALTER ROLE ... IN DATABASE ... RESET default_transaction_read_only"),
    "client": ("options of the connection", "take it out of pg.connection_uri or the app setting PGOPTIONS"),
    "session": ("the session", "look for a trigger ON LOGIN, or a pooler, that sets default_transaction_read_only"),
}


def server_read_only(*, is_replica: bool, is_new: bool, read_only_by: str | None) -> RestoreError | None:
    """Refuse a server that is read-only.

    Args:
        is_replica: whether it is in recovery.
        is_new: whether it was started a few minutes ago. A failover restarts the old primary as a replica.
        read_only_by: what switches `default_transaction_read_only` on, as `pg_settings.source` has it; None: nothing.
    """
    if is_replica and is_new:
        return DatabaseFailedOver("the server is a replica, and was started a few minutes ago: it may be a failover")
    if is_replica:
        return DatabaseReadOnly("the server is a replica")
    if read_only_by is None:
        return None
    if read_only_by in _READ_ONLY_BY:
        who, hint = _READ_ONLY_BY[read_only_by]
        message = f"transactions are read-only by default (default_transaction_read_only), set by {who}"
        return DatabaseReadOnly(message, hint=hint)
    return DatabaseStorageFull("the server has turned read-only (default_transaction_read_only): its disk may be full")


def copy_under_policies(table: Table) -> OperationNotSupported:
    """Refuse a COPY into a table whose policies apply to the role."""
    message = f"row-level security of {table} applies to the role, and COPY does not support that"
    return OperationNotSupported(message, hint=STAGING_HINT)


def columns_without_value(names: Sequence[str], copy: Copy) -> DataRejected | None:
    """Refuse a file that lacks columns which are NOT NULL and have no default.

    Args:
        names: these columns of the table.
        copy: says which columns of the file are left out.
    """
    if not names:
        return None
    which = ", ".join(f'"{name}"' for name in names)
    remedy = "say in copy.column_map which columns of the file they are"
    if copy.left_out.intersection(names):
        remedy = "load those that copy.column_map leaves out"
    message = f"the file lacks {which}: in the table these columns are NOT NULL and have no default"
    fault = Fault("DataRejected", message, names[0], (("sqlstate", "23502"), ("column", names[0])))
    return DataRejected(
        message,
        target=names[0],
        hint=f"{remedy}, or give them a default in the table (ALTER TABLE ... ALTER COLUMN ... SET DEFAULT)",
        details=[fault],
    )


def no_partition(table: Table, day: date, rows: Count | None = None) -> DataRejected | None:
    """Refuse rows for which a partitioned table has no partition.

    Args:
        table: the target.
        day: the archive's.
        rows: the rows; None: every row of the day.
    """
    if rows is not None and not rows.rows:
        return None
    what = day.isoformat() if rows is None else f"{rows.describe()} of the archive"
    message = f"{table} has no partition for {what}"
    fault = Fault("DataRejected", message, info=(("sqlstate", "23514"),))
    return DataRejected(message, target=str(table), hint=PARTITION_HINT, details=[fault])


def parts_not_allowed(table: Table, parts: Sequence[QualifiedName]) -> TargetNotAllowed | None:
    """Refuse rows that go through a table into parts of it that ALLOWED_TARGETS does not list.

    Args:
        table: the target.
        parts: these partitions, or tables that inherit from it.
    """
    if not parts:
        return None
    names = ", ".join(map(str, parts))
    return TargetNotAllowed(f"rows of {table} go into {names}, which this function may not write to")


def chunks_frozen(chunks: Sequence[Chunk]) -> OperationNotSupported | None:
    """Refuse a day if its rows belong in frozen chunks, or if rows in a frozen chunk would be replaced."""
    if not chunks:
        return None
    names = ", ".join(map(str, chunks))
    message = f"{names} is frozen: rows can be neither added to it nor removed"
    return OperationNotSupported(
        message,
        hint=f"SELECT _timescaledb_functions.unfreeze_chunk('{chunks[0]}'), then send the request again",
        details=[Fault("OperationNotSupported", message, str(chunks[0]), (("sqlstate", "0A000"),))],
    )


def keys_taken(table: Table, index: str, rows: int) -> DataRejected | None:
    """Refuse rows whose key the table already has.

    Args:
        table: the target.
        index: the unique index.
        rows: how many such rows the archive has.
    """
    if not rows:
        return None
    message = f'{rows} rows of the archive have a key that {table} holds already (unique index "{index}")'
    fault = Fault("DataRejected", message, info=(("sqlstate", "23505"), ("constraint", index), ("rows", rows)))
    return DataRejected(message, target=str(table), hint=CONFLICT_HINT, details=[fault])


def wrong_row_count(copy: Copy, rows: int) -> RowCountMismatch | None:
    """Refuse an archive that does not hold as many rows as the request expects."""
    if copy.expected_rows is None or rows == copy.expected_rows:
        return None
    return RowCountMismatch(f"the archive holds {counted(rows, 'row')}, but expected_rows is {copy.expected_rows}")


def replacement_too_small(
    destination: Destination, *, before: int, by: int, in_archive: int
) -> ReplacementTooSmall | None:
    """Refuse to replace a day by far fewer rows than it holds.

    Args:
        destination: says how much less is allowed.
        before: rows of the day that are removed; 0: none are.
        by: rows that come into the day.
        in_archive: rows of the archive.
    """
    if destination.may_replace(before, by):
        return None
    message = (
        f"the day holds {counted(before, 'row')}, and {by} would replace them:"
        f" less than min_rows_ratio {destination.min_rows_ratio:g} allows"
    )
    facts = {"rows_before": before, "rows_in_archive": in_archive}
    return ReplacementTooSmall(message, details=[Fault("ReplacementTooSmall", message, info=tuple(facts.items()))])


def on_error_not_supported(server_version: int) -> OnErrorNotSupported | None:
    """Refuse to leave out rows on a server whose COPY cannot.

    Args:
        server_version: as libpq has it: 170002 is 17.2.
    """
    if server_version >= _ON_ERROR_SINCE:
        return None
    return OnErrorNotSupported(f"on_error needs PostgreSQL 17, this server is {server_version // 10000}")


def rights_missing(missing: Sequence[MissingRight]) -> DatabasePermissionDenied | None:
    """Refuse a role that lacks a right without which the restore fails. The error names each such right."""
    needed = [right for right in missing if right.is_needed]
    return lacks(needed) if needed else None


def rows_outside(request: RestoreRequest, outside: Count) -> RowsOutsideWindow | None:
    """Refuse rows of another day than the archive's. The detail holds `rows`, `min_time` and `max_time`."""
    if outside.rows == 0 or not request.refuses_rows_outside:
        return None
    facts = {
        "rows": outside.rows,
        "min_time": None if outside.first is None else iso(outside.first),
        "max_time": None if outside.last is None else iso(outside.last),
    }
    message = f"the archive holds {outside.describe()}, outside {request.archive.day.isoformat()}"
    return RowsOutsideWindow(message, details=[Fault("RowsOutsideWindow", message, info=tuple(facts.items()))])


def rows_referenced(request: RestoreRequest, referenced: Sequence[ReferringRows]) -> ReferencedRows | None:
    """Refuse a replacement that would change other rows than the day's, unless the request allows it."""
    if not referenced or request.destination.on_referenced == "allow":
        return None
    day = request.archive.day.isoformat()
    return referenced_rows(f"replacing {day} would also change {', '.join(map(str, referenced))}", referenced)


def referenced_rows(
    message: str, referenced: Sequence[ReferringRows], *, sqlstate: str | None = None, hint: str | None = None
) -> ReferencedRows:
    """Return the error about rows that refer to the day's.

    Args:
        message: what is wrong.
        referenced: the rows; the detail lists them.
        sqlstate: the server's, if it refused.
        hint: what to do about it; None: the usual.
    """
    facts: dict[str, Any] = {} if sqlstate is None else {"sqlstate": sqlstate}
    facts["referenced_rows"] = [referenced_row(rows) for rows in referenced]
    return ReferencedRows(message, hint=hint, details=[Fault("ReferencedRows", message, info=tuple(facts.items()))])
