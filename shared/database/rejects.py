"""Which rows a COPY with ON_ERROR left out. PostgreSQL says it in NOTICEs: one for each row, and one with the sum."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from shared.database.connection import Connection, Cursor
from shared.errors import Fault, OnErrorNotSupported, TooManyRejectedRows

_FIRST_VERSION = 170000
_LINES_KEPT = 100


@dataclass(frozen=True)
class Rejected:
    """Rows that were left out.

    Attributes:
        rows: how many.
        lines: the CSV lines of the first hundred, as PostgreSQL counts lines.
    """

    rows: int
    lines: tuple[int, ...]


class Rejects:
    """Takes the NOTICEs of one COPY. psycopg2 appends them here in place of its own list, which keeps only fifty."""

    def __init__(self) -> None:
        self._lines: list[int] = []
        self._notices = 0
        self._last = 0

    def append(self, notice: str) -> None:
        """Take one NOTICE: its first number is the line, in every language, and in the last NOTICE the sum."""
        number = re.search(r"\d+", notice.partition(":")[2])
        self._last = int(number.group()) if number else 0
        self._notices += 1
        if len(self._lines) <= _LINES_KEPT:
            self._lines.append(self._last)

    def checked(self, rows: int, most: int) -> Rejected:
        """Return what was left out.

        Args:
            rows: how many rows of the file COPY did not take.
            most: how many may be left out.

        Raises:
            TooManyRejectedRows: it is more than `most`.
        """
        # Each of them and their sum; a column default that raises NOTICEs of its own hides which are which.
        is_plain = self._notices == rows + 1 and self._last == rows
        lines = tuple(self._lines[: min(rows, _LINES_KEPT)]) if is_plain else ()
        if rows > most:
            message = f"{rows} rows cannot be parsed, and max_rejected_rows is {most}"
            raise TooManyRejectedRows(
                message,
                details=[Fault("TooManyRejectedRows", message, info=(("rows", rows), ("lines", list(lines))))],
            )
        return Rejected(rows, lines)


def is_supported(connection: Connection) -> bool:
    """Whether the server's COPY knows ON_ERROR and names the rows: from PostgreSQL 17 on."""
    return connection.server_version >= _FIRST_VERSION


@contextmanager
def collect_rejects(cursor: Cursor) -> Iterator[Rejects]:
    """Collect the NOTICEs of the body's COPY.

    Raises:
        OnErrorNotSupported: the server is older than 17.
    """
    connection = cursor.connection
    if not is_supported(connection):
        raise OnErrorNotSupported(f"on_error takes PostgreSQL 17, this server is {connection.server_version // 10000}")
    cursor.execute("SET LOCAL client_min_messages = notice")
    rejects, kept = Rejects(), connection.notices
    connection.notices = rejects  # type: ignore[assignment] # documented: anything with append()
    try:
        yield rejects
        # psycopg2 hands a COPY's notices out with the next statement.
        cursor.execute("SET LOCAL client_min_messages TO DEFAULT")
    finally:
        connection.notices = kept
