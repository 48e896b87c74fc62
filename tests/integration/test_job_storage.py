"""The app's own storage account: how it is found, and by which identity it is used."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from shared.errors import ConfigurationError, JobStorageUnreachable
from shared.jobs import storage as job_storage_module
from shared.jobs.storage import forget_job_storage, job_storage
from shared.settings import load_settings
from tests.integration.fix_identity import ManagedIdentity
from tests.integration.fix_job_storage import empty_job_storage
from tests.integration.fix_threads import at_once
from tools.local_server import free_port

pytestmark = pytest.mark.any_server

SERVICES = ("blob", "queue", "table")


def test_a_missing_identity_is_said_and_is_one_line_in_the_log(
    managed_identity: ManagedIdentity, caplog: pytest.LogCaptureFixture
) -> None:
    managed_identity.is_refusing = True
    settings = load_settings({"AzureWebJobsStorage__accountName": "account"})
    forget_job_storage()
    with pytest.raises(JobStorageUnreachable) as caught:
        job_storage(settings).table.get_entity("p", "r")
    assert caught.value.message == "the function has no identity to use its own storage account with"
    (line,) = [record.getMessage() for record in caplog.records if "identity" in record.name]
    assert "ManagedIdentityCredential" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ({"accountName": "account"}, "account.{}.core.windows.net"),
        ({f"{name}ServiceUri": f"https://{name}.example" for name in SERVICES}, "{}.example"),
    ],
)
def test_the_account_is_found_by_its_name_or_by_its_addresses(given: dict[str, str], host: str) -> None:
    forget_job_storage()
    storage = job_storage(load_settings({f"AzureWebJobsStorage__{name}": value for name, value in given.items()}))
    clients = (storage._container, storage._queue, storage._table)
    assert [urlsplit(client.url).hostname for client in clients] == [host.format(name) for name in SERVICES]


@pytest.mark.parametrize("client_id", [None, "the-client"])
def test_the_identity_is_the_one_that_the_settings_name(
    managed_identity: ManagedIdentity, client_id: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked before the account is. No storage emulator takes a token here."""
    monkeypatch.setitem(job_storage_module.OPTIONS, "retry_total", 0)
    given = {f"AzureWebJobsStorage__{name}ServiceUri": f"https://127.0.0.1:{free_port()}/account" for name in SERVICES}
    if client_id is not None:
        given["AzureWebJobsStorage__clientId"] = client_id
    forget_job_storage()
    storage = job_storage(load_settings(given))
    for part in ("table", "days", "queue", "container"):
        with pytest.raises(JobStorageUnreachable):
            getattr(storage, part)
    assert set(managed_identity.tokens_given) == {("https://storage.azure.com", client_id)}


def test_an_app_without_an_account_says_so() -> None:
    with pytest.raises(ConfigurationError) as caught:
        job_storage(load_settings({}))
    assert caught.value.target == "AzureWebJobsStorage"
    for text in ("AccountName=a", "x"):
        with pytest.raises(ConfigurationError) as caught:
            job_storage(load_settings({"AzureWebJobsStorage": text}))
        assert caught.value.__cause__ is None


@pytest.mark.usefixtures("app")
def test_a_pool_has_room_for_all_threads_of_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    """A pool that is too small throws connections away, and warns."""
    storage = empty_job_storage()
    # There already, so that not all threads create it.
    assert storage.table

    def use() -> None:
        for _ in range(5):
            assert not list(storage.table.query_entities("PartitionKey eq 'none'"))
            assert storage.queue.get_queue_properties().name

    at_once(32, use)
    assert "pool is full" not in caplog.text
