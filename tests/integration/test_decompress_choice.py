"""The choice between decompressing a chunk and copying beside its compressed rows."""

from __future__ import annotations

import pytest
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class, whatever psycopg2 calls it

from shared.names import QualifiedName
from shared.timescale.chunks import Chunk, all_chunks
from shared.timescale.compression import compressed_size, should_decompress
from shared.timescale.table import find_table
from tests.integration.fix_database import Database

ROWS = (
    "INSERT INTO {s}.\"t.%\" SELECT t, 'd', repeat(md5(t::text), 100)"
    " FROM generate_series('2025-01-0@'::timestamptz, '2025-01-0@ 23:59', '1 min') t"
)


@pytest.mark.parametrize(
    ("compressed", "new", "day_is_empty", "beside"),
    [
        (None, 1, True, True),
        (None, 10**12, False, True),
        (0, 1, True, False),
        (50, 100, True, False),
        (51, 100, True, True),
        (150, 100, False, False),
        (151, 100, False, True),
        (1, 0, False, True),
    ],
)
def test_many_new_rows_are_worth_a_decompression(
    compressed: int | None, new: int, *, day_is_empty: bool, beside: bool
) -> None:
    assert should_decompress(compressed, new, day_is_empty=day_is_empty) is not beside


@pytest.mark.community
def test_the_size_is_that_of_the_rows_before_their_compression(community_database: Database) -> None:
    database = community_database
    database.hypertable('"t.%"', "time timestamptz NOT NULL, device text, v text")
    # Out of line and as they are, the values lie in the TOAST table.
    database.execute('ALTER TABLE {s}."t.%" ALTER v SET STORAGE EXTERNAL')
    database.execute("ALTER TABLE {s}.\"t.%\" SET (timescaledb.compress, timescaledb.compress_segmentby = 'device')")
    for day in (1, 2, 3):
        database.execute(ROWS.replace("@", str(day)))
    with database.connection.cursor() as cursor:
        chunks = _chunks(cursor, database)
        sizes = [database.value("SELECT pg_table_size(%s)", str(chunk)) for chunk in chunks]
        assert _size_of(cursor, database, chunks[:2]) is None
        for chunk in chunks[:2]:
            database.execute(f"SELECT public.compress_chunk('{chunk}')")
        assert _size_of(cursor, database, chunks[:2]) == pytest.approx(sum(sizes[:2]), rel=0.2)
        assert _size_of(cursor, database, chunks) is None
        assert _size_of(cursor, database, ()) == 0


def _chunks(cursor: Cursor, database: Database) -> tuple[Chunk, ...]:
    table = find_table(cursor, QualifiedName(schema=database.schema, name="t.%"))
    return all_chunks(cursor, table)


def _size_of(cursor: Cursor, database: Database, chunks: tuple[Chunk, ...]) -> int | None:
    table = find_table(cursor, QualifiedName(schema=database.schema, name="t.%"))
    assert table.timescaledb is not None
    return compressed_size(cursor, table.timescaledb, table, chunks)
