"""COPY of the CSV as text, and the rows that `ON_ERROR ignore` rejects.

Names are `sql.Identifier`, values are `sql.Literal`. No text of a request becomes SQL. PostgreSQL reports rejected rows
as NOTICEs: one for each row, and one with their number. They are counted as they come, and not kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from psycopg2 import sql

from shared.csvfile.options import CsvOptions
from shared.csvfile.source import CopyReader
from shared.errors import Fault, TooManyRejectedRows
from shared.load.refusals import on_error_not_supported, refuse
from shared.model.results import Rejected
from shared.postgres.connect import Cursor
from shared.postgres.libpq import Said, received_notices
from shared.postgres.local_settings import local_settings
from shared.postgres.search_path import by_users_path
from shared.postgres.sqlstate import CopiedRows, RowErrors, translated
from shared.timescale.table import VALUE_REFUSALS


def copy_statement(
    table: sql.Identifier,
    columns: Sequence[str],
    options: CsvOptions,
    renamed: Mapping[str, str] | None = None,
    *,
    skip_errors: bool = False,
) -> sql.Composed:
    """Return `COPY table (columns) FROM STDIN WITH (FORMAT csv, ...)`.

    PostgreSQL's own `HEADER match` is not used: it would compare names before `column_map` and fail on a byte order
    mark. The header was compared before; COPY only skips it.

    Args:
        table: the table to copy into.
        columns: the file's columns in order, under the table's names.
        options: the request's csv options.
        renamed: the table's names of columns, if `force_null` and `force_not_null` use other names.
        skip_errors: skip rows that cannot be parsed, with a NOTICE for each (PostgreSQL 17 and newer). Never use it on
            a hypertable, which would load such rows with other values (measured on 2.29.2 and 2.31.0).
    """
    names = renamed or {}
    given: list[sql.Composable] = [
        sql.SQL("FORMAT csv"),
        sql.SQL("HEADER true" if options.has_header else "HEADER false"),
        sql.SQL("DELIMITER {}").format(sql.Literal(options.delimiter)),
        sql.SQL("NULL {}").format(sql.Literal(options.null)),
        sql.SQL("QUOTE {}").format(sql.Literal(options.quote)),
        sql.SQL("ESCAPE {}").format(sql.Literal(options.escape or options.quote)),
        sql.SQL("ENCODING {}").format(sql.Literal(options.encoding)),
    ]
    force_null, force_not_null = sql.SQL("FORCE_NULL ({})"), sql.SQL("FORCE_NOT_NULL ({})")
    for option, chosen in ((force_null, options.force_null), (force_not_null, options.force_not_null)):
        forced = columns if chosen == ("*",) else [names.get(name, name) for name in chosen]
        if forced:
            given.append(option.format(column_list(forced)))
    if options.default is not None:
        given.append(sql.SQL("DEFAULT {}").format(sql.Literal(options.default)))
    if skip_errors:
        given.append(sql.SQL("ON_ERROR ignore, LOG_VERBOSITY verbose"))
    return sql.SQL("COPY {} ({}) FROM STDIN WITH ({})").format(
        table,
        column_list(columns),
        sql.SQL(", ").join(given),
    )


_LINES_KEPT = 100


# The server's source file that says of each row that COPY skips it (PostgreSQL 17 and 18).
_SKIPS_ROWS = "copyfromparse.c"


class Rejects:
    """Counts the rows that COPY skips, by its NOTICEs, and keeps the first lines.

    Args:
        most: number of rows that may be rejected.
        lines_before: lines of the file that precede those that COPY counts.
    """

    def __init__(self, most: int, lines_before: int) -> None:
        self._most = most
        self._lines_before = lines_before
        self._lines: list[int] = []
        self._rows = 0

    def receive(self, said: Said) -> None:
        """Take a NOTICE. A column default may raise others. In every language, its first number is the line."""
        if said.source_file != _SKIPS_ROWS:
            return
        self._rows += 1
        number = re.search(r"\d+", said.message) if self._rows <= _LINES_KEPT else None
        if number is not None:
            self._lines.append(self._lines_before + int(number.group()))

    def check(self) -> None:
        """Raise TooManyRejectedRows as soon as more rows than allowed are known to be rejected."""
        if self._rows > self._most:
            raise TooManyRejectedRows(self._too_many)

    @property
    def _too_many(self) -> str:
        return f"more rows cannot be parsed than the {self._most} that max_rejected_rows allows"

    def refused(self) -> TooManyRejectedRows:
        """Return the error with the first lines, after the COPY has ended."""
        fault = Fault("TooManyRejectedRows", self._too_many, info=(("lines", list(self._lines)),))
        return TooManyRejectedRows(self._too_many, details=[fault])

    def checked(self, rows: int) -> Rejected:
        """Return the rejected rows.

        Args:
            rows: number of rows of the file that COPY rejected.

        Raises:
            TooManyRejectedRows: they are more than allowed.
        """
        if rows > self._most:
            raise self.refused()
        # Another number of NOTICEs is another server's: then it is unknown which lines they name.
        return Rejected(rows, tuple(self._lines) if self._rows == rows else ())


@contextmanager
def collect_rejects(cursor: Cursor, reader: CopyReader, rejects: Rejects) -> Iterator[None]:
    """Collect the NOTICEs of the COPY in the body, and end it when too many rows are rejected.

    Raises:
        OnErrorNotSupported: the server is older than 17.
        TooManyRejectedRows: more rows than allowed are rejected.
    """
    connection = cursor.connection
    refuse(on_error_not_supported(connection.server_version))
    with local_settings(cursor, {"client_min_messages": "notice"}), received_notices(connection, rejects.receive):
        reader.check = rejects.check
        try:
            yield
        except TooManyRejectedRows:
            # The server has gone through what it had been sent.
            raise rejects.refused() from None


# The size of psycopg2's reads. A socket that is ready takes as much at once. While a send waits, libpq gathers in
# memory what the server says, which may be a hundred times as much.
COPY_BLOCK_BYTES = 16 * 1024


def copy_into(
    cursor: Cursor,
    table: sql.Identifier,
    columns: Sequence[str],
    options: CsvOptions,
    reader: CopyReader,
    renamed: Mapping[str, str] | None = None,
    *,
    skip_errors: bool = False,
    errors: RowErrors = RowErrors(),  # noqa: B008 - frozen
) -> int:
    """COPY the file into a table.

    Args:
        cursor: in the load's transaction.
        table: the table to copy into.
        columns: the file's columns in order, under the table's names.
        options: the request's csv options.
        reader: the CSV, from its first byte after a byte order mark.
        renamed: the table's names of columns, if the options use other names.
        skip_errors: skip rows that cannot be parsed, with a NOTICE for each.
        errors: what an error of a row shows.

    Returns:
        Number of rows that PostgreSQL accepted.

    Raises:
        DataRejected: PostgreSQL refused a row; the detail holds the CSV line and the column.
        CsvOptionRejected: the server does not support an option.
        DatabaseError: any other refusal.
        ArchiveError: the archive is incomplete or damaged. That shows only when the reader gets there.
    """
    statement = copy_statement(table, columns, options, renamed, skip_errors=skip_errors)
    rows = CopiedRows(table.strings[-1], columns, errors, VALUE_REFUSALS)
    with translated(rows, cause=reader.take_error):
        cursor.copy_expert(by_users_path(statement), reader, COPY_BLOCK_BYTES)
    return cursor.rowcount


def column_list(names: Sequence[str]) -> sql.Composed:
    """Return names separated by commas."""
    return sql.SQL(", ").join(sql.Identifier(name) for name in names)
