"""Compression of chunks around a load: decompress before it, compress new chunks in it, compress again after it.

Community edition only. `decompress_chunk` and `compress_chunk` raise on a chunk that is in that state already before
2.14, so their `if_` arguments are always given. A chunk that could not be decompressed takes the rows all the same
(from 2.11 on they wait in its uncompressed part), which is why these steps may fail without failing the restore.

Decompress, or copy beside the compressed rows? Both are right: the keys of compressed rows are guarded, ON CONFLICT
sees them, and `compress_chunk` folds the new rows in (run on 2.29.2). To decompress takes as long as the chunk is
large, and locks its readers out meanwhile. To copy beside takes longer for each new row. Where rows are to be replaced,
decompress: DELETE on compressed rows can stop early before 2.25 (https://github.com/timescale/timescaledb/issues/9120).

Compresses chunks in the transaction that made them. Community edition.

A chunk that is to end compressed needs no index over its rows: they are copied without, compressed, and the indexes are
built over what is left, which is nothing. That takes less than half of the server's time
(docs/performance_community.md).

Only where every index takes any value of its columns, since what an index would refuse is not seen then.

A unique index that is built on the empty row part says nothing of the rows that are packed by then. So the packed rows
are asked for a key that stands twice. They are in order, which makes that cheap. If there is one, the chunk is unpacked
by a savepoint, and building the index over its rows raises PostgreSQL's own error. TimescaleDB asks in the same way
where a unique index is created on a compressed chunk, but not for a constraint (run on 2.29.2: a key that stood twice
got past ADD PRIMARY KEY).

Only a chunk that is this transaction's own: where `compress_chunk` goes by an index, it reads what the transaction's
snapshot shows, and empties the row part of more (read: compress_chunk in tsl/src/compression/compression.c).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from psycopg2 import sql

from shared.errors import DatabaseFailed
from shared.model.results import ChunkStep
from shared.postgres.connect import Connection, Cursor
from shared.postgres.savepoint import Attempt, attempt_after_commit, attempt_in_savepoint, local_settings, savepoint
from shared.timescale.chunks import Chunk, chunk_oid, is_own
from shared.timescale.privileges import Check, explained, to_compress
from shared.timescale.table import Table, TimescaleDB


def decompress(cursor: Cursor, timescaledb: TimescaleDB, table: Table, chunks: Sequence[Chunk]) -> list[ChunkStep]:
    """Decompress chunks in the load's transaction, each in a savepoint of its own.

    Each takes ACCESS EXCLUSIVE on its chunk until the transaction ends.
    """
    call = partial(_call, timescaledb.function("decompress_chunk"), "if_compressed")
    return _steps("decompress", partial(attempt_in_savepoint, cursor), call, to_compress(table, timescaledb), chunks)


def recompress(
    connection: Connection, timescaledb: TimescaleDB, table: Table, chunks: Sequence[Chunk]
) -> list[ChunkStep]:
    """Compress chunks again after the commit, each in a transaction of its own."""
    call = partial(_call, timescaledb.function("compress_chunk"), "if_not_compressed")
    attempt = partial(attempt_after_commit, connection)
    return _steps("recompress", attempt, call, to_compress(table, timescaledb), chunks)


def _steps(
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


def compressed_size(cursor: Cursor, timescaledb: TimescaleDB, table: Table, chunks: Sequence[Chunk]) -> int | None:
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


def should_decompress(compressed: int | None, new: int, *, day_is_empty: bool) -> bool:
    """Choose by the sizes. The bounds were measured (docs/performance_community.md).

    Args:
        compressed: bytes of the compressed rows as they were before, as `compressed_size` tells.
        new: bytes of the CSV. A row of a table takes about as much as its line.
        day_is_empty: whether no row of the day is there. If one is, new rows are compared with compressed ones, which
            are decompressed for it one batch at a time.

    Returns:
        Whether the chunks are to be decompressed; else the new rows are copied beside the compressed ones.
    """
    if compressed is None:
        # What it costs to decompress is not known then, and has no bound. To copy beside costs by the new rows alone.
        return False
    return compressed * 2 <= (new if day_is_empty else new * 3)


# From 2.22 on the compressed part's filters of other columns follow the indexes of the hypertable (read:
# compression_setting_sparse_index_get_default in tsl/src/compression/create.c). Before, they follow those of the chunk
# (build_columndefs), and a chunk without its indexes would get none.
_FILTERS_OF_HYPERTABLE_SINCE = (2, 22)

# `compress_chunk` sorts in maintenance_work_mem, and reads what it sorted once. Small runs that stay in the processor's
# cache, merged from temporary files, took 0.7 of the time of 64 MB, and 0.6 of that of 256 MB
# (docs/performance_community.md).
_SORT_MEMORY = "8MB"

# An entry of a B-tree has 2,704 bytes at most (BTMaxItemSize in PostgreSQL's src/include/access/nbtree.h), and columns
# of a fixed length take some of them.
_SURELY_FITS_BYTES = 1500

# `indnullsnotdistinct` is PostgreSQL 15's. A key is plain where GROUP BY and the index agree on what is equal: columns
# alone, with their own collation and the type's own order, and every row.
_KEYS = """
    SELECT k.columns, k.nullable, coalesce((to_jsonb(i)->>'indnullsnotdistinct')::boolean, false),
        i.indisunique AND NOT i.indisexclusion AND i.indpred IS NULL AND i.indexprs IS NULL AND m.amname = 'btree'
            AND k.is_plain
    FROM pg_catalog.pg_index i
        JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid JOIN pg_catalog.pg_am m ON m.oid = x.relam
        CROSS JOIN LATERAL (
            SELECT coalesce(array_agg(a.attname::text ORDER BY p), '{}') AS columns,
                coalesce(array_agg(a.attname::text ORDER BY p) FILTER (WHERE NOT a.attnotnull), '{}') AS nullable,
                coalesce(bool_and(o.opcdefault AND i.indcollation[p] = a.attcollation), false) AS is_plain
            FROM pg_catalog.generate_series(0, i.indnkeyatts - 1) p
                JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[p]
                JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[p]
        ) k
    WHERE i.indrelid = %s AND (i.indisunique OR i.indisexclusion) AND i.indisvalid
