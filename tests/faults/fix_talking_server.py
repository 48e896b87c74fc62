"""Servers that send a text to each client, and then refuse it."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tests.faults.fix_quiet import CANARY
from tools.config import LOOPBACK


def _message(kind: bytes, *fields: bytes) -> bytes:
    body = b"\0".join(fields) + b"\0\0"
    return kind + struct.pack("!i", len(body) + 4) + body


@contextmanager
def speaking_server(*answers: bytes) -> Iterator[dict[str, Any]]:
    """Give each client an answer to each of its messages, and then hang up. Yields the `pg` of a request."""
    with socket.create_server((LOOPBACK, 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with client:
                        for answer in answers:
                            client.recv(8192)
                            client.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        port = listener.getsockname()[1]
        yield {"host": LOOPBACK, "port": port, "user": "u", "password": "p", "sslmode": "disable"}
        # Its thread waits in accept() and would keep the port.
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def talking_server(sqlstate: str) -> Iterator[dict[str, Any]]:
    """Answer each connection with a notice, and refuse it with a SQLSTATE. Yields the `pg` of a request."""
    said = CANARY.encode()
    notice = _message(b"N", b"SWARNING", b"VWARNING", b"C01000", b"M" + said, b"D" + said, b"W" + said)
    refusal = _message(b"E", b"SFATAL", b"VFATAL", b"C" + sqlstate.encode(), b"Mno", b"D" + said, b"W" + said)
    # libpq takes notices once it has authenticated itself: AuthenticationOk.
    with speaking_server(struct.pack("!cii", b"R", 8, 0) + notice + refusal) as pg:
        yield pg
