"""What a table is a part of: its parents, as PostgreSQL keeps them for partitions, inherited tables and chunks."""

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
    """A topmost ancestor of a table; the table itself, where it has no parent.

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
