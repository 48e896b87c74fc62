"""A server that lets nobody in, and keeps all that it is shown."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from tools.config import LOOPBACK

# What it asks for before it refuses: https://www.postgresql.org/docs/current/protocol-message-formats.html
ASKS = {
    "asks": struct.pack("!ii", 8, 3),
    "asks for md5": struct.pack("!ii", 12, 5) + b"salt",
    "asks for scram": struct.pack("!ii", 23, 10) + b"SCRAM-SHA-256\0\0",
}


class Recorder:
    """Keeps what every connection shows, and apart from that what was answered when it asked for a password."""

    def __init__(self, refusal: str) -> None:
        self.shown = b""
        self.answered = b""
        self.connections = 0
        self.refusal = refusal
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with closing(client), suppress(OSError):
            client.settimeout(10)
            start = self._take(client)
            while len(start) == 8:  # a request for TLS or for Kerberos
                client.sendall(b"N")
                start = self._take(client)
            if self.refusal == "hangs up":
                return
            if self.refusal in ASKS:
                client.sendall(b"R" + ASKS[self.refusal])
                self.answered += self._take(client)
            fields = b"SFATAL\0VFATAL\0C28P01\0Mno\0\0"
            client.sendall(b"E" + struct.pack("!i", len(fields) + 4) + fields)

    def _take(self, client: socket.socket) -> bytes:
        data = client.recv(8192)
        self.shown += data
        return data


@pytest.fixture(params=[*ASKS, "refuses", "hangs up"])
def recorder(request: pytest.FixtureRequest) -> Iterator[Recorder]:
    found = Recorder(request.param)
    yield found
    found.close()
