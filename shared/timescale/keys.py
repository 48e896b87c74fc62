"""The unique keys of tables and chunks: which of them TimescaleDB enforces on compressed rows, and the proof of one.

Before TimescaleDB inserts a row into a compressed chunk, it searches the compressed rows for the row's key: by the
columns that all unique indexes have in common, with the equality of the columns themselves (read: compression_dml.c and
compression_scankey.c in tsl/src/compression of 2.29; run on 2.28.3 and 2.29.2). So these keys are not enforced:

- with NULLS NOT DISTINCT, if a null is in a column of compress_segmentby or compress_orderby: rows are stored twice;
- with another collation than the column's: rows are stored twice, or ON CONFLICT skips rows that are in no conflict.
  The same holds for expressions and partial indexes;
- with a column that may be null: after a row with a null in a column of compress_segmentby, the search no longer
  compares that column, and ON CONFLICT skips rows that are in no conflict;
- with a column of type `name`: the search fails, since a btree keeps such a value as a cstring, which has no order.

What is not known to be enforced counts as not enforced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from psycopg2 import sql

from shared.postgres.connect import Cursor
from shared.postgres.savepoint import set_accepted
from shared.postgres.search_path import after_catalog
from shared.postgres.trusted_sql import trusted_sql
from shared.timescale.chunks import Chunk
from shared.timescale.table import Table, TimescaleDB
from shared.timescale.user_code import reads_harmlessly

# The first community edition on which the kinds of keys were run.
_ENFORCED_SINCE = (2, 28)

# boolean, bigint, smallint, integer, text, real, double precision, character, character varying, date, timestamp,
# timestamptz, numeric, uuid: by their numbers in src/include/catalog/pg_type.dat. Each was run as a key, in every place
# of a compressed chunk, with values that are equal but not the same (-0, NaN, 1.0 and 1.00, trailing blanks).
_ENFORCED_TYPES = (16, 20, 21, 23, 25, 700, 701, 1042, 1043, 1082, 1114, 1184, 1700, 2950)

# `indnullsnotdistinct` is new in PostgreSQL 15. A key is plain if it has only columns, each with its own collation and
# its type's default order, and the index covers every row. 403 is btree (src/include/catalog/pg_am.dat). What initdb
# makes has an oid below 16384 (src/include/access/transam.h). `terms` are the parts of the key as SQL, each with the
# schema and name of its collation.
_KEYS = sql.SQL("""
    SELECT n.nspname, t.relname, x.relname, k.columns, k.nullable,
        coalesce((pg_catalog.to_jsonb(i)->>'indnullsnotdistinct')::boolean, false),
        m.is_unique AND i.indpred IS NULL AND i.indexprs IS NULL AND k.is_plain, k.is_built_in,
        m.is_unique AND i.indpred IS NULL AND i.indexprs IS NULL AND k.is_plain AND k.is_enforced AND i.indimmediate,
        m.is_unique AND o.has_default_order, k.is_searchable, {is_harmless}, o.terms,
        pg_catalog.pg_get_expr(i.indpred, i.indrelid)
    FROM pg_catalog.pg_index i
        JOIN pg_catalog.pg_class t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
        JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
        CROSS JOIN LATERAL (SELECT i.indisunique AND NOT i.indisexclusion AND x.relam = 403 AS is_unique) m
        CROSS JOIN LATERAL (
            SELECT coalesce(array_agg(a.attname::text ORDER BY p), '{{}}') AS columns,
                coalesce(array_agg(a.attname::text ORDER BY p) FILTER (WHERE NOT a.attnotnull), '{{}}') AS nullable,
                coalesce(bool_and(o.opcdefault AND i.indcollation[p] = a.attcollation), false) AS is_plain,
                coalesce(bool_and(o.oid < 16384), false) AS is_built_in,
                coalesce(bool_and(o.opckeytype IN (0, o.opcintype)), true) AS is_searchable,
                coalesce(bool_and(a.attnotnull AND NOT a.atthasmissing AND a.atttypid = ANY (%(types)s::oid[])
                    AND coalesce(c.collisdeterministic, true)), false) AS is_enforced
            FROM pg_catalog.generate_series(0, i.indnkeyatts - 1) p
                JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[p]
                JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[p]
                LEFT JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation
        ) k
        CROSS JOIN LATERAL (
            SELECT bool_and(o.opcdefault) AS has_default_order, array_agg(ARRAY[
                pg_catalog.pg_get_indexdef(i.indexrelid, p + 1, false), s.nspname::text, c.collname::text
            ] ORDER BY p) AS terms
            FROM pg_catalog.generate_series(0, i.indnkeyatts - 1) p
                JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[p]
                LEFT JOIN pg_catalog.pg_collation c ON c.oid = i.indcollation[p]
                LEFT JOIN pg_catalog.pg_namespace s ON s.oid = c.collnamespace
        ) o
    WHERE (n.nspname, t.relname) IN (
            SELECT * FROM ROWS FROM (pg_catalog.unnest(%(schemas)s::name[]), pg_catalog.unnest(%(names)s::name[])) r
        ) AND (i.indisunique OR i.indisexclusion) AND (i.indisvalid OR %(with_invalid)s)
    ORDER BY i.indexrelid
