"""A small HTTP proxy in front of the real blob server. It passes requests on, and fails where a test asks it to."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import SplitResult, quote, urlsplit

import pytest

from tests.integration.fix_app import App

# Longer than any client here waits. A stalled answer is let go at the end of its test.
STALL_SECONDS = 120

Kind = Literal[
    "status",
    "headers",
    "cut",
    "cut body",
    "end early",
    "short",
    "stall",
    "stall answer",
    "stall body",
    "call",
    "call after",
]


@dataclass
class Fault:
    """What happens to the requests for one blob.

    Attributes:
        kind: `headers`: more headers; `status`: another answer; `cut`: the connection is reset before any answer;
            `cut body`: in the middle of the body; `end early`: the connection is closed there in good order; `short`:
            half of the body, whose Content-Length says that it is whole; `stall`: the request is not passed on;
            `stall answer`: it is, and its answer held back; `stall body`: the second half of it; `call`: `call` runs,
            then all goes its way; `call after`: it runs when the answer has come from storage, and before it is handed
            on.
        status: the HTTP status and storage's own code of the answer.
        times: how many requests fail; None: all.
        from_byte: only requests for a range that begins here or later fail.
        call: what is run.
        hits: how many requests have failed so far.
        headers: those that an answer gets besides.
    """

    kind: Kind
    status: tuple[int, str] = (503, "ServerBusy")
    times: int | None = None
    from_byte: int = 0
    call: Callable[[], object] = field(default=lambda: None)
    hits: int = 0
    headers: tuple[tuple[str, str], ...] = ()


class FaultyStorage:
    """The proxy. A blob is named by the end of its path."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = urlsplit(endpoint)
        self.faults: dict[str, Fault] = {}
        self.released = threading.Event()
        self._lock = threading.Lock()

    def next_fault(self, path: str, first_byte: int) -> Fault | None:
        with self._lock:
            for name, fault in self.faults.items():
                if path.endswith(quote(name)) and first_byte >= fault.from_byte:
                    if fault.times is not None and fault.hits >= fault.times:
                        return None
                    fault.hits += 1
                    return fault
        return None


class QuietServer(ThreadingHTTPServer):
    """A server that says nothing of clients that have given up: these tests are about them."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class _Server(QuietServer):
    def __init__(self, storage: FaultyStorage) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.storage = storage


class Relay(BaseHTTPRequestHandler):
    """Hands a request on to the server behind, or fails."""

    protocol_version = "HTTP/1.1"

    def pass_on(self, endpoint: SplitResult, body: bytes | None = None) -> tuple[int, list[tuple[str, str]], bytes]:
        """Send the request on, and return the answer's status, headers and body."""
        with contextlib.closing(
            http.client.HTTPConnection(str(endpoint.hostname), endpoint.port, timeout=30)
        ) as azurite:
            azurite.request(self.command, self.path, body, headers=dict(self.headers))
            answer = azurite.getresponse()
            got = answer.read()
        about_this_hop = {"connection", "keep-alive", "transfer-encoding", "server"}
        if self.command != "HEAD":
            about_this_hop.add("content-length")
        return answer.status, [pair for pair in answer.getheaders() if pair[0].lower() not in about_this_hop], got

    def answer(self, status: int, headers: list[tuple[str, str]], body: bytes, length: int) -> None:
        """Answer, with a length that may be another one than the body's."""
        # Not send_response: it would add a Date of its own.
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if self.command != "HEAD" and status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def reset(self) -> None:
        """Break the connection."""
        # Without lingering, closing sends a reset and not an orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        pass


class _Handler(Relay):
    server: _Server

    def do_GET(self) -> None:
        found = re.match(r"bytes=(\d+)", self.headers.get("x-ms-range", ""))
        fault = self.server.storage.next_fault(self.path, int(found[1]) if found else 0)
        kind = "" if fault is None else fault.kind
        if fault is not None and kind == "status":
            self.answer(fault.status[0], [("x-ms-error-code", fault.status[1])], b"", 0)
            return
        if kind == "cut":
            self.reset()
            return
        if kind == "stall":
            self._stall()
            return
        if fault is not None and kind == "call":
            fault.call()
        status, headers, body = self.pass_on(self.server.storage.endpoint)
        if fault is not None and kind == "call after":
            fault.call()
        if fault is not None:
            headers += fault.headers
        if kind == "stall answer":
            self._stall()
            return
        half = len(body) // 2
        if kind == "short":
            self.answer(status, headers, body[:half], half)
        elif kind in ("cut body", "end early", "stall body"):
            self.answer(status, headers, body[:half], len(body))
            {"cut body": self.reset, "end early": self._close, "stall body": self._stall}[kind]()
        else:
            self.answer(status, headers, body, len(body))

    do_HEAD = do_GET  # noqa: N815 - the base class calls it so

    def _close(self) -> None:
        self.close_connection = True

    def _stall(self) -> None:
        self.server.storage.released.wait(STALL_SECONDS)
        self.close_connection = True


@pytest.fixture
def faulty_storage(app: App, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStorage]:
    """Put the proxy between the function and the app's storage."""
    direct = app.storage.connection_string
    found = re.search(r"BlobEndpoint=([^;]+)", direct)
    if found is None or not found[1].startswith("http://"):
        pytest.skip("only a storage emulator is reached over plain HTTP, which the proxy speaks")
    storage = FaultyStorage(found[1])
    with _Server(storage) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        proxy = f"http://127.0.0.1:{server.server_port}{storage.endpoint.path}"
        monkeypatch.setenv("ADLS_CONNECTION_STRING", direct.replace(found[1], proxy))
        try:
            yield storage
        finally:
            storage.released.set()
            server.shutdown()
            thread.join()
