"""Drops a chunk's indexes before rows are copied into it, and rebuilds them identically.

Maintaining indexes row by row takes a third to two thirds of a load (docs/performance_indexes.md). If the load's
transaction itself created or emptied the chunk, no other session sees the chunk, and the transaction can drop and
rebuild its indexes. A duplicate key then shows when its unique index is built (23505), and rolls the transaction back,
as it would have done anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from psycopg2 import sql

from shared.errors import DatabaseUnreachable, InternalError
from shared.model.results import KeptIndex
from shared.postgres.connect import Cursor
from shared.postgres.local_settings import local_settings, set_local
from shared.postgres.savepoint import attempt_in_savepoint
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
from shared.timescale.indexes.memory import build_memory, server_memory
from shared.timescale.table import Table

KIB = 1024  # bytes


@dataclass(frozen=True)
class IndexPlan:
    """Which of a chunk's indexes are dropped and rebuilt, and which are kept.

    Attributes:
        chunk: the chunk.
        shape: its shape before the drop.
        deferred: the indexes that are dropped and rebuilt, in the order of their creation.
        kept: the other indexes, with the reason.
    """

    chunk: Chunk
    shape: ChunkShape
    deferred: tuple[ChunkIndex, ...]
    kept: tuple[KeptIndex, ...]


@dataclass(frozen=True)
class Build:
    """Settings for building indexes.

    Attributes:
        memory_bytes: memory for one build (`maintenance_work_mem`), its workers included; None: chosen by the day's
            size and the server's settings.
        workers: maximum number of parallel workers for one build; None: the server's own.
        csv_bytes: approximate size of the day, unpacked.
    """

    memory_bytes: int | None = None
    workers: int | None = None
    csv_bytes: int = 0


def decide(cursor: Cursor, table: Table, chunk: Chunk) -> IndexPlan:
    """Decide which of a chunk's indexes are deferred. Changes nothing.

    Indexes that pass the rules are rehearsed: dropped and rebuilt on the chunk, which is empty or nearly empty. If the
    catalogue then differs in any way, that is rolled back and the index is kept.

    Args:
        cursor: in the load's transaction, which created or emptied the chunk.
        table: the hypertable.
        chunk: the chunk.

    Raises:
        StatementCanceled: the rehearsal was canceled, or took too long.
    """
    if table.timescaledb is None:
        raise InternalError(f"{table} is not a hypertable")
    with _rolled_back(cursor):
        shape = _shape(cursor, chunk)
        general = chunk_rule(cursor, shape.oid, table.oid)
        if general is not None:
            return IndexPlan(chunk, shape, (), (general,))
        unrepeatable: set[str] = set()
        while True:
            kept = index_rules(shape, table.timescaledb, unrepeatable)
            names = {one.index for one in kept}
            plan = IndexPlan(
                chunk, shape, tuple(index for index in shape.indexes if index.name not in names), tuple(kept)
            )
            if not plan.deferred or _rehearse(cursor, plan):
                return plan
            alone = {index.name for index in plan.deferred if not _rehearse(cursor, _with_twins(plan, index))}
            unrepeatable |= alone or {index.name for index in plan.deferred}


def drop_indexes(cursor: Cursor, plan: IndexPlan) -> None:
    """Drop the plan's indexes and constraints."""
    chunk = plan.chunk.identifier
    if plan.deferred:
        cursor.execute(sql.SQL("; ").join(drop_statement(chunk, index) for index in plan.deferred))


def rebuild(cursor: Cursor, plan: IndexPlan, build: Build | None = None) -> None:
    """Rebuild the plan's indexes and constraints, and prove that the chunk has its old shape.

    Args:
        cursor: in the load's transaction, after the rows were copied.
        plan: its indexes were dropped.
        build: settings for building them.

    Raises:
        psycopg2.errors.UniqueViolation: two rows have the same key (23505). The transaction must be rolled back.
        InternalError: the chunk's shape has changed. The transaction must be rolled back.
    """
    if not plan.deferred:
        return
    with local_settings(cursor, _build_settings(build or Build())):
        if not _make(cursor, plan):
            raise InternalError(f"the rebuilt indexes of {plan.chunk} differ from the dropped ones")


class DeferredIndexes:
    """The deferred indexes of the chunks that a load fills.

    A day may have several chunks, and TimescaleDB creates each one for its first row. So chunks can be passed to `drop`
    as they appear, between two COPYs of the load. A chunk that is not passed keeps its indexes, which is also correct.

    Attributes:
        plans: the plan of each chunk, in the order of the calls of `drop`.
        build: settings for building indexes, the memory included once an index is dropped.

    Args:
        cursor: in the load's transaction.
        table: the hypertable.
        build: settings for building indexes.
    """

    def __init__(self, cursor: Cursor, table: Table, build: Build | None = None) -> None:
        self._cursor = cursor
        self._table = table
        self.build = build or Build()
        self.plans: list[IndexPlan] = []

    def drop(self, chunks: Sequence[Chunk]) -> None:
        """Drop the indexes of chunks. A chunk that was passed before is skipped.

        Args:
            chunks: chunks that this transaction created or emptied, and that are nearly empty.
        """
        known = {str(plan.chunk) for plan in self.plans}
        for chunk in chunks:
            if str(chunk) not in known:
                plan = decide(self._cursor, self._table, chunk)
                drop_indexes(self._cursor, plan)
                self.plans.append(plan)
                if plan.deferred and self.build.memory_bytes is None:
                    memory = build_memory(server_memory(self._cursor), self.build.csv_bytes)
                    self.build = replace(self.build, memory_bytes=memory)

    def rebuild(self) -> None:
        """Rebuild all dropped indexes. Raises the same exceptions as the function `rebuild`."""
        for plan in self.plans:
            rebuild(self._cursor, plan, self.build)


def _with_twins(plan: IndexPlan, index: ChunkIndex) -> IndexPlan:
    """Reduce a plan to an index and those with the same key, whose order matters."""
    return replace(plan, deferred=tuple(other for other in plan.deferred if other.key == index.key))


def _rehearse(cursor: Cursor, plan: IndexPlan) -> bool:
    """Drop and rebuild a plan's indexes, and return whether the chunk's shape is the same."""

    def once(cursor: Cursor) -> bool:
        drop_indexes(cursor, plan)
        return _make(cursor, plan)

    is_same, error = attempt_in_savepoint(cursor, "rehearse indexes", once)
    if isinstance(error, DatabaseUnreachable):
        raise error
    return is_same is True


def _make(cursor: Cursor, plan: IndexPlan) -> bool:
    """Rebuild a plan's indexes, and return whether the chunk's shape is the same."""
    chunk = plan.chunk.identifier
    # The definitions need pg_catalog first. An index with a function that resolves names by the search_path is kept
    # (eligibility.py). PostgreSQL 17 and newer build indexes with a search_path of their own.
    with local_settings(cursor, DEPARSE_SETTINGS | {"default_tablespace": ""}):
        for index in plan.deferred:
            # Set the tablespace by default_tablespace. In the definition it would have to be inserted before a WHERE.
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
    if build.memory_bytes is not None:
        settings["maintenance_work_mem"] = f"{build.memory_bytes // KIB}kB"
    if build.workers is not None:
        settings["max_parallel_maintenance_workers"] = str(build.workers)
    return settings


@contextmanager
def _rolled_back(cursor: Cursor) -> Iterator[None]:
    """Roll back the body's changes, including its settings."""
    cursor.execute("SAVEPOINT decision")
    yield
    cursor.execute("ROLLBACK TO SAVEPOINT decision")
    cursor.execute("RELEASE SAVEPOINT decision")
