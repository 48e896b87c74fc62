"""Why an account cannot be reached: DNS, a refusal, silence, TLS, a proxy. Each on a real socket."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trustme

from shared.archive import client as service_client
from shared.errors import RestoreError, StorageUnreachable
from tests.integration.fix_azure import PATH, by_key
from tests.integration.fix_storage import refused
from tools.config import LOOPBACK
from tools.local_server import free_port

pytestmark = [
    pytest.mark.any_server,
    pytest.mark.usefixtures("quick_retries", "collected_connections"),
    # The SDK leaves the connection of an answer that it will retry to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <:ResourceWarning"),
]

URL = f"abfss://fs1@account.dfs.core.windows.net/{PATH}"


def unreachable(endpoint: str) -> RestoreError:
    """Read a file of an account that is served elsewhere."""
    error = refused(URL, by_key(more=f"BlobEndpoint={endpoint}"))
    assert type(error) is StorageUnreachable
    return error


class Listener:
    """A server that does one thing to each connection, and counts them."""

    def __init__(self, treat: Callable[[socket.socket], object]) -> None:
        self.visits = 0
        self._treat = treat
        self._socket = socket.create_server((LOOPBACK, 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            self.visits += 1
            with caller, suppress(OSError):
                self._treat(caller)

    def close(self) -> None:
        # Closing alone does not end an accept.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)
        assert not self._thread.is_alive()


Listen = Callable[[Callable[[socket.socket], object]], Listener]


@pytest.fixture
def listen() -> Iterator[Listen]:
    listeners: list[Listener] = []

    def start(treat: Callable[[socket.socket], object]) -> Listener:
        listeners.append(Listener(treat))
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.close()


def hang_up(caller: socket.socket) -> None:
    caller.recv(65536)


def reset(caller: socket.socket) -> None:
    caller.recv(65536)
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def answer_plainly(caller: socket.socket) -> None:
    caller.recv(65536)
    caller.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def cut_the_body(caller: socket.socket) -> None:
    caller.recv(65536)
    caller.sendall(
        b'HTTP/1.1 206 Partial Content\r\nETag: "1"\r\nContent-Length: 100\r\nContent-Range: bytes 0-99/100\r\n\r\nabc'
    )


# --- the name ----------------------------------------------------------------------------------------------------


def test_a_name_that_dns_does_not_know_is_asked_for_once(caplog: pytest.LogCaptureFixture) -> None:
    """.invalid is never there (RFC 6761)."""
    host = "account.blob.invalid"
    with pytest.raises(socket.gaierror) as caught:
        socket.getaddrinfo(host, 443)
    if caught.value.errno == socket.EAI_AGAIN:
        pytest.skip("no DNS server answers here")
    with caplog.at_level("DEBUG", logger="urllib3"):
        error = unreachable(f"https://{host}")
    assert error.message == f"DNS knows no host {host}"
    assert "the account's name" in (error.hint or "")
    assert "private DNS zone" in (error.hint or "")
    assert len([line for line in caplog.messages if "Starting new HTTPS connection" in line]) == 1


# --- the connection ----------------------------------------------------------------------------------------------


def test_a_refused_connection() -> None:
    error = unreachable(f"http://{LOOPBACK}:{free_port()}/account")
    assert error.message == f"{LOOPBACK} refused the connection"
    assert "a firewall" in (error.hint or "")


@pytest.fixture
def short_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a connection a second, and TLS another one."""
    monkeypatch.setitem(service_client.OPTIONS, "connection_timeout", 1)


@pytest.mark.usefixtures("short_connect")
def test_a_connection_that_is_not_taken() -> None:
    """As a firewall does that drops packets: the queue of this listener is full, so the kernel drops them too."""
    with socket.create_server((LOOPBACK, 0), backlog=0) as server:
        address = server.getsockname()
        waiting = []
        try:
            for _ in range(4):
                one = socket.socket()
                one.settimeout(0)
                one.connect_ex(address)
                waiting.append(one)
            error = unreachable(f"http://{LOOPBACK}:{address[1]}/account")
        finally:
            for one in waiting:
                one.close()
    assert error.message == f"{LOOPBACK} did not accept the connection in time"


@pytest.mark.usefixtures("short_connect")
def test_a_server_that_says_nothing() -> None:
    with socket.create_server((LOOPBACK, 0), backlog=8) as server:
        for scheme in ("http", "https"):
            error = unreachable(f"{scheme}://{LOOPBACK}:{server.getsockname()[1]}/account")
            assert error.message == f"{LOOPBACK} accepted the connection, but did not answer in time"


@pytest.mark.parametrize("treat", [hang_up, reset, cut_the_body])
def test_a_connection_that_breaks(listen: Listen, treat: Callable[[socket.socket], object]) -> None:
    error = unreachable(f"http://{LOOPBACK}:{listen(treat).port}/account")
    assert error.message == f"the connection to {LOOPBACK} broke"


# --- TLS ---------------------------------------------------------------------------------------------------------


def serving(context: ssl.SSLContext) -> Callable[[socket.socket], object]:
    return lambda caller: context.wrap_socket(caller, server_side=True).close()


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "roots.pem")
    return authority


def test_a_certificate_of_an_unknown_authority_is_looked_at_once(listen: Listen, authority: trustme.CA) -> None:
    """As that of a firewall that inspects TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(LOOPBACK).configure_cert(context)
    server = listen(serving(context))
    error = unreachable(f"https://{LOOPBACK}:{server.port}/account")
    assert error.message.startswith(f"the certificate of {LOOPBACK} is not trusted: ")
    assert "REQUESTS_CA_BUNDLE" in (error.hint or "")
    assert server.visits == 1


def test_a_certificate_for_another_host(
    listen: Listen, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "roots.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example").configure_cert(context)
    error = unreachable(f"https://{LOOPBACK}:{listen(serving(context)).port}/account")
    assert error.message.startswith(f"the certificate of {LOOPBACK} is not trusted: ")
    assert "not valid for" in error.message


def test_a_server_that_speaks_no_tls(listen: Listen) -> None:
    error = unreachable(f"https://{LOOPBACK}:{listen(answer_plainly).port}/account")
    assert error.message.startswith(f"TLS with {LOOPBACK} failed: ")


# --- a proxy -----------------------------------------------------------------------------------------------------


@pytest.fixture
def behind_proxy(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], RestoreError]:
    def read(port: int) -> RestoreError:
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://{LOOPBACK}:{port}")
        error = refused(URL, by_key())
        assert type(error) is StorageUnreachable
        return error

    return read


def test_a_proxy_that_is_unreachable_or_refuses(listen: Listen, behind_proxy: Callable[[int], RestoreError]) -> None:
    for port in (free_port(), listen(answer_plainly).port):
        error = behind_proxy(port)
        assert error.message == "the proxy of HTTPS_PROXY could not connect to account.blob.core.windows.net"
        assert "NO_PROXY" in (error.hint or "")


def test_a_server_that_is_not_storage(listen: Listen) -> None:
    """A page of somebody else, with a 200."""

    def greet(caller: socket.socket) -> None:
        caller.recv(65536)
        caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")

    error = unreachable(f"http://{LOOPBACK}:{listen(greet).port}/account")
    assert error.message == f"{LOOPBACK} did not answer as storage does"
    assert "something else answered" in (error.hint or "")
