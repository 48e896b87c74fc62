"""Which account is asked, and by whom it is read."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from azure.core.exceptions import ClientAuthenticationError

from shared.errors import ConfigurationError, RestoreError, StorageAccessDenied
from shared.identity import CLOUDS, Cloud, own_identity
from shared.secret import Secret
from shared.settings import Settings
from tests.integration.fix_azure import FILE_BYTES, KEY, PATH, Azure, by_key, read_lake
from tests.integration.fix_identity import ManagedIdentity, forget_identity, serving
from tools.config import LOOPBACK

pytestmark = pytest.mark.any_server

PUBLIC = "account.dfs.core.windows.net"

# --- who reads -----------------------------------------------------------------------------------------------------


ELSEWHERE = [
    "account.dfs.core.usgovcloudapi.net",
    "account.blob.core.usgovcloudapi.net",
    "account.dfs.core.chinacloudapi.cn",
    "account.z07.dfs.storage.azure.net",
    "other.dfs.core.windows.net",
]
OF_AZURITE = by_key(more=f"BlobEndpoint=http://{LOOPBACK}:1/account")


@pytest.mark.parametrize(
    ("host", "settings"),
    [(PUBLIC, Settings()), *((host, settings) for host in ELSEWHERE for settings in (Settings(), OF_AZURITE))],
)
def test_the_identity_reads_what_the_connection_string_does_not_name(
    lake: Azure, managed_identity: ManagedIdentity, host: str, settings: Settings
) -> None:
    assert read_lake(host, settings) == FILE_BYTES
    blob = host.replace(".dfs.", ".blob.")
    assert {(seen.host, seen.authorization) for seen in lake.requests} == {(blob, f"Bearer {managed_identity.token}")}
    assert lake.connections == [f"{blob}:443"]
    # The SDK asks for the same in every cloud: STORAGE_OAUTH_SCOPE of azure-storage-blob.
    assert managed_identity.tokens_given == [("https://storage.azure.com", None)]


@pytest.mark.parametrize("cloud", CLOUDS, ids=lambda cloud: cloud.storage_suffix)
def test_the_key_reads_the_account_of_its_own_cloud_alone(
    lake: Azure, managed_identity: ManagedIdentity, cloud: Cloud
) -> None:
    settings = by_key(more=f"EndpointSuffix={cloud.storage_suffix}")
    for each in CLOUDS:
        read_lake(f"account.dfs.{each.storage_suffix}", settings)
        is_own = each == cloud
        assert (lake.requests[-1].authorization or "").startswith("SharedKey account:" if is_own else "Bearer ")
        assert lake.requests[-1].host == f"account.blob.{each.storage_suffix}"
    assert len(managed_identity.tokens_given) == 2


@pytest.mark.parametrize("cloud", CLOUDS, ids=lambda cloud: cloud.storage_suffix)
@pytest.mark.usefixtures("quick_retries")
def test_a_token_is_asked_of_the_clouds_own_authority(
    lake: Azure, monkeypatch: pytest.MonkeyPatch, cloud: Cloud
) -> None:
    """A service principal of the environment, since a managed identity asks nobody outside."""
    forget_identity(monkeypatch)
    tenant = "0b1f6471-1bf0-4dda-aec3-cb9272f09590"
    for name, value in (("TENANT_ID", tenant), ("CLIENT_ID", tenant), ("CLIENT_SECRET", "none")):
        monkeypatch.setenv(f"AZURE_{name}", value)
    with pytest.raises(StorageAccessDenied, match="no identity"):
        read_lake(f"account.dfs.{cloud.storage_suffix}")
    assert set(lake.connections) == {f"{cloud.authority}:443"}
    assert {seen.host for seen in lake.requests} == {cloud.authority}
    forget_identity(monkeypatch)


def test_a_function_without_an_identity_says_so_once(
    lake: Azure, managed_identity: ManagedIdentity, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is tried again, and the log has one line for it, not the SDK's dozen."""
    managed_identity.is_refusing = True
    with pytest.raises(ClientAuthenticationError):
        own_identity(CLOUDS[0]).get_token("https://storage.azure.com/.default")
    of_one_look = managed_identity.refusals
    caplog.clear()
    with pytest.raises(StorageAccessDenied) as caught:
        read_lake(PUBLIC)
    assert caught.value.message == "the function has no identity to read the storage account with"
    assert lake.connections == []
    assert managed_identity.refusals == 2 * of_one_look > 0
    (line,) = caplog.messages
    assert "ManagedIdentityCredential" in line
    assert "\n" not in line


def test_the_sas_of_a_connection_string_is_used_for_the_account_of_its_endpoint(
    lake: Azure, managed_identity: ManagedIdentity
) -> None:
    text = f"BlobEndpoint=https://account.blob.core.windows.net/;SharedAccessSignature=sv=2024-11-04&sig={KEY}"
    read_lake(PUBLIC, Settings(adls_connection_string=Secret(text)))
    assert {seen.authorization for seen in lake.requests} == {None}
    assert all("sig=" in seen.target for seen in lake.requests)
    assert managed_identity.tokens_given == []


@pytest.mark.parametrize(
    ("endpoint", "query"),
    [
        ("http://", ""),
        ("http://", "?sv=2024-11-04&sig=hunter2"),
        # A SAS in the setting, and another one in the URL.
        ("https://account.blob.core.windows.net/?sv=2024-11-04&sig=hunter2", "?sv=2024-11-04&sig=hunter2"),
    ],
)
def test_an_endpoint_that_cannot_be_used_is_our_configuration(endpoint: str, query: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_lake(PUBLIC, by_key(more=f"BlobEndpoint={endpoint}"), query=query)
    assert caught.value.target == "ADLS_CONNECTION_STRING"
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


# --- no redirect ---------------------------------------------------------------------------------------------------


class _Elsewhere(ThreadingHTTPServer):
    """Where a redirect leads: counts who comes."""

    visits = 0

    def get_request(self) -> tuple[socket.socket, object]:
        self.visits += 1
        return super().get_request()


class _Redirect(BaseHTTPRequestHandler):
    code, location = 0, ""

    def do_GET(self) -> None:
        self.send_response(self.code)
        self.send_header("Location", self.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        pass


@pytest.fixture
def elsewhere() -> Iterator[_Elsewhere]:
    with serving(_Elsewhere((LOOPBACK, 0), BaseHTTPRequestHandler)) as server:
        assert isinstance(server, _Elsewhere)
        yield server


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("query", ["", "?sv=2024-11-04&sig=abc"])
@pytest.mark.usefixtures("quick_retries")
def test_a_redirect_is_followed_nowhere(elsewhere: _Elsewhere, code: int, query: str) -> None:
    """Neither with a key nor with a SAS."""
    location = f"http://{LOOPBACK}:{elsewhere.server_port}/account/fs1/{PATH}"
    handler = type("Redirect", (_Redirect,), {"code": code, "location": location})
    with serving(ThreadingHTTPServer((LOOPBACK, 0), handler)) as server:
        settings = by_key(more=f"BlobEndpoint=http://{LOOPBACK}:{server.server_port}/account")
        with pytest.raises(RestoreError):
            read_lake(PUBLIC, settings, query=query)
    assert elsewhere.visits == 0
