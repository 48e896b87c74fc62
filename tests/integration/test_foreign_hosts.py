"""A request that names a foreign host, or an account that is not listed, makes no connection at all."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.integration.fix_app import Answer, App
from tests.integration.fix_azure import PATH, Azure
from tests.integration.fix_identity import ManagedIdentity
from tools.config import LOOPBACK

pytestmark = pytest.mark.any_server

SAS = "?sv=2024-11-04&sp=r&sig=hunter2"


@dataclass(frozen=True)
class Listener:
    """A port of loopback that lets everybody connect. The system does; nobody has to accept."""

    socket: socket.socket

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    def was_visited(self) -> bool:
        try:
            visitor, _ = self.socket.accept()
        except BlockingIOError:
            return False
        visitor.close()
        return True


def listen() -> Listener:
    listener = socket.create_server((LOOPBACK, 0))
    listener.settimeout(0)
    return Listener(listener)


@pytest.fixture
def storage_listener() -> Iterator[Listener]:
    listener = listen()
    with listener.socket:
        yield listener


@pytest.fixture
def database_listener() -> Iterator[Listener]:
    listener = listen()
    with listener.socket:
        yield listener


def restore(app: App, url: str, database: Listener, **more: Any) -> Answer:
    return app.post({"adls_url": url, "pg": {"host": LOOPBACK, "port": database.port, "user": "restore"}} | more)


def test_a_listener_would_notice(storage_listener: Listener) -> None:
    """So that the tests below can fail."""
    assert not storage_listener.was_visited()
    with socket.create_connection((LOOPBACK, storage_listener.port)):
        assert storage_listener.was_visited()


@pytest.mark.parametrize("query", ["", SAS])
@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:{port}/fs1/{path}",
        "abfss://fs1@127.0.0.1:{port}/{path}",
        "https://localhost:{port}/fs1/{path}",
        "https://2130706433:{port}/fs1/{path}",
        "https://0x7f000001:{port}/fs1/{path}",
        "https://0177.0.0.1:{port}/fs1/{path}",
        "https://[::ffff:127.0.0.1]:{port}/fs1/{path}",
        "http://127.0.0.1:{port}/fs1/{path}",
        "HTTPS://127.0.0.1:{port}/fs1/{path}",
        "//127.0.0.1:{port}/fs1/{path}",
        "https://account.dfs.core.windows.net@127.0.0.1:{port}/fs1/{path}",
        "https://account.dfs.core.windows.net:443@127.0.0.1:{port}/fs1/{path}",
        "https://user:hunter2@127.0.0.1:{port}/fs1/{path}",
        "https://127.0.0.1:{port}\\@account.dfs.core.windows.net/fs1/{path}",
        "https://127.0.0.1:{port}%2f@account.dfs.core.windows.net/fs1/{path}",
        "https://127.0.0.1:{port}?@account.dfs.core.windows.net/fs1/{path}",
        "https://127.0.0.1:{port}#@account.dfs.core.windows.net/fs1/{path}",
        "abfss://fs1@127.0.0.1:{port}@account.dfs.core.windows.net/{path}",
        "abfss://fs1@account.dfs.core.windows.net@127.0.0.1:{port}/{path}",
        "https://account.dfs.core.windows.net:{port}/fs1/{path}",
        "https://devstoreaccount1.blob.core.windows.net:{port}/fs1/{path}",
    ],
)
def test_a_foreign_host_is_not_connected_to(
    app: App, storage_listener: Listener, database_listener: Listener, url: str, query: str
) -> None:
    answer = restore(app, url.format(port=storage_listener.port, path=PATH) + query, database_listener)
    assert answer.status == 400
    assert answer.code in {"StorageHostNotAllowed", "InvalidArchiveUrl"}
    assert not storage_listener.was_visited()
    assert not database_listener.was_visited()
    assert "hunter2" not in str(answer)


@pytest.mark.parametrize("query", ["", SAS])
@pytest.mark.parametrize(
    "host",
    [
        "account.dfs.core.windows.net.evil.example",
        "account.dfs.core.windows.net.",
        "account.dfs.core.windows.net%2eevil.example",
        "account.dfs.core.usgovcloudapi.net.evil.example",
        "account.z07.dfs.storage.azure.net.evil.example",
        "evil.example",
        "xn--ccount-1ua.dfs.core.windows.net",
        "\N{CYRILLIC SMALL LETTER A}ccount.dfs.core.windows.net",
    ],
)
def test_a_look_alike_is_not_connected_to(
    app: App, azure: Azure, managed_identity: ManagedIdentity, database_listener: Listener, host: str, query: str
) -> None:
    """Not even its name is looked up: what goes out by name goes through the stand-in."""
    for url in (f"https://{host}/fs1/{PATH}{query}", f"abfss://fs1@{host}/{PATH}{query}"):
        answer = restore(app, url, database_listener)
        assert (answer.status, answer.code) == (400, "StorageHostNotAllowed")
    assert azure.connections == []
    assert managed_identity.tokens_given == []
    assert not database_listener.was_visited()


@pytest.mark.parametrize("query", ["", SAS])
def test_an_account_that_is_not_listed_is_not_connected_to(
    app: App,
    azure: Azure,
    managed_identity: ManagedIdentity,
    database_listener: Listener,
    monkeypatch: pytest.MonkeyPatch,
    query: str,
) -> None:
    monkeypatch.setenv("ADLS_ALLOWED_ACCOUNTS", "account/fs1")
    refused = [
        f"abfss://fs1@other.dfs.core.windows.net/{PATH}{query}",
        f"abfss://fs2@account.dfs.core.windows.net/{PATH}{query}",
        f"abfss://fs1@account.dfs.core.usgovcloudapi.net/{PATH}{query}",
        f"abfss://fs1@account.z07.dfs.storage.azure.net/{PATH}{query}",
    ]
    for url in refused:
        answer = restore(app, url, database_listener, dry_run=True)
        assert (answer.status, answer.code) == (403, "StorageAccountNotAllowed")
        assert "hunter2" not in str(answer)
    assert azure.connections == []
    assert managed_identity.tokens_given == []
    assert not database_listener.was_visited()

    answer = restore(app, f"abfss://fs1@account.dfs.core.windows.net/{PATH}{query}", database_listener, dry_run=True)
    assert (answer.status, answer.code) == (404, "ArchiveNotFound")
    assert azure.connections == ["account.blob.core.windows.net:443"]
    assert not database_listener.was_visited()


def test_a_bare_path_is_held_against_the_list_too(
    app: App, azure: Azure, database_listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADLS_ALLOWED_ACCOUNTS", "other")
    monkeypatch.setenv("ADLS_ACCOUNT_URL_DEFAULT", "https://account.dfs.core.windows.net")
    monkeypatch.setenv("ADLS_FILESYSTEM_DEFAULT", "fs1")
    answer = restore(app, PATH, database_listener)
    assert (answer.status, answer.code) == (403, "StorageAccountNotAllowed")
    assert azure.connections == []
    assert not database_listener.was_visited()


@pytest.mark.parametrize(
    "settings",
    [
        {"PG_ALLOWED_HOSTS": "db.example.com"},
        {"PG_ALLOWED_HOSTS": "127.0.0.1:1"},
        {"PGHOST": "db.example.com"},
        {"PGHOST": "127.0.0.1", "PGPORT": "1"},
        {"PG_ALLOWED_DATABASES": "other"},
        {"ALLOWED_TARGETS": "other.*"},
        {"PG_AUTH": "entra"},
    ],
)
@pytest.mark.parametrize("form", ["host", "uri", "several"])
def test_a_server_that_is_not_listed_is_not_connected_to(
    app: App,
    database_listener: Listener,
    managed_identity: ManagedIdentity,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
    form: str,
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    # A password in the request would be the way in.
    password = None if "PG_AUTH" in settings else "hunter2"
    port = database_listener.port
    forms: dict[str, dict[str, Any]] = {
        "host": {"host": LOOPBACK, "port": port, "user": "restore", "password": password},
        "uri": {"connection_uri": f"postgresql://restore{':hunter2' if password else ''}@{LOOPBACK}:{port}/d"},
        "several": {"host": f"{LOOPBACK},localhost", "port": port, "user": "restore", "password": password},
    }
    answer = app.post({"adls_url": app.archive("t", b"time,v\n"), "pg": forms[form]})
    assert (answer.status, str(answer.code)[-10:]) == (403, "NotAllowed")
    assert not database_listener.was_visited()
    assert managed_identity.tokens_given == []
    assert "hunter2" not in str(answer)
