"""COPY into a staging table, and INSERT from it into the target.

Names are `sql.Identifier`, values are `sql.Literal`. No text of a request becomes SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from psycopg2 import sql

from shared.csvfile.options import CsvOptions
from shared.csvfile.source import CopyReader, CsvSource, rows_in
from shared.load.copy.text import Rejects, collect_rejects, column_list, copy_into
from shared.model.request import Copy
from shared.model.results import Rejected
from shared.postgres.connect import Cursor
from shared.postgres.search_path import after_catalog, by_users_path
from shared.postgres.sqlstate import CopiedRows, RowErrors, translated
from shared.postgres.trusted_sql import trusted_sql
from shared.timescale.restoring import restoring
from shared.timescale.table import VALUE_REFUSALS, Table


def create_staging(
    staging: sql.Identifier,
    like: sql.Identifier,
    *,
    generated: Sequence[str],
    added: Mapping[str, str],
    kind: Literal["UNLOGGED", "TEMPORARY"] = "UNLOGGED",
) -> sql.Composed:
    """Return the statements that create the staging table.

    It is created in the load's transaction, so a crash removes it. It has everything that `like` has except indexes,
    which a table that is read once does not need. A generated column becomes a plain, nullable one, since the file
    holds its exported values.

    Args:
        staging: its name; in the schema `pg_temp` for a temporary table.
        like: the table that it is modeled on.
        generated: columns of `like` that PostgreSQL computes.
        added: columns that `like` lacks, with their type as PostgreSQL's `format_type` writes it. The type is the
            only text here that becomes SQL, and it comes from the catalogue.
        kind: of table. A temporary one takes the right TEMPORARY on the database, the other CREATE on its schema.
    """
    changes = [sql.SQL("ALTER COLUMN {} DROP NOT NULL").format(sql.Identifier(name)) for name in generated]
    for name, type_ in added.items():
        as_sql = trusted_sql(type_)  # the catalogue's own, which format_type has quoted
        changes.append(sql.SQL("ADD COLUMN {} {}").format(sql.Identifier(name), as_sql))
    create = sql.SQL("CREATE {} TABLE {} (LIKE {} INCLUDING ALL EXCLUDING INDEXES EXCLUDING GENERATED)")
    statements = [create.format(sql.SQL(kind), staging, like)]
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
    """Return the INSERT of staged rows into the table.

    OVERRIDING SYSTEM VALUE keeps the archived numbers of an identity column, as COPY does.

    Args:
        table: the table to insert into.
        staging: the staging table.
        columns: columns of both tables.
        only: the `ctid` of the only row to insert.
        but: the `ctid` of a row to skip.
        skips_conflicts: skip rows in conflict; otherwise they are an error.
    """
    chosen: sql.Composable = sql.SQL("")
    if only is not None:
        chosen = sql.SQL(" WHERE ctid OPERATOR(pg_catalog.=) {}::pg_catalog.tid").format(sql.Literal(only))
    elif but is not None:
        chosen = sql.SQL(" WHERE ctid OPERATOR(pg_catalog.<>) {}::pg_catalog.tid").format(sql.Literal(but))
    return sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}{}{}").format(
        table,
        column_list(columns),
        column_list(columns),
        staging,
        chosen,
        sql.SQL(" ON CONFLICT DO NOTHING" if skips_conflicts else ""),
    )


def drop_table(table: sql.Identifier) -> sql.Composed:
    """Return the DROP of the staging table."""
    return sql.SQL("DROP TABLE {}").format(table)


@dataclass(frozen=True)
class Rejectable:
    """How many rows may be rejected (`most`), and the number of rows in the file (`rows`, known after it was read)."""

    rows: Callable[[], int]
    most: int

    @classmethod
    def of(cls, copy: Copy, csv: CsvSource) -> Rejectable | None:
        """Return what a request allows; None: each row that PostgreSQL cannot parse is an error."""
        most = copy.max_rejected_rows
        return None if most is None else cls(partial(rows_in, csv, copy.csv_options), most)


@dataclass(frozen=True)
class Copied:
    """The number of rows that PostgreSQL accepted, and those that it rejected (None: it was not allowed to)."""

    rows: int
    rejected: Rejected | None


@dataclass(frozen=True)
class Staging:
    """A staging table of the load's transaction. No other session ever sees it; a crash removes it.

    Attributes:
        identifier: its name.
        columns: its column for each column of the file, in the file's order.
        renamed: the generated names of columns, by the name in the file.
        target: the name of the table that finally receives the rows, without its schema.
    """

    identifier: sql.Identifier
    columns: tuple[str, ...]
    renamed: Mapping[str, str]
    target: str


def staging_name(token: str) -> str:
    """Return the name of a load's staging table, and of the temporary tables that stand for one."""
    return f"_restore_{token}"


