"""Which word stands for a day."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from shared.archive.listing import StoredArchive
from shared.calendar.state import KnownDay
from shared.jobs.day_notes import RestoredDay
from shared.model.calendar import DayState
from shared.timescale.rows_of_days import DayRows

NOW = datetime(2025, 1, 2, tzinfo=timezone.utc)
ARCHIVE = StoredArchive(10, "now", NOW, "Hot")
NO, YES, UNKNOWN = DayRows("no"), DayRows("yes"), DayRows("unknown")


def partly(count: int) -> DayRows:
    return DayRows("partly", count)


def noted(etag: str | None = None, rows: int | None = None, *, outcome: str = "ok") -> RestoredDay:
    return RestoredDay(outcome, "", NOW.isoformat(), "request", "", etag, rows)


@pytest.mark.parametrize("archive", [ARCHIVE, None])
@pytest.mark.parametrize("rows", [NO, YES, UNKNOWN, partly(1)])
@pytest.mark.parametrize("last", [None, noted("now", 2), noted(outcome="failed")])
def test_a_restore_under_way_hides_the_rest(
    archive: StoredArchive | None, rows: DayRows, last: RestoredDay | None
) -> None:
    assert KnownDay(archive, rows, last, is_running=True).state == "running"


@pytest.mark.parametrize("archive", [ARCHIVE, None])
@pytest.mark.parametrize("last", [None, noted("now", 2), noted(outcome="failed")])
def test_where_no_column_tells_the_day(archive: StoredArchive | None, last: RestoredDay | None) -> None:
    assert KnownDay(archive, UNKNOWN, last, is_running=False).state == "unknown"


@pytest.mark.parametrize(
    ("archive", "last", "state"),
    [
        (None, None, "missing"),
        (None, noted("now", 2), "missing"),
        (None, noted(outcome="failed"), "missing"),
        (ARCHIVE, None, "archived"),
        (ARCHIVE, noted(outcome="failed"), "failed"),
        (ARCHIVE, noted("now", 0, outcome="failed"), "failed"),
        # The archive is a header alone.
        (ARCHIVE, noted("now", 0), "restored"),
        (ARCHIVE, noted("before", 0), "archived"),
        # Its rows were deleted since, or they were not counted.
        (ARCHIVE, noted("now", 2), "archived"),
        (ARCHIVE, noted("now"), "archived"),
    ],
)
def test_a_day_without_rows(archive: StoredArchive | None, last: RestoredDay | None, state: DayState) -> None:
    assert KnownDay(archive, NO, last, is_running=False).state == state


@pytest.mark.parametrize(
    ("archive", "rows", "last", "state"),
    [
        (ARCHIVE, YES, None, "present"),
        (None, YES, None, "present"),
        (ARCHIVE, YES, noted(outcome="failed"), "present"),
        (ARCHIVE, YES, noted("now", 2), "restored"),
        (ARCHIVE, YES, noted("now", 2, outcome="failed"), "restored"),
        (None, YES, noted("now", 2), "restored"),
        (ARCHIVE, YES, noted("before", 2), "stale"),
        (ARCHIVE, partly(2), None, "present"),
        (ARCHIVE, partly(2), noted("now", 2), "restored"),
        (ARCHIVE, partly(1), noted("now", 2), "unknown"),
        (ARCHIVE, partly(1), noted("now"), "unknown"),
        (None, partly(1), noted("now", 2), "unknown"),
        (ARCHIVE, partly(1), noted("before", 2), "stale"),
    ],
)
def test_a_day_with_rows(
    archive: StoredArchive | None, rows: DayRows, last: RestoredDay | None, state: DayState
) -> None:
    assert KnownDay(archive, rows, last, is_running=False).state == state
