"""Reads a chunk's indexes from the catalogue, in enough detail to recreate them and to prove them identical.

Definitions are read with the product's own `search_path`, so that every other name in them is qualified, and
always with the same formats of constants (`DEPARSE_SETTINGS`).

Two texts here become SQL: the definition of an index and that of a constraint. PostgreSQL wrote both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from psycopg2 import sql

from shared.errors import InternalError
from shared.postgres.connect import Cursor
from shared.postgres.search_path import OWN_PATH
from shared.postgres.trusted_sql import trusted_sql
from shared.timescale.chunks import Chunk, chunk_oid

# As pg_dump sets them: PostgreSQL then reads the output of pg_get_indexdef and similar functions back unchanged.
DEPARSE_SETTINGS = {
    "search_path": OWN_PATH,
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "extra_float_digits": "3",
    "quote_all_identifiers": "off",
}

# Whole rows of the catalogue are compared, as JSON, except for identifiers that differ in each relation and statistics
# of its contents. So columns that a newer PostgreSQL adds are compared too.
_INDEXES = """
    SELECT n.nspname AS schema, c.relname AS name, am.amname AS method, pg_catalog.pg_get_indexdef(c.oid) AS definition,
        CASE WHEN k.oid IS NOT NULL THEN pg_catalog.jsonb_build_object('name', k.conname,
            'is_deferrable', k.condeferrable, 'definition', pg_catalog.pg_get_constraintdef(k.oid),
            'comment', pg_catalog.obj_description(k.oid, 'pg_constraint')) END AS "constraint",
        am.amname || ' ' || i.indkey::text AS key, s.spcname AS tablespace,
        s.oid IS NULL OR pg_catalog.has_tablespace_privilege(s.oid, 'CREATE') AS may_use_tablespace,
        coalesce(c.reloptions, '{}') AS options, pg_catalog.obj_description(c.oid, 'pg_class') AS comment,
        ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid ORDER BY a.attnum)
            AS columns,
        ARRAY(SELECT ARRAY[a.attnum::int, a.attstattarget::int] FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = c.oid AND a.attstattarget >= 0 ORDER BY a.attnum) AS statistics,
        i.indisvalid AND i.indisready AND i.indislive AS is_valid, i.indisexclusion AS is_exclusion,
        i.indisclustered AS is_clustered, i.indisreplident AS is_replica_identity,
        EXISTS (SELECT FROM pg_catalog.pg_stats p WHERE p.schemaname = n.nspname AND p.tablename = c.relname)
            AS has_statistics,
        ARRAY(SELECT DISTINCT pg_catalog.concat_ws(' ', d.deptype, o.type, o.identity) FROM pg_catalog.pg_depend d,
            pg_catalog.pg_identify_object(d.refclassid, d.refobjid, d.refobjsubid) o
            WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
                OR d.classid = 'pg_catalog.pg_constraint'::regclass AND d.objid = k.oid ORDER BY 1) AS depends_on,
        ARRAY(SELECT DISTINCT pg_catalog.concat_ws(' ', o.type, o.identity) FROM pg_catalog.pg_depend d,
            pg_catalog.pg_identify_object(d.classid, d.objid, d.objsubid) o
            WHERE (d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = c.oid
                OR d.refclassid = 'pg_catalog.pg_constraint'::regclass AND d.refobjid = k.oid)
                AND NOT (d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid) ORDER BY 1) AS dependents,
        ARRAY(SELECT p.oid::regprocedure::text FROM pg_catalog.pg_proc p
            JOIN pg_catalog.pg_language l ON l.oid = p.prolang
            WHERE l.lanname NOT IN ('internal', 'c') AND pg_catalog.to_jsonb(p) ->> 'prosqlbody' IS NULL
            AND NOT EXISTS (
                SELECT FROM pg_catalog.unnest(p.proconfig) s WHERE pg_catalog.starts_with(s, 'search_path=')
            ) AND p.oid IN (
                SELECT pg_catalog.unnest(ARRAY[o.oprcode::oid, s.amproc::oid,
                    CASE d.refclassid WHEN 'pg_catalog.pg_proc'::regclass THEN d.refobjid END])
                FROM pg_catalog.pg_depend d
                LEFT JOIN pg_catalog.pg_operator o
                    ON d.refclassid = 'pg_catalog.pg_operator'::regclass AND o.oid = d.refobjid
                LEFT JOIN pg_catalog.pg_opclass m
                    ON d.refclassid = 'pg_catalog.pg_opclass'::regclass AND m.oid = d.refobjid
                LEFT JOIN pg_catalog.pg_amproc s ON s.amprocfamily = m.opcfamily
                WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
            ) ORDER BY 1) AS calls,
        ARRAY[
            (to_jsonb(c) - ARRAY['oid', 'relfilenode', 'relpages', 'reltuples', 'relallvisible', 'relallfrozen'])::text,
            (to_jsonb(i) - ARRAY['indexrelid', 'indexprs', 'indpred'])::text,
            (to_jsonb(k) - ARRAY['oid', 'conindid'])::text
        ] || ARRAY(SELECT (to_jsonb(a) - 'attrelid')::text FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = c.oid ORDER BY a.attnum) AS rows
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_am am ON am.oid = c.relam
        LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = c.oid AND k.conrelid = i.indrelid
            AND k.contype IN ('p', 'u', 'x')
        LEFT JOIN pg_catalog.pg_tablespace s ON s.oid = c.reltablespace
    WHERE i.indrelid = %s ORDER BY c.oid
