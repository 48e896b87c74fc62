"""All that the catalogues say of a table and its indexes, such that two loads of the same rows can be compared."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class, whatever psycopg2 calls it

# Counts of pages and rows, which CREATE INDEX brings up to date as VACUUM does; what names a file or an age; and sizes,
# since an index that is built in one go is smaller.
VOLATILE = {
    *("relfilenode", "relpages", "reltuples", "relallvisible", "relallfrozen", "relfrozenxid", "relminmxid"),
    *("creation_time", "chunk_creation_time", "uncompressed_index_size"),
}

# The table's row types, its TOAST table and its index, and whatever hangs on any of them by its number.
_NUMBERS = """
    WITH RECURSIVE found(class, number) AS (
        SELECT 'pg_class'::regclass::oid, %s::regclass::oid
        UNION
        SELECT d.classid, d.objid FROM pg_depend d JOIN found f ON d.refclassid = f.class AND d.refobjid = f.number
        WHERE d.deptype IN ('a', 'i', 'P', 'S')
    )
    SELECT class::regclass::text, number, o.type || ' ' || o.identity FROM found, pg_identify_object(class, number, 0) o
"""

_OF_OBJECTS = {
    "pg_class": "oid",
    "pg_attribute": "attrelid",
    "pg_attrdef": "adrelid",
    "pg_index": "indexrelid",
    "pg_constraint": "oid",
    "pg_trigger": "tgrelid",
    "pg_inherits": "inhrelid",
    "pg_description": "objoid",
    "pg_seclabel": "objoid",
    "pg_init_privs": "objoid",
    "pg_rewrite": "ev_class",
    "pg_policy": "polrelid",
    "pg_publication_rel": "prrelid",
    "pg_statistic": "starelid",
    "pg_statistic_ext": "stxrelid",
    "pg_type": "typrelid",
}


def snapshot(cursor: Cursor, table: str) -> Counter[str]:
    """Describe a table: each row of the catalogues about it, numbers replaced by what they name, and how often it is.

    The whole of TimescaleDB's own catalogue is in it. PostgreSQL 17.12 stamps each new table's columns with a place in
    the WAL (`pg_attver`).
    """
    cursor.execute("SET LOCAL search_path = pg_catalog")
    cursor.execute(_NUMBERS, (table,))
    names = {str(number): f"<{identity}>" for _, number, identity in cursor.fetchall()}
    lines = [f"{source}: {_plain(row, names)}" for source, row in _rows(cursor, [int(number) for number in names])]
    cursor.execute(
        "SELECT d.deptype, pg_identify_object(classid, objid, objsubid)::text,"
        " pg_identify_object(refclassid, refobjid, refobjsubid)::text FROM pg_depend d"
        " WHERE objid = ANY (%(n)s::oid[]) OR refobjid = ANY (%(n)s::oid[])",
        {"n": list(names)},
    )
    lines += [f"pg_depend: {row}" for row in cursor.fetchall()]
    cursor.execute(
        "SELECT array_agg(indexrelid::regclass::text ORDER BY indexrelid) FROM pg_index WHERE indrelid = %s::regclass",
        (table,),
    )
    lines += [f"order of the indexes: {row}" for row in cursor.fetchall()]
    return Counter(re.sub(r"pg_toast_\d+|pg_attver=\d+", "N", line) for line in lines)


def _rows(cursor: Cursor, numbers: list[int]) -> Iterator[tuple[str, dict[str, Any]]]:
    for source, column in _OF_OBJECTS.items():
        cursor.execute(f"SELECT to_jsonb(c) FROM {source} c WHERE {column} = ANY (%s::oid[])", (numbers,))
        yield from ((source, row) for (row,) in cursor.fetchall())
    cursor.execute(
        "SELECT relnamespace::regnamespace || '.' || quote_ident(relname) FROM pg_class WHERE relkind IN ('r', 'v')"
        " AND relnamespace::regnamespace::text IN ('_timescaledb_catalog', 'timescaledb_information')"
        # What is counted while a server runs, and what its jobs do meanwhile.
        " AND relname !~ '^(job|stat_|metadata|telemetry)'"
    )
    for (source,) in cursor.fetchall():
        cursor.execute(f"SELECT to_jsonb(c) FROM {source} c")
        yield from ((source, row) for (row,) in cursor.fetchall())


def _plain(row: dict[str, Any], names: dict[str, str]) -> str:
    kept = {
        key: names.get(value, value) if isinstance(value, str) else value
        for key, value in row.items()
        if key not in VOLATILE
    }
    return json.dumps(kept, sort_keys=True)


@contextmanager
def rolled_back(cursor: Cursor) -> Iterator[None]:
    """Run the body in a transaction of the load's kind and leave nothing of it, used numbers of chunks included."""
    cursor.execute(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind = 'S' AND n.nspname = '_timescaledb_catalog'"
    )
    used = []
    for (sequence,) in cursor.fetchall():
        cursor.execute(f"SELECT %s, last_value, is_called FROM {sequence}", (sequence,))
        used += cursor.fetchall()
    cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    try:
        yield
    finally:
        cursor.execute("ROLLBACK")
        for values in used:
            cursor.execute("SELECT setval(%s, %s, %s)", values)
