"""What a DELETE of the day's rows triggers, and a TRUNCATE of its chunks would bypass."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg2 import sql

from shared.postgres.connect import Cursor
from shared.timescale.chunks import Chunk
from shared.timescale.table import Table
from shared.timescale.triggers import IS_USERS, fires

# Checks the hypertable and the chunks, since a chunk may have triggers of its own. Bits 8 and 32 of `tgtype` are DELETE
# and TRUNCATE: a trigger on TRUNCATE must not fire either, since the caller asked for a replacement. TimescaleDB's own
# triggers do not count: TimescaleDB itself tells the continuous aggregates that a chunk was truncated. Event 4 of a
# rule is DELETE. TRUNCATE ignores policies, and would remove rows that the role does not see. A foreign key has
# triggers too, and PostgreSQL refuses the TRUNCATE even if they are disabled. The function behind the view of
# publications covers FOR ALL TABLES and FOR TABLES IN SCHEMA on every version; it is slow if there are many tables.
_WHY_NOT_TRUNCATE = sql.SQL(
    "WITH relations AS (SELECT c.oid FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %(table)s OR (n.nspname, c.relname) IN"
    " (SELECT * FROM ROWS FROM (pg_catalog.unnest(%(schemas)s::name[]), pg_catalog.unnest(%(names)s::name[]))))"
    " SELECT CASE"
    " WHEN EXISTS (SELECT FROM pg_catalog.pg_constraint k JOIN relations r ON r.oid = k.confrelid"
    "  WHERE k.contype = 'f') THEN 'a foreign key that refers to it'"
    " WHEN EXISTS (SELECT FROM pg_catalog.pg_trigger t JOIN relations r ON r.oid = t.tgrelid"
    "  WHERE t.tgtype & 40 <> 0 AND {trigger_fires} AND {is_users})"
    "  THEN 'a trigger on DELETE or TRUNCATE'"
    " WHEN EXISTS (SELECT FROM pg_catalog.pg_rewrite w JOIN relations r ON r.oid = w.ev_class"
    "  WHERE w.ev_type = '4' AND {rule_fires}) THEN 'a rule on DELETE'"
    " WHEN pg_catalog.row_security_active(%(table)s::oid) THEN 'row-level security'"
    " WHEN EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubdelete AND NOT pubtruncate)"
    "  AND EXISTS (SELECT FROM pg_catalog.pg_publication p"
    "   CROSS JOIN LATERAL pg_catalog.pg_get_publication_tables(p.pubname) x JOIN relations r ON r.oid = x.relid"
    "   WHERE p.pubdelete AND NOT p.pubtruncate) THEN 'a publication of deletes without truncates'"
    " END"
).format(
    is_users=IS_USERS,
    trigger_fires=fires(sql.Identifier("t", "tgenabled")),
    rule_fires=fires(sql.Identifier("w", "ev_enabled")),
)


def why_not_truncate(cursor: Cursor, table: Table, chunks: Sequence[Chunk]) -> str | None:
    """Return why the rows must be deleted, not truncated: what would not notice a TRUNCATE. None: nothing.

    Args:
        cursor: in any transaction.
        table: the hypertable.
        chunks: those that might be truncated.
    """
    if not chunks:
        return None
    cursor.execute(
        _WHY_NOT_TRUNCATE,
        {
            "table": table.oid,
            "schemas": [chunk.schema for chunk in chunks],
            "names": [chunk.name for chunk in chunks],
        },
    )
    row = cursor.fetchone()
    return None if row is None else row[0]
