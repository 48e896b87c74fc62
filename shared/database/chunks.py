"""Chunk compression around the load: decompress inside its transaction, compress again after it. Community edition.

`decompress_chunk` and `compress_chunk` raise on a chunk that is in that state already before 2.14, so their
`if_` arguments are always given. A chunk that could not be decompressed takes the rows all the same (from 2.11 on
they wait in its uncompressed part), which is why these steps may fail without failing the restore.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from psycopg2 import sql

from shared.database.chunk_catalog import Chunk
from shared.database.connection import Connection, Cursor
from shared.database.extension import TimescaleDB
from shared.database.hypertable import Table
from shared.database.optional import Attempt, attempt_after_commit, attempt_in_savepoint
from shared.database.permissions import Check, explained, to_compress
from shared.database.steps import ChunkStep


def decompress(cursor: Cursor, timescaledb: TimescaleDB, table: Table, chunks: Sequence[Chunk]) -> list[ChunkStep]:
    """Decompress chunks in the load's transaction, each in a savepoint of its own.

    Each takes ACCESS EXCLUSIVE on its chunk until the transaction ends.
    """
    call = partial(_call, timescaledb.function("decompress_chunk"), "if_compressed")
    return _step("decompress", partial(attempt_in_savepoint, cursor), call, to_compress(table, timescaledb), chunks)


def recompress(
    connection: Connection, timescaledb: TimescaleDB, table: Table, chunks: Sequence[Chunk]
) -> list[ChunkStep]:
    """Compress chunks again after the commit, each in a transaction of its own."""
    call = partial(_call, timescaledb.function("compress_chunk"), "if_not_compressed")
    attempt = partial(attempt_after_commit, connection)
    return _step("recompress", attempt, call, to_compress(table, timescaledb), chunks)


def _step(
    action: Literal["decompress", "recompress"],
    attempt: Attempt,
    call: Callable[[Chunk, Cursor], None],
    rights: Sequence[Check],
    chunks: Sequence[Chunk],
) -> list[ChunkStep]:
    steps = []
    for chunk in chunks:
        _, error = attempt(partial(call, chunk))
        steps.append(ChunkStep(str(chunk), action, "failed" if error else "done", explained(error, attempt, rights)))
    return steps


def _call(function: sql.Composed, unless: str, chunk: Chunk, cursor: Cursor) -> None:
    # As `::regclass` reads it: quoted like SQL.
    name = sql.Identifier(chunk.schema, chunk.name).as_string(cursor)
    statement = sql.SQL("SELECT {}({}::regclass, {} => true)")
    cursor.execute(statement.format(function, sql.Literal(name), sql.Identifier(unless)))
