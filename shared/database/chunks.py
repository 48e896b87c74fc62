"""Chunk compression around the load: decompress inside its transaction, compress again after it. Community edition.

`decompress_chunk` and `compress_chunk` raise on a chunk that is in that state already before 2.14, so their
`if_` arguments are always given. A chunk that could not be decompressed takes the rows all the same (from 2.11 on
they wait in its uncompressed part), which is why these steps may fail without failing the restore.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg2 import sql

from shared.database.chunk_catalog import Chunk
from shared.database.connection import Connection, Cursor, optional_step, step_after_commit
from shared.database.hypertable import TimescaleDB
from shared.database.steps import ChunkStep


def decompress(cursor: Cursor, timescaledb: TimescaleDB, chunks: Sequence[Chunk]) -> list[ChunkStep]:
    """Decompress chunks in the load's transaction, each in a savepoint of its own.

    Each takes ACCESS EXCLUSIVE on its chunk until the transaction ends.
    """
    statement = sql.SQL("SELECT {}({}::regclass, if_compressed => true)").format(
        timescaledb.function("decompress_chunk"), sql.Placeholder()
    )
    steps = []
    for chunk in chunks:
        with optional_step(cursor) as outcome:
            cursor.execute(statement, (_regclass(cursor, chunk),))
        steps.append(ChunkStep(str(chunk), "decompress", "failed" if outcome.error else "done", outcome.error))
    return steps


def recompress(connection: Connection, timescaledb: TimescaleDB, chunks: Sequence[Chunk]) -> list[ChunkStep]:
    """Compress chunks again after the commit, each in a transaction of its own."""
    statement = sql.SQL("SELECT {}({}::regclass, if_not_compressed => true)").format(
        timescaledb.function("compress_chunk"), sql.Placeholder()
    )
    steps = []
    for chunk in chunks:
        with step_after_commit(connection) as (cursor, outcome):
            cursor.execute(statement, (_regclass(cursor, chunk),))
        steps.append(ChunkStep(str(chunk), "recompress", "failed" if outcome.error else "done", outcome.error))
    return steps


def _regclass(cursor: Cursor, chunk: Chunk) -> str:
    """Write a name as `::regclass` reads it: quoted like SQL."""
    return sql.Identifier(chunk.schema, chunk.name).as_string(cursor)
