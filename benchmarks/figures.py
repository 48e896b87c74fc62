"""Medians, spreads and ratios. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Spread:
    """What several runs gave."""

    middle: float
    low: float
    high: float

    def straddles(self, bound: float) -> bool:
        """Say whether the runs lie on both sides of a bound, so that another series might say otherwise."""
        return self.low < bound < self.high


def spread(values: Sequence[float]) -> Spread:
    """Return median, least and most.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("a spread needs a value")
    return Spread(median(values), min(values), max(values))


def ratios(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Return the spread of the ratios of runs that followed each other, round by round.

    What disturbs the machine for a while disturbs both runs of a round, and cancels out.

    Raises:
        ValueError: a side has no runs.
    """
    return spread([one / other for one, other in zip(above, below, strict=False)])
