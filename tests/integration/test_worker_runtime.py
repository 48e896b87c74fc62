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


def ask_worker(requests: list[tuple[str, bytes, dict[str, str]]], log: Path) -> list[Reply]:
    sent = [
        {"url": f"http://{LOOPBACK}{path}", "headers": headers, "body": base64.b64encode(body).decode()}
        for path, body, headers in requests
    ]
    with log.open("wb") as errors:
        done = subprocess.run(
            # -P: beside the program lie modules, and an app has none of them.
            [sys.executable, "-P", Path(__file__).with_name("worker_v1.py")],
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            input=json.dumps(sent).encode(),
            stdout=subprocess.PIPE,
            stderr=errors,
            check=False,
            timeout=240,
        )
    assert done.returncode == 0, log.read_text()
    return [
        Reply(one["status"], {k.lower(): v for k, v in one["headers"].items()}, base64.b64decode(one["body"]))
        for one in json.loads(done.stdout)
    ]


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
