"""Finds the ancestors and the parts of a table: partitions, inherited tables and chunks, as PostgreSQL records them."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.names import QualifiedName
from shared.postgres.connect import Cursor

_ROOTS = (
    "WITH RECURSIVE up AS ("
    " SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    "  WHERE n.nspname = %s AND c.relname = %s"
    " UNION SELECT i.inhparent FROM up JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.oid)"
    " SELECT c.oid, n.nspname, c.relname FROM up JOIN pg_catalog.pg_class c ON c.oid = up.oid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = up.oid) ORDER BY c.oid"
)


@dataclass(frozen=True)
class Root:
    """A topmost ancestor of a table; the table itself if it has no parent.

    Attributes:
        oid: its oid.
        name: its name, with its schema.
    """

    oid: int
    name: QualifiedName = field(compare=False)


def find_roots(cursor: Cursor, name: QualifiedName) -> tuple[Root, ...]:
    """Find the topmost ancestors of a table, ordered by oid. Takes no lock.

    A partition, a chunk or a hypertable has one. A table that inherits (INHERITS) may have several.

    Args:
        cursor: in any transaction, or in autocommit.
        name: the table's, with its schema.

    Returns:
        Nothing if there is no such table.
    """
    cursor.execute(_ROOTS, (name.schema, name.name))
    return tuple(Root(oid, QualifiedName(schema, table)) for oid, schema, table in cursor.fetchall())


# PostgreSQL's functions for partitions, and the name of what is locked, show the catalogue as it is now: a partition
# may have been attached since the snapshot. Of tables that inherit, the snapshot knows.
_WRITTEN = (
    "WITH RECURSIVE part AS (SELECT i.inhrelid AS oid FROM pg_catalog.pg_inherits i WHERE i.inhparent = %(table)s"
    " UNION SELECT i.inhrelid FROM part JOIN pg_catalog.pg_inherits i ON i.inhparent = part.oid)"
    " SELECT pg_catalog.parse_ident(o.identity) FROM pg_catalog.pg_locks l"
    " CROSS JOIN LATERAL pg_catalog.pg_identify_object('pg_catalog.pg_class'::regclass, l.relation, 0) o"
    " WHERE l.pid = pg_catalog.pg_backend_pid() AND l.mode = 'RowExclusiveLock' AND l.locktype = 'relation'"
    " AND l.relation <> %(table)s"
    " AND (l.relation IN (SELECT part.oid FROM part)"
    "  OR %(table)s IN (SELECT a.relid FROM pg_catalog.pg_partition_ancestors(l.relation) a))"
    # A partitioned table itself holds no rows.
    " AND o.type IN ('table', 'foreign table')"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_partitioned_table p WHERE p.partrelid = l.relation)"
    " ORDER BY 1"
)


def written_parts(cursor: Cursor, oid: int) -> list[QualifiedName]:
    """List the partitions of a table, and the tables that inherit from it, which this transaction has written to.

    Args:
        cursor: in the transaction.
        oid: the table's.
    """
    cursor.execute(_WRITTEN, {"table": oid})
    return [QualifiedName(*name) for (name,) in cursor.fetchall()]
