"""One client for every account and credential, and what it saves."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from azure.storage.filedatalake import DataLakeServiceClient

from shared import identity
from shared.archive import client as service_client
from shared.archive.download import open_archive
from shared.errors import StorageAccessDenied
from shared.model.location import parse_adls_url
from shared.secret import Secret
from shared.settings import Settings
from tests.integration.fix_azure import FILE_BYTES, KEY, PATH, Azure, by_key, read_lake
from tests.integration.fix_identity import ManagedIdentity
from tests.integration.fix_storage import Storage, read, refused
from tests.integration.fix_threads import at_once

pytestmark = pytest.mark.any_server

OTHER_KEY = "YW5vdGhlci1rZXktb2YtYS1zdG9yYWdlLWFjY291bnQ="
PUBLIC = "account.dfs.core.windows.net"


def test_many_restores_share_one_connection_and_one_token(lake: Azure, managed_identity: ManagedIdentity) -> None:
    for _ in range(5):
        read_lake(PUBLIC)
    assert len(lake.requests) == 10
    assert len(lake.connections) == 1
    assert len(managed_identity.tokens_given) == 1


def test_restores_in_parallel_share_the_pool(lake: Azure, managed_identity: ManagedIdentity) -> None:
    read_lake(PUBLIC)
    for _ in range(2):
        sizes = at_once(6, lambda: [read_lake(PUBLIC) for _ in range(3)])
        assert sizes == [[FILE_BYTES] * 3] * 6
    # No more than read at the same time, in two rounds.
    assert len(lake.connections) <= 6
    assert len(managed_identity.tokens_given) == 1


def test_a_pool_has_room_for_all_threads_of_the_worker(
    lake: Azure, managed_identity: ManagedIdentity, caplog: pytest.LogCaptureFixture
) -> None:
    """A pool that is too small throws connections away, each with a TLS handshake behind it, and warns."""
    assert managed_identity
    at_once(24, lambda: read_lake(PUBLIC))
    assert len(lake.connections) > 10
    assert "pool is full" not in caplog.text


@pytest.mark.usefixtures("azure")
def test_many_threads_make_one_client() -> None:
    made = list[Any]()

    def make() -> DataLakeServiceClient:
        # Long enough for the others to come, if nothing kept them.
        time.sleep(0.1)
        client = DataLakeServiceClient(f"https://{PUBLIC}", **service_client.OPTIONS)
        made.append(client)
        return client

    given = at_once(8, lambda: service_client.kept_client("a key", make))
    assert len(made) == 1
    assert given == made * 8
    # The first requests of several threads find the pool; they do not each make one.
    assert made[0]._pipeline._transport.session is not None


def test_a_token_that_ends_soon_is_fetched_again(lake: Azure, managed_identity: ManagedIdentity) -> None:
    managed_identity.lifetime_seconds = 100
    read_lake(PUBLIC)
    managed_identity.token = "the-next-token"
    read_lake(PUBLIC)
    assert [seen.authorization for seen in lake.requests][-2:] == ["Bearer the-next-token"] * 2
    assert len(lake.connections) == 1


def test_each_account_and_each_credential_has_a_client_of_its_own(
    lake: Azure, managed_identity: ManagedIdentity
) -> None:
    for _ in range(2):
        read_lake(PUBLIC)
        read_lake("other.dfs.core.windows.net")
        read_lake(PUBLIC, by_key())
    hosts = ["account.blob.core.windows.net:443", "other.blob.core.windows.net:443"]
    assert lake.connections == [*hosts, hosts[0]]
    # The two clients with the identity share its token.
    assert len(managed_identity.tokens_given) == 1


def test_a_new_credential_is_used_at_once(lake: Azure, managed_identity: ManagedIdentity) -> None:
    read_lake(PUBLIC)
    identity._make.cache_clear()
    managed_identity.token = "token-of-another-identity"
    read_lake(PUBLIC)
    assert lake.requests[-1].authorization == "Bearer token-of-another-identity"


def test_a_changed_connection_string_is_used_at_once(lake: Azure) -> None:
    for key in (KEY, OTHER_KEY, KEY):
        read_lake(PUBLIC, by_key(key))
    assert len(lake.connections) == 2
    signatures = [seen.authorization for seen in lake.requests]
    assert len(set(signatures)) > 1


def test_a_wrong_key_is_refused_while_the_right_one_is_kept(storage: Storage) -> None:
    url = storage.put(PATH, b"locked")
    wrong = re.sub("AccountKey=[^;]+", f"AccountKey={KEY}", storage.connection_string)
    for _ in range(2):
        assert read(url, storage.settings) == b"locked"
        assert isinstance(refused(url, Settings(adls_connection_string=Secret(wrong))), StorageAccessDenied)


def test_the_clients_that_were_used_last_are_kept(lake: Azure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_client, "MOST_CLIENTS", 2)
    keys = [KEY, OTHER_KEY, "dGhpcmQta2V5"]
    for number in (0, 1, 0, 2, 0):
        read_lake(PUBLIC, by_key(keys[number]))
    assert len(lake.connections) == 3
    read_lake(PUBLIC, by_key(keys[1]))
    assert len(lake.connections) == 4


def test_a_client_that_was_idle_is_replaced(lake: Azure, monkeypatch: pytest.MonkeyPatch) -> None:
    read_lake(PUBLIC, by_key())
    monkeypatch.setattr(service_client, "IDLE_SECONDS", -1)
    read_lake(PUBLIC, by_key())
    assert len(lake.connections) == 2


def test_a_client_that_is_dropped_in_mid_read_reads_on(lake: Azure) -> None:
    with open_archive(parse_adls_url(f"abfss://fs1@{PUBLIC}/{PATH}"), by_key()) as archive:
        chunks = archive.chunks()
        first = next(chunks)
        service_client.forget_clients()
        assert len(first) + sum(map(len, chunks)) == FILE_BYTES
    assert len(lake.requests) == 2
