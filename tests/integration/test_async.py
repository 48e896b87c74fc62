"""Restores behind the queue, over the local host: taken, followed, canceled, listed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.fix_app import App
from tests.integration.fix_calendar import set_server
from tests.integration.fix_host import Host, Reply, running_host
from tools.config import REPOSITORY
from tools.process import wait_until

TABLE = "time timestamptz NOT NULL, v int"
CSV = b"time,v\n2025-01-01 01:00Z,1\n2025-01-01 02:00Z,2\n"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def host(app: App, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    set_server(app, monkeypatch)
    with running_host(REPOSITORY, tmp_path / "host.log", os.environ) as running:
        yield running


def post(host: Host, body: dict[str, Any], **headers: str) -> Reply:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return host.ask("POST", "/api/restore", json.dumps(body).encode(), JSON | names)


def path_of(url: str) -> str:
    return "/" + url.split("/", 3)[3]


def ended(host: Host, monitor: str, seconds: float = 60) -> dict[str, Any]:
    state: dict[str, Any] = {}

    def look() -> bool:
        reply = host.ask("GET", path_of(monitor))
        assert reply.status == 200, reply.body
        state.update(json.loads(reply.body))
        return state["status"] in ("Succeeded", "Failed", "Canceled")

    assert wait_until(look, seconds), state
    return state


def test_taken_followed_and_the_same_answer(app: App, host: Host) -> None:
    app.database.hypertable("t", TABLE)
    url = app.archive("t", CSV)
    taken = post(host, {"adls_url": url}, Prefer="respond-async")
    assert taken.status == 202, taken.body
    assert taken.headers["preference-applied"] == "respond-async"
    assert int(taken.headers["retry-after"]) > 0
    state = ended(host, taken.headers["operation-location"])
    assert state["status"] == "Succeeded", (state, host.log.read_text()[-3000:])
    assert state["result"]["rows_loaded"] == 2
    result = host.ask("GET", path_of(taken.headers["location"]))
    assert (result.status, json.loads(result.body)) == (200, state["result"])
    again = post(host, {"adls_url": url, "async": True})
    state = ended(host, again.headers["operation-location"])
    assert (state["status"], state["error"]["code"]) == ("Failed", "WindowNotEmpty")
    result = host.ask("GET", path_of(again.headers["location"]))
    assert (result.status, result.headers["x-ms-error-code"]) == (409, "WindowNotEmpty")
