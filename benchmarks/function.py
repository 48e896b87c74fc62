"""This project in a race: the local host as a process of its own, and requests to it over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg2.extensions import parse_dsn

from benchmarks.archive import Lake
from benchmarks.cases import Way
from benchmarks.config import own_folder
from benchmarks.day import Day
from tools.azurite import ACCOUNT, JOB_ACCOUNTS
from tools.config import LOGS, LOOPBACK, REPOSITORY, ToolError
from tools.host_process import HostProcess
from tools.local_server import free_port

_HOUR_SECONDS = 3600


@dataclass(frozen=True)
class Host:
    """The function in a process that listens on a port of 127.0.0.1 and has `folder` as its own TMPDIR."""

    pid: int
    port: int
    folder: Path

    def restore(self, way: Way, body: bytes) -> dict[str, Any]:
        """Send a request and return the answer.

        Raises:
            ToolError: the day was not restored.
        """
        with closing(http.client.HTTPConnection(LOOPBACK, self.port, timeout=_HOUR_SECONDS)) as connection:
            connection.request("POST", "/api/restore", body, {"Content-Type": "application/json"})
            answer = connection.getresponse().read().decode()
        found: dict[str, Any] = json.loads(answer) if answer.startswith("{") else {}
        if found.get("status") not in ("ok", "ok_with_warnings"):
            raise ToolError(f"{way.name}: the function answered {answer}")
        return found


def request_body(way: Way, lake: Lake, day: Day, dsn: str) -> bytes:
    """Return the request of a way."""
    known: dict[str, Any] = {"port": 5432} | parse_dsn(dsn)
    # `prefer` is what psql would choose, so that both talk to the server in the same way.
    server = {"sslmode": "prefer", "database": known.pop("dbname")} | known | {"port": int(known["port"])}
    return json.dumps({"adls_url": lake.url(day), "pg": server, **way.request}).encode()


@contextmanager
def running_function(root: Path, way: Way, lake: Lake) -> Iterator[Host]:
    """Run the function app of a folder in a fresh process.

    Raises:
        ToolError: it ended, or did not answer within 60 s.
    """
    server = HostProcess(free_port())
    with own_folder() as folder:
        # The caller's PG*, ADLS_* and limits would make it another function.
        environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        environ |= {"LC_ALL": "C.UTF-8", "PYTHONPATH": str(REPOSITORY), "NO_PROXY": LOOPBACK, "no_proxy": LOOPBACK}
        # Azurite's last account for jobs, whose queue nothing else reads.
        jobs = lake.storage.replace(ACCOUNT, JOB_ACCOUNTS[-1])
        environ |= {"ADLS_CONNECTION_STRING": lake.storage, "AzureWebJobsStorage": jobs, "TMPDIR": folder}
        pid = server.run(
            [sys.executable, "-m", "tools.host", "--root", str(root), "--port", str(server.port)],
            seconds=60,
            log=LOGS / f"bench-host-{way.name}.log",
            environ=environ,
        )
        try:
            yield Host(pid, server.port, Path(folder))
        finally:
            server.stop()
