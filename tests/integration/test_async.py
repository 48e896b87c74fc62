"""Restores behind the queue, over the local host: taken, followed, canceled, listed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.integration.fix_app import App
from tests.integration.fix_calendar import set_server
from tests.integration.fix_host import Host, Reply, running_host
from tools.config import REPOSITORY
from tools.process import wait_until

# One core.
FEWEST_THREADS = 5
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


def test_monitors_and_cancels_while_all_that_can_restore(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the smallest instance: as many as run at once wait for a lock, and others for their turn."""
    set_server(app, monkeypatch)
    app.database.hypertable("t", TABLE)
    queues = json.loads((REPOSITORY / "host.json").read_text())["extensions"]["queues"]
    most = queues["batchSize"] + queues["newBatchThreshold"]
    with (
        running_host(
            REPOSITORY, tmp_path / "host.log", os.environ | {"PYTHON_THREADPOOL_THREAD_COUNT": str(FEWEST_THREADS)}
        ) as host,
        closing(app.database.session(autocommit=False)) as other,
        other.cursor() as cursor,
    ):
        cursor.execute(f'LOCK TABLE "{app.database.schema}".t IN ACCESS EXCLUSIVE MODE')
        days = [f"01-{number:02}" for number in range(1, most + queues["batchSize"] + 2)]
        urls = [app.archive("t", CSV.replace(b"01-01", day.encode()), day=f"2025-{day}") for day in days]
        taken = [post(host, {"adls_url": url}, Prefer="respond-async").headers for url in urls]
        monitors = [path_of(headers["operation-location"]) for headers in taken]

        def statuses() -> list[str]:
            begin = time.monotonic()
            found = [json.loads(host.ask("GET", path).body)["status"] for path in monitors]
            assert time.monotonic() - begin < 5
            return found

        assert wait_until(lambda: statuses().count("Running") >= queues["batchSize"], 40), statuses()
        running = [path for path, status in zip(monitors, statuses(), strict=True) if status == "Running"]
        if len(running) < most:
            # Beside so few, the host receives another whole batch.
            for path in running[queues["newBatchThreshold"] :]:
                assert host.ask("DELETE", path).status == 202
            assert wait_until(lambda: statuses().count("Running") == most, 40), statuses()
        begin = time.monotonic()
        assert {host.ask("DELETE", path).status for path in monitors} == {202}
        assert time.monotonic() - begin < 5
        assert wait_until(lambda: statuses() == ["Canceled"] * len(urls), 15), statuses()
        result = host.ask("GET", path_of(taken[0]["location"]))
    assert (result.status, result.headers["x-ms-error-code"]) == (409, "RestoreCanceled")
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0
