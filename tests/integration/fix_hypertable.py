"""A hypertable of a test's schema, seen over one cursor: what the functions of a load are called with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class, whatever psycopg2 calls it

from shared.names import QualifiedName
from shared.timescale.chunks import Chunk, all_chunks
from shared.timescale.table import Table, find_table
from tests.integration.fix_database import Database


@dataclass
class Hypertable:
    """A hypertable, and a cursor in autocommit."""

    table_name: ClassVar[str]
    database: Database
    cursor: Cursor

    @contextmanager
    def transaction(self, end: str = "ROLLBACK") -> Iterator[None]:
        """Open a transaction as the load does."""
        self.cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        try:
            yield
        except BaseException:
            self.cursor.execute("ROLLBACK")
            raise
        self.cursor.execute(end)

    def execute(self, statement: str) -> None:
        """Run SQL; `{s}` in it is the schema."""
        self.cursor.execute(self.database._in_schema(statement))

    def value(self, statement: str) -> object:
        """Run a query of one value."""
        self.execute(statement)
        ((value,),) = self.cursor.fetchall()
        return value

    @property
    def table(self) -> Table:
        return find_table(self.cursor, QualifiedName(schema=self.database.schema, name=self.table_name))

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        return all_chunks(self.cursor, self.table)
