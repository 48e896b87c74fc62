"""The function app's own storage account: one queue, two tables, and a container for texts that no entity can hold.

Each part is created at its first use, so no part waits for another one that does not answer.

The SDKs are imported at the first use: a new instance needs none of them to report its health, and a restore by one
HTTP call needs neither the one for tables nor the one for queues.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from shared.errors import ConfigurationError, JobStorageUnreachable
from shared.identity import log_refusal
from shared.jobs.operation import Operation
from shared.settings import Settings, WebJobsStorage

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.core.pipeline import PipelineResponse
    from azure.data.tables import TableClient
    from azure.storage.blob import ContainerClient
    from azure.storage.queue import QueueClient

C = TypeVar("C")

RESTORE_QUEUE = "restore-requests"
TABLE = "RestoreJobs"
DAYS_TABLE = "RestoreDays"
CONTAINER = "restore-jobs"

# What UseDevelopmentStorage=true stands for. The key is published, and the same for everybody.
# https://learn.microsoft.com/azure/storage/common/storage-connect-azurite
_DEVELOPMENT = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
    "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1;"
    "TableEndpoint=http://127.0.0.1:10002/devstoreaccount1;"
)
# Three attempts, of 5 s to connect or 10 s of silence each. The host's own load balancer waits for 230 s.
OPTIONS: dict[str, Any] = {
    "connection_timeout": 5,
    "read_timeout": 10,
    "retry_total": 2,
    "retry_backoff_factor": 0.5,
    "initial_backoff": 1,
    "increment_base": 2,
    "permit_redirects": False,
}


class _ServiceClock:
    """The Table service's clock: the time of its last answer, continued by a clock that never jumps."""

    def __init__(self) -> None:
        self._stated: tuple[datetime, float] | None = None

    @property
    def now(self) -> datetime | None:
        """The service's time; None before its first answer."""
        if self._stated is None:
            return None
        stated, at = self._stated
        return stated + timedelta(seconds=time.monotonic() - at)

    def hook(self, response: PipelineResponse[Any, Any]) -> None:
        """Take the time from an answer's header `Date`. An error may come from a server in between."""
        stated = response.http_response.headers.get("Date")
        if stated is not None and response.http_response.status_code < HTTPStatus.BAD_REQUEST:
            self._stated = parsedate_to_datetime(stated), time.monotonic()


@dataclass(frozen=True)
class JobStorage:
    """Clients of the account. They keep connections and may be used by several threads.

    Attributes:
        clock: of the Table service.
        rows: the row of a record, by its kind and id. It never changes.
        shown: records that were read to show them, by kind and id, and when (`time.monotonic`).
    """

    _table: TableClient
    _days: TableClient
    _queue: QueueClient
    _container: ContainerClient
    clock: _ServiceClock
    rows: dict[tuple[str, str], str] = field(default_factory=dict)
    shown: dict[tuple[str, str], tuple[Operation, float]] = field(default_factory=dict)
    _made: set[str] = field(default_factory=set)

    @property
    def table(self) -> TableClient:
        """The records.

        Raises:
            JobStorageUnreachable: the table is not known to exist, and could not be created. Each part raises the same.
        """
        return self._existing("table", self._table, self._table.create_table)

    @property
    def days(self) -> TableClient:
        """What was restored last of each day."""
        return self._existing("days", self._days, self._days.create_table)

    @property
    def queue(self) -> QueueClient:
        """The messages for `RestoreQueue`."""
        return self._existing("queue", self._queue, self._queue.create_queue)

    @property
    def container(self) -> ContainerClient:
        """Texts that are too long for an entity."""
        return self._existing("container", self._container, self._container.create_container)

    def _existing(self, name: str, client: C, create: Callable[[], object]) -> C:
        # Without a lock: creating it twice is harmless, and no thread waits for the failing attempts of another.
        if name not in self._made:
            from azure.core.exceptions import ResourceExistsError  # noqa: PLC0415 - see the module

            with reaching_storage(), suppress(ResourceExistsError):
                create()
            self._made.add(name)
        return client


_lock = threading.Lock()


def job_storage(settings: Settings) -> JobStorage:
    """Return the process's clients of the app's own account. It asks no server.

    Raises:
        ConfigurationError: the app has no such account, or its setting cannot be read.
    """
    with _lock:
        return _opened(settings.web_jobs_storage)


def job_storage_if_any(settings: Settings) -> JobStorage | None:
    """Return the same; None if the app has no storage account of its own.

    Raises:
        ConfigurationError: its setting cannot be read.
    """
    return job_storage(settings) if settings.web_jobs_storage.is_set else None


def forget_job_storage() -> None:
    """Drop the clients that are kept."""
    with _lock:
        _opened.cache_clear()


