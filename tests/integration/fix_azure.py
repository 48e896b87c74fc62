"""A stand-in for Azure's HTTPS endpoints, on loopback: a proxy that answers in the place of every host.

The SDK connects to a real host name through it and checks a real certificate, so what it asks for, of whom, and with
which credential is seen as Azure would see it. Nothing leaves the machine.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from shared.archive.client import forget_clients
from shared.identity import CLOUDS
from shared.process import MIB
from shared.secret import Secret
from shared.settings import Settings
from tests.integration.fix_identity import serving
from tests.integration.fix_storage import read
from tools.config import LOOPBACK

# Two ranges: the second one is alone on its connection.
FILE_BYTES = 7 * MIB
KEY = "c2VjcmV0LWtleS1vZi1hLXN0b3JhZ2UtYWNjb3VudA=="
PATH = "db/s.t.2025-01-01.csv.gz"
REQUEST_ID = "7d1b2f30-001e-0042-3a5c-d2a1c0000000"

_NAMES = [
    *(f"*.blob.{cloud.storage_suffix}" for cloud in CLOUDS),
    *(cloud.authority for cloud in CLOUDS),
    "*.z07.blob.storage.azure.net",
]


@dataclass(frozen=True)
class Seen:
    """One request."""

    host: str
    target: str
    authorization: str | None


@dataclass(frozen=True)
class Refusal:
    """What storage answers instead of a file.

    Attributes:
        status: the HTTP status.
        code: storage's own; None: the answer is not from storage.
        headers: more of them.
        properties: those that a HEAD request gets, with a 200; None: it gets the same refusal.
    """

    status: int
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] | None = None


@dataclass
class Azure:
    """What is stored, and what was asked for.

    Attributes:
        files: stored bytes by path, as it stands in the URL without its query; the same in every account.
        refusals: what is answered for a path instead.
        connections: `host:port` of each TCP connection, in order.
        requests: those to storage, in order.
        etag: the version of each file; None: the answers name none.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    refusals: dict[str, Refusal] = field(default_factory=dict)
    connections: list[str] = field(default_factory=list)
    requests: list[Seen] = field(default_factory=list)
    etag: str | None = '"0x1"'


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, azure: Azure, tls: ssl.SSLContext) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.azure, self.tls = azure, tls

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet: a client may hang up when it has what it wants."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    host = ""

    def do_CONNECT(self) -> None:
        self.host = self.path
        self.server.azure.connections.append(self.host)
        self.send_response(200)
        self.end_headers()
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", 0)
        self.close_connection = False

    def do_GET(self) -> None:
        seen = Seen(self.host.removesuffix(":443"), self.path, self.headers["Authorization"])
        self.server.azure.requests.append(seen)
        path = urlsplit(self.path).path
        refusal, data = self.server.azure.refusals.get(path), self.server.azure.files.get(path)
        if refusal is None and data is None:
            refusal = Refusal(404, "BlobNotFound")
        if refusal is not None:
            self._refuse(refusal)
            return
        assert data is not None
        first, last = map(int, re.findall(r"\d+", self.headers["x-ms-range"]))
        part = data[first : last + 1]
        content_range = f"bytes {first}-{first + len(part) - 1}/{len(data)}"
        self._answer(206, [*self._version(), ("Content-Range", content_range)], part)

    def do_HEAD(self) -> None:
        refusal = self.server.azure.refusals[urlsplit(self.path).path]
        if refusal.properties is None:
            self._refuse(refusal)
        else:
            self._answer(200, [*self._version(), *refusal.properties.items()], b"")

    def _version(self) -> list[tuple[str, str]]:
        etag = self.server.azure.etag
        return [] if etag is None else [("ETag", etag)]

    def _refuse(self, refusal: Refusal) -> None:
        code = [] if refusal.code is None else [("x-ms-error-code", refusal.code), ("x-ms-request-id", REQUEST_ID)]
        self._answer(refusal.status, [*code, *refusal.headers.items()], b"")

    def do_POST(self) -> None:
        """Refuse what an authority is asked for."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(400, [("Content-Type", "application/json")], json.dumps({"error": "invalid_client"}).encode())

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        pass


@pytest.fixture
def azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Azure]:
    """Stand in for Azure. What is on loopback already is reached as ever."""
    authority, roots = trustme.CA(), tmp_path / "azure.pem"
    authority.cert_pem.write_to_path(roots)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*_NAMES).configure_cert(tls)
    state = Azure()
    forget_clients()
    with serving(_Server(state, tls)) as server:
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://{LOOPBACK}:{server.server_port}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, LOOPBACK)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(roots))
        yield state
        forget_clients()


@pytest.fixture
def lake(azure: Azure) -> Azure:
    """Azure with one file of three ranges, which every account has."""
    azure.files[f"/fs1/{PATH}"] = b"x" * FILE_BYTES
    return azure


def read_lake(host: str, settings: Settings | None = None, query: str = "") -> int:
    """Read that file, and return its length."""
    return len(read(f"abfss://fs1@{host}/{PATH}{query}", settings or Settings()))


def by_key(key: str = KEY, more: str = "") -> Settings:
    """Settings with the key of one account."""
    return Settings(adls_connection_string=Secret(f"AccountName=account;AccountKey={key};{more}"))
