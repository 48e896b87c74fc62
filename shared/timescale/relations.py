"""Refuses names of anything that is not a table to restore into, and says what they name.

The catalogue knows by oid what a table is. Schema and name prove nothing: a hypertable may keep its chunks in any
schema, and an owner may move and rename chunks, the tables of their compressed rows, and materializations.
"""

from __future__ import annotations

from psycopg2 import sql

from shared.errors import TargetNotATable
from shared.names import QualifiedName
from shared.postgres.connect import Cursor

# pg_class.relkind: https://www.postgresql.org/docs/current/catalog-pg-class.html
_TABLES = ("r", "p")  # ordinary and partitioned ones
_KINDS = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "S": "a sequence",
    "i": "an index",
    "I": "an index",
    "c": "a composite type",
    "t": "a TOAST table",
}


def refuse_other_kind(cursor: Cursor, name: QualifiedName, kind: str, *, has_timescaledb: bool, target: str) -> None:
    """Refuse a relation that is not a table.

    Args:
        cursor: in any transaction.
        name: with its schema.
        kind: its `relkind`.
        has_timescaledb: whether the database has the extension.
        target: the field of the request that named it, for errors.

    Raises:
        TargetNotATable: it is a view, a sequence or something else.
    """
    if kind in _TABLES:
        return
    if has_timescaledb and kind == "v":
        cursor.execute(
            "SELECT mat_hypertable_id FROM _timescaledb_catalog.continuous_agg"
            " WHERE user_view_schema = %s AND user_view_name = %s",
            (name.schema, name.name),
        )
        row = cursor.fetchone()
        if row is not None:
            _refuse_aggregate(cursor, row[0], f"{name} is a continuous aggregate", target)
    raise TargetNotATable(f"{name} is {_KINDS.get(kind, 'no table')}", target=target)


# The entry of a chunk in the catalogue: by oid from 2.29.0 on, by schema and name before (read: sql/updates of that
# version; run on 2.24.0, 2.28.3 and 2.29.2). Before 2.28 a chunk that was dropped may keep its entry.
_IS_CHUNK_BY_OID = sql.SQL("k.relid = %(oid)s")
_IS_CHUNK_BY_NAME = sql.SQL(
    "(k.schema_name, k.table_name) = (SELECT n.nspname, c.relname FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %(oid)s)"
    " AND coalesce(pg_catalog.to_jsonb(k) ->> 'dropped', 'false') = 'false'"
)
# Up to 2.28 the tables of compressed rows are chunks of a hypertable of their own, of compression_state 2.
_CHUNK = sql.SQL(
    "SELECT o.id IS NOT NULL, coalesce(o.schema_name, h.schema_name), coalesce(o.table_name, h.table_name)"
    " FROM _timescaledb_catalog.chunk k JOIN _timescaledb_catalog.hypertable h ON h.id = k.hypertable_id"
    " LEFT JOIN _timescaledb_catalog.hypertable o ON o.compressed_hypertable_id = h.id WHERE {is_chunk}"
)
_HYPERTABLE_OF_COMPRESSED_ROWS = (
    "SELECT true, o.schema_name, o.table_name"
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " JOIN _timescaledb_catalog.hypertable k ON k.schema_name = n.nspname AND k.table_name = c.relname"
    " JOIN _timescaledb_catalog.hypertable o ON o.compressed_hypertable_id = k.id WHERE c.oid = %(oid)s"
)
# From 2.29 on they are tables of which only this entry tells; it is there since 2.19.0.
_TABLE_OF_COMPRESSED_ROWS = (
    "SELECT true, n.nspname, p.relname FROM _timescaledb_catalog.compression_settings s"
    " LEFT JOIN pg_catalog.pg_inherits i ON i.inhrelid = s.relid LEFT JOIN pg_catalog.pg_class p ON p.oid = i.inhparent"
    " LEFT JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace WHERE s.compress_relid = %(oid)s"
)


def refuse_part(cursor: Cursor, name: str, oid: int, *, knows_oids: bool, target: str) -> None:
    """Refuse the tables in which TimescaleDB keeps the rows of a hypertable.

    Rows that are written directly into such a table bypass the hypertable: its columns, its checks, and the lock of the
    day.

    Args:
        cursor: in any transaction.
        name: the table's, for a person.
        oid: the table's. It is not a hypertable with a time column.
        knows_oids: whether TimescaleDB is 2.29 or newer.
        target: the field of the request that named it, for errors.

    Raises:
        TargetNotATable: it is a chunk, or holds compressed rows.
    """
    is_chunk = _CHUNK.format(is_chunk=_IS_CHUNK_BY_OID if knows_oids else _IS_CHUNK_BY_NAME)
    for question in (is_chunk, _TABLE_OF_COMPRESSED_ROWS if knows_oids else _HYPERTABLE_OF_COMPRESSED_ROWS):
        cursor.execute(question, {"oid": oid})
        row = cursor.fetchone()
        if row is not None:
            is_compressed, *of = row
            what = f"{name} holds compressed rows of" if is_compressed else f"{name} is a chunk of"
            hypertable = "a hypertable" if None in of else ".".join(of)
            raise TargetNotATable(f"{what} {hypertable}", target=target, hint="name the hypertable")


def refuse_extensions(cursor: Cursor, name: str, oid: int, *, target: str) -> None:
    """Refuse the tables of extensions: catalogues, settings and the like.

    Args:
        cursor: in any transaction.
        name: the table's, for a person.
        oid: the table's.
        target: the field of the request that named it, for errors.

    Raises:
        TargetNotATable: it belongs to one.
    """
    cursor.execute(
        "SELECT e.extname FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid"
        " WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = %s"
        " AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'",
        (oid,),
    )
    row = cursor.fetchone()
    if row is not None:
        raise TargetNotATable(f"{name} belongs to the extension {row[0]}", target=target)


def refuse_materialization(cursor: Cursor, name: str, hypertable_id: int | None, *, target: str) -> None:
    """Refuse the table in which TimescaleDB keeps the rows of an aggregate. Anybody may move it to another schema.

    Raises:
        TargetNotATable: the hypertable is one.
    """
    if hypertable_id is None:
        return
    cursor.execute(
        "SELECT user_view_schema, user_view_name FROM _timescaledb_catalog.continuous_agg WHERE mat_hypertable_id = %s",
        (hypertable_id,),
    )
    row = cursor.fetchone()
    if row is not None:
        message = f"{name} holds the rows of the continuous aggregate {row[0]}.{row[1]}"
        _refuse_aggregate(cursor, hypertable_id, message, target)


def _refuse_aggregate(cursor: Cursor, materialization: int, message: str, target: str) -> None:
    # An aggregate may be made of another one.
    cursor.execute(
        "WITH RECURSIVE below AS ("
        " SELECT a.raw_hypertable_id AS id, 1 AS depth FROM _timescaledb_catalog.continuous_agg a"
        "  WHERE a.mat_hypertable_id = %s"
        " UNION ALL"
        " SELECT a.raw_hypertable_id, b.depth + 1"
        "  FROM below b JOIN _timescaledb_catalog.continuous_agg a ON a.mat_hypertable_id = b.id)"
        " SELECT h.schema_name, h.table_name FROM below b JOIN _timescaledb_catalog.hypertable h ON h.id = b.id"
        " ORDER BY b.depth DESC LIMIT 1",
        (materialization,),
    )
    ((schema, name),) = cursor.fetchall()
    raise TargetNotATable(
        f"{message}, which is made of {schema}.{name}",
        target=target,
        hint=f"restore {schema}.{name}, and name the aggregate in timescaledb.refresh_caggs",
    )
