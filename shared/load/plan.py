"""The plan of a load: which quick ways it may try, and how it falls back to plainer ones.

A plan holds permissions: inside an attempt the target still decides. A row that the plainest plan refuses is refused,
with PostgreSQL's own error.

Three files say why a file is copied as text: this one for what the request asks, `binary/eligibility.py` for columns
and options, and `load/copy/binary.py` for the session and for a value.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

from shared.errors import InternalError
from shared.model.request import RestoreRequest
from shared.model.results import KeptIndex


class Fallback(Exception):
    """A quick way does not work for these rows. The transaction is rolled back, and a plainer plan is tried.

    Attributes:
        text_because: why the file is to be copied as text; None where binary may stay.
        keep_because: why the indexes are to be kept while rows come; None where they may be dropped.
        conflicts: whether staged rows may be in conflict with others.
        readers: whether another transaction would find truncated chunks empty.
    """

    def __init__(
        self,
        *,
        text_because: str | None = None,
        keep_because: KeptIndex | None = None,
        conflicts: bool = False,
        readers: bool = False,
    ) -> None:
        super().__init__(text_because or (keep_because and keep_because.reason) or "")
        self.text_because = text_because
        self.keep_because = keep_because
        # A row that an index refuses is often in conflict with another row.
        self.conflicts = conflicts or keep_because is not None
        self.readers = readers


class TargetChanged(Exception):
    """The day's chunks or rows changed between the look at them and their lock. The same plan is tried again."""


class DayNotLocked(Exception):
    """Rows go to a day whose lock was not held from the start. The same plan is tried again, with that lock.

    The snapshot is older than such a lock, and does not show what another restore of that day has committed since.

    Attributes:
        days: those that get rows; None: the whole table.
    """

    def __init__(self, days: frozenset[date] | None) -> None:
        super().__init__()
        self.days = days


@dataclass(frozen=True)
class LoadPlan:
    """What one attempt to load a day may try.

    Attributes:
        text_because: why the file is copied as text; None: binary is permitted.
        keep_because: why the indexes are kept while rows come; None: they may be dropped and rebuilt.
        expect_no_conflicts: plain INSERT from staging is permitted; else ON CONFLICT DO NOTHING.
        truncate: emptying whole chunks is permitted; else their rows are deleted.
    """

    text_because: str | None = None
    keep_because: KeptIndex | None = None
    expect_no_conflicts: bool = True
    truncate: bool = True

    @classmethod
    def for_request(cls, request: RestoreRequest) -> LoadPlan:
        """Return the plan of the first attempt."""
        copy = request.copy_
        text_because = None
        if copy.format == "text":
            text_because = "the request asks for it"
        elif copy.on_error == "skip":
            text_because = "rows may be left out"
        keep_because = None
        if copy.indexes == "keep":
            keep_because = KeptIndex(None, "Requested", "the request asks for it")
        return cls(text_because, keep_because)

    def without(self, fallback: Fallback) -> LoadPlan:
        """Return the plan without the permission that did not work.

        Raises:
            InternalError: nothing was given up, so the load would be tried without end.
        """
        plainer = replace(
            self,
            text_because=self.text_because or fallback.text_because,
            keep_because=self.keep_because or fallback.keep_because,
            expect_no_conflicts=self.expect_no_conflicts and not fallback.conflicts,
            truncate=self.truncate and not fallback.readers,
        )
        if plainer == self:
            raise InternalError(f"the load fell back to the plan that it had: {fallback}") from fallback
        return plainer
