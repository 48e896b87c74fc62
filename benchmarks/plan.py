"""What is measured, as data: the plan `usual`, and the one for the page in the docs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.cases import CASES, Case, Way

MILLION = 1_000_000
ALL_SIZES = (300_000, MILLION, 3 * MILLION, 10 * MILLION)
_SMALL, _MIDDLE, _LARGE, _LARGEST = ALL_SIZES


@dataclass(frozen=True)
class Step:
    """The named cases, ways and servers, or all of them; the days have so many rows, and each way so many runs."""

    sizes: tuple[int, ...]
    runs: int = 3
    cases: tuple[str, ...] = ()
    ways: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()

    def races(self, *, is_community: bool) -> Iterator[tuple[Case, list[Way]]]:
        """Yield the cases that an edition can run, each with its chosen ways."""
        for case in CASES:
            ways = [way for way in case.ways if not self.ways or way.name in self.ways]
            if ways and (not self.cases or case.name in self.cases) and (is_community or not case.is_compressed):
                yield case, ways


_ESSENTIAL = ("psql", "floor", "default", "stream", "binary")
_SHORT = ("psql", "default", "stream")
_STAGED = ("staging", "psql-staging")
_FORKY, _OTHERS, _COMMUNITY = ("forky",), ("trixie", "community"), ("community",)

PLANS: dict[str, tuple[Step, ...]] = {
    # Enough to see what a change has done.
    "usual": (
        Step((_SMALL,), ways=(*_ESSENTIAL, *_STAGED)),
        Step((_MIDDLE,), cases=("key",), ways=(*_ESSENTIAL, "parallel-2")),
    ),
    # The newest TimescaleDB shows everything, and how it grows; the others show where they differ from it.
    "docs": (
        Step((_SMALL,), cases=("key",), servers=_FORKY),
        Step((_SMALL,), cases=("none",), ways=_ESSENTIAL, servers=_FORKY),
        Step((_MIDDLE,), cases=("key",), ways=(*_ESSENTIAL, *_STAGED, "spool", "parallel-2"), servers=_FORKY),
        Step((_MIDDLE,), cases=("unique", "five", "holds", "replace"), ways=_SHORT, servers=_FORKY),
        Step((_LARGE,), cases=("key",), ways=(*_ESSENTIAL, *_STAGED, "parallel-2"), servers=_FORKY),
        Step((_LARGE,), cases=("unique", "five"), ways=_SHORT, servers=_FORKY),
        Step((_LARGEST,), cases=("key",), ways=("psql", "floor", "stream", "binary"), servers=_FORKY),
        Step((_SMALL,), cases=("key",), ways=_SHORT, servers=_OTHERS),
        Step((_MIDDLE,), cases=("key",), ways=(*_ESSENTIAL, *_STAGED), servers=_OTHERS),
        Step((_MIDDLE,), cases=("unique", "five"), ways=_SHORT, servers=_COMMUNITY),
        Step((_MIDDLE,), cases=("holds",), ways=_SHORT, servers=_OTHERS),
        Step((_MIDDLE,), cases=("compressed",), servers=_COMMUNITY),
        Step((_SMALL,), cases=("beside", "compressed-replace"), servers=_COMMUNITY),
        Step((_MIDDLE,), 1, cases=("beside", "compressed-replace"), servers=_COMMUNITY),
        Step((_LARGE,), 1, cases=("key",), ways=_SHORT, servers=_OTHERS),
    ),
}
