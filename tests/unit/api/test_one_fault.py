"""A request with one fault: its text is the message, so that a reader of the message alone knows what to correct."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.api.parse import parse_request
from shared.errors import InvalidRequest

URL = "abfss://archive@account.dfs.core.windows.net/d/s.t.2025-01-01.csv.gz"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"pg": {"prot": 5}}, "pg.prot: unknown field; did you mean port?"),
        ({"destination": {"mode": "stagin"}}, "destination.mode: input should be 'direct' or 'staging'"),
        ({"adls_url": None}, "adls_url: field required"),
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


def test_two_faults() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_request(json.dumps({"adls_url": URL, "pg": {"prot": 5, "port": 0}}).encode())
    assert caught.value.message == "2 fields are wrong"
    assert [detail.target for detail in caught.value.details] == ["pg.port", "pg.prot"]


def test_two_texts_that_cannot_be_stored() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_request(json.dumps({"adls_url": "a\0", "pg": {"user": "b\0"}}).encode())
    assert caught.value.message == "2 fields are wrong"
