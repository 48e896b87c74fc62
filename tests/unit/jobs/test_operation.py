"""What an operation forgets that is to run again."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from shared.jobs.operation import Operation, as_new

NEW = Operation("id", "{}", "archive", "db", "public.t", "2025-01-01", "2025-01-02T00:00:00.000Z")
# What was asked, where the record is, and what is known beyond one run. A field that is new is in one of the two.
STAYS = {
    *("id", "kind", "row_key", "etag", "written", "read", "created", "tokens", "traceparent"),
    *("request", "archive", "database", "target_table", "day"),
    *("backfill", "is_held", "parallel", "shares_chunks", "phase", "plan"),
    *("attempt", "commit"),
}


def test_each_field_stays_or_is_reset() -> None:
    assert {one.name for one in fields(Operation)} == STAYS | as_new().keys()
    assert not STAYS & as_new().keys()


def test_what_starts_over_is_as_it_was_created() -> None:
    used: dict[str, Any] = {name: f"used {name}" for name in as_new()}
    assert replace(replace(NEW, **used), **as_new()) == NEW
