"""Decides which of a chunk's indexes may be deferred.

Drop an index only if it can be recreated identically and nothing that runs in between can notice that it is missing.
Keep it in any unusual case: maintaining it row by row is slower but always correct.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from psycopg2 import sql

from shared.model.results import KeptIndex
from shared.postgres.connect import Cursor
from shared.process import MIB
from shared.timescale.chunks import IS_OWN
from shared.timescale.indexes.definition import ChunkIndex, ChunkShape, OwningConstraint
from shared.timescale.table import Table, TimescaleDB
from shared.timescale.triggers import HAS_EVENT_TRIGGERS, IS_USERS

# From 2.22 on, no catalogue of TimescaleDB lists the indexes of a chunk. Before, a dropped index would remain listed.
_INDEXES_SINCE = (2, 22)
# From 2.28 on, none lists its constraints either. Before, `ALTER TABLE chunk DROP CONSTRAINT` is refused with 0A000.
CONSTRAINTS_SINCE = (2, 28)

# Each index is built once as a rehearsal. Over a few MiB that takes less time than a query of the catalogue.
_MOST_BYTES = 4 * MIB

_METHODS = ("btree", "hash", "gin", "gist", "spgist", "brin")


def chunk_rule(cursor: Cursor, chunk: int, hypertable: int) -> KeptIndex | None:
    """Return why none of a chunk's indexes may be deferred, or None.

    Args:
        cursor: in the load's transaction.
        chunk: the chunk's oid.
        hypertable: the hypertable's oid.
    """
    return _first(cursor, _CHUNK_RULES, chunk, hypertable)


def table_rule(cursor: Cursor, table: Table) -> KeptIndex | None:
    """Return why no index of any chunk of a hypertable may be deferred, or None. It need not have chunks yet.

    Call this before the first row is copied alone, since each COPY runs the statement's triggers.

    Args:
        cursor: in the load's transaction.
        table: the hypertable.
    """
    if table.timescaledb is None or table.hypertable_id is None:
        return KeptIndex(None, "NotAHypertable", "the table is not a hypertable")
    if not table.timescaledb.at_least(*_INDEXES_SINCE):
        return KeptIndex(None, *_listed(table.timescaledb))
    return _first(cursor, _TABLE_RULES, table.oid, table.oid)


def _first(
    cursor: Cursor, rules: Sequence[tuple[str, str, sql.Composable]], chunk: int, hypertable: int
) -> KeptIndex | None:
    """Return the first rule that applies."""
    # All rules in one query, since the server may be far away.
    query = sql.SQL("SELECT {}").format(
        sql.SQL(", ").join(sql.SQL("({})").format(statement) for _, _, statement in rules)
    )
    cursor.execute(query, {"chunk": chunk, "hypertable": hypertable})
    (applies,) = cursor.fetchall()
    return next((KeptIndex(None, rule[0], rule[1]) for rule, yes in zip(rules, applies, strict=True) if yes), None)


def _listed(timescaledb: TimescaleDB) -> tuple[str, str]:
    return "TimescaleDBVersion", f"TimescaleDB {timescaledb.version} lists the chunk's indexes in a catalogue"


# Each rule: code, reason, and a query for whether it applies. TimescaleDB's own triggers use no index of the chunk.
_TABLE_RULES = (
    (
        "MissingOwnership",
        "the role does not own the hypertable",
        sql.SQL("SELECT NOT pg_catalog.pg_has_role(relowner, 'USAGE') FROM pg_catalog.pg_class WHERE oid = %(chunk)s"),
    ),
    (
        "EventTrigger",
        "an event trigger of the database would see the indexes being dropped and rebuilt",
        HAS_EVENT_TRIGGERS,
    ),
    (
        "Trigger",
        "a trigger of the table runs while rows are copied, and may rely on its indexes",
        sql.SQL(
            """SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid IN (%(chunk)s, %(hypertable)s)
            AND NOT t.tgisinternal AND t.tgtype & 4 = 4 AND {})"""
        ).format(IS_USERS),
    ),
    (
        # ALTER TABLE is refused while its trigger events are pending (55006).
        "DeferredConstraint",
        "a constraint of the table is checked only at the end of the transaction",
        sql.SQL("SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = %(chunk)s AND tginitdeferred)"),
    ),
)
_CHUNK_RULES = (
    (
        "NotOwnChunk",
        "the chunk was neither created nor emptied by this transaction",
        sql.SQL("SELECT NOT {}").format(IS_OWN),
    ),
    (
        "ChunkNotEmpty",
        "the chunk already holds more than a few rows, including dead ones",
        sql.SQL("SELECT pg_catalog.pg_relation_size(%(chunk)s) > {}").format(sql.Literal(_MOST_BYTES)),
    ),
    (
        "ChunkCompressed",
        "the chunk is compressed",
        sql.SQL(
            """SELECT coalesce(bool_or(i.is_compressed), false) FROM timescaledb_information.chunks i
            JOIN pg_catalog.pg_namespace n ON n.nspname = i.chunk_schema
            JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = i.chunk_name
            WHERE c.oid = %(chunk)s"""
        ),
    ),
    *_TABLE_RULES,
    (
        "MissingCreate",
        "the role lacks the right CREATE on the schema of the chunks, which CREATE INDEX needs",
        sql.SQL(
            """SELECT NOT pg_catalog.has_schema_privilege(relnamespace, 'USAGE')
            OR NOT pg_catalog.has_schema_privilege(relnamespace, 'CREATE')
            FROM pg_catalog.pg_class WHERE oid = %(chunk)s"""
        ),
    ),
)


def index_rules(shape: ChunkShape, timescaledb: TimescaleDB, unrepeatable: AbstractSet[str]) -> list[KeptIndex]:
    """List the indexes that may not be deferred, each with the first reason found.

    Args:
        shape: the chunk's shape.
        timescaledb: the extension.
        unrepeatable: names of indexes that differed when they were rebuilt.
    """
    kept = {}
    for index in shape.indexes:
        reasons = list(_reasons(index, timescaledb))
        if index.name in unrepeatable:
            reasons.append(("NotRepeatable", "it could not be rebuilt identically"))
        if reasons:
            kept[index.name] = KeptIndex(index.name, *reasons[0])
    keys = {index.key for index in shape.indexes if index.name in kept}
    for index in shape.indexes:
        if index.key in keys:
            # Rebuilt, it would follow the other one, and TimescaleDB uses the first one that matches.
            kept.setdefault(index.name, KeptIndex(index.name, "Twin", "an index over the same columns is kept"))
    return list(kept.values())


def _reasons(index: ChunkIndex, timescaledb: TimescaleDB) -> Iterator[tuple[str, str]]:
    if not timescaledb.at_least(*_INDEXES_SINCE):
        yield _listed(timescaledb)
    if index.constraint is not None:
        yield from _constraint_reasons(index.constraint, timescaledb)
    if index.is_exclusion:
        yield "ExclusionConstraint", "it belongs to an exclusion constraint"
    if not index.is_valid:
        yield "InvalidIndex", "it is invalid"
    if index.method not in _METHODS:
        yield "AccessMethod", f"its access method {index.method} is not one of PostgreSQL's own"
    if index.is_replica_identity:
        # TimescaleDB refuses `ALTER TABLE chunk REPLICA IDENTITY` (0A000; run on 2.29.2 and 2.31.0).
        yield "ReplicaIdentity", "it is the replica identity of the chunk"
    yield from _dependency_reasons(index)
    if index.has_statistics:
        yield "Statistics", "it has statistics of its expressions"
    if index.calls:
        # From 17 on, CREATE INDEX sets its own search_path, in which names that an INSERT finds may be missing.
        yield "FunctionBySearchPath", f"{index.calls[0]} resolves names by the search_path"
    if not index.may_use_tablespace:
        yield "MissingCreate", f"the role lacks the right CREATE on the tablespace {index.tablespace}"


def _constraint_reasons(constraint: OwningConstraint, timescaledb: TimescaleDB) -> Iterator[tuple[str, str]]:
    if not timescaledb.at_least(*CONSTRAINTS_SINCE):
        yield "TimescaleDBVersion", f"TimescaleDB {timescaledb.version} cannot drop a constraint of a chunk"
    if constraint.is_deferrable:
        yield "DeferrableConstraint", "its constraint is deferrable"


def _dependency_reasons(index: ChunkIndex) -> Iterator[tuple[str, str]]:
    # Foreign keys that reference the table, and views whose GROUP BY depends on a primary key.
    if index.dependents:
        yield "DependedOn", f"{index.dependents[0]} depends on it"
    # pg_depend.deptype: member of an extension, DEPENDS ON EXTENSION, part of a partitioned index.
    if any(dependency.partition(" ")[0] in ("e", "x", "P", "S") for dependency in index.depends_on):
        yield "Dependency", "it depends on an extension or on another index"
