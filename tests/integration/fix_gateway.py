"""What stands before a function app in Azure: it asks for the key, and fails as gateways do where a test asks it to."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tools.config import LOOPBACK

# As the platform and its gateways answer.
BAD_GATEWAY = b"<!DOCTYPE html><html><body>\x1b[2J502 Bad Gateway</body></html>"


@dataclass(frozen=True)
class Seen:
    method: str
    path: str
    key: str | None
    operation_id: str | None


@dataclass(frozen=True)
class Failure:
    """What a request gets that is not passed on; `cut` is a connection that is closed after it was passed on."""

    status: int = 503
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    cut: bool = False


@dataclass
class Gateway:
    """It passes requests on to a local host if they carry the key.

    Attributes:
        port: its own.
        host_port: the local host's.
        key: what it asks for.
        failures: what the next requests get, one after the other.
        seen: all that came.
        rewrite: changes the body of an answer.
    """

    port: int
    host_port: int
    key: str
    failures: list[Failure] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    rewrite: Callable[[bytes], bytes] = bytes

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}/api"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gateway: Gateway

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's own name
        """Write nothing."""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        key = self.headers.get("x-functions-key")
        self.gateway.seen.append(Seen(self.command, self.path, key, self.headers.get("Operation-Id")))
        failure = self.gateway.failures.pop(0) if self.gateway.failures else None
        if failure is not None and not failure.cut:
            self.reply(failure.status, failure.headers, failure.body)
            return
        if key != self.gateway.key:
            self.reply(401, (), b"")
            return
        with closing(http.client.HTTPConnection(LOOPBACK, self.gateway.host_port, timeout=120)) as connection:
            # The host must see the name that the caller used.
            kept = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            connection.request(self.command, self.path, body or None, kept)
            response = connection.getresponse()
            answer = self.gateway.rewrite(response.read())
            if failure is not None:
                self.close_connection = True
                return
            dropped = ("content-length", "connection", "date", "server")
            headers = [pair for pair in response.getheaders() if pair[0].lower() not in dropped]
            self.reply(response.status, tuple(headers), answer)

    do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the base's own names

    def reply(self, status: int, headers: tuple[tuple[str, str], ...], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def running_gateway(host_port: int, key: str) -> Iterator[Gateway]:
    gateway = Gateway(0, host_port, key)

    class Handler(_Handler):
        pass

    Handler.gateway = gateway
    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        gateway.port = server.server_address[1]
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield gateway
        finally:
            server.shutdown()
            thread.join()
