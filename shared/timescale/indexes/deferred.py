"""Drops a chunk's indexes before rows are copied into it, and rebuilds them as they were.

To maintain its indexes row by row takes a third to two thirds of a load (docs/performance_indexes.md). Inside one
transaction they can be dropped and built again in one go, for a chunk that this very transaction made or emptied:
nobody else can see it. A duplicate key then shows when its unique index is built (23505), and the transaction is rolled
back as it would have been anyhow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from psycopg2 import sql

from shared.errors import InternalError
from shared.model.results import KeptIndex
from shared.postgres.connect import Cursor
from shared.postgres.savepoint import attempt_in_savepoint, local_settings, set_local
from shared.postgres.sqlstate import INTERRUPTIONS
from shared.timescale.chunks import Chunk
from shared.timescale.indexes.definition import (
    DEPARSE_SETTINGS,
    ChunkIndex,
    ChunkShape,
    chunk_shape,
    column_rename_statements,
    drop_statement,
    make_statements,
)
from shared.timescale.indexes.eligibility import chunk_rule, index_rules
from shared.timescale.table import Table


@dataclass(frozen=True)
class Plan:
    """Which of a chunk's indexes are dropped and rebuilt, and which are kept.

    Attributes:
        chunk: the chunk.
        shape: what it is before.
        deferred: the indexes that are dropped and rebuilt, in the order in which they were made.
        kept: the others, with the reason.
    """

    chunk: Chunk
    shape: ChunkShape
    deferred: tuple[ChunkIndex, ...]
    kept: tuple[KeptIndex, ...]


@dataclass(frozen=True)
class Build:
    """How indexes are built. None leaves it to the server.

    Attributes:
        maintenance_work_mem_mib: what one build may sort in memory, its workers included.
        workers: how many parallel workers help it, at most.
    """

    maintenance_work_mem_mib: int | None = None
    workers: int | None = None


def decide(cursor: Cursor, table: Table, chunk: Chunk) -> Plan:
    """Decide which of a chunk's indexes are deferred. Changes nothing.

    What the rules let pass is rehearsed: dropped and rebuilt on the chunk, which is empty or nearly so. Where the
    catalogue then differs in anything, it is rolled back and the index kept.

    Args:
        cursor: in the load's transaction, which made or emptied the chunk.
        table: the hypertable.
        chunk: the chunk.

    Raises:
        StatementCanceled: the rehearsal was canceled, or took too long.
    """
    if table.timescaledb is None:
        raise InternalError(f"{table} is no hypertable")
    with _undone(cursor):
        shape = _shape(cursor, chunk)
        general = chunk_rule(cursor, shape.oid, table.oid)
        if general is not None:
            return Plan(chunk, shape, (), (general,))
        unrepeatable: set[str] = set()
        while True:
            kept = index_rules(shape, table.timescaledb, unrepeatable)
            names = {one.index for one in kept}
            plan = Plan(chunk, shape, tuple(index for index in shape.indexes if index.name not in names), tuple(kept))
            if not plan.deferred or _rehearse(cursor, plan):
                return plan
            alone = {index.name for index in plan.deferred if not _rehearse(cursor, _with_twins(plan, index))}
            unrepeatable |= alone or {index.name for index in plan.deferred}


def drop_indexes(cursor: Cursor, plan: Plan) -> None:
    """Drop the plan's indexes and constraints."""
    chunk = sql.Identifier(plan.chunk.schema, plan.chunk.name)
    if plan.deferred:
        cursor.execute(sql.SQL("; ").join(drop_statement(chunk, index) for index in plan.deferred))


def rebuild(cursor: Cursor, plan: Plan, build: Build | None = None) -> None:
    """Rebuild the plan's indexes and constraints, and prove that the chunk is what it was.

    Args:
        cursor: in the load's transaction, after the rows.
        plan: its indexes are dropped.
        build: how they are built.

    Raises:
        psycopg2.errors.UniqueViolation: two rows have the same key (23505). All is to be rolled back.
        InternalError: the chunk is not what it was. All is to be rolled back.
    """
    if not plan.deferred:
        return
    with local_settings(cursor, _build_settings(build or Build())):
        if not _make(cursor, plan):
            raise InternalError(f"the indexes of {plan.chunk} are not what they were")


