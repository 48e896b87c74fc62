"""The columns of a table that take no null and have nothing else to hold if a file lacks them."""

from __future__ import annotations

from collections.abc import Sequence

from shared.postgres.connect import Cursor

# A domain has the default of the domain that it is made of, but asks each of them whether it takes null.
_REQUIRED = (
    "WITH RECURSIVE chain(name, place, is_needed, type) AS ("
    " SELECT a.attname::text, a.attnum, a.attnotnull, a.atttypid FROM pg_catalog.pg_attribute a"
    "  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid WHERE a.attrelid = %s AND a.attname = ANY (%s)"
    "  AND NOT a.atthasdef AND a.attidentity = '' AND t.typdefault IS NULL"
    " UNION ALL SELECT c.name, c.place, t.typnotnull, t.typbasetype"
    "  FROM chain c JOIN pg_catalog.pg_type t ON t.oid = c.type WHERE t.typtype = 'd')"
    " SELECT name FROM chain GROUP BY name, place HAVING bool_or(is_needed) ORDER BY place"
)


def required_columns(cursor: Cursor, oid: int, names: Sequence[str]) -> tuple[str, ...]:
    """Name those of a table's columns that are NOT NULL, or whose domain is, and that have no default.

    Args:
        cursor: in any transaction.
        oid: the table.
        names: the columns that are asked for. A generated one has a default.
    """
    cursor.execute(_REQUIRED, (oid, list(names)))
    return tuple(name for (name,) in cursor.fetchall())
