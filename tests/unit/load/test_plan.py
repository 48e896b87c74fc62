"""Each fallback gives something up, so that the loop of loads ends."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from shared.errors import InternalError
from shared.load.plan import Fallback, LoadPlan
from shared.model.request import RestoreRequest
from shared.model.results import KeptIndex

KEEP = KeptIndex(None, "RowRefused", "a row was refused")
OTHER = KeptIndex(None, "BuildFailed", "an index could not be built")

# What is permitted: binary, deferred indexes, an INSERT without ON CONFLICT, TRUNCATE.
PLANS = list(product((True, False), repeat=4))
# What does not hold, and what is given up for it.
FALLBACKS = [
    ({"text_because": "a byte is zero"}, (True, False, False, False)),
    ({"text_because": "refused", "keep_because": KEEP}, (True, True, True, False)),
    ({"keep_because": KEEP}, (False, True, True, False)),
    ({"conflicts": True}, (False, False, True, False)),
    ({"readers": True}, (False, False, False, True)),
]


def plan_of(permitted: tuple[bool, ...]) -> LoadPlan:
    binary, defer, no_conflicts, truncate = permitted
    return LoadPlan(None if binary else "before", None if defer else OTHER, no_conflicts, truncate)


def permitted_by(plan: LoadPlan) -> tuple[bool, ...]:
    return (plan.text_because is None, plan.keep_because is None, plan.expect_no_conflicts, plan.truncate)


@pytest.mark.parametrize("permitted", PLANS, ids=lambda permitted: "".join("+-"[not one] for one in permitted))
@pytest.mark.parametrize(("facts", "given_up"), FALLBACKS, ids=str)
def test_a_fallback_gives_up_what_did_not_hold_and_nothing_else(
    permitted: tuple[bool, ...], facts: dict[str, Any], given_up: tuple[bool, ...]
) -> None:
    plan, fallback = plan_of(permitted), Fallback(**facts)
    expected = tuple(before and not gone for before, gone in zip(permitted, given_up, strict=True))
    if expected == permitted:
        with pytest.raises(InternalError):
            plan.without(fallback)
        return
    plainer = plan.without(fallback)
    assert permitted_by(plainer) == expected
    # The first reason is the one that is reported.
    assert plainer.text_because == (plan.text_because or fallback.text_because)
    assert plainer.keep_because == (plan.keep_because or fallback.keep_because)


@pytest.mark.parametrize(
    ("copy", "mode", "expected"),
    [
        ({}, "direct", (True, True, True, True)),
        ({"format": "text"}, "direct", (False, True, True, True)),
        ({"indexes": "keep"}, "direct", (True, False, True, True)),
        ({"on_error": "skip", "max_rejected_rows": 1}, "staging", (False, True, True, True)),
    ],
)
def test_a_request_permits_what_it_does_not_rule_out(
    copy: dict[str, object], mode: str, expected: tuple[bool, ...]
) -> None:
    url = "abfss://archive@account.dfs.core.windows.net/db/s.t.2025-01-01.csv.gz"
    request = RestoreRequest.model_validate({"adls_url": url, "copy": copy, "destination": {"mode": mode}})
    assert permitted_by(LoadPlan.for_request(request)) == expected
