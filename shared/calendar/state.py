"""The word for a day, which follows from what is known of its archive, its rows and its last restore. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from shared.archive.listing import StoredArchive
from shared.jobs.day_notes import RestoredDay
from shared.model.calendar import DayState
from shared.timescale.rows_of_days import DayRows


@dataclass(frozen=True)
class KnownDay:
    """What is known of one day.

    Attributes:
        archive: as storage lists it; None if there is none.
        rows: what the table holds of it.
        last: its last restore; None if none is recorded.
        is_running: whether an asynchronous restore of it waits or runs.
    """

    archive: StoredArchive | None
    rows: DayRows
    last: RestoredDay | None
    is_running: bool

    @property
    def state(self) -> DayState:
        """The word that follows."""
        if self.is_running:
            return "running"
        if self.rows.rows == "unknown":
            return "unknown"
        if self.rows.rows == "no":
            return self._without_rows()
        return self._with_rows()

    def _without_rows(self) -> DayState:
        if self.archive is None:
            return "missing"
        if self.last is not None and self.last.has_failed:
            return "failed"
        if self._is_of_this_archive and self.last is not None and self.last.restored_rows == 0:
            # An empty day: its archive is a header alone.
            return "restored"
        return "archived"

    def _with_rows(self) -> DayState:
        if self.last is None or self.last.restored_etag is None:
            # A restore that failed wrote nothing: the rows were there.
            return "present"
        if self.archive is not None and not self._is_of_this_archive:
            return "stale"
        if self.rows.rows == "partly" and self.rows.count != self.last.restored_rows:
            # Chunks over a part of the day have been dropped since the restore, or never existed.
            return "unknown"
        return "restored"

    @property
    def _is_of_this_archive(self) -> bool:
        return self.archive is not None and self.last is not None and self.archive.etag == self.last.restored_etag
