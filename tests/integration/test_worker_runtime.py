"""Microsoft's own worker and the local host give the same answers. By an older Python: `make test-worker`."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.fix_jobs import Jobs
from tests.integration.fix_app import App
from tests.integration.fix_host import Reply, running_host
from tools.config import LOOPBACK, REPOSITORY
from tools.local_server import free_port

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 13), reason="azure-functions-runtime-v1 is for Python 3.13 and newer; see make test-worker"
)

JSON = {"content-type": "application/json"}
# Those of HTTP itself, which the host's server adds.
TRANSPORT = {"connection", "content-length", "date", "server"}
NO_BODY = 0
HOST_OF_ANOTHER = "abfss://archive@account.dfs.core.windows.net.evil.example/db/s.t.2025-01-01.csv.gz"


def run_worker(calls: list[dict[str, Any]], log: Path) -> list[dict[str, Any]]:
    """Call functions one after the other in one worker, and return what each answered."""
    with log.open("wb") as errors:
        done = subprocess.run(
            # -P: beside the program lie modules, and an app has none of them.
            [sys.executable, "-P", Path(__file__).with_name("worker_v1.py")],
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            input=json.dumps(calls).encode(),
            stdout=subprocess.PIPE,
            stderr=errors,
            check=False,
            timeout=240,
        )
    assert done.returncode == 0, log.read_text()
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def http_call(
    function: str,
    path: str,
    *,
    method: str = "GET",
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    route: dict[str, str] | None = None,
) -> dict[str, Any]:
    return {
        "function": function,
        "method": method,
        "url": f"http://{LOOPBACK}{path}",
        "headers": headers or {},
        "route": route or {},
        "body": base64.b64encode(body).decode(),
    }


def reply_of(answer: dict[str, Any]) -> Reply:
    headers = {name.lower(): value for name, value in answer["headers"].items()}
    return Reply(answer["status"], headers, base64.b64decode(answer["body"]))


def ask_worker(requests: list[tuple[str, bytes, dict[str, str]]], log: Path) -> list[Reply]:
    calls = [
        http_call("RestoreChunk", path, method="POST", body=body, headers=headers) for path, body, headers in requests
    ]
    return [reply_of(answer) for answer in run_worker(calls, log)]


def comparable(reply: Reply) -> tuple[int, dict[str, str], Any]:
    """Leave out what differs from one call to the next: ids and times."""
    body = json.loads(reply.body)
    assert reply.headers["x-ms-request-id"] == body.pop("request_id")
    assert body["status"] == "error" or body.pop("timings")
    (body.get("copy") or {}).pop("waited_seconds", None)
    for detail in (body.get("error") or {}).get("details", []):
        detail.pop("storage_request_id", None)
    headers = {name: value for name, value in reply.headers.items() if name not in TRANSPORT | {"x-ms-request-id"}}
    return reply.status, headers, body


def cases(app: App) -> list[tuple[str, bytes, dict[str, str]]]:
    app.database.hypertable("telemetry", "time timestamptz NOT NULL, value int")
    url = app.archive("telemetry", b"time,value\n2025-01-01 01:00Z,1\n2025-01-01 02:00Z,2\n")
    broken = app.archive("telemetry", b"time,value\n2025-01-01 01:00Z,one\n", day="2025-01-02")
    missing = url.replace("2025-01-01", "2024-01-01")
    pg = app.database.pg
    replace = {"adls_url": url, "pg": pg, "destination": {"on_existing": "replace"}}
    bodies = [
        b"",
        json.dumps(replace).encode(),
        json.dumps({"adls_url": url, "pg": pg}).encode(),
        json.dumps(replace | {"dry_run": True}).encode(),
        json.dumps({"adls_url": broken, "pg": pg}).encode(),
        json.dumps({"adls_url": missing, "pg": pg}).encode(),
        json.dumps({"adls_url": HOST_OF_ANOTHER, "pg": pg}).encode(),
        json.dumps({"adls_url": "abfss://archive@account.dfs.core.windows.net/x.csv", "pg": pg}).encode(),
        json.dumps({"adls_url": url, "pg": pg | {"port": free_port()}}).encode(),
        json.dumps({"adls_url": url, "pg": pg | {"password": "wrong"}}).encode(),
        json.dumps({"adls_url": url, "pg": pg, "colour": "grün"}, ensure_ascii=False).encode(),
        json.dumps({"adls_url": url, "pg": pg, "verify": "perhaps"}).encode(),
        b"{",
        b"[]",
        b'{"adls_url": "\xff"}',
    ]
    path = "/api/restore"
    return [(path, body, JSON) for body in bodies] + [
        (f"{path}?code=key&code=again", bodies[2], {"x-functions-key": "key", "content-type": "text/plain"}),
        (path, b"adls_url=x", {"content-type": "application/x-www-form-urlencoded"}),
    ]


def test_the_worker_and_the_local_host_answer_alike(app: App, tmp_path: Path) -> None:
    requests = cases(app)
    with running_host(REPOSITORY, tmp_path / "host.log", os.environ) as host:
        # So that either finds the same rows and chunks.
        assert host.ask("POST", *requests[NO_BODY + 1]).status == 200
        by_host = [comparable(host.ask("POST", *request)) for request in requests]
        # A body without Content-Length reaches the real worker empty.
        chunked = comparable(host.ask("POST", "/api/restore", iter([b"{", b"}"]), JSON))
    by_worker = [comparable(reply) for reply in ask_worker(requests, tmp_path / "worker.log")]
    assert by_worker == by_host
    assert chunked == by_worker[NO_BODY]
    assert {status for status, _, _ in by_host} >= {200, 400, 403, 404, 409, 503}


def test_the_worker_restores_behind_the_queue(app: App, jobs: Jobs, tmp_path: Path) -> None:
    """It loads every function, and they do what they do in the local host."""
    app.database.hypertable("telemetry", "time timestamptz NOT NULL, value int")
    url = app.archive("telemetry", b"time,value\n2025-01-01 01:00Z,1\n2025-01-01 02:00Z,2\n")
    message = json.dumps({"version": 1, "id": "worker"})
    headers = JSON | {"prefer": "respond-async", "operation-id": "worker"}
    post = http_call("RestoreChunk", "/api/restore", method="POST", body=body_of(url), headers=headers)
    route = {"id": "worker"}
    log = tmp_path / "worker.log"
    taken, worked, monitor, swept, poisoned, unreadable, listed, refused, days = run_worker(
        [
            post,
            {"function": "RestoreQueue", "text": message},
            http_call("RestoreStatus", "/api/restores/worker", route=route),
            {"function": "RestoreSweep"},
            {"function": "RestorePoison", "text": message},
            {"function": "RestoreQueue", "text": "no JSON"},
            http_call("RestoreStatus", "/api/restores?top=1"),
            http_call("RestoreResult", "/api/restores/worker/result?token=x", route=route),
            http_call("RestoreDays", "/api/days"),
        ],
        log,
    )
    assert (taken["status"], reply_of(taken).headers["preference-applied"]) == (202, "respond-async")
    assert [one["succeeded"] for one in (worked, swept, poisoned, unreadable)] == [True, True, True, False]
    state = json.loads(reply_of(monitor).body)
    assert (state["status"], state["result"]["rows_loaded"]) == ("Succeeded", 2), log.read_text()
    assert [one["id"] for one in json.loads(reply_of(listed).body)["value"]] == ["worker"]
    assert (refused["status"], days["status"]) == (404, 400)
    assert (jobs.state("worker").status, jobs.state("worker").attempt) == ("Succeeded", 1)
    assert app.database.value("SELECT count(*) FROM {s}.telemetry") == 2


def body_of(url: str) -> bytes:
    return json.dumps({"adls_url": url}).encode()
