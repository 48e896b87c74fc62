"""Lists tables that the role may know of, for the error of a name that is not a table's."""

from __future__ import annotations

from collections.abc import Sequence

from shared.names import QualifiedName
from shared.postgres.connect import Cursor


def tables_to_see(
    cursor: Cursor, wanted: QualifiedName, *, without_schemas: Sequence[str], most: int
) -> list[QualifiedName]:
    """List tables that the role has a right on, those of a similar name first. Partitions are left out.

    Args:
        cursor: in any transaction.
        wanted: the name that stands for no table.
        without_schemas: beginnings of the names of schemas that are left out.
        most: how many are listed.
    """
    cursor.execute(
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition"
        "  AND NOT EXISTS (SELECT FROM pg_catalog.unnest(%(internal)s::text[]) i"
        "   WHERE pg_catalog.starts_with(n.nspname, i))"
        "  AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')"
        "  AND pg_catalog.has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')"
        " ORDER BY pg_catalog.lower(c.relname) = pg_catalog.lower(%(name)s) DESC, n.nspname = %(schema)s DESC,"
        "  pg_catalog.lower(pg_catalog.left(c.relname, 1)) = pg_catalog.lower(pg_catalog.left(%(name)s, 1)) DESC,"
        "  pg_catalog.abs(pg_catalog.length(c.relname) - pg_catalog.length(%(name)s)), n.nspname, c.relname"
        " LIMIT %(most)s",
        {"internal": list(without_schemas), "name": wanted.name, "schema": wanted.schema, "most": most},
    )
    return [QualifiedName(*row) for row in cursor.fetchall()]
