"""Times as answers and records have them: ISO 8601 in UTC, with a Z at the end."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Literal


def stamp(time: datetime, timespec: Literal["auto", "seconds", "milliseconds"] = "milliseconds") -> str:
    """Write a time that has a time zone. Times of one `timespec`, other than "auto", sort as their texts do."""
    return time.astimezone(timezone.utc).isoformat(timespec=timespec).replace("+00:00", "Z")


def read_stamp(text: str) -> datetime:
    """Read a time that `stamp` wrote.

    Raises:
        ValueError: the text is not such a time.
    """
    # Python before 3.11 reads no Z.
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def now() -> str:
    """Return this machine's time. Only for people: no decision depends on it."""
    return stamp(datetime.now(timezone.utc))


def seconds_since(text: str) -> float | None:
    """Return the seconds since a stamp, by this machine's clock; 0 if it is in the future, None if it is not a stamp.

    Only for people: no decision depends on it.
    """
    try:
        ago = datetime.now(timezone.utc) - read_stamp(text)
    except (ValueError, TypeError):
        return None
    return max(0.0, ago.total_seconds())