"""

_TABLE = """
    SELECT (to_jsonb(c) - ARRAY['relfilenode', 'relpages', 'reltuples', 'relallvisible', 'relallfrozen',
        'relfrozenxid', 'relminmxid'])::text FROM pg_catalog.pg_class c WHERE c.oid = %(oid)s
    UNION ALL (SELECT to_jsonb(a)::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = %(oid)s ORDER BY a.attnum)
    UNION ALL (SELECT to_jsonb(k)::text FROM pg_catalog.pg_constraint k
        WHERE k.conrelid = %(oid)s AND k.contype NOT IN ('p', 'u', 'x') ORDER BY k.oid)
    UNION ALL (SELECT to_jsonb(t)::text FROM pg_catalog.pg_trigger t WHERE t.tgrelid = %(oid)s ORDER BY t.oid)
"""


@dataclass(frozen=True)
class OwningConstraint:
    """The PRIMARY KEY, UNIQUE or EXCLUDE constraint that owns an index.

    Attributes:
        name: its name.
        is_deferrable: whether its check can be deferred to the end of the transaction.
        definition: from `pg_get_constraintdef`, without name, storage parameters and tablespace.
        comment: from `COMMENT ON CONSTRAINT`.
    """

    name: str
    is_deferrable: bool
    definition: str
    comment: str | None


@dataclass(frozen=True)
class ChunkIndex:
    """An index of a chunk. Two indexes are equal if they differ only in their oid.

    Attributes:
        schema: the chunk's schema, which holds its indexes.
        name: its name.
        method: its access method.
        definition: from `pg_get_indexdef`: a CREATE INDEX without the tablespace.
        constraint: the constraint that owns it.
        key: method and columns. TimescaleDB may confuse two indexes with the same key.
        tablespace: its tablespace; None: the database's own.
        may_use_tablespace: whether this role may create an index there.
        options: storage parameters, as `name=value`.
        comment: from `COMMENT ON INDEX`.
        columns: the names of its own columns. They do not change when a column of the table is renamed.
        statistics: number and statistics target of the columns that have one.
        is_valid: whether it is complete and in use.
        is_exclusion: whether it rejects rows by more than equality: EXCLUDE, or a key WITHOUT OVERLAPS.
        is_clustered: whether CLUSTER uses it.
        is_replica_identity: whether it is the chunk's replica identity.
        has_statistics: whether ANALYZE has left statistics of its expressions.
        depends_on: what it and its constraint depend on: the kind of dependency, and the object.
        dependents: what depends on it or its constraint.
        calls: functions that it calls and that resolve names at run time, by the `search_path` of that time.
        rows: all that the catalogue says about it.
    """

    schema: str
    name: str
    method: str
    definition: str
    constraint: OwningConstraint | None
    key: str
    tablespace: str | None
    may_use_tablespace: bool = field(compare=False)
    options: tuple[str, ...]
    comment: str | None
    columns: tuple[str, ...]
    statistics: tuple[tuple[int, int], ...]
    is_valid: bool
    is_exclusion: bool
    is_clustered: bool
    is_replica_identity: bool
    has_statistics: bool
    depends_on: tuple[str, ...]
    dependents: tuple[str, ...]
    calls: tuple[str, ...]
    rows: tuple[str | None, ...]

    @property
    def identifier(self) -> sql.Identifier:
        """The qualified name, quoted for SQL."""
        return sql.Identifier(self.schema, self.name)


@dataclass(frozen=True)
class ChunkShape:
    """A chunk's definition in the catalogue: its indexes and its table.

    Attributes:
        oid: the chunk's oid.
        indexes: in the order of their creation. PostgreSQL lists them in that order (RelationGetIndexList), and
            TimescaleDB uses the first one that equals the hypertable's (ts_chunk_index_get_by_hypertable_indexrelid).
        table: all that the catalogue says about its columns, other constraints and triggers.
    """

    oid: int
    indexes: tuple[ChunkIndex, ...]
    table: tuple[str, ...]

    def equals(self, other: ChunkShape) -> bool:
        """Whether both are the same. Only indexes with the same key must also be in the same order."""
        return self.table == other.table and self._by_key() == other._by_key()

    def _by_key(self) -> dict[str, list[ChunkIndex]]:
        return {key: list(twins) for key, twins in groupby(sorted(self.indexes, key=_key), key=_key)}


def chunk_shape(cursor: Cursor, chunk: Chunk) -> ChunkShape:
    """Read a chunk's shape from the catalogue.

    Args:
        cursor: in a transaction that has locked the chunk and has set `DEPARSE_SETTINGS`.
        chunk: the chunk.

    Raises:
        InternalError: the chunk does not exist.
    """
    oid = chunk_oid(cursor, chunk)
    if oid is None:
        raise InternalError(f"{chunk} is gone")
    cursor.execute(_INDEXES, (oid,))
    names = [column.name for column in cursor.description or ()]
    indexes = tuple(_index(dict(zip(names, row, strict=True))) for row in cursor.fetchall())
    cursor.execute(_TABLE, {"oid": oid})
    return ChunkShape(oid, indexes, tuple(line for (line,) in cursor.fetchall()))


def _key(index: ChunkIndex) -> str:
    return index.key


def _index(row: dict[str, Any]) -> ChunkIndex:
    constraint = row.pop("constraint")
    return ChunkIndex(
        constraint=None if constraint is None else OwningConstraint(**constraint),
        **{name: _frozen(value) for name, value in row.items()},
    )


def _frozen(value: Any) -> Any:
    """Convert PostgreSQL's arrays, which psycopg2 returns as lists, to tuples."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def drop_statement(table: sql.Identifier, index: ChunkIndex) -> sql.Composed:
    """Return the DROP of an index, or of the constraint that owns it. It has no CASCADE, so it drops nothing else."""
    if index.constraint is None:
        return sql.SQL("DROP INDEX {}").format(index.identifier)
    return sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(table, sql.Identifier(index.constraint.name))


