"""Decides whether a line that is skipped unread is a row, which would be lost silently, or a header."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from psycopg2 import sql

from shared.model.request import RestoreRequest
from shared.model.window import units_per_second_of
from shared.postgres.connect import Cursor
from shared.postgres.savepoint import attempt_in_savepoint
from shared.timescale.table import Column, Table

# timestamptz, timestamp, date and uuid, by their numbers in the catalogue: no name of a column is read as one of these.
# A number could be one, so an integer counts only if it is a time of the day.
_TELLING_TYPES = {
    1184: sql.SQL("timestamp with time zone"),
    1114: sql.SQL("timestamp without time zone"),
    1082: sql.SQL("date"),
    2950: sql.SQL("uuid"),
}


def is_row(
    cursor: Cursor, request: RestoreRequest, table: Table, names: Sequence[str | None], fields: Sequence[str]
) -> bool:
    """Whether a line that is to be skipped is a row of the table.

    It is a row if it has a field for each column, and the fields of times and UUIDs can be read as such. If the table
    has no such column, this cannot be known, and the answer is no.

    Args:
        cursor: in any transaction.
        request: what is restored, and how.
        table: the target.
        names: the file's columns under the table's names; None: one that is left out.
        fields: of the line.
    """
    if len(fields) != len(names):
        return False
    known = {column.name: column for column in table.columns}
    null = request.copy_.csv_options.null
    values = [
        (known[name], field.strip())
        for name, field in zip(names, fields, strict=True)
        if name is not None and name in known and field != null
    ]
    found = [
        _is_near_day(request, value)
        for column, value in values
        if column.name == table.time_column and table.time_kind == "integer"
    ]
    telling = [(column, value) for column, value in values if column.type_oid in _TELLING_TYPES]
    if telling:
        found.append(_is_read(cursor, telling))
    return bool(found) and all(found)


def _is_near_day(request: RestoreRequest, value: str) -> bool:
    with suppress(ValueError):
        return units_per_second_of([int(value)], request.archive.day) is not None
    return False


def _is_read(cursor: Cursor, values: Sequence[tuple[Column, str]]) -> bool:
    """Ask the server whether it reads all of these values. Words such as `epoch` and `now` are times too."""
    if not all(any(letter.isdigit() for letter in value) for _, value in values):
        return False
    casts = [
        sql.SQL("CAST({} AS {}) IS NOT NULL").format(sql.Literal(value), _TELLING_TYPES[column.type_oid])
        for column, value in values
    ]
    query = sql.SQL("SELECT {}").format(sql.SQL(" AND ").join(casts))
    _, error = attempt_in_savepoint(cursor, "read a skipped line", partial(_execute, query=query))
    return error is None


def _execute(cursor: Cursor, query: sql.Composed) -> None:
    cursor.execute(query)
