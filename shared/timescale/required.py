"""The columns of a table that are NOT NULL and have no default, so a file must have them."""

from __future__ import annotations

from collections.abc import Sequence

from shared.postgres.connect import Cursor

# A domain takes its default from the domain that it is based on, but each of them may refuse null.
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
    """Name the columns, among some of a table, that are NOT NULL or of a NOT NULL domain, and have no default.

    Args:
        cursor: in any transaction.
        oid: the table.
        names: the columns that are asked for. A generated one has a default.
    """
    cursor.execute(_REQUIRED, (oid, list(names)))
    return tuple(name for (name,) in cursor.fetchall())