""").format(is_harmless=reads_harmlessly(sql.Identifier("t", "oid")))


@dataclass(frozen=True)
class Key:
    """A unique key or exclusion of a table. Two are equal if they are the same key of two tables.

    Attributes:
        name: its index's name.
        columns: the key's columns, in order, without expressions.
        nullable: the key's columns that may be NULL.
        nulls_are_equal: whether two NULLs are equal.
        is_plain: it has only columns, each with its own collation and default order, and covers every row.
        is_built_in: whether its operators are PostgreSQL's own.
        is_enforced: whether TimescaleDB is known to enforce it on compressed rows too.
        is_provable: whether a query can find the same duplicates as the index.
        is_searchable: whether TimescaleDB can search compressed rows for it; otherwise it refuses each new row.
        is_harmless: whether a query of the table runs no user code.
        terms: the parts of the key as SQL.
        predicate: the condition of the rows that it covers, as SQL; None: all.
    """

    name: str = field(compare=False)
    columns: tuple[str, ...]
    nullable: tuple[str, ...] = field(compare=False)
    nulls_are_equal: bool
    is_plain: bool
    is_built_in: bool = field(compare=False)
    is_enforced: bool = field(compare=False)
    is_provable: bool = field(compare=False)
    is_searchable: bool = field(compare=False)
    is_harmless: bool = field(compare=False)
    terms: tuple[sql.Composable, ...] = field(compare=False)
    predicate: sql.Composable | None = field(compare=False)


def keys_of(cursor: Cursor, schema: str, name: str, *, with_invalid: bool = False) -> list[Key]:
    """List the keys of a table or chunk.

    Args:
        cursor: in any transaction.
        schema: of the table or chunk.
        name: its name.
        with_invalid: whether to list those whose build has failed (CREATE INDEX CONCURRENTLY): old rows may break them,
            and new ones are refused.
    """
    return [key for _, _, key in _keys(cursor, [(schema, name)], with_invalid=with_invalid)]


def unenforced_keys(cursor: Cursor, timescaledb: TimescaleDB, chunks: Sequence[Chunk]) -> list[tuple[Chunk, Key]]:
    """List the keys of compressed chunks that TimescaleDB may not enforce on their compressed rows.

    Args:
        cursor: in any transaction that sees the chunks.
        timescaledb: the extension.
        chunks: compressed chunks. Each may have keys of its own.
    """
    by_name = {(chunk.schema, chunk.name): chunk for chunk in chunks}
    trusts = timescaledb.at_least(*_ENFORCED_SINCE)
    found = _keys(cursor, list(by_name)) if by_name else []
    return [(by_name[schema, name], key) for schema, name, key in found if not (trusts and key.is_enforced)]


def may_meet_unenforced(
    cursor: Cursor, timescaledb: TimescaleDB, table: Table, chunks: Sequence[Chunk], *, meets_none_of_its_time: bool
) -> bool:
    """Whether a row that is added beside compressed ones may have a key of theirs without TimescaleDB noticing it.

    Or whether TimescaleDB refuses each row, since it cannot search them for its key.

    Args:
        cursor: in any transaction that sees the chunks.
        timescaledb: the extension.
        table: the hypertable.
        chunks: its compressed chunks to which rows are added.
        meets_none_of_its_time: whether the chunks are known to hold no row at the times of the new rows.
    """
    found = unenforced_keys(cursor, timescaledb, chunks)
    return any(not (meets_none_of_its_time and has_time(key, table) and key.is_searchable) for _, key in found)


def has_duplicates(cursor: Cursor, relation: sql.Identifier, key: Key, *, among: sql.Composable | None = None) -> bool:
    """Search a relation for rows with the same key.

    Args:
        cursor: in a transaction.
        relation: a table or chunk; its compressed rows are searched too.
        key: provable.
        among: the condition of the rows that may have it; None: all rows.
    """
    # The columnar aggregation compares bytes, but different bytes may be equal in a collation. Older versions lack it.
    set_accepted(cursor, {"timescaledb.enable_vectorized_aggregation": "off"})
    terms = sql.SQL(", ").join(key.terms)
    conditions = [condition for condition in (among, key.predicate) if condition is not None]
    if not key.nulls_are_equal:
        conditions.append(sql.SQL("pg_catalog.num_nulls({}) = 0").format(terms))
    where = sql.SQL(" AND ").join([sql.SQL("true"), *conditions])
    query = sql.SQL(
        "SELECT EXISTS (SELECT FROM {} WHERE {} GROUP BY {} HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 1)"
    ).format(relation, where, terms)
    cursor.execute(query if key.is_harmless else after_catalog(query))
    return cursor.fetchone() == (True,)


def has_time(key: Key, table: Table) -> bool:
    """Whether rows of different times cannot have the same key."""
    return table.time_column in key.columns


def _keys(
    cursor: Cursor, names: Sequence[tuple[str, str]], *, with_invalid: bool = False
) -> list[tuple[str, str, Key]]:
    schemas, tables = [schema for schema, _ in names], [table for _, table in names]
    given = {"schemas": schemas, "names": tables, "types": list(_ENFORCED_TYPES), "with_invalid": with_invalid}
    cursor.execute(_KEYS, given)
    found = []
    for schema, table, name, columns, nullable, *flags, terms, predicate in cursor.fetchall():
        nulls_are_equal, is_plain, is_built_in, is_enforced, is_provable, is_searchable, is_harmless = flags
        key = Key(
            name,
            tuple(columns),
            tuple(nullable),
            nulls_are_equal,
            is_plain,
            is_built_in,
            is_enforced,
            is_provable,
            is_searchable,
            is_harmless,
            tuple(_term(*term) for term in terms),
            None if predicate is None else sql.SQL("({})").format(trusted_sql(predicate)),  # pg_get_expr wrote it
        )
        found.append((schema, table, key))
    return found


def _term(text: str, schema: str | None, collation: str | None) -> sql.Composable:
    # pg_get_indexdef wrote it: a quoted name, or an expression.
    term = sql.SQL("({})").format(trusted_sql(text))
    if schema is None or collation is None:
        return term
    return sql.SQL("{} COLLATE {}").format(term, sql.Identifier(schema, collation))
