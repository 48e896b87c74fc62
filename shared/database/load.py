"""Runs the load inside its transaction: COPY into the target, or by way of a staging table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import IO

import psycopg2
from psycopg2 import sql

from shared.csv_options import CsvOptions
from shared.database.connection import DEAD_CLIENT_SETTINGS, Cursor
from shared.database.copy_sql import copy_statement, create_staging, drop_table, insert_from_staging
from shared.database.hypertable import Table
from shared.database.optional import optional_step
from shared.database.rejects import Rejected, collect_rejects
from shared.database.sqlstate import rejected_row
from shared.errors import InternalError

# psycopg2 asks the file for this much at a time; below 64 KiB its own work begins to show.
_COPY_BLOCK_BYTES = 256 * 1024


def begin_session(
    cursor: Cursor, *, synchronous_commit_off: bool, lock_timeout_seconds: int, statement_timeout_seconds: int
) -> None:
    """Make the load's transaction the same wherever it runs. Takes no snapshot.

    A timestamp without an offset is read as UTC, since the archive's day is the UTC day. And the server is
    to notice that this side is gone while it is at work as well: without the check it would go on with a long statement
    or a wait for a lock, and keep its own locks, until it has something to send (PostgreSQL 14 and newer).
    """
    settings = {
        "timezone": "UTC",
        "lock_timeout": f"{lock_timeout_seconds}s",
        "statement_timeout": f"{statement_timeout_seconds}s",
        "idle_in_transaction_session_timeout": f"{statement_timeout_seconds}s",
    } | DEAD_CLIENT_SETTINGS
    if synchronous_commit_off:
        settings["synchronous_commit"] = "off"
    # SET takes no snapshot: the chunks are locked before the first query fixes it.
    for name, value in settings.items():
        cursor.execute(sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(name), sql.Literal(value)))
    with optional_step(cursor):
        cursor.execute("SET LOCAL client_connection_check_interval = '2s'")


def make_commit_durable(cursor: Cursor) -> None:
    """Let the COMMIT wait for the disk, so that an answered 200 survives a crash of the server.

    The session's own value is put back, since `remote_apply` and its like wait for replicas too. Where that
    value is "off", the COMMIT waits for the local disk and the synchronous replicas all the same.
    """
    cursor.execute("SET LOCAL synchronous_commit TO DEFAULT")
    cursor.execute("SELECT current_setting('synchronous_commit') = 'off'")
    row = cursor.fetchone()
    if row is not None and row[0]:
        cursor.execute("SET LOCAL synchronous_commit = on")


def copy_into(
    cursor: Cursor,
    table: sql.Identifier,
    columns: Sequence[str],
    options: CsvOptions,
    file: IO[bytes],
    renamed: Mapping[str, str] | None = None,
    *,
    skip_errors: bool = False,
    show_row_data: bool = False,
) -> int:
    """COPY the file into a table.

    Args:
        cursor: inside the load's transaction.
        table: what is copied into.
        columns: the file's columns under the table's names, in the file's order.
        options: the request's csv options.
        file: the CSV, positioned at its first byte after a byte order mark.
        renamed: for columns that the options name otherwise than the table does.
        skip_errors: leave out rows that cannot be parsed, with a NOTICE for each.
        show_row_data: whether an error may hold values of the row.

    Returns:
        How many rows PostgreSQL took.

    Raises:
        DataRejected: PostgreSQL refused a row; the detail holds the CSV line and the column.
        CsvOptionRejected: this server does not know an option.
        DatabaseError: any other refusal.
    """
    try:
        statement = copy_statement(table, columns, options, renamed, skip_errors=skip_errors)
        cursor.copy_expert(statement, _ReadOnly(file), _COPY_BLOCK_BYTES)
    except psycopg2.Error as exc:
        raise rejected_row(exc, relation=table.strings[-1], columns=columns, show_row_data=show_row_data) from exc
    return cursor.rowcount


class _ReadOnly:
    """A file that cannot be written: a server that answers COPY FROM as if it were COPY TO would fill it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read = file.read
        self.readline = file.readline  # psycopg2 looks for both


@dataclass(frozen=True)
class Rejectable:
    """How many rows may be left out (`most`) of how many that the file holds (`records`)."""

    records: int
    most: int


@dataclass(frozen=True)
class Copied:
    """How many rows PostgreSQL took, and which it left out (None: it was not allowed to)."""

    rows: int
    rejected: Rejected | None


