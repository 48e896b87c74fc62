"""A TCP proxy on loopback that breaks the network at an exact place: when it sees certain bytes, or so many after."""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.integration.fix_app import App
from tools.config import LOOPBACK

_BLOCK_BYTES = 16 * 1024
_POLL_SECONDS = 0.02

# SO_LINGER on, zero seconds: close() sends RST and drops what was not delivered.
_RESET = struct.pack("ii", 1, 0)


@dataclass
class _Way:
    """One direction of a connection. Bytes are read only when those before them have been passed on."""

    source: socket.socket
    sink: socket.socket
    is_answers: bool
    pending: bytes = b""
    is_stalled: bool = False
    passed: int = 0
    tail: bytes = b""
    matched_at: dict[int, int] = field(default_factory=dict)


class Link:
    """One connection through the proxy. A rule's action is given it, before the bytes that matched are passed on."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.requests = _Way(client, server, is_answers=False)
        self.answers = _Way(server, client, is_answers=True)
        self.is_cut = False

    def cut(self) -> None:
        """Reset both sides; the bytes at hand are lost."""
        self.is_cut = True

    def stall(self) -> None:
        """Pass nothing on any more, in both directions, and say nothing about it."""
        self.stall_requests()
        self.stall_answers()

    def stall_requests(self) -> None:
        """Keep what the client sends."""
        self.requests.is_stalled = True

    def stall_answers(self) -> None:
        """Keep what the server sends."""
        self.answers.is_stalled = True

    def turn(self, look: Callable[[Link, _Way, bytes], None]) -> bool:
        """Pass on what is there; return whether the connection lives on."""
        ways = [way for way in (self.requests, self.answers) if not way.is_stalled]
        readable, writable, _ = select.select(
            [way.source for way in ways if not way.pending],
            [way.sink for way in ways if way.pending],
            [],
            _POLL_SECONDS,
        )
        for way in ways:
            if way.source in readable and not way.pending:
                data = way.source.recv(_BLOCK_BYTES)
                if not data:
                    return False
                look(self, way, data)
                way.pending = data
            elif way.sink in writable and way.pending:
                way.pending = way.pending[way.sink.send(way.pending) :]
        return not self.is_cut

    def close(self) -> None:
        for end in (self.requests.source, self.requests.sink):
            with suppress(OSError):
                if self.is_cut:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.close()


Action = Callable[[Link], None]


@dataclass
class _Rule:
    pattern: bytes
    action: Action
    is_answers: bool
    after_bytes: int
    hits: int

    def matches(self, way: _Way, data: bytes) -> bool:
        if self.hits == 0 or way.is_answers != self.is_answers:
            return False
        if id(self) not in way.matched_at:
            found = (way.tail + data).find(self.pattern)
            if found < 0:
                return False
            way.matched_at[id(self)] = way.passed - len(way.tail) + found
        return way.passed + len(data) - way.matched_at[id(self)] >= self.after_bytes


class Proxy:
    """Listens on a port of its own and passes on to one server. Whole without rules."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._rules: list[_Rule] = []
        self._links: list[Link] = []
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.is_refusing = False
        self.is_mute = False
        self._listener = socket.create_server((LOOPBACK, 0))
        self._listener.settimeout(_POLL_SECONDS)
        self._is_open = True
        self.port = self._listener.getsockname()[1]
        self._spawn(self._accept)

    def pg(self, app: App) -> dict[str, Any]:
        """Return the `pg` of a request that goes through here, in plain text so that rules can read along."""
        return app.database.pg | {"host": LOOPBACK, "port": self.port, "sslmode": "disable"}

    def when(
        self, pattern: bytes, action: Action, *, answers: bool = False, after_bytes: int = 0, hits: int = 1
    ) -> None:
        """Run the action when the pattern comes by.

        Args:
            pattern: what to look for.
            action: is run before the block that holds the pattern is passed on.
            answers: look at what the server sends.
            after_bytes: wait for so many bytes from the pattern's first one on.
            hits: how many times.
        """
        self._rules.append(_Rule(pattern, action, answers, after_bytes, hits))

    def mend(self) -> None:
        """Forget all rules, and end the connections that they broke."""
        self._rules.clear()
        self.is_refusing = self.is_mute = False
        with self._lock:
            for link in self._links:
                link.cut()

    def close(self) -> None:
        self._is_open = False
        self.mend()
        for thread in self._threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in self._threads)

    def _spawn(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with self._listener:
            while self._is_open:
                with suppress(TimeoutError):
                    client, _ = self._listener.accept()
                    self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            link = Link(client, socket.create_connection(self._server, timeout=5))
        except OSError:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            client.close()
            return
        if self.is_refusing:
            link.cut()
        if self.is_mute:
            link.stall()
        with self._lock:
            self._links.append(link)
        try:
            while link.turn(self._look):
                pass
        except OSError:
            link.cut()
        finally:
            link.close()
            with self._lock:
                self._links.remove(link)

    def _look(self, link: Link, way: _Way, data: bytes) -> None:
        for rule in list(self._rules):
            with self._lock:
                is_hit = rule.matches(way, data)
                rule.hits -= is_hit
            if is_hit:
                rule.action(link)
        way.passed += len(data)
        way.tail = (way.tail + data)[-64:]


@pytest.fixture
def proxy(app: App) -> Iterator[Proxy]:
    """A proxy before the server that all tests share."""
    info = app.database.connection.info
    proxy = Proxy(info.host, info.port)
    yield proxy
    proxy.close()
