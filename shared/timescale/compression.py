"""Compresses chunks around a load: decompress before it, compress new chunks in it, recompress after it.

Community edition only. Before 2.14, `decompress_chunk` and `compress_chunk` raise if the chunk is already in the
wanted state, so their `if_` arguments are always given. A chunk that could not be decompressed still accepts rows
(from 2.11 on, in its uncompressed part). So these steps may fail without failing the restore.

Rows can be added to a compressed chunk in two ways: after decompressing it, or into its uncompressed part. Both are
correct if TimescaleDB enforces the keys of compressed rows (`timescale/keys.py`): then ON CONFLICT sees them, and
`compress_chunk` merges the new rows (run on 2.29.2). Decompressing takes time in proportion to the size of the chunk,
and blocks its readers meanwhile. Copying into the uncompressed part takes longer for each new row. To replace rows,
decompress: before 2.25, DELETE on compressed rows can stop early
(https://github.com/timescale/timescaledb/issues/9120).

A new chunk that is compressed needs no index over its rows. The rows are copied without indexes and compressed, and
then the indexes are built over the uncompressed part, which is empty. That takes less than half of the server's time
(docs/performance_community.md). It is done only if no index could refuse a value of its columns, since a refusal would
go unnoticed.

A unique index that is built over the empty uncompressed part does not check the compressed rows. So a query searches
the compressed rows for duplicate keys. They are sorted, which makes that cheap. If there are duplicates, a rollback to
a savepoint decompresses the chunk, and building the index over its rows raises PostgreSQL's own error. TimescaleDB does
the same check when a unique index is created on a compressed chunk, but not for a constraint (run on 2.29.2: ADD
PRIMARY KEY accepted a duplicate key).

Only chunks that this transaction alone has filled are compressed. If `compress_chunk` reads by an index, it compresses
the rows that the transaction's snapshot shows, but empties the uncompressed part of other rows too (read:
compress_chunk in tsl/src/compression/compression.c).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from psycopg2 import sql

from shared.errors import DatabaseFailed
from shared.model.results import ChunkStep
from shared.postgres.connect import Connection, Cursor
from shared.postgres.local_settings import local_settings
from shared.postgres.optional_step import attempt_in_autocommit
from shared.postgres.savepoint import RunsOptional, attempt_in_savepoint, savepoint, set_accepted
from shared.postgres.search_path import by_users_path
from shared.timescale.chunks import Chunk, is_own
from shared.timescale.keys import Key, has_duplicates, keys_of
from shared.timescale.privileges import Right, name_missing, to_compress
from shared.timescale.table import Table, TimescaleDB


def decompress(cursor: Cursor, timescaledb: TimescaleDB, table: Table, chunks: Sequence[Chunk]) -> list[ChunkStep]:
    """Decompress chunks in the load's transaction, each in its own savepoint.

    Each chunk stays locked in ACCESS EXCLUSIVE mode until the transaction ends.
    """
    call = partial(_call, timescaledb.function("decompress_chunk"), sql.SQL("true"))
    return _steps(
        "decompress", partial(attempt_in_savepoint, cursor, "decompress"), call, to_compress(table, timescaledb), chunks
    )


def compress_after_commit(
    connection: Connection,
    timescaledb: TimescaleDB,
    table: Table,
    chunks: Sequence[Chunk],
    action: Literal["recompress", "compress"],
) -> list[ChunkStep]:
    """Compress chunks after the commit, each in its own transaction.

    Args:
        connection: in autocommit.
        timescaledb: the extension, community edition.
        table: the hypertable.
        chunks: those to compress. One that is compressed already stays as it is.
        action: what the steps are called: `recompress` for chunks that were compressed before, `compress` for new ones.
    """
    call = partial(_call, timescaledb.function("compress_chunk"), _compress_arguments(timescaledb))
    run_optional = partial(attempt_in_autocommit, connection, action)
    return _steps(action, run_optional, call, to_compress(table, timescaledb), chunks)


def _steps(
    action: Literal["decompress", "recompress", "compress"],
    run_optional: RunsOptional,
    call: Callable[[Chunk, Cursor], None],
    rights: Sequence[Right],
    chunks: Sequence[Chunk],
) -> list[ChunkStep]:
    steps = []
    for chunk in chunks:
        _, error = run_optional(partial(call, chunk))
        steps.append(
            ChunkStep(str(chunk), action, "failed" if error else "done", name_missing(error, run_optional, rights))
        )
    return steps


def _call(function: sql.Composed, arguments: sql.SQL, chunk: Chunk, cursor: Cursor) -> None:
    # `::regclass` reads a name that is quoted as in SQL.
    name = chunk.identifier.as_string(cursor)
    statement = sql.SQL("SELECT {}({}::pg_catalog.regclass, {})")
    cursor.execute(by_users_path(statement.format(function, sql.Literal(name), arguments)))


def _compress_arguments(timescaledb: TimescaleDB) -> sql.SQL:
    """Write the arguments of `compress_chunk` that follow the chunk: `if_not_compressed`, and all that have a default.

    With all of them, only TimescaleDB's own function matches best: the schema of the extension is often `public`, where
    others may create one of the same name and fewer arguments. (Read: sql/updates of 2.14.0, 2.18.0 and 2.22.0.)
    """
    if not timescaledb.at_least(2, 14):
        return sql.SQL("true")
    if timescaledb.at_least(2, 18) and not timescaledb.at_least(2, 22):
        return sql.SQL("true, false, NULL::boolean")
    return sql.SQL("true, false")


def allow_delete_of_compressed(cursor: Cursor) -> None:
    """Let a DELETE of this transaction delete every compressed row, and fire a chunk's own triggers."""
    set_accepted(
        cursor,
        {
            # A compressed chunk may not have been decompressed: lift the limit on what the DELETE may decompress.
            "timescaledb.max_tuples_decompressed_per_dml_transaction": "0",
            # A DELETE of whole batches skips a chunk's own triggers (measured on 2.29.2). Older versions lack it.
            "timescaledb.enable_compressed_direct_batch_delete": "off",
        },
    )


