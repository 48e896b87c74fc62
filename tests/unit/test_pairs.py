"""What CI's second server runs of a product of parameters."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from tests.pairs import chosen


@pytest.mark.parametrize("sizes", [(1,), (5,), (2, 3), (2, 2, 2), (3, 3, 2), (6, 3, 4), (2, 2, 2, 2, 2)])
def test_each_pair_of_values_is_in_one_of_them(sizes: tuple[int, ...]) -> None:
    cases = [dict(enumerate(values)) for values in product(*map(range, sizes))]
    named = [{str(name): value for name, value in case.items()} for case in cases]
    places = chosen(named)
    for size in (1, 2):
        wanted = {part for case in named for part in combinations(case.items(), size)}
        assert {part for place in places for part in combinations(named[place].items(), size)} == wanted
    # Two parameters are pairs already; of more, no case is chosen that adds none.
    assert len(places) == len(cases) if len(sizes) <= 2 else len(places) < len(cases)


def test_values_that_are_given_together_are_all_kept() -> None:
    assert chosen([{"a": 1, "b": "x"}, {"a": 2, "b": "x"}, {"a": 1, "b": "y"}]) == {0, 1, 2}
