"""200 operations behind one queue, and four worker processes."""

from __future__ import annotations

import gzip
import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.faults.fix_jobs import Jobs
from tests.integration.fix_app import App
from tests.integration.fix_host import Host, running_host
from tools.config import REPOSITORY
from tools.process import wait_until

pytestmark = pytest.mark.any_server

OPERATIONS = 200
WORKERS = 4
ROWS = 50
# Every twentieth day has one of these faults.
FAULTS = ("ArchiveTruncated", "DataRejected", "ArchiveNotFound", "TableNotFound")
# So many at first: after them all that is opened once is open.
FIRST = 40
# Connections to storage are kept on purpose; a pool takes another one when its threads meet.
KEPT_DESCRIPTORS = 10


def day_of(number: int) -> str:
    return (date(2025, 1, 1) + timedelta(number)).isoformat()


def fault_of(number: int) -> str | None:
    return FAULTS[number // 20 % len(FAULTS)] if number % 20 == 3 else None


def stored(app: App, number: int) -> str:
    """Store a day, each of whose values is in no other day; return its URL."""
    fault = fault_of(number)
    rows = [f"{day_of(number)} 00:{n:02}Z,{number * ROWS + n}" for n in range(ROWS)]
    if fault == "DataRejected":
        rows[ROWS // 2] += "x"
    archive = gzip.compress("\n".join(["time,v", *rows, ""]).encode())
    if fault == "ArchiveTruncated":
        archive = archive[: len(archive) // 2]
    url = app.stored("nix" if fault == "TableNotFound" else "t", archive, day=day_of(number))
    return url.replace("/backups/", "/nowhere/") if fault == "ArchiveNotFound" else url


def post(host: Host, url: str) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "Prefer": "respond-async"}
    reply = host.ask("POST", "/api/restore", json.dumps({"adls_url": url}).encode(), headers)
    assert reply.status == 202, reply.body
    taken: dict[str, Any] = json.loads(reply.body)
    return taken | {"location": "/" + reply.headers["location"].split("/", 3)[3]}


def descriptors(host: Host) -> dict[int, int]:
    """How many each of the processes has open."""
    children = Path(f"/proc/{host.pid}/task/{host.pid}/children").read_text().split()
    return {pid: len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in (host.pid, *map(int, children))}


def wait_until_ended(jobs: Jobs) -> None:
    def is_busy() -> bool:
        return any(jobs.listed(status=status, top="1").body["value"] for status in ("NotStarted", "Running"))

    assert wait_until(lambda: not is_busy(), 200, pause=0.5)


def test_two_hundred_operations_and_four_workers(jobs: Jobs, app: App, tmp_path: Path) -> None:
    app.database.hypertable("t", "time timestamptz NOT NULL, v int NOT NULL, PRIMARY KEY (time)")
    with ThreadPoolExecutor(8) as pool:
        urls = list(pool.map(lambda number: stored(app, number), range(OPERATIONS)))
        with running_host(REPOSITORY, tmp_path / "host.log", os.environ, "--workers", str(WORKERS)) as host:
            taken = list(pool.map(lambda url: post(host, url), urls[:FIRST]))
            wait_until_ended(jobs)
            before = descriptors(host)
            assert len(before) == WORKERS
            taken += pool.map(lambda url: post(host, url), urls[FIRST:])
            wait_until_ended(jobs)
            results = list(pool.map(lambda one: host.ask("GET", one["location"]), taken))
            after = descriptors(host)
            log = (tmp_path / "host.log").read_text()
    for number, (one, result) in enumerate(zip(taken, results, strict=True)):
        fault, body = fault_of(number), json.loads(result.body)
        state = jobs.state(one["id"])
        assert (state.attempt, state.crashes, state.retries) == (1, 0, 0), (number, state)
        if fault is None:
            assert (state.status, result.status, body["status"]) == ("Succeeded", 200, "ok"), body
            assert (body["rows_loaded"], body["verification"]["rows_after"]) == (ROWS, ROWS)
        else:
            assert (state.status, body["error"]["code"]) == ("Failed", fault)
    expected = [
        (day_of(number), f"00:{n:02}", number * ROWS + n)
        for number in range(OPERATIONS)
        if fault_of(number) is None
        for n in range(ROWS)
    ]
    read = "SELECT to_char(at, 'YYYY-MM-DD'), to_char(at, 'HH24:MI'), v"
    at_utc = "(SELECT time AT TIME ZONE 'UTC' AS at, v FROM {s}.t) AS t"
    assert app.database.fetch(f"{read} FROM {at_utc} ORDER BY at") == expected
    app.database.wait_for_no_restore()
    assert "Traceback" not in log
    assert after.keys() == before.keys()
    for pid, count in after.items():
        assert count <= before[pid] + KEPT_DESCRIPTORS, (before, after)
