"""Which servers can refresh an aggregate."""

from __future__ import annotations

import pytest

from shared.timescale.caggs import caggs_available
from shared.timescale.table import Table, TimescaleDB


@pytest.mark.parametrize(
    ("version", "is_able"), [("2.16.1", False), ("2.17.2", False), ("2.18.0", True), ("3.0", True)]
)
def test_a_refresh_without_force_is_not_available(version: str, is_able: bool) -> None:
    """It would be done, and may leave buckets as they were."""
    table = Table(1, 2, "silver", "t", (), TimescaleDB(version, "public", "community"), hypertable_id=3)
    assert caggs_available(table) is is_able
