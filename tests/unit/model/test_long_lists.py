"""A long list is one fault, found before its items are looked at."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.api.parse import parse_request
from shared.errors import InvalidRequest

URL = "abfss://fs1@account.dfs.core.windows.net/d/s.t.2025-01-01.csv.gz"


@pytest.mark.parametrize(
    "copy",
    [
        {"columns": [1] * 300_000},
        {"column_map": {str(number): "" for number in range(60_000)}},
        {"csv_options": {"FORCE_NULL": [1] * 300_000}},
        {"csv_options": {"FORCE_NOT_NULL": [[]] * 300_000}},
    ],
    ids=lambda copy: next(iter(copy)),
)
def test_one_fault_for_all_of_them(copy: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_request(json.dumps({"adls_url": URL, "copy": copy}, separators=(",", ":")).encode())
    assert len(caught.value.details) == 1
    assert "1600 entries at most" in caught.value.details[0].message
