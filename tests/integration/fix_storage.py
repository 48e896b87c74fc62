"""A real blob server for the tests, named by RESTORE_TEST_STORAGE (a connection string, Azurite's for instance)."""

from __future__ import annotations

import datetime as dt
import gc
import os
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from azure.storage.blob import BlobSasPermissions, BlobServiceClient, ContentSettings, generate_blob_sas

from shared.archive import client as service_client
from shared.archive.download import open_archive
from shared.errors import RestoreError
from shared.model.location import parse_adls_url
from shared.secret import Secret
from shared.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Storage:
    """A fresh file system on the server; `settings` is how the function would read it."""

    service: BlobServiceClient
    account: str
    filesystem: str
    connection_string: str

    @property
    def settings(self) -> Settings:
        return Settings(adls_connection_string=Secret(self.connection_string))

    @property
    def parts(self) -> dict[str, str]:
        """What the connection string says, by name."""
        return dict(part.split("=", 1) for part in self.connection_string.split(";") if part)

    def sas(self, path: str, permission: str = "r", *, minutes: int = 10) -> str:
        """Sign one file, for so many minutes from now on."""
        return generate_blob_sas(
            self.account,
            self.filesystem,
            path,
            account_key=self.parts["AccountKey"],
            permission=BlobSasPermissions.from_string(permission),
            expiry=dt.datetime.now(dt.timezone.utc) + dt.timedelta(minutes=minutes),
        )

    def url(self, path: str) -> str:
        return f"abfss://{self.filesystem}@{self.account}.dfs.core.windows.net/{quote(path)}"

    def put(
        self,
        path: str,
        data: bytes,
        *,
        content_encoding: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> str:
        """Store the bytes, over what was there, and return the `adls_url`."""
        self.service.get_blob_client(self.filesystem, path).upload_blob(
            data,
            overwrite=True,
            metadata=metadata,
            content_settings=ContentSettings(content_encoding=content_encoding),
        )
        return self.url(path)


@pytest.fixture(scope="session")
def storage() -> Iterator[Storage]:
    connection_string = os.environ.get("RESTORE_TEST_STORAGE")
    if not connection_string:
        pytest.skip("RESTORE_TEST_STORAGE is not set")
    filesystem = f"restore-test-{uuid.uuid4().hex[:12]}"
    named = re.search(r"AccountName=([^;]+)", connection_string)
    # Few retries: a server that was promised and does not answer is a failure, and a quick one.
    with BlobServiceClient.from_connection_string(connection_string, retry_total=1) as service:
        service.create_container(filesystem)
        yield Storage(
            service,
            named[1] if named else "devstoreaccount1",
            filesystem,
            connection_string,
        )
        service.delete_container(filesystem)


def read(url: str, settings: Settings) -> bytes:
    """Read a whole archive."""
    with open_archive(parse_adls_url(url), settings) as archive:
        return b"".join(archive.chunks())


def refused(url: str, settings: Settings) -> RestoreError:
    """Fail to read an archive, and return why."""
    with pytest.raises(RestoreError) as caught:
        read(url, settings)
    return caught.value


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give an account up after a second of silence, without pauses."""
    for name, value in {"initial_backoff": 0, "increment_base": 0, "read_timeout": 1}.items():
        monkeypatch.setitem(service_client.OPTIONS, name, value)
    service_client.forget_clients()
    yield
    service_client.forget_clients()


@pytest.fixture
def collected_connections() -> Iterator[None]:
    """Collect the connections that the SDK leaves behind, so that no later test is warned of them."""
    yield
    gc.collect()