class DeferredIndexes:
    """The indexes of the chunks that one load fills.

    A day may have several chunks, and TimescaleDB makes each when its first row comes. So they can be handed over as
    they appear, between two COPYs of the load; one that is not handed over keeps its indexes, and is right as well.

    Attributes:
        plans: what was decided for each chunk, in the order in which they came.

    Args:
        cursor: in the load's transaction.
        table: the hypertable.
        build: how indexes are built.
    """

    def __init__(self, cursor: Cursor, table: Table, build: Build | None = None) -> None:
        self._cursor = cursor
        self._table = table
        self._build = build
        self.plans: list[Plan] = []

    def drop(self, chunks: Sequence[Chunk]) -> None:
        """Drop the indexes of chunks. A chunk that was handed over before is left as it is.

        Args:
            chunks: made or emptied by this transaction, and nearly empty.
        """
        known = {str(plan.chunk) for plan in self.plans}
        for chunk in chunks:
            if str(chunk) not in known:
                plan = decide(self._cursor, self._table, chunk)
                drop_indexes(self._cursor, plan)
                self.plans.append(plan)

    def rebuild(self) -> None:
        """Rebuild all of them. Raises what the function `rebuild` raises."""
        for plan in self.plans:
            rebuild(self._cursor, plan, self._build)


def _with_twins(plan: Plan, index: ChunkIndex) -> Plan:
    """Leave in the plan only an index and those that come in its order."""
    return replace(plan, deferred=tuple(other for other in plan.deferred if other.key == index.key))


def _rehearse(cursor: Cursor, plan: Plan) -> bool:
    """Drop and rebuild, and say whether all is as before."""

    def once(cursor: Cursor) -> bool:
        drop_indexes(cursor, plan)
        return _make(cursor, plan)

    is_same, error = attempt_in_savepoint(cursor, once)
    if isinstance(error, INTERRUPTIONS):
        raise error
    return is_same is True


def _make(cursor: Cursor, plan: Plan) -> bool:
    """Rebuild the plan's indexes, and say whether all is as before."""
    chunk = sql.Identifier(plan.chunk.schema, plan.chunk.name)
    cursor.execute("SELECT pg_catalog.concat_ws(', ', 'pg_catalog', nullif(current_setting('search_path'), ''))")
    ((path,),) = cursor.fetchall()
    # The definitions need pg_catalog first. A function in an expression finds the rest where it found it when rows were
    # inserted; PostgreSQL 17 and newer build indexes with a path of their own.
    settings = DEPARSE_SETTINGS | {"search_path": path, "default_tablespace": ""}
    with local_settings(cursor, settings):
        for index in plan.deferred:
            # default_tablespace says where it goes. In the definition that would have to stand before a WHERE.
            set_local(cursor, {"default_tablespace": index.tablespace or ""})
            cursor.execute(sql.SQL("; ").join(make_statements(chunk, index)))
    made = _shape(cursor, plan.chunk)
    renames = list(column_rename_statements(plan.shape.indexes, made.indexes))
    if renames:
        cursor.execute(sql.SQL("; ").join(renames))
        made = _shape(cursor, plan.chunk)
    return made.equals(plan.shape)


def _shape(cursor: Cursor, chunk: Chunk) -> ChunkShape:
    with local_settings(cursor, DEPARSE_SETTINGS):
        return chunk_shape(cursor, chunk)


def _build_settings(build: Build) -> dict[str, str]:
    settings = {}
    if build.maintenance_work_mem_mib is not None:
        settings["maintenance_work_mem"] = f"{build.maintenance_work_mem_mib}MB"
    if build.workers is not None:
        settings["max_parallel_maintenance_workers"] = str(build.workers)
    return settings


@contextmanager
def _undone(cursor: Cursor) -> Iterator[None]:
    """Take back what the body does, its settings included."""
    cursor.execute("SAVEPOINT decision")
    yield
    cursor.execute("ROLLBACK TO SAVEPOINT decision")
    cursor.execute("RELEASE SAVEPOINT decision")