def make_staging(cursor: Cursor, target: Table, like: Table, file_columns: Sequence[str | None], token: str) -> Staging:
    """Create the staging table in the target's schema.

    Args:
        cursor: in the load's transaction.
        target: the table that finally receives the rows.
        like: the table that the staging table is modeled on.
        file_columns: the file's columns under the table's names; None: one that is left out.
        token: makes the name unique: lower-case hexadecimal digits.
    """
    identifier = sql.Identifier(target.schema, staging_name(token))
    staging, added = plan_staging(identifier, target, like, file_columns)
    generated = [column.name for column in like.columns if column.is_generated]
    cursor.execute(after_catalog(create_staging(identifier, like.identifier, generated=generated, added=added)))
    return staging


def plan_staging(
    identifier: sql.Identifier, target: Table, like: Table, file_columns: Sequence[str | None]
) -> tuple[Staging, dict[str, str]]:
    """Find a place for each column of the file.

    A column that `like` lacks is added, with the target's type if the target has the column, otherwise as text. Such a
    text column gets a generated name, since its name in the file may be longer than PostgreSQL's 63 bytes. So does a
    column that is left out, since the table may have one of its name.

    Args:
        identifier: the staging table's name.
        target: the table that finally receives the rows.
        like: the table that the staging table is modeled on.
        file_columns: the file's columns under the table's names; None: one that is left out.

    Returns:
        The table as it is to be, and the columns that are to be added to those of `like`, with their types as SQL.
    """
    name = identifier.strings[-1]
    of_like = {column.name for column in like.columns}
    types = {column.name: column.type_sql for column in target.columns}
    columns: list[str] = []
    added: dict[str, str] = {}
    renamed: dict[str, str] = {}
    for number, column in enumerate(file_columns):
        if column is not None and column in of_like:
            columns.append(column)
        elif column is not None and column in types:
            columns.append(column)
            added[column] = types[column]
        else:
            columns.append(f"{name}_{number}")
            added[columns[-1]] = "text"
            renamed |= {} if column is None else {column: columns[-1]}
    return Staging(identifier, tuple(columns), renamed, target.name), added


def copy_into_staging(
    cursor: Cursor,
    staging: Staging,
    options: CsvOptions,
    reader: CopyReader,
    *,
    has_timescaledb: bool,
    may_reject: Rejectable | None,
    errors: RowErrors,
) -> Copied:
    """COPY the file into the staging table.

    Args:
        cursor: in the load's transaction.
        staging: the table.
        options: the request's csv options.
        reader: the CSV, from its first byte after a byte order mark.
        has_timescaledb: whether `timescaledb.restoring` exists.
        may_reject: how many rows that PostgreSQL cannot parse may be skipped; None: each is an error.
        errors: what an error of a row shows.

    Raises:
        OnErrorNotSupported: the server is older than 17.
        TooManyRejectedRows: more rows than allowed were rejected.
        DatabaseError: as `copy_into`.
    """
    with restoring(cursor) if has_timescaledb else nullcontext():
        copy = partial(
            copy_into,
            cursor,
            staging.identifier,
            staging.columns,
            options,
            reader,
            staging.renamed,
            errors=replace(errors, shown_as=staging.target),
        )
        if may_reject is None:
            return Copied(copy(), None)
        rejects = Rejects(may_reject.most, errors.lines_before)
        with collect_rejects(cursor, reader, rejects):
            rows = copy(skip_errors=True)
    return Copied(rows, rejects.checked(may_reject.rows() - rows))


def insert_staged(
    cursor: Cursor,
    target: sql.Identifier,
    staging: Staging,
    columns: Sequence[str],
    *,
    only: str | None = None,
    but: str | None = None,
    skips_conflicts: bool = True,
    errors: RowErrors,
) -> int:
    """Insert staged rows into the target.

    Args:
        cursor: in the load's transaction.
        target: the table.
        staging: the staging table.
        columns: columns of both tables.
        only: the `ctid` of the only row to insert; None: all rows.
        but: the `ctid` of a row to skip.
        skips_conflicts: skip rows in conflict; otherwise they are an error.
        errors: what an error of a row shows.

    Returns:
        Number of rows inserted.

    Raises:
        DataRejected: the target refused a row.
        DatabaseError: any other refusal.
    """
    statement = insert_from_staging(
        target, staging.identifier, columns, only=only, but=but, skips_conflicts=skips_conflicts
    )
    with translated(CopiedRows(target.strings[-1], columns, errors, VALUE_REFUSALS, by_insert=True)):
        cursor.execute(by_users_path(statement))
    return cursor.rowcount


def first_staged(cursor: Cursor, staging: Staging) -> str | None:
    """Return the `ctid` of a staged row; None if there is none."""
    query = sql.SQL("SELECT ctid::pg_catalog.text FROM {} LIMIT 1").format(staging.identifier)
    cursor.execute(by_users_path(query))
    row = cursor.fetchone()
    return None if row is None else row[0]


def empty_staging(cursor: Cursor, staging: Staging) -> None:
    """Remove all rows from the staging table."""
    cursor.execute(sql.SQL("TRUNCATE TABLE {}").format(staging.identifier))


def drop_staging(cursor: Cursor, staging: Staging) -> None:
    """Drop the staging table."""
    cursor.execute(by_users_path(drop_table(staging.identifier)))
