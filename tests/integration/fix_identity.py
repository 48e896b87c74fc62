"""A stand-in for the managed identity of App Service, on loopback. azure-identity asks it as it asks the real one.

https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from shared import identity
from tools.config import LOOPBACK

_HEADER = "the-header-of-this-process"


@dataclass
class ManagedIdentity:
    """What the stand-in answers, and what it was asked.

    Attributes:
        token: the text of the tokens that it gives.
        lifetime_seconds: how long they last from now on; azure-identity fetches a new one five minutes earlier.
        is_refusing: whether it has no identity to give.
        tokens_given: resource and client id of each token that it gave, in order; the client id is None where the
            identity of the system was asked for.
        refusals: how many requests it refused.
    """

    token: str = "token-of-the-managed-identity"
    lifetime_seconds: int = 3600
    is_refusing: bool = False
    tokens_given: list[tuple[str, str | None]] = field(default_factory=list)
    refusals: int = 0


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, state: ManagedIdentity) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.state = state


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        state, asked = self.server.state, parse_qs(urlsplit(self.path).query)
        if state.is_refusing or self.headers["X-IDENTITY-HEADER"] != _HEADER:
            state.refusals += 1
            self._answer(400, {"statusCode": 400, "message": "no managed identity was found"})
            return
        resource, client_id = asked["resource"][0], asked.get("client_id", [None])[0]
        state.tokens_given.append((resource, client_id))
        self._answer(
            200,
            {
                "access_token": state.token,
                "expires_on": str(int(time.time()) + state.lifetime_seconds),
                "resource": resource,
                "token_type": "Bearer",
                "client_id": client_id or "system",
            },
        )

    def _answer(self, status: int, body: dict[str, object]) -> None:
        encoded = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        pass


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[ThreadingHTTPServer]:
    """Let a server answer from a thread of its own."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def forget_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the process without any identity: no variable that names one, and no `az` of a developer."""
    for name in [name for name in os.environ if name.startswith(("AZURE_", "MSI_", "IDENTITY_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", "/nonexistent")
    identity._make.cache_clear()


@pytest.fixture
def managed_identity(monkeypatch: pytest.MonkeyPatch) -> Iterator[ManagedIdentity]:
    """Give the process a managed identity. Set AZURE_CLIENT_ID beside it for a user-assigned one."""
    forget_identity(monkeypatch)
    state = ManagedIdentity()
    with serving(_Server(state)) as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://{LOOPBACK}:{server.server_port}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", _HEADER)
        yield state
    identity._make.cache_clear()
