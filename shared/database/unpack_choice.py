"""Whether a compressed chunk is decompressed before rows are added to it, or takes them beside its packed rows.

Both are right: the keys of packed rows are guarded, ON CONFLICT sees them, and `compress_chunk` folds the new rows in
(run on 2.29.2). To decompress takes as long as the chunk is large, and locks its readers out meanwhile. To copy beside
takes longer for each new row. Where rows are to be replaced, decompress: DELETE on packed rows can stop early before
2.25 (https://github.com/timescale/timescaledb/issues/9120).
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg2 import sql

from shared.database.chunk_catalog import Chunk
from shared.database.connection import Cursor
from shared.database.extension import TimescaleDB
from shared.database.hypertable import Table


def packed_bytes(cursor: Cursor, timescaledb: TimescaleDB, table: Table, chunks: Sequence[Chunk]) -> int | None:
    """Ask how large the chunks were before they were compressed, without indexes, by TimescaleDB's own statistics.

    Args:
        cursor: in any transaction.
        timescaledb: the extension, community edition.
        table: the hypertable.
        chunks: its compressed chunks.

    Returns:
        Bytes; None where it is not known of each: rows that were compressed while they came in leave no statistics.
    """
    cursor.execute(
        sql.SQL(
            "SELECT coalesce(sum(before_compression_table_bytes + before_compression_toast_bytes), 0),"
            " count(before_compression_table_bytes)"
            " FROM {}({}::regclass) WHERE (chunk_schema::text, chunk_name::text) IN ("
            "SELECT * FROM ROWS FROM (pg_catalog.unnest({}::text[]), pg_catalog.unnest({}::text[])) names)"
        ).format(
            timescaledb.function("chunk_compression_stats"),
            sql.Literal(table.identifier.as_string(cursor)),
            sql.Literal([chunk.schema for chunk in chunks]),
            sql.Literal([chunk.name for chunk in chunks]),
        )
    )
    ((size, known),) = cursor.fetchall()
    return int(size) if known == len(chunks) else None


def beside_is_cheaper(packed: int | None, new: int, *, day_is_empty: bool) -> bool:
    """Choose by the sizes. The bounds were measured (docs/performance_community.md).

    Args:
        packed: bytes of the rows that are packed, as `packed_bytes` tells.
        new: bytes of the CSV. A row of a table takes about as much as its line.
        day_is_empty: whether no row of the day is there. If one is, new rows are compared with packed ones, which are
            unpacked for it one batch at a time.

    Returns:
        Whether the new rows are to be copied beside the packed ones.
    """
    if packed is None:
        # What it costs to decompress is not known then, and has no bound. To copy beside costs by the new rows alone.
        return True
    return packed * 2 > (new if day_is_empty else new * 3)
