"""Proves the keys of compressed chunks to which rows were added without decompressing them.

A row can only have the key of a compressed one if it has its time too, since every unique key of a hypertable contains
the time. So the rows of an empty day meet no compressed row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg2 import errorcodes

from shared.errors import ChunkInconsistent, DatabaseFailed, DataRejected, Fault, KeyNotEnforced
from shared.load.locks.restore_lock import RestoreLock
from shared.load.target.target import Target
from shared.load.verify.proof import Verified
from shared.model.results import ChunkStep, Transferred
from shared.postgres.connect import Cursor
from shared.postgres.sqlstate import is_conflict, sqlstate_of, violated_constraint
from shared.timescale.chunks import Chunk, all_chunks, is_own, written_chunks
from shared.timescale.keys import Key, has_duplicates, has_time, unenforced_keys
from shared.timescale.table import inside


@dataclass(frozen=True)
class Added:
    """Rows that a load has added.

    Attributes:
        target: where they are.
        transferred: how they got there.
        verified: what the recount showed.
        had_rows: whether the day may have held rows, beside which they are now.
        in_place: how many of them replace rows of the day; None if none were removed.
    """

    target: Target
    transferred: Transferred
    verified: Verified
    had_rows: bool
    in_place: int | None

    @property
    def may_be_outside(self) -> bool:
        """Whether some may be of another day."""
        proof = self.verified.verification
        return proof is None or proof.outside.rows > 0

    @property
    def may_meet(self) -> bool:
        """Whether there may have been rows at the times of the new ones."""
        return self.had_rows or self.may_be_outside


def refuse_inconsistent(steps: list[ChunkStep]) -> None:
    """Refuse a chunk that broke one of its keys before the load, so that it was not decompressed.

    Raises:
        ChunkInconsistent: there is one.
    """
    for step in steps:
        if step.error is not None and is_conflict(step.error):
            raise _inconsistent(step.chunk, step.error.message)


def broken_by_deletion(target: Target, error: DataRejected) -> ChunkInconsistent | None:
    """Return the error of a DELETE that decompressed rows which break a key of their chunk; None for other failures.

    Args:
        target: the table. The role may not decompress its chunks as a whole.
        error: with which the DELETE failed.
    """
    violated = violated_constraint(error)
    chunks = {(chunk.schema, chunk.name): chunk for chunk in target.compressed}
    if violated is None or not is_conflict(error) or (violated.schema, violated.table) not in chunks:
        return None
    return _inconsistent(str(chunks[violated.schema, violated.table]), error.message)


def refuse_unproved(load: Cursor, lock: RestoreLock, added: Added) -> None:
    """Prove the keys that TimescaleDB does not enforce, in the chunks that were left compressed.

    Args:
        load: in the load's transaction, after its rows.
        lock: its connection sees the chunks as they were before the load.
        added: the rows.

    Raises:
        KeyNotEnforced: a key occurs twice, or no query can prove that it does not.
        ChunkInconsistent: a key occurred twice before the load.
    """
    extension, table = added.target.compression, added.target.table
    if extension is None or not (added.target.compressed or added.may_be_outside):
        return
    with lock.read_current() as looking:
        of_day, others = _left_compressed(load, looking, added)
        found = unenforced_keys(looking, extension, others)
    # On the load's own connection: if it tried to decompress them and failed, the lock's connection would wait for it.
    found += unenforced_keys(load, extension, of_day)
    for chunk, key in found:
        if added.may_meet or not has_time(key, table):
            _prove(load, lock, added, chunk, key)


def not_searched(
    lock: RestoreLock, target: Target, steps: Sequence[ChunkStep], error: DatabaseFailed
) -> KeyNotEnforced | None:
    """Return the error if TimescaleDB could not search compressed rows for a key, since it cannot compare the key.

    For a column of type `name` it finds no equality operator, and fails with an internal error (2.28.3, 2.29.2).

    Args:
        lock: its connection looks; the load's transaction has failed.
        target: where the rows go.
        steps: the chunks that the load has decompressed.
        error: with which the rows were refused.

    Returns:
        The error to raise; None if the server failed for another reason.
    """
    extension = target.compression
    if extension is None or sqlstate_of(error) != errorcodes.INTERNAL_ERROR:
        return None
    decompressed = {step.chunk for step in steps if step.error is None}
    with lock.read_current() as looking:
        left = [chunk for chunk in all_chunks(looking, target.table) if chunk.is_compressed]
        found = unenforced_keys(looking, extension, [chunk for chunk in left if str(chunk) not in decompressed])
    for chunk, key in found:
        what = f'TimescaleDB failed to search the compressed rows of {chunk} for the key "{key.name}"'
        return _not_enforced(f"{what}: {error.message}", chunk, key)
    return None


def _left_compressed(load: Cursor, looking: Cursor, added: Added) -> tuple[list[Chunk], list[Chunk]]:
    """List the compressed chunks to which rows were added: those over the day, and others.

    The load has locked each, so their state cannot change any more. For chunks of other days, its snapshot may be older
    than the lock, but it has decompressed none of them.
    """
    of_day = {str(chunk) for chunk in added.target.chunks}
    others = {str(chunk) for chunk in all_chunks(looking, added.target.table) if chunk.is_compressed} - of_day
    written = written_chunks(load, added.target.table)
    return (
        [chunk for chunk in written if str(chunk) in of_day and chunk.is_compressed],
        [chunk for chunk in written if str(chunk) in others],
    )


def _prove(load: Cursor, lock: RestoreLock, added: Added, chunk: Chunk, key: Key) -> None:
    relation = chunk.identifier
    what = f'TimescaleDB does not enforce the key "{key.name}" on the compressed rows of {chunk}'
    if not key.is_provable:
        raise _not_enforced(f"{what}, and no query can prove it", chunk, key)
    span = added.verified.span
    among = None
    if span is not None and added.verified.verification is not None and has_time(key, added.target.table):
        among = inside(added.target.table, span)
    if has_duplicates(load, relation, key, among=among):
        was_so_before = False
        # If the load has the chunk for itself, the lock's connection could only wait for the load.
        if not is_own(load, chunk):
            with lock.read_current() as looking:
                was_so_before = has_duplicates(looking, relation, key, among=among)
        if was_so_before:
            raise _inconsistent(str(chunk), f'rows have the same "{key.name}"')
        raise _not_enforced(f"{what}, and rows of the archive have the key of others", chunk, key)
    if added.transferred.rows_skipped:
        skipped = f"{added.transferred.rows_skipped} rows were skipped that may be in conflict with none"
        raise _not_enforced(f"{what}, and {skipped}", chunk, key)


def _inconsistent(chunk: str, message: str) -> ChunkInconsistent:
    message = f"the compressed chunk {chunk} breaks a key of its own: {message}"
    return ChunkInconsistent(message, details=[Fault(ChunkInconsistent.code, message, info=(("chunk", chunk),))])


def _not_enforced(message: str, chunk: Chunk, key: Key) -> KeyNotEnforced:
    facts = (("chunk", str(chunk)), ("constraint", key.name))
    return KeyNotEnforced(message, details=[Fault(KeyNotEnforced.code, message, info=facts)])