@contextmanager
def reaching_storage() -> Iterator[None]:
    """Translate what the SDK raises if the account does not answer, or refuses the function.

    Conflicts (409, 412) and what is missing (404) are the caller's to handle, inside the body.

    Raises:
        JobStorageUnreachable: the account did not answer, or refused.
    """
    from azure.core.exceptions import (  # noqa: PLC0415 - see the module
        AzureError,
        ClientAuthenticationError,
        HttpResponseError,
    )

    try:
        yield
    except HttpResponseError as exc:
        if isinstance(exc, ClientAuthenticationError) and exc.response is None:
            # No server was asked.
            log_refusal(exc)
            raise JobStorageUnreachable("the function has no identity to use its own storage account with") from exc
        code = getattr(exc, "error_code", None) or exc.status_code
        raise JobStorageUnreachable(
            f"the function app's own storage account answered {getattr(code, 'value', code)}"
        ) from exc
    except AzureError as exc:
        raise JobStorageUnreachable("the function app's own storage account did not answer") from exc


@cache
def _opened(setting: WebJobsStorage) -> JobStorage:
    if not setting.is_set:
        message = "asynchronous restores need the setting AzureWebJobsStorage"
        raise ConfigurationError(message, target="AzureWebJobsStorage")
    from shared.archive.client import roomy_transport  # noqa: PLC0415 - see the module

    clock = _ServiceClock()
    # One transport for all services: it has a pool for each host, with room for the threads of the worker.
    transport = roomy_transport(connection_timeout=OPTIONS["connection_timeout"], read_timeout=OPTIONS["read_timeout"])
    options = OPTIONS | {"transport": transport}
    try:
        if setting.connection_string:
            return _by_connection_string(setting, clock, options)
        return _by_identity(setting, clock, options)
    except ValueError:
        # From None: the SDK's error may quote the setting.
        message = "the setting AzureWebJobsStorage is not a connection string of a storage account"
        raise ConfigurationError(message, target="AzureWebJobsStorage") from None


def _by_connection_string(setting: WebJobsStorage, clock: _ServiceClock, options: dict[str, Any]) -> JobStorage:
    from azure.data.tables import TableServiceClient  # noqa: PLC0415 - see the module
    from azure.storage.blob import ContainerClient  # noqa: PLC0415
    from azure.storage.queue import QueueClient  # noqa: PLC0415

    text = setting.connection_string.get_secret_value() if setting.connection_string else ""
    if text.strip().rstrip(";").lower() == "usedevelopmentstorage=true":
        text = _DEVELOPMENT
    tables = TableServiceClient.from_connection_string(text, raw_response_hook=clock.hook, **options)
    return JobStorage(
        tables.get_table_client(TABLE),
        tables.get_table_client(DAYS_TABLE),
        QueueClient.from_connection_string(text, RESTORE_QUEUE, **_base64_policies(), **options),
        ContainerClient.from_connection_string(text, CONTAINER, **options),
        clock,
    )


def _by_identity(setting: WebJobsStorage, clock: _ServiceClock, options: dict[str, Any]) -> JobStorage:
    from azure.data.tables import TableServiceClient  # noqa: PLC0415 - see the module
    from azure.storage.blob import ContainerClient  # noqa: PLC0415
    from azure.storage.queue import QueueClient  # noqa: PLC0415

    credential = _credential(setting)

    def endpoint(given: str | None, service: str) -> str:
        return given or f"https://{setting.account_name}.{service}.core.windows.net"

    tables = TableServiceClient(
        endpoint(setting.table_service_uri, "table"), credential=credential, raw_response_hook=clock.hook, **options
    )
    queues, blobs = endpoint(setting.queue_service_uri, "queue"), endpoint(setting.blob_service_uri, "blob")
    return JobStorage(
        tables.get_table_client(TABLE),
        tables.get_table_client(DAYS_TABLE),
        QueueClient(queues, RESTORE_QUEUE, credential=credential, **_base64_policies(), **options),
        ContainerClient(blobs, CONTAINER, credential=credential, **options),
        clock,
    )


def _base64_policies() -> dict[str, Any]:
    """Return what makes messages as the Functions host expects them: in base64, or each would be poison."""
    from azure.storage.queue import TextBase64DecodePolicy, TextBase64EncodePolicy  # noqa: PLC0415 - see the module

    return {"message_encode_policy": TextBase64EncodePolicy(), "message_decode_policy": TextBase64DecodePolicy()}


def _credential(setting: WebJobsStorage) -> TokenCredential:
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - see the module

    # As the host takes it: a user-assigned identity by its client id, else the system-assigned one.
    chosen = {"managed_identity_client_id": setting.client_id} if setting.client_id else {}
    return DefaultAzureCredential(**chosen)