@dataclass(frozen=True)
class Staging:
    """A staging table of the load's transaction. Nobody else ever sees it; a crash takes it along.

    Attributes:
        identifier: its name.
        columns: where each column of the file goes, in the file's order.
        renamed: those that are staged under a name of ours, by their name in the file.
    """

    identifier: sql.Identifier
    columns: tuple[str, ...]
    renamed: Mapping[str, str]


def make_staging(cursor: Cursor, target: Table, like: Table, file_columns: Sequence[str], token: str) -> Staging:
    """Create the staging table in the target's schema.

    What `like` lacks is added: with the target's type where the target has the column, as text otherwise. Such a
    text column has a name of ours, since the file's may be longer than PostgreSQL's 63 bytes.

    Args:
        cursor: inside the load's transaction.
        target: where the rows go in the end.
        like: what the staging table is made like.
        file_columns: the file's columns under the table's names.
        token: makes the name unique: lower-case hexadecimal digits.
    """
    name = f"_restore_{token}"
    of_like = {column.name for column in like.columns}
    types = {column.name: column.type_sql for column in target.columns}
    missing = [column for column in file_columns if column not in of_like]
    renamed = {column: f"{name}_{number}" for number, column in enumerate(missing) if column not in types}
    added = {renamed.get(column, column): types.get(column, "text") for column in missing}
    identifier = sql.Identifier(target.schema, name)
    generated = [column.name for column in like.columns if column.is_generated]
    cursor.execute(create_staging(identifier, like.identifier, generated=generated, added=added))
    return Staging(identifier, tuple(renamed.get(column, column) for column in file_columns), renamed)


def copy_into_staging(
    cursor: Cursor,
    staging: Staging,
    options: CsvOptions,
    file: IO[bytes],
    *,
    has_timescaledb: bool,
    may_reject: Rejectable | None,
    show_row_data: bool,
) -> Copied:
    """COPY the file into the staging table.

    Args:
        cursor: in the load's transaction.
        staging: the table.
        options: the request's csv options.
        file: the CSV, positioned at its first byte after a byte order mark.
        has_timescaledb: whether `timescaledb.restoring` exists.
        may_reject: which rows that PostgreSQL cannot parse may be left out; None: every one is an error.
        show_row_data: whether an error may hold values of the row.

    Raises:
        OnErrorNotSupported: the server is older than 17.
        TooManyRejectedRows: more rows than that were left out.
        DatabaseError: as `copy_into`.
    """
    with _restoring(cursor) if has_timescaledb else nullcontext():
        copy = partial(
            copy_into,
            cursor,
            staging.identifier,
            staging.columns,
            options,
            file,
            staging.renamed,
            show_row_data=show_row_data,
        )
        if may_reject is None:
            return Copied(copy(), None)
        with collect_rejects(cursor) as rejects:
            rows = copy(skip_errors=True)
    return Copied(rows, rejects.checked(may_reject.records - rows, may_reject.most))


@contextmanager
def _restoring(cursor: Cursor) -> Iterator[None]:
    """Set `timescaledb.restoring` for a COPY into a plain table, where the role may (42501 otherwise).

    It must be off again before a hypertable is touched: from 2.23 on, rows that are copied or inserted into a
    hypertable meanwhile land in the root table, where no query finds them. So that is asked, not assumed.
    """
    with optional_step(cursor) as allowed:
        cursor.execute("SET LOCAL timescaledb.restoring = on")
    yield
    if allowed.error is None:
        cursor.execute("SET LOCAL timescaledb.restoring = off")
    cursor.execute("SELECT current_setting('timescaledb.restoring') = 'off'")
    if cursor.fetchone() != (True,):
        raise InternalError("timescaledb.restoring is still on after the staging COPY")


def insert_staged(
    cursor: Cursor, target: Table, staging: Staging, columns: Sequence[str], *, show_row_data: bool
) -> int:
    """Take the staged rows over into the target, skip those in conflict, and drop the staging table.

    Returns:
        How many rows the target took.
    """
    try:
        cursor.execute(insert_from_staging(target.identifier, staging.identifier, columns))
    except psycopg2.Error as exc:
        raise rejected_row(exc, relation=target.name, columns=columns, show_row_data=show_row_data) from exc
    inserted = cursor.rowcount
    cursor.execute(drop_table(staging.identifier))
    return inserted
