"""When the indexes of the day's chunks are deferred: for chunks that the load itself makes or has emptied.

TimescaleDB makes a chunk when its first row comes, and only then are there indexes to drop. So where the day has no
chunk yet, its first row goes in alone, and the others after it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from shared.errors import DatabaseError, InternalError, TargetLocked
from shared.load.day import Day
from shared.load.plan import Fallback
from shared.load.target.target import Target, chunks_of_day
from shared.log_redaction import OUR_LOGGER
from shared.model.results import IndexOutcome, KeptIndex
from shared.postgres.connect import Cursor
from shared.postgres.sqlstate import INTERRUPTIONS, sqlstate_of, translated
from shared.process import MIB
from shared.timescale.chunks import Chunk
from shared.timescale.indexes.deferred import Build, DeferredIndexes
from shared.timescale.indexes.eligibility import table_rule

_log = logging.getLogger(OUR_LOGGER)


class DayIndexes:
    """The indexes of the day's chunks, while one load fills them.

    Attributes:
        wants_first_row: whether the first row must be loaded alone, before a call of `drop_on_new_chunks`.
        are_dropped: whether any index is dropped at this moment.

    Args:
        cursor: in the load's transaction.
        target: as it was before the load.
        deferred: drops indexes, and rebuilds them.
    """

    def __init__(self, cursor: Cursor, target: Target, deferred: DeferredIndexes) -> None:
        self._cursor = cursor
        self._target = target
        self._deferred = deferred
        self._kept: tuple[KeptIndex, ...] = ()
        self._first_came = False
        self.wants_first_row = False
        self.are_dropped = False

    @property
    def names_another_line(self) -> bool:
        """Whether the rows come in two parts or without indexes: then an error names no line, or a wrong one."""
        return self._first_came or self.are_dropped

    def keep(self, reason: KeptIndex) -> None:
        """Keep all indexes while the rows come."""
        self._kept = (reason,)

    def drop_on_new_chunks(self, *, first_came: bool) -> None:
        """Drop the indexes of the chunks that the first row has made.

        Args:
            first_came: whether there was such a row.
        """
        self.wants_first_row = False
        self._first_came = first_came
        new_chunks = chunks_of_day(self._cursor, self._target.table, self._target.window)
        if new_chunks:
            self.drop(new_chunks)
        else:
            self.keep(KeptIndex(None, "NoChunk", "the first row could not go in alone, or made no chunk for the day"))

    def drop(self, chunks: Sequence[Chunk]) -> None:
        """Drop the indexes of chunks that this transaction has made or emptied, those that can be rebuilt."""
        self._deferred.drop(chunks)
        self._kept = tuple(kept for plan in self._deferred.plans for kept in plan.kept)
        self.are_dropped = any(plan.deferred for plan in self._deferred.plans)

    def outcome(self, new_chunks: Sequence[Chunk]) -> IndexOutcome:
        """Say what happened to the indexes.

        Args:
            new_chunks: the chunks that the load made. Those made after the first row kept their indexes.
        """
        known = {str(plan.chunk) for plan in self._deferred.plans}
        later = [chunk for chunk in new_chunks if str(chunk) not in known]
        kept = self._kept
        if known and later:
            kept = (*kept, KeptIndex(None, "LaterChunk", f"{len(later)} chunks were made after the first row"))
        deferred = tuple(index.name for plan in self._deferred.plans for index in plan.deferred)
        return IndexOutcome(deferred, kept, self._deferred.build.memory_bytes if deferred else None)

    def rebuild(self) -> None:
        """Rebuild the indexes.

        Raises:
            Fallback: an index cannot be built over the rows, and only COPY can name the line; or a rebuilt index would
            differ from the original.
            DatabaseError: the database refuses for another reason.
        """
        try:
            with translated():
                self._deferred.rebuild()
        except (*INTERRUPTIONS, TargetLocked):
            raise
        except DatabaseError as exc:
            # A row, a function of an index, or no room to sort: the plain way needs no room, and reports what is wrong.
            reason = f"an index could not be built over the rows (SQLSTATE {sqlstate_of(exc)})"
            raise Fallback(keep_because=KeptIndex(None, "BuildFailed", reason)) from exc
        except InternalError as exc:
            _log.warning("an index was not the same when it was rebuilt: %s", exc)
            reason = "rebuilt, an index would not have been the same"
            raise Fallback(keep_because=KeptIndex(None, "NotRepeatable", reason)) from exc
        self.are_dropped = False


def defer_indexes(
    cursor: Cursor, day: Day, target: Target, emptied: Sequence[Chunk], keep_because: KeptIndex | None
) -> DayIndexes:
    """Decide what can be decided before the first row, and drop the indexes of emptied chunks.

    Args:
        cursor: in the load's transaction.
        day: what is loaded, and how indexes are built.
        target: as it was before the load.
        emptied: the chunks over the day that this transaction has truncated.
        keep_because: why no index may be dropped; None: some may.
    """
    settings, size = day.settings, day.csv.probable_size
    memory = None if settings.pg_index_memory_mib is None else settings.pg_index_memory_mib * MIB
    build = Build(memory, settings.pg_index_workers, size)
    indexes = DayIndexes(cursor, target, DeferredIndexes(cursor, target.table, build))
    # To drop the indexes and build them would take longer than to keep them up to date.
    is_small = size < settings.pg_index_defer_min_bytes
    reason = keep_because or _rule(cursor, target, emptied, is_small=is_small)
    if reason is not None:
        indexes.keep(reason)
    elif emptied:
        indexes.drop(emptied)
    else:
        indexes.wants_first_row = True
    return indexes


def _rule(cursor: Cursor, target: Target, emptied: Sequence[Chunk], *, is_small: bool) -> KeptIndex | None:
    if target.window is None:
        return KeptIndex(None, "NoDay", "the day is not known in the table's time column")
    if set(target.chunks) != set(emptied):
        return KeptIndex(None, "NotOwnChunk", "a chunk over the day was there before, and holds rows or may hold some")
    if is_small:
        return KeptIndex(None, "SmallDay", "the CSV is shorter than PG_INDEX_DEFER_MIN_BYTES")
    return table_rule(cursor, target.table)
