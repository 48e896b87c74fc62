"""The day in a storage account, for the programs that read it from there."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from azure.storage.blob import BlobServiceClient

from benchmarks.database import DATABASE
from benchmarks.day import DAY, Day
from tools.azurite import Azurite, connection_string
from tools.config import load_config
from tools.sample_target import adls_url, upload


@dataclass(frozen=True)
class Lake:
    """A file system of the benchmark's own in the account of the connection string `storage`."""

    storage: str
    filesystem: str

    def path(self, day: Day) -> str:
        """Return the path of a day in the file system."""
        return f"rows-{day.rows}/{DATABASE}/silver.telemetry.{DAY}.csv.gz"

    def url(self, day: Day) -> str:
        """Return the `adls_url` of a day."""
        return adls_url(self.storage, self.path(day), self.filesystem)

    def upload(self, day: Day) -> None:
        """Upload a day."""
        upload(self.storage, day.path, self.path(day), self.filesystem)


@contextmanager
def open_lake() -> Iterator[Lake]:
    """Use the account of `RESTORE_TEST_STORAGE`, else Azurite; an Azurite that was started here is stopped again."""
    with ExitStack() as stack:
        storage = os.environ.get("RESTORE_TEST_STORAGE")
        if not storage:
            azurite = Azurite(load_config().azurite_port)
            if azurite.pid is None:
                stack.callback(azurite.stop)
            azurite.start()
            storage = connection_string(azurite.port)
        service = stack.enter_context(BlobServiceClient.from_connection_string(storage))
        container = service.create_container(f"bench-{uuid.uuid4().hex[:12]}")
        stack.callback(container.delete_container)
        yield Lake(storage, container.container_name)
