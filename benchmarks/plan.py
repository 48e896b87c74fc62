"""What is measured, as data: by default, and for the page in the docs."""

from __future__ import annotations

from dataclasses import dataclass

MILLION = 1_000_000
ALL_SIZES = (300_000, MILLION, 3 * MILLION, 10 * MILLION)
_SMALL, _MIDDLE, _LARGE, _LARGEST = ALL_SIZES


@dataclass(frozen=True)
class Step:
    """Some cases at some sizes, on each of some servers.

    Attributes:
        sizes: rows of the days, smallest first.
        runs: how often each way is timed.
        cases: names of the cases; all of them where empty.
        ways: names of the ways; all of a case's where empty.
        servers: names of the servers; every one that there is where empty.
    """

    sizes: tuple[int, ...]
    runs: int = 3
    cases: tuple[str, ...] = ()
    ways: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()


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
    # The newest TimescaleDB shows all, and how it grows; the others, where they differ from it.
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
