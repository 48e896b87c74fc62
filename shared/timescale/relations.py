"""Refuses names that stand for something else than a table to restore into, and says what they stand for."""

from __future__ import annotations

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
    """Refuse what is no table.

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


def refuse_chunk(cursor: Cursor, name: str, oid: int, *, target: str) -> None:
    """Refuse a chunk: the lock of the day is on its hypertable.

    Raises:
        TargetNotATable: the table is one.
    """
    cursor.execute(
        "SELECT h.schema_name, h.table_name FROM pg_catalog.pg_inherits i"
        " JOIN pg_catalog.pg_class p ON p.oid = i.inhparent JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace"
        " JOIN _timescaledb_catalog.hypertable h ON h.schema_name = n.nspname AND h.table_name = p.relname"
        " WHERE i.inhrelid = %s",
        (oid,),
    )
    row = cursor.fetchone()
    if row is not None:
        raise TargetNotATable(f"{name} is a chunk of {row[0]}.{row[1]}", target=target, hint="name the hypertable")


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
