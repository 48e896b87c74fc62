"""The local host as a program of its own, and HTTP to ask it."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.config import LOOPBACK, REPOSITORY
from tools.local_server import free_port
from tools.process import wait_until


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Host:
    port: int
    log: Path
    pid: int

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request; a body of several parts goes without Content-Length."""
        with closing(http.client.HTTPConnection(LOOPBACK, self.port, timeout=60)) as connection:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


def start(root: Path, port: int, log: Path, environ: Mapping[str, str], *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tools.host", "--root", str(root), "--port", str(port), *options]
    with log.open("wb") as output:
        return subprocess.Popen(command, cwd=REPOSITORY, env=dict(environ), stdout=output, stderr=subprocess.STDOUT)


@contextmanager
def running_host(root: Path, log: Path, environ: Mapping[str, str], *options: str) -> Iterator[Host]:
    port = free_port()
    host = start(root, port, log, environ, *options)
    try:
        assert wait_until(lambda: listens(port) or host.poll() is not None, 60)
        assert host.poll() is None, log.read_text()
        yield Host(port, log, host.pid)
    finally:
        host.terminate()
        host.wait(timeout=30)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0
