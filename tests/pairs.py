"""Fewer cases of a test with several parameters, in which all pairs of their values still occur."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations

import pytest


def chosen(cases: Sequence[Mapping[str, Hashable]]) -> set[int]:
    """Choose cases so that each value of each parameter, and each pair of values that occurs, is in one of them.

    Args:
        cases: of one test, in their order: the value of each parameter by its name.

    Returns:
        The places of the chosen ones. The choice is the same for the same order.
    """
    covered = [{frozenset(part) for size in (1, 2) for part in combinations(case.items(), size)} for case in cases]
    missing, found = set().union(*covered), set[int]()
    while missing:
        # Of equal ones the first.
        best = max(range(len(cases)), key=lambda place: len(covered[place] & missing))
        found.add(best)
        missing -= covered[best]
    return found


def without_products(items: Sequence[pytest.Item]) -> set[str]:
    """Name the tests that only a full product of parameters adds.

    Names that are parametrized together are pairs of their own, so none of their cases is left out.
    """
    tests: dict[tuple[str, bool], list[pytest.Item]] = {}
    for item in items:
        if hasattr(item, "callspec"):
            # A case that is skipped shows nothing: those of the community edition are chosen for themselves.
            is_community = item.get_closest_marker("community") is not None
            tests.setdefault((item.nodeid.partition("[")[0], is_community), []).append(item)
    left_out = set[str]()
    for same in tests.values():
        # Not each value is hashable. The cases of a product have the very same objects.
        places = chosen([{name: id(value) for name, value in _parameters(item).items()} for item in same])
        left_out |= {item.nodeid for place, item in enumerate(same) if place not in places}
    return left_out


def _parameters(item: pytest.Item) -> Mapping[str, object]:
    parameters: Mapping[str, object] = item.callspec.params  # type: ignore[attr-defined]  # of a pytest.Function
    return parameters
