"""Chunk compression around the load: decompress inside its transaction, compress again after it. Community edition.

`decompress_chunk` and `compress_chunk` raise on a chunk that is in that state already before 2.14, so their
`if_` arguments are always given. A chunk that could not be decompressed takes the rows all the same (from 2.11 on
they wait in its uncompressed part), which is why these steps may fail without failing the restore.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from psycopg2 import sql

from shared.database.chunk_catalog import Chunk
from shared.database.connection import Connection, Cursor
from shared.database.extension import TimescaleDB
from shared.database.optional import attempt_after_commit, attempt_in_savepoint
from shared.database.steps import ChunkStep


def decompress(cursor: Cursor, timescaledb: TimescaleDB, chunks: Sequence[Chunk]) -> list[ChunkStep]:
    """Decompress chunks in the load's transaction, each in a savepoint of its own.

    Each takes ACCESS EXCLUSIVE on its chunk until the transaction ends.
    """
    function = timescaledb.function("decompress_chunk")
    steps = []
    for chunk in chunks:
        _, error = attempt_in_savepoint(cursor, partial(_call, function, "if_compressed", chunk))
        steps.append(ChunkStep(str(chunk), "decompress", "failed" if error else "done", error))
    return steps


def recompress(connection: Connection, timescaledb: TimescaleDB, chunks: Sequence[Chunk]) -> list[ChunkStep]:
    """Compress chunks again after the commit, each in a transaction of its own."""
    function = timescaledb.function("compress_chunk")
    steps = []
    for chunk in chunks:
        _, error = attempt_after_commit(connection, partial(_call, function, "if_not_compressed", chunk))
        steps.append(ChunkStep(str(chunk), "recompress", "failed" if error else "done", error))
    return steps


def _call(function: sql.Composed, unless: str, chunk: Chunk, cursor: Cursor) -> None:
    # As `::regclass` reads it: quoted like SQL.
    name = sql.Identifier(chunk.schema, chunk.name).as_string(cursor)
    statement = sql.SQL("SELECT {}({}::regclass, {} => true)")
    cursor.execute(statement.format(function, sql.Literal(name), sql.Identifier(unless)))
