"""What a backfill does with a day."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import get_args

import pytest

from shared.archive.listing import StoredArchive
from shared.backfills.planner import Choice, choose
from shared.calendar.state import KnownDay
from shared.jobs.day_notes import RestoredDay
from shared.model.backfill import Existing
from shared.timescale.rows_of_days import DayRows

NOW = datetime(2025, 1, 2, tzinfo=timezone.utc)
ARCHIVE = StoredArchive(10, "now", NOW, "Hot")
NO, YES, UNKNOWN = DayRows("no"), DayRows("yes"), DayRows("unknown")
IN = RestoredDay("ok", "", NOW.isoformat(), "request", "", "now", 2)
EMPTY = RestoredDay("ok", "", NOW.isoformat(), "request", "", "now", 0)
OLD = RestoredDay("ok", "", NOW.isoformat(), "request", "", "before", 2)

# `existing` in the order of `COLUMNS`: what becomes of such a day.
COLUMNS: tuple[Existing, ...] = ("error", "skip", "replace", "stale")
DAYS: dict[str, tuple[KnownDay, tuple[Choice, Choice, Choice, Choice]]] = {
    "archived": (KnownDay(ARCHIVE, NO, None, is_running=False), ("restore", "restore", "restore", "restore")),
    "missing": (KnownDay(None, NO, None, is_running=False), ("missing", "missing", "missing", "missing")),
    "an empty day": (KnownDay(ARCHIVE, NO, EMPTY, is_running=False), ("restore", "restore", "restore", "skip")),
    "running": (KnownDay(ARCHIVE, NO, None, is_running=True), ("restore", "restore", "restore", "skip")),
    "running, with rows": (KnownDay(ARCHIVE, YES, IN, is_running=True), ("restore", "skip", "restore", "skip")),
    "present": (KnownDay(ARCHIVE, YES, None, is_running=False), ("restore", "skip", "restore", "skip")),
    "restored": (KnownDay(ARCHIVE, YES, IN, is_running=False), ("restore", "skip", "restore", "skip")),
    "stale": (KnownDay(ARCHIVE, YES, OLD, is_running=False), ("restore", "skip", "restore", "restore")),
    # Whether such a day has rows only its restore finds out.
    "partly": (
        KnownDay(ARCHIVE, DayRows("partly", 1), IN, is_running=False),
        ("restore", "restore", "restore", "skip"),
    ),
    "unknown": (KnownDay(ARCHIVE, UNKNOWN, None, is_running=False), ("restore", "restore", "restore", "restore")),
    "rows without an archive": (KnownDay(None, YES, None, is_running=False), ("missing", "skip", "missing", "skip")),
}


def test_the_table_has_each_word_of_a_request() -> None:
    assert get_args(Existing) == COLUMNS


@pytest.mark.parametrize("existing", COLUMNS)
@pytest.mark.parametrize("day", DAYS)
def test_what_becomes_of_a_day(day: str, existing: Existing) -> None:
    known, choices = DAYS[day]
    assert choose(known, existing) == choices[COLUMNS.index(existing)]
