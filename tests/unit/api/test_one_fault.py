"""A request with one fault: its text is the message, so that a reader of the message alone knows what to correct."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.api.parse import parse_request
from shared.backfills.request import parse_backfill
from shared.errors import InvalidArchiveUrl, InvalidRequest
from shared.settings import load_settings

URL = "abfss://archive@account.dfs.core.windows.net/d/s.t.2025-01-01.csv.gz"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"pg": {"prot": 5}}, "pg.prot: unknown field; did you mean port?"),
        ({"destination": {"mode": "stagin"}}, "destination.mode: input should be 'direct' or 'staging'"),
        ({"adls_url": None}, "adls_url: field required"),
        ({"pg": {"port": "x"}}, "pg.port: must be a whole number"),
        ({"copy": {"expected_rows": 1.5}}, "copy.expected_rows: must be a whole number"),
        ({"destination": {"min_rows_ratio": "x"}}, "destination.min_rows_ratio: must be a number"),
        ({"verify": "maybe"}, "verify: must be true or false"),
        ({"destination": {"target_table": ["t"]}}, "destination.target_table: must be a text"),
        ({"pg": {"password": "a\0b"}}, "pg.password: must not hold U+0000 or half a surrogate pair"),
    ],
)
def test_one_fault(body: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_request(json.dumps({"adls_url": URL} | body).encode())
    error = caught.value
    assert error.message == message
    (detail,) = error.details
    assert message == f"{detail.target}: {detail.message}"
    assert error.target == detail.target


@pytest.mark.parametrize("url", ["", " "])
def test_an_empty_address_is_called_so(url: str) -> None:
    with pytest.raises(InvalidArchiveUrl, match=r"^adls_url is empty$"):
        parse_request(
            json.dumps({"adls_url": url}).encode(),
            default_account_url="https://account.dfs.core.windows.net",
            default_filesystem="archive",
        )


@pytest.mark.parametrize(
    ("dates", "places"),
    [
        (["2025-02-30", "2025-01-01", "x"], "1, 3"),
        (["2025-01-01", 5], "2"),
        (["x"] * 20, "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ..."),
    ],
)
def test_the_entry_of_a_list_that_is_no_day_is_named(dates: list[Any], places: str) -> None:
    body = {"adls_url": URL.replace("2025-01-01", "{date}"), "dates": dates}
    with pytest.raises(InvalidRequest) as caught:
        parse_backfill(json.dumps(body).encode(), load_settings())
    assert caught.value.target == "dates"
    assert caught.value.message.endswith(f"no such day is at place {places} of the list")


def test_two_faults() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_request(json.dumps({"adls_url": URL, "pg": {"prot": 5, "port": 0}}).encode())
    assert caught.value.message == "2 fields are wrong"
    assert [detail.target for detail in caught.value.details] == ["pg.port", "pg.prot"]


def test_two_texts_that_cannot_be_stored() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_request(json.dumps({"adls_url": "a\0", "pg": {"user": "b\0"}}).encode())
    assert caught.value.message == "2 fields are wrong"
