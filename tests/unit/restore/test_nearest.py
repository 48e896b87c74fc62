from __future__ import annotations

import pytest

from shared.names import QualifiedName, parse_qualified_name
from shared.restore.explain import nearest

NAMES = [
    QualifiedName(*name.split("."))
    for name in ("silver.telemetry", "silver.telemetry_raw", "silver.alarms", "gold.telemetry", "gold.Events", "hr.pay")
]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("silver.telemtry", ["silver.telemetry", "silver.telemetry_raw"]),
        ("silver.Telemetry", ["silver.telemetry", "silver.telemetry_raw", "gold.telemetry"]),
        ("sliver.telemetry", ["silver.telemetry", "silver.telemetry_raw", "gold.telemetry"]),
        # A schema of another name: only a table of the very name.
        ("bronze.telemetry", ["gold.telemetry", "silver.telemetry"]),
        ("bronze.telemtry", []),
        ("gold.events", ["gold.Events"]),
        ("silver.x", []),
        ("silver.pay", ["hr.pay"]),
    ],
)
def test_the_nearest_names(wanted: str, expected: list[str]) -> None:
    assert [str(name) for name in nearest(parse_qualified_name(wanted), NAMES)] == expected
