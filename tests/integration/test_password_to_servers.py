"""No server is shown what is the function's own, in no connection: the one for the SQLSTATE of a refusal included."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from tests.integration.fix_app import App
from tools.config import LOOPBACK

CANARY = "canary-Zq8"
# All that libpq reads: https://www.postgresql.org/docs/current/libpq-envars.html
VARIABLES = (
    "PGPASSWORD",
    "PGPASSFILE",
    "PGUSER",
    "PGDATABASE",
    "PGAPPNAME",
    "PGOPTIONS",
    "PGTZ",
    "PGDATESTYLE",
    "PGGEQO",
)


class Recorder:
    """A server that asks for the password in clear text, keeps all that it is shown, and refuses."""

    def __init__(self, refusal: bytes) -> None:
        self.shown = b""
        self.connections = 0
        self._refusal = refusal
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
            if self._refusal == b"password":
                client.sendall(b"R" + struct.pack("!ii", 8, 3))
                self._take(client)
            fields = b"SFATAL\0VFATAL\0C28P01\0Mno\0\0"
            client.sendall(b"E" + struct.pack("!i", len(fields) + 4) + fields)

    def _take(self, client: socket.socket) -> bytes:
        data = client.recv(8192)
        self.shown += data
        return data


@pytest.fixture(params=[b"password", b"at once"], ids=["asks", "refuses"])
def recorder(request: pytest.FixtureRequest) -> Iterator[Recorder]:
    found = Recorder(request.param)
    yield found
    found.close()


@pytest.mark.any_server
@pytest.mark.parametrize("pg", [{}, {"password": "theirs"}, {"user": "somebody"}, {"password": ""}])
def test_a_server_of_the_requests_choice(
    app: App, recorder: Recorder, pg: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, f"{CANARY}-{name}")
    monkeypatch.delenv("PGUSER" if "user" in pg else "PGTZ")
    url = app.archive("t", b"time,v\n")
    parts = {"host": LOOPBACK, "port": recorder.port, "sslmode": "disable"} | pg
    answer = app.restore(url, pg=parts)
    assert answer.status in (400, 403), answer.body
    if "password" in pg or "user" in pg or recorder.connections:
        assert recorder.connections
    shown = recorder.shown.decode("latin-1")
    for name in ("PGPASSWORD", "PGPASSFILE", "PGDATABASE", "PGAPPNAME", "PGTZ", "PGDATESTYLE", "PGGEQO"):
        assert f"{CANARY}-{name}" not in shown


@pytest.mark.any_server
def test_a_listed_server_is_not_given_the_address_of_another(
    app: App, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request's own password for a host goes to that host, whatever PGHOSTADDR says."""
    monkeypatch.setenv("PGHOST", "db.example")
    monkeypatch.setenv("PGHOSTADDR", LOOPBACK)
    monkeypatch.setenv("PG_ALLOWED_HOSTS", "other.invalid,db.example")
    parts = {"host": "other.invalid", "port": recorder.port, "user": "u", "password": "theirs", "sslmode": "require"}
    assert app.restore(app.archive("t", b"time,v\n"), pg=parts).code == "DatabaseUnreachable"
    assert recorder.connections == 0
