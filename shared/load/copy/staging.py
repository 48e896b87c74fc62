"""COPY into a staging table, and INSERT from it into the target.

Names are `sql.Identifier`, values are `sql.Literal`: no text of a request becomes SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import psycopg2
from psycopg2 import sql

from shared.csvfile.options import CsvOptions
from shared.csvfile.source import CopyReader
from shared.errors import InternalError
from shared.load.copy.text import collect_rejects, column_list, copy_into
from shared.model.results import Rejected
from shared.postgres.connect import Cursor
from shared.postgres.savepoint import savepoint
from shared.postgres.sqlstate import rejected_row
from shared.postgres.trusted_sql import trusted_sql
from shared.timescale.table import Table


def create_staging(
    staging: sql.Identifier, like: sql.Identifier, *, generated: Sequence[str], added: Mapping[str, str]
) -> sql.Composed:
    """Write the statements that make the staging table.

    It lives in the load's transaction, so that a crash takes it along. It has all that `like` has, but no indexes,
    which a table read once only pays for. A generated column becomes a plain one that may be empty, since an
    exported one stands in the file.

    Args:
        staging: its name.
        like: the table that it is made like.
        generated: columns of `like` that PostgreSQL computes.
        added: columns that `like` lacks, with their type as PostgreSQL's `format_type` writes it: the one text
            here that becomes SQL, and it comes from the catalogue.
    """
    changes = [sql.SQL("ALTER COLUMN {} DROP NOT NULL").format(sql.Identifier(name)) for name in generated]
    for name, type_ in added.items():
        as_sql = trusted_sql(type_)  # the catalogue's own, which format_type has quoted
        changes.append(sql.SQL("ADD COLUMN {} {}").format(sql.Identifier(name), as_sql))
    create = sql.SQL("CREATE UNLOGGED TABLE {} (LIKE {} INCLUDING ALL EXCLUDING INDEXES EXCLUDING GENERATED)")
    statements = [create.format(staging, like)]
    if changes:
        statements.append(sql.SQL("ALTER TABLE {} {}").format(staging, sql.SQL(", ").join(changes)))
    return sql.SQL("; ").join(statements)


def insert_from_staging(
    table: sql.Identifier,
    staging: sql.Identifier,
    columns: Sequence[str],
    *,
    only: str | None = None,
    but: str | None = None,
    skips_conflicts: bool = True,
) -> sql.Composed:
    """Write the INSERT that takes over what the table does not hold yet.

    OVERRIDING SYSTEM VALUE: an archived row keeps the number that an identity column gave it, as COPY would.

    Args:
        table: what is inserted into.
        staging: the staging table.
        columns: of both.
        only: the one row that is taken, by its `ctid`.
        but: the one row that is not.
        skips_conflicts: leave out rows that conflict with others; else they are an error.
    """
    chosen: sql.Composable = sql.SQL("")
    if only is not None:
        chosen = sql.SQL(" WHERE ctid = {}::tid").format(sql.Literal(only))
    elif but is not None:
        chosen = sql.SQL(" WHERE ctid <> {}::tid").format(sql.Literal(but))
    return sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}{}{}").format(
        table,
        column_list(columns),
        column_list(columns),
        staging,
        chosen,
        sql.SQL(" ON CONFLICT DO NOTHING" if skips_conflicts else ""),
    )


def drop_table(table: sql.Identifier) -> sql.Composed:
    """Write the DROP of the staging table."""
    return sql.SQL("DROP TABLE {}").format(table)


@dataclass(frozen=True)
class Rejectable:
    """How many rows may be left out (`most`) of how many that the file holds (`rows`, known once it was read)."""

    rows: Callable[[], int]
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
    reader: CopyReader,
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
        reader: the CSV, from its first byte after a byte order mark.
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
            reader,
            staging.renamed,
            show_row_data=show_row_data,
        )
        if may_reject is None:
            return Copied(copy(), None)
        with collect_rejects(cursor) as rejects:
            rows = copy(skip_errors=True)
    return Copied(rows, rejects.checked(may_reject.rows() - rows, may_reject.most))


@contextmanager
def _restoring(cursor: Cursor) -> Iterator[None]:
    """Set `timescaledb.restoring` for a COPY into a plain table, where the role may (42501 otherwise).

    It must be off again before a hypertable is touched: from 2.23 on, rows that are copied or inserted into a
    hypertable meanwhile land in the root table, where no query finds them. So that is asked, not assumed.
    """
    with savepoint(cursor) as allowed:
        cursor.execute("SET LOCAL timescaledb.restoring = on")
    yield
    if allowed.error is None:
        cursor.execute("SET LOCAL timescaledb.restoring = off")
    cursor.execute("SELECT current_setting('timescaledb.restoring') = 'off'")
    if cursor.fetchone() != (True,):
        raise InternalError("timescaledb.restoring is still on after the staging COPY")


def insert_staged(
    cursor: Cursor,
    target: Table,
    staging: Staging,
    columns: Sequence[str],
    *,
    only: str | None = None,
    but: str | None = None,
    skips_conflicts: bool = True,
    show_row_data: bool,
) -> int:
    """Take staged rows over into the target.

    Args:
        cursor: in the load's transaction.
        target: the table.
        staging: where they are.
        columns: of both.
        only: the one row that is taken, by its `ctid`; None: all.
        but: the one row that is not.
        skips_conflicts: leave out rows in conflict; else they are an error.
        show_row_data: whether an error may hold values of the row.

    Returns:
        How many rows the target took.

    Raises:
        DataRejected: the target refused a row.
        DatabaseError: any other refusal.
    """
    statement = insert_from_staging(
        target.identifier, staging.identifier, columns, only=only, but=but, skips_conflicts=skips_conflicts
    )
    try:
        cursor.execute(statement)
    except psycopg2.Error as exc:
        raise rejected_row(exc, relation=target.name, columns=columns, show_row_data=show_row_data) from exc
    return cursor.rowcount


def first_staged(cursor: Cursor, staging: Staging) -> str | None:
    """Name one staged row by its `ctid`; None where there is none."""
    cursor.execute(sql.SQL("SELECT ctid::text FROM {} LIMIT 1").format(staging.identifier))
    row = cursor.fetchone()
    return None if row is None else row[0]


def drop_staging(cursor: Cursor, staging: Staging) -> None:
    """Drop the staging table."""
    cursor.execute(drop_table(staging.identifier))
