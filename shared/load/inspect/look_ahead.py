"""Looks at the target before anything is locked: what it holds, and whether the load would be refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared.load.day import Day, Skipped
from shared.load.inspect.acceptance import CHECKS, Situation
from shared.load.locks.restore_lock import RestoreLock
from shared.load.refusals import refuse
from shared.load.target.target import Target
from shared.model.request import RestoreRequest
from shared.model.results import Count
from shared.postgres.connect import Cursor
from shared.postgres.savepoint import attempt_in_savepoint
from shared.timescale.chunks import Chunk, chunks_inside
from shared.timescale.compression import compressed_size, should_decompress
from shared.timescale.keys import may_meet_unenforced
from shared.timescale.privileges import can_read
from shared.timescale.removal import why_not_truncate
from shared.timescale.rows_of_days import count_window


@dataclass(frozen=True)
class Ahead:
    """What the look at the target showed, before anything was locked.

    Attributes:
        target: the table and its chunks.
        before: rows of the day; None where they were not counted.
        whole: the chunks that lie wholly inside the day; empty if a TRUNCATE would bypass a trigger, rule, policy or
            publication.
        decompresses: whether the chunks over the day that are compressed are decompressed.
        copies_beside: whether rows go beside compressed ones, which stay as they are, where the request leaves the
            choice.
    """

    target: Target
    before: Count | None
    whole: tuple[Chunk, ...]
    decompresses: bool
    copies_beside: bool

    @property
    def has_rows(self) -> bool:
        """Whether the day has rows, as far as they were counted."""
        return self.before is not None and self.before.rows > 0

    @property
    def to_decompress(self) -> tuple[Chunk, ...]:
        """The chunks that the load decompresses, so that it locks them for this before its first query."""
        return self.target.compressed if self.decompresses and self.target.compression is not None else ()

    def still_holds(self, before: Count | None) -> bool:
        """Whether what was decided here still holds for the rows of the day that the load's own snapshot shows."""
        return self.before is None or before is None or self.has_rows == (before.rows > 0)


def asked_to_decompress(request: RestoreRequest, *, has_rows: bool) -> bool | Literal["auto"]:
    """Whether compressed chunks over the day are decompressed: always before rows are deleted, otherwise as asked.

    Args:
        request: what is restored, and how.
        has_rows: whether the day has rows.

    Returns:
        "auto" where the sizes and the keys decide.
    """
    if request.destination.existing_rows == "replace" and has_rows:
        return True
    return request.timescaledb.decompress_window


def look_ahead(lock: RestoreLock, day: Day) -> Ahead | Skipped:
    """Look at the target on the lock's connection: a query on the load's would fix its snapshot before its locks.

    Raises:
        RestoreError: the load is refused.
    """
    seen: Count | None = None
    whole: tuple[Chunk, ...] = ()
    with lock.read_current() as looking:
        target = day.find_target(looking)
        counts = day.policy != "append" or day.request.timescaledb.decompress_window == "auto"
        if target.window is not None and counts and can_read(looking, target.table):
            seen = count_window(looking, target.table, target.window)
            whole = chunks_inside(looking, target.table, target.window) if day.policy == "replace" else ()
            if why_not_truncate(looking, target.table, whole) is not None:
                whole = ()
        before = Count(0) if seen is None else seen
        skips = day.skips(before)
        if not skips:
            now = Situation(looking, day, target, seen)
            for _, look in CHECKS:
                finding = look(now)
                refuse(None if finding is None else finding.refusal)
            asked = asked_to_decompress(day.request, has_rows=before.rows > 0)
            copies_beside = asked == "auto" and _copies_beside(looking, day, target, seen)
    if skips:
        return Skipped(target, before.rows)
    return Ahead(target, seen, whole, bool(asked) and not copies_beside, copies_beside)


def _copies_beside(looking: Cursor, day: Day, target: Target, before: Count | None) -> bool:
    """Whether the rows go beside those that are compressed."""
    extension, chunks = target.compression, target.compressed
    if extension is None or not chunks:
        return False
    is_safe = target.meets_none_of_its_time(day.request, None if before is None else before.rows)
    if may_meet_unenforced(looking, extension, target.table, chunks, meets_none_of_its_time=is_safe):
        return False
    # A role without the right to ask has no right to decompress either.
    size, _ = attempt_in_savepoint(
        looking, "compressed size", lambda asking: compressed_size(asking, extension, target.table, chunks)
    )
    return not should_decompress(size, day.csv.probable_size, day_is_empty=before is None or not before.rows)