"""


@dataclass(frozen=True)
class _Key:
    """What must not stand twice in a table.

    Attributes:
        columns: the key's columns, in order.
        nullable: those of them that may be NULL.
        nulls_are_equal: whether two NULLs are the same key.
        is_plain: whether a query can tell what the index would.
    """

    columns: tuple[str, ...]
    nullable: tuple[str, ...] = field(compare=False)
    nulls_are_equal: bool
    is_plain: bool


def compress_new_chunks(
    cursor: Cursor, timescaledb: TimescaleDB, table: Table, chunks: Sequence[Chunk], rebuild: Callable[[], None]
) -> list[ChunkStep]:
    """Compress chunks and put their indexes back, in the cheapest order that proves the keys.

    A chunk whose keys a query can prove is compressed first. The others are compressed after their indexes were built.
    Each is compressed in a savepoint: if that fails, the load goes on with the chunk as it is.

    Args:
        cursor: in the load's transaction, after its rows were counted: what finds rows by `xmin` finds none that are
            packed.
        timescaledb: the extension, community edition.
        table: the hypertable.
        chunks: those that this very transaction made. One that another transaction made as well is left alone.
        rebuild: rebuilds the indexes that were dropped. It is called once, and what it raises is raised.

    Returns:
        A step for each chunk, in the order of `chunks`: failed where the database refused it, and "not available" where
        TimescaleDB would merge it into another chunk or it is not this transaction's own.
    """
    if _merges(cursor, table):
        rebuild()
        return [_compress_step(chunk, available=False) for chunk in chunks]
    attempt = partial(_attempt, cursor, timescaledb, table)
    early = {
        chunk: attempt(chunk) for chunk in chunks if _can_compress_before_rebuild(cursor, timescaledb, table, chunk)
    }
    rebuild()
    # One that was undone for a key that stands twice is none of the steps: `rebuild` has raised for it.
    late = {chunk: attempt(chunk) for chunk in chunks if early.get(chunk) is None}
    return [early.get(chunk) or late[chunk] or _compress_step(chunk, available=False) for chunk in chunks]


def _can_compress_before_rebuild(cursor: Cursor, timescaledb: TimescaleDB, table: Table, chunk: Chunk) -> bool:
    """Whether the chunk can be compressed before its indexes are there."""
    return (
        timescaledb.at_least(*_FILTERS_OF_HYPERTABLE_SINCE)
        and all(key.is_plain for key in _unenforced_keys(cursor, table, chunk))
        and not _may_refuse(cursor, table, chunk)
    )


def _may_refuse(cursor: Cursor, table: Table, chunk: Chunk) -> bool:
    """Whether an index of the table may refuse a row for another reason than its key.

    Built over a row part that is empty by then, it would see no row: an expression that fails, a value that is too long
    (54000). The chunk could then not be decompressed any more (run on 2.29.2).
    """
    cursor.execute(
        "SELECT coalesce(bool_or(i.indexprs IS NOT NULL OR i.indpred IS NOT NULL OR m.amname <> 'btree'), false),"
        " ARRAY(SELECT DISTINCT a.attname::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a"
        " ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) WHERE i.indrelid = %(table)s AND a.attlen < 0)"
        " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid"
        " JOIN pg_catalog.pg_am m ON m.oid = x.relam WHERE i.indrelid = %(table)s",
        {"table": table.oid},
    )
    ((is_unusual, of_any_length),) = cursor.fetchall()
    if is_unusual or not of_any_length:
        return bool(is_unusual)
    largest = sql.SQL("coalesce(max(pg_catalog.pg_column_size({})), 0)")
    cursor.execute(
        sql.SQL("SELECT {} FROM {}").format(
            sql.SQL(" + ").join(largest.format(sql.Identifier(name)) for name in of_any_length),
            sql.Identifier(chunk.schema, chunk.name),
        )
    )
    ((size,),) = cursor.fetchall()
    return bool(size > _SURELY_FITS_BYTES)


def _merges(cursor: Cursor, table: Table) -> bool:
    """Whether a chunk may be merged into the one before it, which others use (`compress_chunk_time_interval`)."""
    cursor.execute(
        "SELECT EXISTS (SELECT FROM _timescaledb_catalog.dimension"
        " WHERE hypertable_id = %s AND compress_interval_length IS NOT NULL)",
        (table.hypertable_id,),
    )
    return cursor.fetchone() == (True,)


def _attempt(cursor: Cursor, timescaledb: TimescaleDB, table: Table, chunk: Chunk) -> ChunkStep | None:
    """Compress one chunk; None where it was left as it is, or undone."""
    keys = _unenforced_keys(cursor, table, chunk)
    if not is_own(cursor, chunk) or not all(key.is_plain for key in keys):
        return None
    name = sql.Identifier(chunk.schema, chunk.name)
    with savepoint(cursor) as step:
        # `compress_chunk` empties the file that checks of the COMMIT would read (XX001; run on 2.29.2).
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        before = _count(cursor, name)
        is_same = _compress(cursor, timescaledb, name)
        if is_same and _count(cursor, name) != before:
            # Raised in the savepoint, it undoes the step, and is its error.
            step.fail(DatabaseFailed("compress_chunk changed the number of rows, and was undone"))
        if not is_same:
            step.roll_back()
        if any(_has_duplicates(cursor, name, key) for key in keys):
            step.roll_back()
    if step.error is not None:
        rights = to_compress(table, timescaledb)
        return ChunkStep(
            str(chunk), "compress", "failed", explained(step.error, partial(attempt_in_savepoint, cursor), rights)
        )
    return None if step.was_rolled_back else _compress_step(chunk, available=True)


def _compress(cursor: Cursor, timescaledb: TimescaleDB, chunk: sql.Identifier) -> bool:
    """Compress a chunk, and say whether it is still the same one."""
    with local_settings(cursor, {"maintenance_work_mem": _SORT_MEMORY}):
        cursor.execute(
            sql.SQL("SELECT {}({}::regclass, if_not_compressed => true) = {}::regclass").format(
                timescaledb.function("compress_chunk"), *[sql.Literal(chunk.as_string(cursor))] * 2
            )
        )
        return cursor.fetchone() == (True,)


def _compress_step(chunk: Chunk, *, available: bool) -> ChunkStep:
    return ChunkStep(str(chunk), "compress", "done" if available else "not available")


def _unenforced_keys(cursor: Cursor, table: Table, chunk: Chunk) -> list[_Key]:
    """List the hypertable's keys that no index of the chunk guards."""
    missing = Counter(_keys(cursor, table.oid)) - Counter(_keys(cursor, chunk_oid(cursor, chunk)))
    return list(missing)


def _keys(cursor: Cursor, oid: int | None) -> list[_Key]:
    cursor.execute(_KEYS, (oid,))
    return [_Key(tuple(columns), tuple(nullable), *rest) for columns, nullable, *rest in cursor.fetchall()]


def _has_duplicates(cursor: Cursor, chunk: sql.Identifier, key: _Key) -> bool:
    ignored = () if key.nulls_are_equal else key.nullable
    is_given = sql.SQL("{} IS NOT NULL")
    cursor.execute(
        sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {} GROUP BY {} HAVING count(*) > 1)").format(
            chunk,
            sql.SQL(" AND ").join([sql.SQL("true"), *(is_given.format(sql.Identifier(name)) for name in ignored)]),
            sql.SQL(", ").join(map(sql.Identifier, key.columns)),
        )
    )
    return cursor.fetchone() == (True,)


def _count(cursor: Cursor, chunk: sql.Identifier) -> int:
    cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(chunk))
    ((rows,),) = cursor.fetchall()
    return int(rows)
