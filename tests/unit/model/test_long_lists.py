"""A long list is one fault, found before its items are looked at, wherever in the request it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.api.parse import parse_request
from shared.errors import InvalidJson, InvalidRequest
from tests.fix_steps import steps_of

URL = "abfss://fs1@account.dfs.core.windows.net/d/s.t.2025-01-01.csv.gz"
NUMBERS, NAMES = [1] * 300_000, {str(number): "" for number in range(60_000)}


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("copy.columns", {"copy": {"columns": NUMBERS}}),
        ("copy.column_map", {"copy": {"column_map": NAMES}}),
        ("copy.csv_options.FORCE_NULL", {"copy": {"csv_options": {"FORCE_NULL": NUMBERS}}}),
        ("copy.csv_options.FORCE_NOT_NULL", {"copy": {"csv_options": {"FORCE_NOT_NULL": [[]] * 300_000}}}),
        ("copy.csv_options", {"copy": {"csv_options": NAMES}}),
        ("timescaledb.refresh_caggs", {"timescaledb": {"refresh_caggs": NUMBERS}}),
        ("destination.target_table", {"destination": {"target_table": NUMBERS}}),
        ("async", {"async": NUMBERS}),
        ("pg", {"pg": NAMES}),
        ("body", NAMES),
        ("pg.host.0.0", {"pg": {"host": [[NUMBERS]]}}),
    ],
)
def test_one_fault_for_all_of_them(target: str, body: dict[str, Any]) -> None:
    encoded = json.dumps({"adls_url": URL} | body, separators=(",", ":")).encode()
    with pytest.raises(InvalidRequest) as caught:
        parse_request(encoded)
    assert [detail.target for detail in caught.value.details] == [target]
    assert "1600 entries at most" in caught.value.details[0].message


def test_no_step_is_taken_for_an_item() -> None:
    def steps(length: int) -> int:
        body = json.dumps({"adls_url": URL, "copy": {"columns": ["a"] * length}}).encode()

        def parse() -> None:
            with pytest.raises(InvalidRequest):
                parse_request(body)

        return steps_of(parse)

    assert steps(150_000) == steps(2_000)


@pytest.mark.parametrize("letters", [b"[", b'{"a":', b'{"a":['])
def test_a_body_may_be_nested_to_any_depth(letters: bytes) -> None:
    with pytest.raises(InvalidJson):
        parse_request((letters * 200_000)[:1_000_000])
