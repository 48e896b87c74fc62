"""A column's name from the file. The text may be part of a row until something proves that it is a name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class HeaderName:
    """A column's name from the file. It prints as `column 3`, unless it is known to be a name and not a value of a row.

    So an answer, a log line or an error that names a column of the file never shows a row. Code that compares names
    uses `raw`.

    Attributes:
        raw: the name as written. For comparisons, never for a text.
        place: its position; the first is 1.
        is_known: whether it is known to be a name. A name of several lines is never printed.
    """

    raw: str = field(repr=False)
    place: int
    is_known: bool = False

    def __str__(self) -> str:
        """Return the name, or the column's position."""
        return self.raw if self._is_printed else f"column {self.place}"

    @property
    def quoted(self) -> str:
        """The name in double quotes, or the column's position without them."""
        return f'"{self.raw}"' if self._is_printed else str(self)

    def marked(self, *, known: bool) -> HeaderName:
        """Return the same name, known if it was before or if this is so."""
        return replace(self, is_known=self.is_known or known)

    @property
    def has_line_break(self) -> bool:
        """Whether it spans several lines. Then it probably contains rows, because a quote is not closed."""
        return "\n" in self.raw or "\r" in self.raw

    @property
    def _is_printed(self) -> bool:
        return self.is_known and not self.has_line_break
