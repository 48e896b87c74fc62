"""The two ways of a file into a server: as it is, and in binary."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class, whatever psycopg2 calls it
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from shared.binary.eligibility import NotEncodable, reason_for_text
from shared.binary.encoder import BinaryRows
from shared.csvfile.options import CsvOptions
from shared.load.copy.text import copy_statement
from shared.timescale.table import Column
from tests.binary_values import column_of


def columns_of(types: Sequence[str]) -> list[Column]:
    """Make a column of each type: c0, c1, and so on."""
    return [column_of(type_, f"c{number}") for number, type_ in enumerate(types)]


def in_binary(columns: Sequence[Column], options: CsvOptions, blocks: Sequence[bytes]) -> tuple[bytes, int] | None:
    """Return a file in binary and how many rows it has, or None where that is not exact."""
    rows = BinaryRows(columns, options)
    try:
        return b"".join(rows.encode(blocks)), rows.rows
    except NotEncodable:
        return None


class BothWays:
    """Loads files both ways into temporary tables, and compares these."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor

    def load(self, columns: Sequence[Column], options: CsvOptions, blocks: Sequence[bytes]) -> str:
        """Load a file both ways, and compare. Say whether it went binary, and if not, who refused it."""
        if reason_for_text(columns, options, server_encoding="UTF8") is not None:
            return "not possible"
        encoded = in_binary(columns, options, blocks)
        if encoded is None:
            return "not exact"
        binary, rows = encoded
        by_binary = self._make("by_binary", columns)
        count = self._copy(sql.SQL("COPY {} FROM STDIN (FORMAT binary)").format(by_binary), binary)
        if count is None:
            # The caller goes the text way then, and the message is the text way's.
            return "refused"
        by_text = self._make("by_text", columns)
        names = [column.name for column in columns]
        assert self._copy(copy_statement(by_text, names, options), b"".join(blocks)) == count == rows
        # EXCEPT takes 0 and -0, 1.0 and 1.00 and all NaN for the same. These bytes do not.
        assert self._stored(by_text) == self._stored(by_binary)
        if all(column.type_sql != "json" for column in columns):  # which has no equality
            self.cursor.execute("TABLE pg_temp.by_text EXCEPT ALL TABLE pg_temp.by_binary")
            assert self.cursor.fetchall() == []
            self.cursor.execute("TABLE pg_temp.by_binary EXCEPT ALL TABLE pg_temp.by_text")
            assert self.cursor.fetchall() == []
        return "binary"

    def _make(self, name: str, columns: Sequence[Column]) -> sql.Identifier:
        table = sql.Identifier("pg_temp", name)
        defined = [sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.type_sql)) for column in columns]
        self.cursor.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))
        self.cursor.execute(sql.SQL("CREATE TABLE {} ({})").format(table, sql.SQL(", ").join(defined)))
        return table

    def _copy(self, statement: sql.Composable, data: bytes) -> int | None:
        """COPY, and say how many rows there were; None where the server refuses the data."""
        try:
            self.cursor.copy_expert(statement, io.BytesIO(data))
        except psycopg2.DataError:
            return None
        return self.cursor.rowcount

    def _stored(self, table: sql.Identifier) -> bytes:
        """Return all rows as the server has them. Not in the file's order: both ways fill pages at another pace."""
        out = io.BytesIO()
        ordered = sql.SQL("COPY (SELECT * FROM {} t ORDER BY t::text) TO STDOUT (FORMAT binary)").format(table)
        self.cursor.copy_expert(ordered, out)
        return out.getvalue()


@pytest.fixture(scope="module")
def both_ways(server_connection: Connection) -> Iterator[BothWays]:
    with server_connection.cursor() as cursor:
        cursor.execute("SET client_encoding = 'UTF8'; SET timezone = 'UTC'")
        yield BothWays(cursor)
