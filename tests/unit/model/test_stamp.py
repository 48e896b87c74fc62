"""How long an operation has waited, as its record says it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from shared.model.stamp import seconds_since, stamp


def test_a_time_in_the_past() -> None:
    minute_ago = datetime.now(timezone.utc) - timedelta(seconds=60)
    waited = seconds_since(stamp(minute_ago))
    assert waited is not None
    assert waited >= 60


def test_a_future_time_is_not_a_wait() -> None:
    assert seconds_since(stamp(datetime.now(timezone.utc) + timedelta(days=1))) == 0


@pytest.mark.parametrize("text", ["", "soon", "2025-13-01T00:00:00.000Z", "2025-01-01T00:00:00"])
def test_a_record_without_a_time_is_not_an_error(text: str) -> None:
    """A restore must not fail by it."""
    assert seconds_since(text) is None
