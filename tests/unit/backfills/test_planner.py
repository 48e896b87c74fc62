"""What a backfill does with a day."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import get_args

import pytest

from shared.archive.listing import StoredArchive
from shared.backfills.planner import Choice, choose, on_existing_of
from shared.backfills.records import BackfillPlan, decode_plan
from shared.calendar.state import KnownDay
from shared.jobs.day_notes import RestoredDay
from shared.model.backfill import BackfillRequest, Existing
from shared.model.request import OnExisting
from shared.timescale.rows_of_days import DayRows

NOW = datetime(2025, 1, 2, tzinfo=timezone.utc)
ARCHIVE = StoredArchive(10, "now", NOW, "Hot")
NO, YES, UNKNOWN = DayRows("no"), DayRows("yes"), DayRows("unknown")
IN = RestoredDay("ok", "", NOW.isoformat(), "request", "", "now", 2)
EMPTY = RestoredDay("ok", "", NOW.isoformat(), "request", "", "now", 0)
OLD = RestoredDay("ok", "", NOW.isoformat(), "request", "", "before", 2)

# `existing` in the order of `COLUMNS`: what becomes of such a day.
COLUMNS: tuple[Existing, ...] = ("error", "append", "skip", "replace", "stale")
DAYS: dict[str, tuple[KnownDay, tuple[Choice, Choice, Choice, Choice, Choice]]] = {
    "archived": (
        KnownDay(ARCHIVE, NO, None, is_running=False),
        ("restore", "restore", "restore", "restore", "restore"),
    ),
    "missing": (KnownDay(None, NO, None, is_running=False), ("missing",) * 5),
    "an empty day": (KnownDay(ARCHIVE, NO, EMPTY, is_running=False), ("restore", "skip", "restore", "restore", "skip")),
    "running": (KnownDay(ARCHIVE, NO, None, is_running=True), ("restore", "skip", "restore", "restore", "skip")),
    "running, with rows": (KnownDay(ARCHIVE, YES, IN, is_running=True), ("restore", "skip", "skip", "restore", "skip")),
    "present": (KnownDay(ARCHIVE, YES, None, is_running=False), ("restore", "restore", "skip", "restore", "skip")),
    "restored": (KnownDay(ARCHIVE, YES, IN, is_running=False), ("restore", "skip", "skip", "restore", "skip")),
    "stale": (KnownDay(ARCHIVE, YES, OLD, is_running=False), ("restore", "restore", "skip", "restore", "restore")),
    # Whether such a day has rows only its restore finds out.
    "partly": (
        KnownDay(ARCHIVE, DayRows("partly", 1), IN, is_running=False),
        ("restore", "restore", "restore", "restore", "skip"),
    ),
    "unknown": (KnownDay(ARCHIVE, UNKNOWN, None, is_running=False), ("restore",) * 5),
    "rows without an archive": (
        KnownDay(None, YES, None, is_running=False),
        ("missing", "missing", "skip", "missing", "skip"),
    ),
}


def test_the_table_has_each_word_of_a_request() -> None:
    assert get_args(Existing) == COLUMNS


@pytest.mark.parametrize("existing", COLUMNS)
@pytest.mark.parametrize("day", DAYS)
def test_what_becomes_of_a_day(day: str, existing: Existing) -> None:
    known, choices = DAYS[day]
    assert choose(known, existing) == choices[COLUMNS.index(existing)]


# What happens to the rows that such a day has by then: with "append", with rows outside the day besides, with "stale".
ROWS: dict[str, tuple[OnExisting, OnExisting, OnExisting]] = {
    "archived": ("error", "append", "skip"),
    "present": ("append", "append", "skip"),
    "stale": ("error", "error", "replace"),
    "partly": ("error", "error", "skip"),
    "unknown": ("append", "append", "skip"),
}


@pytest.mark.parametrize("day", ROWS)
def test_rows_of_a_restore_are_not_added_to_and_others_are_not_removed(day: str) -> None:
    known, _ = DAYS[day]

    def decided(existing: Existing, **destination: str) -> OnExisting:
        fields = {"adls_url": "x", "dates": ["2025-01-01"], "existing": existing, "destination": destination}
        return on_existing_of(known, BackfillRequest.model_validate(fields))

    allowed = decided("append", rows_outside_window="allow")
    assert (decided("append"), allowed, decided("stale")) == ROWS[day]
    for existing in ("error", "skip", "replace"):
        assert decided(existing) == existing


def test_a_plan_of_an_older_version_is_read() -> None:
    plan = decode_plan('{"round": 1, "groups": [["2025-01-01"]], "replaced": ["2025-01-01"]}')
    assert plan == BackfillPlan(1, [["2025-01-01"]], on_existing={"2025-01-01": "replace"})
    assert decode_plan(plan.encode()) == plan