def compressed_size(cursor: Cursor, timescaledb: TimescaleDB, table: Table, chunks: Sequence[Chunk]) -> int | None:
    """Return the size of chunks before their compression, without indexes, from TimescaleDB's statistics.

    Args:
        cursor: in any transaction.
        timescaledb: the extension, community edition.
        table: the hypertable.
        chunks: its compressed chunks.

    Returns:
        Bytes; None if a chunk's size is unknown: rows that were compressed on insert leave no statistics.
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
    """Decide by size whether to decompress chunks. The bounds were measured (docs/performance_community.md).

    Args:
        compressed: uncompressed size of the compressed rows in bytes, as `compressed_size` returns it.
        new: bytes of the CSV. A row of a table takes about as much as its line.
        day_is_empty: whether the day has no rows yet. If it has, new rows are compared with compressed ones, which are
            decompressed for that one batch at a time.

    Returns:
        Whether to decompress the chunks; otherwise the new rows are copied into their uncompressed part.
    """
    if compressed is None:
        # The cost of decompressing is unknown and has no bound. The cost of copying depends only on the new rows.
        return False
    return compressed * 2 <= (new if day_is_empty else new * 3)


# From 2.22 on, the sparse indexes of the compressed part follow the indexes of the hypertable (read:
# compression_setting_sparse_index_get_default in tsl/src/compression/create.c). Before, they follow those of the chunk
# (build_columndefs), and a chunk without its indexes would get none.
_FILTERS_OF_HYPERTABLE_SINCE = (2, 22)

# `compress_chunk` sorts in maintenance_work_mem, and reads the result once. Small sorted runs fit the processor's cache
# and are merged from temporary files. That took 0.7 of the time of 64 MB, and 0.6 of that of 256 MB
# (docs/performance_community.md).
_SORT_MEMORY = "8MB"

# A B-tree entry has 2,704 bytes at most (BTMaxItemSize in PostgreSQL's src/include/access/nbtree.h), and columns of a
# fixed length take some of them.
_SURELY_FITS_BYTES = 1500


def compress_new_chunks(
    cursor: Cursor, timescaledb: TimescaleDB, table: Table, chunks: Sequence[Chunk], rebuild: Callable[[], None]
) -> list[ChunkStep]:
    """Compress chunks and rebuild their indexes, in the cheapest order that proves the keys.

    If a query can prove a chunk's keys, the chunk is compressed before the rebuild, otherwise after it. Each chunk is
    compressed in a savepoint: if that fails, the load continues with the chunk uncompressed.

    Args:
        cursor: in the load's transaction, after its rows were counted: compressed rows cannot be found by `xmin`.
        timescaledb: the extension, community edition.
        table: the hypertable.
        chunks: chunks that this transaction created. One that another transaction created too is not compressed.
        rebuild: rebuilds the dropped indexes. It is called once, and its exceptions are passed on.

    Returns:
        A step for each chunk, in the order of `chunks`: "failed" if the database refused it, "not available" if
        TimescaleDB would merge it into another chunk or if this transaction does not own it.
    """
    if _merges(cursor, table):
        rebuild()
        return [_compress_step(chunk, available=False) for chunk in chunks]
    compress = partial(_compress_one, cursor, timescaledb, table)
    early = {
        chunk: compress(chunk) for chunk in chunks if _can_compress_before_rebuild(cursor, timescaledb, table, chunk)
    }
    rebuild()
    # A chunk that was rolled back for duplicate keys gets no step: `rebuild` has raised for it.
    late = {chunk: compress(chunk) for chunk in chunks if early.get(chunk) is None}
    return [early.get(chunk) or late[chunk] or _compress_step(chunk, available=False) for chunk in chunks]


def _can_compress_before_rebuild(cursor: Cursor, timescaledb: TimescaleDB, table: Table, chunk: Chunk) -> bool:
    """Whether the chunk can be compressed before its indexes are rebuilt."""
    return (
        timescaledb.at_least(*_FILTERS_OF_HYPERTABLE_SINCE)
        and all(key.is_plain for key in _missing_keys(cursor, table, chunk))
        and not _may_refuse(cursor, table, chunk)
    )


def _may_refuse(cursor: Cursor, table: Table, chunk: Chunk) -> bool:
    """Whether an index of the table may refuse a row for a reason other than its key.

    Reasons are an expression that fails, or a value that is too long (54000). An index that is built over the empty
    uncompressed part would not notice, and the chunk could no longer be decompressed (run on 2.29.2).
    """
    cursor.execute(
        # 403 is btree (src/include/catalog/pg_am.dat).
        "SELECT coalesce(bool_or(i.indexprs IS NOT NULL OR i.indpred IS NOT NULL OR x.relam <> 403), false),"
        " ARRAY(SELECT DISTINCT a.attname::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a"
        " ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) WHERE i.indrelid = %(table)s AND a.attlen < 0)"
        " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = %(table)s",
        {"table": table.oid},
    )
    ((is_unusual, of_any_length),) = cursor.fetchall()
    if is_unusual or not of_any_length:
        return bool(is_unusual)
    largest = sql.SQL("coalesce(pg_catalog.max(pg_catalog.pg_column_size({})), 0)")
    query = sql.SQL("SELECT {} FROM {}").format(
        sql.SQL(", ").join(largest.format(sql.Identifier(name)) for name in of_any_length), chunk.identifier
    )
    cursor.execute(by_users_path(query))
    (sizes,) = cursor.fetchall()
    return bool(sum(sizes) > _SURELY_FITS_BYTES)


def _merges(cursor: Cursor, table: Table) -> bool:
    """Whether a chunk may be merged into the one before it, which others may use (`compress_chunk_time_interval`)."""
    cursor.execute(
        "SELECT EXISTS (SELECT FROM _timescaledb_catalog.dimension"
        " WHERE hypertable_id = %s AND compress_interval_length IS NOT NULL)",
        (table.hypertable_id,),
    )
    return cursor.fetchone() == (True,)


def _compress_one(cursor: Cursor, timescaledb: TimescaleDB, table: Table, chunk: Chunk) -> ChunkStep | None:
    """Compress one chunk; None if it was not compressed, or if that was rolled back."""
    keys = _missing_keys(cursor, table, chunk)
    if not is_own(cursor, chunk) or not all(key.is_plain for key in keys):
        return None
    name = chunk.identifier
    # The rows are counted and their keys proved. So a compression that is canceled is a warning, as one that fails.
    with savepoint(cursor, "compress", also_if_canceled=True) as step:
        # `compress_chunk` truncates the file that checks at the COMMIT would read (XX001; run on 2.29.2).
        cursor.execute(by_users_path("SET CONSTRAINTS ALL IMMEDIATE"))
        before = count_rows(cursor, name)
        is_same = _compress(cursor, timescaledb, name)
        if is_same and count_rows(cursor, name) != before:
            step.fail(DatabaseFailed("compress_chunk changed the number of rows, and was rolled back"))
        if not is_same:
            step.roll_back()
        if any(has_duplicates(cursor, name, key) for key in keys):
            step.roll_back()
    if step.error is not None:
        rights = to_compress(table, timescaledb)
        return ChunkStep(
            str(chunk),
            "compress",
            "failed",
            name_missing(step.error, partial(attempt_in_savepoint, cursor, "missing right"), rights),
        )
    return None if step.was_rolled_back else _compress_step(chunk, available=True)


def _compress(cursor: Cursor, timescaledb: TimescaleDB, chunk: sql.Identifier) -> bool:
    """Compress a chunk, and return whether it is still the same chunk."""
    with local_settings(cursor, {"maintenance_work_mem": _SORT_MEMORY}):
        name = sql.Literal(chunk.as_string(cursor))
        statement = sql.SQL(
            "SELECT {}({name}::pg_catalog.regclass, {}) OPERATOR(pg_catalog.=) {name}::pg_catalog.regclass"
        )
        function, arguments = timescaledb.function("compress_chunk"), _compress_arguments(timescaledb)
        cursor.execute(by_users_path(statement.format(function, arguments, name=name)))
        return cursor.fetchone() == (True,)


def _compress_step(chunk: Chunk, *, available: bool) -> ChunkStep:
    return ChunkStep(str(chunk), "compress", "done" if available else "not available")


def _missing_keys(cursor: Cursor, table: Table, chunk: Chunk) -> list[Key]:
    """List the hypertable's keys that no index of the chunk enforces."""
    missing = Counter(keys_of(cursor, table.schema, table.name)) - Counter(keys_of(cursor, chunk.schema, chunk.name))
    return list(missing)


def count_rows(cursor: Cursor, chunk: sql.Identifier) -> int:
    """Count the rows of a chunk."""
    cursor.execute(by_users_path(sql.SQL("SELECT pg_catalog.count(*) FROM {}").format(chunk)))
    ((rows,),) = cursor.fetchall()
    return int(rows)
