"""A hypertable with hostile names, and a transaction that makes its chunk and compresses it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import pytest
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class, whatever psycopg2 calls it

from shared.database.chunk_catalog import Chunk, all_chunks
from shared.database.compress_fresh import compress_fresh
from shared.database.hypertable import Table, find_table
from shared.database.steps import ChunkStep
from shared.names import QualifiedName
from tests.integration.fix_database import Database

NAME = 'odd "t" 50%'
T = '{s}."odd ""t"" 50%"'
COLUMNS = 'time timestamptz NOT NULL, "Dev 50%" text, v int, w float8'
ROWS = (
    "INSERT INTO {t} SELECT '2025-01-01Z'::timestamptz + i * interval '1 second', 'd' || k, i, i / 7.0 + k * 5000"
    " FROM generate_series(1, 2500) i, generate_series(1, 2) k"
)


@dataclass
class Load:
    """A transaction that makes the day's chunk, and the statements that put its indexes back."""

    database: Database
    cursor: Cursor
    definitions: list[str] = field(default_factory=list)
    was_compressed: bool | None = None

    def execute(self, statement: str) -> None:
        self.cursor.execute(self.database._in_schema(statement.replace("{t}", T)))

    def value(self, statement: str) -> object:
        self.execute(statement)
        ((value,),) = self.cursor.fetchall()
        return value

    @property
    def table(self) -> Table:
        return find_table(self.cursor, QualifiedName(schema=self.database.schema, name=NAME))

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        return all_chunks(self.cursor, self.table)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        try:
            yield
        except BaseException:
            self.cursor.execute("ROLLBACK")
            raise
        self.cursor.execute("COMMIT")

    def set_aside(self) -> None:
        """Drop the indexes of the only chunk."""
        (chunk,) = self.chunks
        self.cursor.execute(
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
            " WHERE indrelid = %s::regclass",
            (f"{chunk.schema}.{chunk.name}",),
        )
        for name, definition in self.cursor.fetchall():
            self.cursor.execute(f"DROP INDEX {name}")
            self.definitions.append(definition)

    def put_back(self) -> None:
        self.was_compressed = any(chunk.is_compressed for chunk in self.chunks)
        for definition in self.definitions:
            self.cursor.execute(definition)

    def compress(self) -> list[ChunkStep]:
        table = self.table
        assert table.timescaledb is not None
        return compress_fresh(self.cursor, table.timescaledb, table, self.chunks, self.put_back)

    def day(self, *statements: str, prepare: Callable[[], None] | None = None) -> list[tuple[str, str]]:
        """Load the day into a chunk without indexes and compress it; say what the steps were."""
        with self.transaction():
            for statement in statements:
                self.execute(statement)
            (prepare or self.set_aside)()
            steps = self.compress()
        return [(step.action, step.outcome) for step in steps]


@pytest.fixture
def load(community_database: Database) -> Iterator[Load]:
    community_database.hypertable('"odd ""t"" 50%"', COLUMNS)
    with closing(community_database.connection.cursor()) as cursor:
        found = Load(community_database, cursor)
        found.execute(
            "ALTER TABLE {t} SET (timescaledb.compress, timescaledb.compress_orderby = 'time DESC',"
            """ timescaledb.compress_segmentby = '"Dev 50%"')"""
        )
        yield found