def make_statements(table: sql.Identifier, index: ChunkIndex) -> Iterator[sql.Composable]:
    """Return the statements that recreate an index with all its properties, in the tablespace of `default_tablespace`.

    Args:
        table: the table of the index.
        index: the dropped index.
    """
    constraint = index.constraint
    if constraint is None:
        yield trusted_sql(index.definition)  # pg_get_indexdef wrote it
    else:
        name = sql.Identifier(constraint.name)
        definition = trusted_sql(constraint.definition)  # pg_get_constraintdef wrote it
        add = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(table, name, definition)
        yield sql.SQL(" ").join([add, _storage(index.options)]) if index.options else add
        if constraint.comment is not None:
            yield sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}").format(name, table, sql.Literal(constraint.comment))
    if index.comment is not None:
        yield sql.SQL("COMMENT ON INDEX {} IS {}").format(index.identifier, sql.Literal(index.comment))
    for number, target in index.statistics:
        yield sql.SQL("ALTER INDEX {} ALTER COLUMN {} SET STATISTICS {}").format(
            index.identifier, sql.Literal(number), sql.Literal(target)
        )
    if index.is_clustered:
        yield sql.SQL("ALTER TABLE {} CLUSTER ON {}").format(table, sql.Identifier(index.name))


def column_rename_statements(before: Iterable[ChunkIndex], now: Iterable[ChunkIndex]) -> Iterator[sql.Composed]:
    """Return the statements that give the indexes' own columns their old names.

    A new index takes the names of the table's columns, and one of these may have been renamed since the old index was
    created. The columns get temporary names first, since two of them may have swapped names.
    """
    columns = {index.name: index.columns for index in now}
    for index in before:
        pairs = enumerate(zip(columns.get(index.name, index.columns), index.columns, strict=False))
        differing = [(f"_restore_{number}", new, old) for number, (new, old) in pairs if new != old]
        yield from [_rename(index, new, between) for between, new, _ in differing]
        yield from [_rename(index, between, old) for between, _, old in differing]


def _rename(index: ChunkIndex, old: str, new: str) -> sql.Composed:
    return sql.SQL("ALTER TABLE {} RENAME COLUMN {} TO {}").format(
        index.identifier, sql.Identifier(old), sql.Identifier(new)
    )


def _storage(options: Sequence[str]) -> sql.Composed:
    """Return the storage parameters, which a constraint's definition lacks."""
    pairs = [option.partition("=") for option in options]
    return sql.SQL("WITH ({})").format(
        sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(value)) for name, _, value in pairs
        )
    )
