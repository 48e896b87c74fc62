"""The types of what `GET /api/days` answers. `docs/days.md` describes each field; see `answer.py`."""

from __future__ import annotations

from typing import Literal, TypeAlias

from typing_extensions import TypedDict

# Ten years and leap days.
MOST_DAYS = 3_700

DayState: TypeAlias = Literal["restored", "archived", "stale", "missing", "present", "failed", "running", "unknown"]
RowsThere: TypeAlias = Literal["yes", "no", "partly", "unknown"]


class DayArchive(TypedDict):
    """The day's archive, as storage lists it."""

    bytes: int
    etag: str
    modified: str
    tier: str | None


class DayTable(TypedDict):
    """What the table holds of the day."""

    rows: RowsThere
    count: int | None


class LastRestore(TypedDict):
    """The last restore of the day that is recorded."""

    outcome: str
    code: str | None
    at: str
    request_id: str
    operation_id: str | None
    restored_at: str | None
    restored_etag: str | None
    restored_rows: int | None


class CalendarDay(TypedDict):
    """One day of a table."""

    day: str
    state: DayState
    archive: DayArchive | None
    table: DayTable
    last_restore: LastRestore | None


class CalendarPage(TypedDict):
    """Days of a table, oldest first."""

    value: list[CalendarDay]
    nextLink: str | None
