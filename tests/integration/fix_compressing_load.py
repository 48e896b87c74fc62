"""A hypertable with hostile names, and a transaction that makes its chunk and compresses it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

import pytest

from shared.model.results import ChunkStep
from shared.timescale.compression import compress_new_chunks
from tests.integration.fix_database import Database
from tests.integration.fix_hypertable import Hypertable

NAME = 'odd "t" 50%'
T = '{s}."odd ""t"" 50%"'
COLUMNS = 'time timestamptz NOT NULL, "Dev 50%" text, v int, w float8'
ROWS = (
    "INSERT INTO {t} SELECT '2025-01-01Z'::timestamptz + i * interval '1 second', 'd' || k, i, i / 7.0 + k * 5000"
    " FROM generate_series(1, 2500) i, generate_series(1, 2) k"
)


@dataclass
class CompressingLoad(Hypertable):
    """A transaction that makes the day's chunk, and the statements that put its indexes back."""

    table_name = NAME
    definitions: list[str] = field(default_factory=list)
    was_compressed: bool | None = None

    def execute(self, statement: str) -> None:
        """Run SQL; `{s}` in it is the schema, `{t}` the table."""
        super().execute(statement.replace("{t}", T))

    def drop_indexes(self) -> None:
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

    def rebuild(self) -> None:
        self.was_compressed = any(chunk.is_compressed for chunk in self.chunks)
        for definition in self.definitions:
            self.cursor.execute(definition)

    def compress(self) -> list[ChunkStep]:
        table = self.table
        assert table.timescaledb is not None
        return compress_new_chunks(self.cursor, table.timescaledb, table, self.chunks, self.rebuild)

    def day(self, *statements: str, prepare: Callable[[], None] | None = None) -> list[tuple[str, str]]:
        """Load the day into a chunk without indexes and compress it; say what the steps were."""
        with self.transaction("COMMIT"):
            for statement in statements:
                self.execute(statement)
            (prepare or self.drop_indexes)()
            steps = self.compress()
        return [(step.action, step.outcome) for step in steps]


@pytest.fixture
def compressing_load(community_database: Database) -> Iterator[CompressingLoad]:
    community_database.hypertable('"odd ""t"" 50%"', COLUMNS)
    with closing(community_database.connection.cursor()) as cursor:
        found = CompressingLoad(community_database, cursor)
        found.execute(
            "ALTER TABLE {t} SET (timescaledb.compress, timescaledb.compress_orderby = 'time DESC',"
            """ timescaledb.compress_segmentby = '"Dev 50%"')"""
        )
        yield found
