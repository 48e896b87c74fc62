"""COPY of the CSV in binary. A separate thread encodes rows while the server processes the rows before them.

A failure that a value or the form of the file may have caused raises `Fallback`. The load then rolls back and copies
the same file as text, so PostgreSQL itself decides what to accept and refuse, and its message names the CSV line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from psycopg2 import sql

from shared.binary.eligibility import NotEncodable, reason_for_text
from shared.csvfile.head import bom_length
from shared.csvfile.options import CsvOptions
from shared.csvfile.prefetch import prefetch
from shared.csvfile.source import CopyReader, CsvSource, FirstRow, rows_in
from shared.errors import DatabaseError, DataRejected
from shared.load.copy.text import COPY_BLOCK_BYTES, column_list
from shared.load.plan import Fallback
from shared.model.results import KeptIndex
from shared.postgres.connect import Cursor
from shared.postgres.search_path import by_users_path
from shared.postgres.sqlstate import CopiedRows, is_of_foreign_key, names_a_line, sqlstate_of, translated
from shared.process import MIB
from shared.timescale.table import Column, Table

# Encoded as a test before anything is written.
_SAMPLE_BYTES = MIB
# How far the encoder may run ahead of the COPY: a few blocks.
_AHEAD_BYTES = 4 * MIB
# Settings on which the encoder relies. Text in a binary row is in the client's encoding, whatever COPY's own option
# says, and a time without a zone is UTC. The server reports both settings without being asked.
_SESSION = {"client_encoding": "UTF8", "TimeZone": "UTC"}
_COPY = sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT binary)")


@dataclass(frozen=True)
class Taken:
    """Number of rows that PostgreSQL accepted, and how long it waited for rows (`waited_seconds`)."""

    rows: int
    waited_seconds: float


def columns_of_file(names: Sequence[str | None], table: Table, like: Table) -> tuple[Column, ...]:
    """Return each column of the file with the type that it is copied as.

    Args:
        names: the file's columns under the table's names; None: one that is left out.
        table: the target.
        like: the table that the staging table is modeled on; the target if there is no staging table.

    Returns:
        A column of each name. A column that neither table has, or that is left out, is staged as text.
    """
    known = {column.name: column for column in (*table.columns, *like.columns)}
    return tuple(Column("") if name is None else known.get(name, Column(name)) for name in names)


def reason_for_text_before_copy(
    cursor: Cursor, columns: Sequence[Column], options: CsvOptions, csv: CsvSource, *, csv_bytes: int | None
) -> str | None:
    """Return why the file must be copied as text, as far as is known before the first row is written.

    Args:
        cursor: of the load's connection. It sends no query to the server.
        columns: as `columns_of_file` returns them.
        options: the request's csv options.
        csv: the file. Its beginning is encoded as a test.
        csv_bytes: approximate length of the file; None: use binary even if the file is too short to gain from it.

    Returns:
        The reason, or None if there is none.
    """
    status = cursor.connection.get_parameter_status
    for name, value in _SESSION.items():
        if status(name) != value:
            return f"the session's {name} is not {value}"
    reason = reason_for_text(
        columns,
        options,
        server_encoding=status("server_encoding") or "unknown",
        csv_bytes=csv_bytes,
    )
    if reason is not None:
        return reason
    try:
        from shared.binary.encoder import reason_in_sample  # noqa: PLC0415 - pyarrow is loaded only where it is used
    except ImportError:
        return "pyarrow or pgpq cannot be loaded"
    file = csv.head
    file.seek(bom_length(file, options.dialect))
    sample = file.read(_SAMPLE_BYTES)
    file.seek(0)
    return reason_in_sample(columns, options, sample)


def copy_in_binary(
    cursor: Cursor,
    table: sql.Identifier,
    columns: Sequence[Column],
    options: CsvOptions,
    csv: CsvSource,
    into: Sequence[str] | None = None,
    first: FirstRow | None = None,
) -> Taken:
    """COPY the file into a table in binary. `reason_for_text_before_copy` must have returned None.

    Args:
        cursor: in the load's transaction.
        table: the table to copy into.
        columns: as `columns_of_file` returns them.
        options: the request's csv options.
        csv: the file.
        into: the table's names of the columns, if they differ.
        first: the row that was copied before, and is skipped here.

    Returns:
        What PostgreSQL accepted: all rows of the file except the first one, if that was copied before.

    Raises:
        Fallback: the transaction must be rolled back, and the file copied as text.
        DatabaseError: the server failed for a reason other than a row.
        ArchiveError: the archive is incomplete or damaged. That shows only when the encoder gets there.
    """
    from shared.binary.encoder import BinaryRows  # noqa: PLC0415 - see above

    names = into or [column.name for column in columns]
    statement = _COPY.format(table, column_list(names))
    rows = BinaryRows(columns, options if first is None else options.without_header)
    with (
        csv.open() as plain,
        prefetch(rows.encode(_blocks(plain, first)), most_bytes=_AHEAD_BYTES, name="encode") as encoded,
    ):
        reader = CopyReader(encoded)
        try:
            with translated(CopiedRows(table.strings[-1], names), cause=reader.take_error):
                cursor.copy_expert(by_users_path(statement), reader, COPY_BLOCK_BYTES)
        except NotEncodable as exc:
            raise Fallback(text_because=str(exc)) from exc
        except DatabaseError as exc:
            if is_of_foreign_key(exc) or not (isinstance(exc, DataRejected) or names_a_line(exc)):
                raise
            # A line number here would count binary rows.
            reason = f"the server refused a row with SQLSTATE {sqlstate_of(exc)}"
            keep_because = KeptIndex(None, "RowRefused", "a row was refused")
            raise Fallback(text_because=reason, keep_because=keep_because) from exc
    in_archive = rows_in(csv, options) - (0 if first is None else first.rows)
    if not cursor.rowcount == rows.rows == in_archive:
        # A trigger dropped rows, or the records were counted differently. COPY as text has checks of its own.
        reason = f"of {in_archive} rows, {rows.rows} were encoded and {cursor.rowcount} accepted"
        raise Fallback(text_because=reason)
    return Taken(rows.rows, reader.waited_seconds)


def _blocks(reader: CopyReader, first: FirstRow | None) -> Iterator[bytes]:
    reader.skip(0 if first is None else first.size)
    return iter(partial(reader.read, MIB), b"")
