"""This project in a race: the local host as a process of its own, and requests to it over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg2.extensions import parse_dsn

from benchmarks.archive import Lake
from benchmarks.cases import Way
from benchmarks.config import free_port, own_folder
from benchmarks.day import Day
from tools.config import LOGS, LOOPBACK, REPOSITORY, ToolError
from tools.process import wait_until

_OK = ("ok", "ok_with_warnings")
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
            response = connection.getresponse()
            said = response.read()
        try:
            answer = json.loads(said)
        except ValueError as exc:
            raise ToolError(f"{way.name}: the function answered {response.status} without JSON") from exc
        if answer.get("status") not in _OK:
            raise ToolError(f"{way.name}: the function answered {json.dumps(answer)}")
        return dict(answer)


def request_body(way: Way, lake: Lake, day: Day, dsn: str) -> bytes:
    """Return the request of a way."""
    server: dict[str, Any] = parse_dsn(dsn)
    parts = {name: server[name] for name in ("host", "user", "password", "sslmode") if name in server}
    # `prefer` is what psql would choose, so that both talk to the server in the same way.
    facts = {"port": int(server.get("port", 5432)), "database": server["dbname"]}
    body: dict[str, Any] = {"adls_url": lake.url(day), "pg": {"sslmode": "prefer"} | parts | facts}
    return json.dumps(body | dict(way.request)).encode()


@contextmanager
def running_function(root: Path, way: Way, lake: Lake, first_port: int) -> Iterator[Host]:
    """Run the function app of a folder in a fresh process, on the first free port.

    Raises:
        ToolError: it ended, or did not answer within 60 s.
    """
    port = free_port(first_port)
    log = LOGS / f"bench-host-{way.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tools.host", "--root", str(root), "--port", str(port)]
    with own_folder() as folder, log.open("wb") as output:
        environ = _environment(lake, folder)
        host = subprocess.Popen(command, cwd=REPOSITORY, env=environ, stdout=output, stderr=subprocess.STDOUT)
        try:
            answers = wait_until(lambda: host.poll() is not None or _answers(port), 60)
            if host.poll() is not None or not answers:
                raise ToolError(f"the function host ended or did not answer within 60 s, see {log}")
            yield Host(host.pid, port, Path(folder))
        finally:
            host.terminate()
            host.wait(timeout=60)


def _environment(lake: Lake, folder: str) -> dict[str, str]:
    # The caller's PG*, ADLS_* and limits would make it another function.
    return {
        "PATH": os.environ["PATH"],
        "LC_ALL": "C.UTF-8",
        "HOME": os.environ.get("HOME", "/"),
        "ADLS_CONNECTION_STRING": lake.storage,
        "TMPDIR": folder,
        "PYTHONPATH": str(REPOSITORY),
        "NO_PROXY": LOOPBACK,
        "no_proxy": LOOPBACK,
    }


def _answers(port: int) -> bool:
    with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=5)) as connection:
        try:
            connection.request("GET", "/api/restore")
            # GET is no method of this route.
            return connection.getresponse().status == http.HTTPStatus.NOT_FOUND
        except (OSError, http.client.HTTPException):
            return False
