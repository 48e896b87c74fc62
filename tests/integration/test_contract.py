"""docs/openapi.json against the running host. Every other test of a restore holds it against the function as well."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.fix_contract import DOCUMENT, check_answer, request_faults
from tests.integration.fix_app import App
from tests.integration.fix_host import running_host
from tools.config import REPOSITORY


def test_the_document_over_http(app: App, tmp_path: Path) -> None:
    app.database.hypertable("t", "time timestamptz NOT NULL, value int")
    good = {"adls_url": app.archive("t", b"time,value\n2025-01-01 01:00Z,1\n"), "pg": app.database.pg}
    bodies = [
        good,
        {"adls_url": good["adls_url"], "nix": 1},
        good | {"adls_url": app.storage.url("b/db/s.t.2025-01-01.csv.gz")},
    ]
    path, method = "/restore", "post"
    prefix = DOCUMENT["servers"][0]["url"].partition("{host}")[2]
    with running_host(REPOSITORY, tmp_path / "host.log", os.environ) as host:
        replies = [
            host.ask(method.upper(), prefix + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
            for body in bodies
        ]
        by_the_platform = host.ask("GET", prefix + path)
    assert [reply.status for reply in replies] == [200, 400, 404]
    for reply in replies:
        check_answer(reply.status, reply.headers, json.loads(reply.body))
    assert [bool(request_faults(body)) for body in bodies] == [False, True, False]
    check_answer(by_the_platform.status, by_the_platform.headers, json.loads(by_the_platform.body or "null"))
    assert (by_the_platform.status, by_the_platform.body) == (404, b"")
