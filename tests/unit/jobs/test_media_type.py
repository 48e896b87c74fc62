"""Which bodies are sent as JSON."""

from __future__ import annotations

import json

import pytest

from shared.api.call import HttpCall
from shared.api.handle import HttpAnswer
from shared.jobs.http import post_restore


def post(body: bytes, content_type: str | None) -> HttpAnswer:
    headers = {} if content_type is None else {"Content-Type": content_type}
    return post_restore(HttpCall("POST", "http://localhost/api/restore", headers, {}, {}, body))


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON ; charset=utf-16",
        "application/problem+json",
        "application/vnd.a-b+json;x=1",
    ],
)
def test_json_is_taken_by_any_of_its_names(content_type: str) -> None:
    assert post(b"{", content_type).status == 400


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/plain; application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=json",
        "text/json",
        "application/jsonx",
        "application/+json",
        "application/json, text/plain",
        "x/json\napplication/json",
    ],
)
def test_what_a_web_page_may_send_unasked_is_refused(content_type: str | None) -> None:
    answer = post(b"{}", content_type)
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["code"]) == (415, "UnsupportedMediaType")
    assert "application/json" in error["hint"]


@pytest.mark.parametrize("content_type", [None, "text/plain"])
def test_a_request_without_a_body_is_not_asked_for_a_type(content_type: str | None) -> None:
    answer = post(b"", content_type)
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (400, "InvalidJson")
