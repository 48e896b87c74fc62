"""When the indexes of the day's chunks are set aside: for chunks that the load itself makes or has emptied.

TimescaleDB makes a chunk when its first row comes, and only then are there indexes to set aside. So where the day has
no chunk yet, its first row goes in by itself, and the others after it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import psycopg2

from shared.errors import InternalError, TargetLocked
from shared.load.plan import BeginAnew
from shared.load.target import Target
from shared.model.report import Report
from shared.model.request import RestoreRequest
from shared.model.results import Kept
from shared.postgres.connect import Cursor
from shared.postgres.sqlstate import INTERRUPTIONS, database_error
from shared.timescale.chunks import Chunk, chunks_overlapping
from shared.timescale.indexes.deferred import Build, IndexesAside
from shared.timescale.indexes.eligibility import table_rule

_log = logging.getLogger("restore_chunk")


class DayIndexes:
    """The indexes of the day's chunks, for the time in which one load fills them.

    Attributes:
        wants_first_row: whether a single row is to be brought in first, and `look` to be called after it.
        are_aside: whether any index is set aside at this moment.
    """

    def __init__(
        self,
        cursor: Cursor,
        request: RestoreRequest,
        target: Target,
        emptied: Sequence[Chunk],
        build: Build,
        keep: Kept | None,
        report: Report,
    ) -> None:
        """Decide what can be decided before the first row, and set the indexes of emptied chunks aside.

        Args:
            cursor: in the load's transaction.
            request: whether it may be done at all.
            target: as it was before the load.
            emptied: the chunks over the day that this transaction has truncated.
            build: how indexes are built.
            keep: why not, where a former attempt has shown that.
            report: is told what becomes of each index.
        """
        self._cursor = cursor
        self._target = target
        self._report = report
        self._aside = IndexesAside(cursor, target.table, build)
        self.are_aside = False
        self.wants_first_row = False
        self._first_came = False
        reason = Kept(None, "Requested", "the request asks for it") if request.copy_.indexes == "keep" else keep
        reason = reason or _rule(cursor, target, emptied)
        if reason is not None:
            self._report.indexes_kept = (reason,)
        elif emptied:
            self._take(emptied)
        else:
            self.wants_first_row = True

    @property
    def names_another_line(self) -> bool:
        """Whether the rows come in two parts or without indexes: then an error names no line, or another one."""
        return self._first_came or self.are_aside

    def look(self, *, first_came: bool) -> None:
        """Set the indexes of the chunks aside that the first row has made.

        Args:
            first_came: whether there was such a row.
        """
        self.wants_first_row = False
        self._first_came = first_came
        window = self._target.window
        made = () if window is None else chunks_overlapping(self._cursor, self._target.table, window)
        if made:
            self._take(made)
        else:
            self._report.indexes_kept = (
                Kept(None, "NoChunk", "the first row could not go in by itself, or made no chunk for the day"),
            )

    def _take(self, chunks: Sequence[Chunk]) -> None:
        self._aside.take(chunks)
        plans = self._aside.plans
        self._report.indexes_set_aside = tuple(index.name for plan in plans for index in plan.aside)
        self._report.indexes_kept = tuple(kept for plan in plans for kept in plan.kept)
        self.are_aside = bool(self._report.indexes_set_aside)

    def note_later(self, made: Sequence[Chunk]) -> None:
        """Tell of the chunks that were made after the first row, and had their indexes all the time."""
        known = {str(plan.chunk) for plan in self._aside.plans}
        later = [chunk for chunk in made if str(chunk) not in known]
        if known and later:
            reason = f"{len(later)} chunks were made after the first row"
            self._report.indexes_kept = (*self._report.indexes_kept, Kept(None, "LaterChunk", reason))

    def put_back(self) -> None:
        """Put the indexes back.

        Raises:
            BeginAnew: a row does not fit into one of them, which only COPY tells by its line; or
                something of them would be different.
            DatabaseError: the database refuses for another reason.
        """
        try:
            self._aside.put_back()
        except psycopg2.Error as exc:
            error = database_error(exc)
            if isinstance(error, (*INTERRUPTIONS, TargetLocked)):
                raise error from exc
            # A row, a function of an index's, or no room to sort in: the plain way needs none, and says what is wrong.
            reason = f"an index could not be built over the rows (SQLSTATE {exc.pgcode})"
            raise BeginAnew(keep=Kept(None, "BuildFailed", reason)) from exc
        except InternalError as exc:
            _log.warning("an index was not the same when it was made again: %s", exc)
            reason = "made again, an index would not have been the same"
            raise BeginAnew(keep=Kept(None, "NotRepeatable", reason)) from exc
        self.are_aside = False


def _rule(cursor: Cursor, target: Target, emptied: Sequence[Chunk]) -> Kept | None:
    if target.window is None:
        return Kept(None, "NoDay", "the day is not known in the table's time column")
    if set(target.chunks) != set(emptied):
        return Kept(None, "NotOwnChunk", "a chunk over the day was there before, and holds rows or may hold some")
    return table_rule(cursor, target.table)
