"""A load that is to be rolled back and begun anew, in a plainer way."""

from __future__ import annotations

from shared.model.results import Kept


class BeginAnew(Exception):
    """What was tried does not hold for these rows. The plainer way decides what is accepted, and says what is refused.

    Attributes:
        text: why the file is to be copied as text; None where it may stay as it was.
        keep: why the indexes are to be kept while rows come; None likewise.
        conflicts: whether staged rows are to be skipped where they are in conflict, which costs each of them a look.
    """

    def __init__(self, *, text: str | None = None, keep: Kept | None = None, conflicts: bool = False) -> None:
        super().__init__(text, keep, conflicts)
        self.text = text
        self.keep = keep
        # A row that an index could not take is one in conflict, as often as not.
        self.conflicts = conflicts or keep is not None
