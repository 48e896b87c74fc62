"""The rows' way into a table in binary: encoded in a thread of its own, while the server takes the rows before them.

What may go wrong because of a value or of the file's form ends in a `Fallback`. Then the load is rolled back and the
same file copied as text, so that what is taken, what is refused and the message with its CSV line are PostgreSQL's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import psycopg2
from psycopg2 import sql

from shared.binary.eligibility import NotEncodable, reason_for_text
from shared.csvfile.head import bom_length
from shared.csvfile.options import CsvOptions
from shared.csvfile.prefetch import prefetch
from shared.csvfile.scan import rows_of
from shared.csvfile.source import CopyReader, CsvSource, FirstRow
from shared.errors import DataRejected
from shared.load.plan import Fallback
from shared.model.results import KeptIndex
from shared.postgres.connect import Cursor
from shared.postgres.sqlstate import names_a_line, rejected_row
from shared.process import MIB
from shared.timescale.table import Column, Table

# Tried before anything is written.
_SAMPLE_BYTES = MIB
# How far encoded rows may be ahead of the COPY: a few blocks.
_AHEAD_BYTES = 4 * MIB
_COPY_BLOCK_BYTES = 256 * 1024
# What the encoder counts on. Text in a binary row is in the client's encoding, whatever COPY's own option says, and a
# time without a zone is one of UTC. The server reports both by itself.
_SESSION = {"client_encoding": "UTF8", "TimeZone": "UTC"}
_COPY = sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT binary)")


@dataclass(frozen=True)
class Taken:
    """How many rows PostgreSQL took, and how long it waited for the next ones (`waited_seconds`)."""

    rows: int
    waited_seconds: float


def columns_of_file(names: Sequence[str], table: Table, like: Table) -> tuple[Column, ...]:
    """Say of what type each column of the file becomes.

    Args:
        names: the file's columns under the table's names.
        table: the target.
        like: what the staging table is made like; the target where there is none.

    Returns:
        A column of each name. What neither table has is staged as text.
    """
    known = {column.name: column for column in (*table.columns, *like.columns)}
    return tuple(known.get(name, Column(name)) for name in names)


def reason_for_text_before_copy(
    cursor: Cursor, columns: Sequence[Column], options: CsvOptions, csv: CsvSource, *, csv_bytes: int | None
) -> str | None:
    """Say what speaks against the binary way, as far as it shows before the first row is written.

    Args:
        cursor: of the load's connection. Nothing is asked of the server.
        columns: as `columns_of_file` gives them.
        options: the request's csv options.
        csv: the file, of which the beginning is tried.
        csv_bytes: how long it is, about; None: go binary even where it is too short to gain by it.

    Returns:
        The reason, or None where nothing does.
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
    """COPY the file into a table, where `reason_for_text_before_copy` found none.

    Args:
        cursor: inside the load's transaction.
        table: what is copied into.
        columns: as `columns_of_file` gives them.
        options: the request's csv options.
        csv: the file.
        into: where each column goes, if the table names it otherwise.
        first: the row that was copied before, and is left out.

    Returns:
        What PostgreSQL took: as many rows as the file holds, but for the first one.

    Raises:
        Fallback: the transaction is to be rolled back, and the file to be copied as text.
        DatabaseError: a refusal that no row is to blame for.
        ArchiveError: the archive is not whole. It is known only when the encoder gets there.
    """
    from shared.binary.encoder import BinaryRows  # noqa: PLC0415 - see above

    names = into or [column.name for column in columns]
    statement = _COPY.format(table, sql.SQL(", ").join(map(sql.Identifier, names)))
    rows = BinaryRows(columns, options if first is None else options.without_header)
    with (
        csv.open() as plain,
        prefetch(rows.encode(_blocks(plain, first)), most_bytes=_AHEAD_BYTES, name="encode") as encoded,
    ):
        reader = CopyReader(encoded)
        try:
            cursor.copy_expert(statement, reader, _COPY_BLOCK_BYTES)
        except psycopg2.Error as exc:
            raise _reason(exc, reader.take_error(), table, names) from exc
    in_archive = rows_of(csv.records or 0, has_header=options.has_header) - (0 if first is None else first.rows)
    if not cursor.rowcount == rows.rows == in_archive:
        # A trigger left rows out, or the file's records are counted in another way: the text way is judged by its own.
        reason = f"of {in_archive} rows {rows.rows} were encoded, and {cursor.rowcount} taken"
        raise Fallback(text_because=reason)
    return Taken(rows.rows, reader.waited_seconds)


def _blocks(reader: CopyReader, first: FirstRow | None) -> Iterator[bytes]:
    reader.skip(0 if first is None else first.size)
    return iter(partial(reader.read, MIB), b"")


def _reason(
    exc: psycopg2.Error, cause: BaseException | None, table: sql.Identifier, names: Sequence[str]
) -> BaseException:
    """Find out what ended the COPY: the encoder, the archive, a row, or the server."""
    if isinstance(cause, NotEncodable):
        return Fallback(text_because=str(cause))
    if cause is not None:
        # psycopg2 ended the COPY for it, with an error of its own: "COPY from stdin failed".
        return cause
    error = rejected_row(exc, relation=table.strings[-1], columns=names)
    if isinstance(error, DataRejected) or names_a_line(error):
        # A line here would be the number of a binary row.
        reason = f"the server refused a row with SQLSTATE {exc.pgcode}"
        return Fallback(text_because=reason, keep_because=KeptIndex(None, "RowRefused", "a row was refused"))
    return error
