"""COPY of the CSV as text, and the rows that `ON_ERROR ignore` rejects.

Names are `sql.Identifier`, values are `sql.Literal`. No text of a request becomes SQL. PostgreSQL reports rejected rows
as NOTICEs: one for each row, and one with their number.
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
from shared.postgres.libpq import notices_as_text
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


class Rejects:
    """Collects the NOTICEs of a COPY. It replaces psycopg2's own list, which keeps only fifty."""

    def __init__(self) -> None:
        self._lines: list[int] = []
        self._notices = 0
        self._last = 0

    def append(self, notice: str) -> None:
        """Record a NOTICE. In every language, its first number is the line; in the last NOTICE, the number of rows."""
        number = re.search(r"\d+", notice.partition(":")[2])
        self._last = int(number.group()) if number else 0
        self._notices += 1
        if len(self._lines) <= _LINES_KEPT:
            self._lines.append(self._last)

    def checked(self, rows: int, most: int, lines_before: int) -> Rejected:
        """Return the rejected rows.

        Args:
            rows: number of rows of the file that COPY rejected.
            most: number of rows that may be rejected.
            lines_before: lines of the file that precede those that COPY counted.

        Raises:
            TooManyRejectedRows: `rows` is more than `most`.
        """
        # One NOTICE for each row, and one with their number. A column default may raise NOTICEs of its own; then it is
        # unknown which ones are which.
        is_plain = self._notices == rows + 1 and self._last == rows
        lines = tuple(lines_before + line for line in self._lines[: min(rows, _LINES_KEPT)]) if is_plain else ()
        if rows > most:
            message = f"{rows} rows cannot be parsed, and max_rejected_rows is {most}"
            raise TooManyRejectedRows(
                message,
                details=[Fault("TooManyRejectedRows", message, info=(("rows", rows), ("lines", list(lines))))],
            )
        return Rejected(rows, lines)


@contextmanager
def collect_rejects(cursor: Cursor) -> Iterator[Rejects]:
    """Collect the NOTICEs of the COPY in the body.

    Raises:
        OnErrorNotSupported: the server is older than 17.
    """
    connection = cursor.connection
    refuse(on_error_not_supported(connection.server_version))
    cursor.execute("SET LOCAL client_min_messages = notice")
    rejects, kept = Rejects(), connection.notices
    connection.notices = rejects  # type: ignore[assignment] # documented: anything with append()
    try:
        with notices_as_text(connection):
            yield rejects
        # psycopg2 delivers a COPY's notices with the next statement.
        cursor.execute("SET LOCAL client_min_messages TO DEFAULT")
    finally:
        connection.notices = kept


# The size of psycopg2's reads. Below 64 KiB its own overhead becomes noticeable.
COPY_BLOCK_BYTES = 256 * 1024


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
        cursor.copy_expert(statement, reader, COPY_BLOCK_BYTES)
    return cursor.rowcount


def column_list(names: Sequence[str]) -> sql.Composed:
    """Return names separated by commas."""
    return sql.SQL(", ").join(sql.Identifier(name) for name in names)
