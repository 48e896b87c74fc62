"""The SDK's client of one account: how patient it is, how much it reads at once, and how long it is kept.

A client holds a pool of connections, each of which took a TLS handshake, so one client is kept for every account and
credential.

Who reads an account: the SAS of the URL, the connection string of this very account, or the function's own identity.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from azure.core.credentials import AzureSasCredential
from azure.core.exceptions import AzureError, HttpResponseError, ServiceResponseError
from azure.core.pipeline import PipelineResponse
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import ContainerClient, ExponentialRetry
from azure.storage.filedatalake import DataLakeFileClient, DataLakeServiceClient

from shared.archive.connection_string import ConnectionString, broken, read_connection_string
from shared.archive.credential import Reader, StorageIdentity
from shared.archive.network_fault import network_fault
from shared.identity import own_identity
from shared.model.location import ArchiveLocation
from shared.process import MIB
from shared.secret import Secret
from shared.settings import Settings

# How much of a file one request asks for. Azurite hashes every range of up to 4 MiB, even without being asked to.
RANGE_BYTES = 5 * MIB

_PARTIAL_CONTENT, _TOO_MANY_REQUESTS = 206, 429
_ASKED = re.compile(r"bytes=(\d+)-(\d+)")
_TOTAL = re.compile(r"bytes \d+-\d+/(\d+)")


def check_answer(response: PipelineResponse[Any, Any]) -> None:
    """Raise an error for bad answers that the SDK would accept, so that it retries them.

    The SDK retries a 5xx but not a 429, and accepts an answer shorter than the requested range if its Content-Length
    matches. Read from `is_retry` and `StorageRetryPolicy.send` of azure-storage-blob 12.31, and measured.
    """
    answer = response.http_response
    if answer.status_code == _TOO_MANY_REQUESTS:
        raise HttpResponseError(response=answer)
    asked = _ASKED.fullmatch(response.http_request.headers.get("x-ms-range", ""))
    total = _TOTAL.fullmatch(answer.headers.get("Content-Range", ""))
    length = answer.headers.get("Content-Length", "")
    if answer.status_code == _PARTIAL_CONTENT and asked and total and length.isdecimal():
        expected = min(int(asked[2]) + 1, int(total[1])) - int(asked[1])
        if int(length) != expected:
            raise ServiceResponseError(f"storage answered with {length} bytes of {expected}")


# Three attempts of 10 s to connect, or of 20 s of silence, with pauses of 2 s and 4 s: an account that does
# not answer is given up after about a minute. The SDK's own defaults take several.
# A file client takes all of this over from its service client: `DataLakeServiceClient.get_file_client` hands on the
# pipeline with its policies and the configuration (azure-storage-file-datalake 12.26).
OPTIONS: dict[str, Any] = {
    "connection_timeout": 10,
    "read_timeout": 20,
    "retry_total": 2,
    "initial_backoff": 0,
    "increment_base": 2,
    "random_jitter_range": 0,
    # Storage never redirects; a token or a signature must not follow a host that does.
    "permit_redirects": False,
    "raw_response_hook": check_answer,
    "max_single_get_size": RANGE_BYTES,
    "max_chunk_get_size": RANGE_BYTES,
}

# The worker has 32 threads at most (min(32, CPUs + 4)). Each restore fetches two ranges at once, and has a heartbeat.
# Beyond its size a pool throws connections away and warns. It opens none before it is needed.
_POOL_SIZE = 2 * 32

MOST_CLIENTS = 16
# Azure's load balancers forget a connection that was silent for four minutes, and do not say so: the next request on it
# would wait for all of its read timeout. https://learn.microsoft.com/azure/load-balancer/load-balancer-tcp-reset
IDLE_SECONDS = 180

_kept: OrderedDict[Hashable, tuple[DataLakeServiceClient, float]] = OrderedDict()
_lock = threading.Lock()


def kept_client(key: Hashable, make: Callable[[], DataLakeServiceClient]) -> DataLakeServiceClient:
    """Return the process's one client for a key.

    The 16 that were used last are kept, each until it was not asked for in three minutes. One that is dropped is not
    closed, since it may be in use: its connections go with its last user.

    Args:
        key: identifies a client: the account and the whole credential. It is kept as long as the client, so that a
            `Secret` in it stays known as a secret.
        make: makes the client, with `OPTIONS`.
    """
    now = time.monotonic()
    with _lock:
        client, used_at = _kept.pop(key, (None, now))
        if client is None or now - used_at > IDLE_SECONDS:
            client = make()
            # Opens the transport here, in one thread: otherwise the first request does, without a lock, and two first
            # requests would each make a pool.
            client.__enter__()
        _kept[key] = client, now
        while len(_kept) > MOST_CLIENTS:
            _kept.popitem(last=False)
    return client


class _Retries(ExponentialRetry):
    """The SDK's retries, without those that cannot help.

    A name that DNS does not know and a certificate that is not trusted are the same a few seconds later.
    """

    def increment(
        self, settings: dict[str, Any], request: Any, response: Any = None, error: AzureError | None = None
    ) -> bool:
        """Count an attempt, and say whether to make another one."""
        if error is not None and network_fault(error, "").is_final:
            return False
        return super().increment(settings, request, response, error)


def roomy_transport(*, connection_timeout: float, read_timeout: float) -> RequestsTransport:
    """Return an open transport whose pool has room for all threads of the worker.

    If the first request opened it, two first ones could each make a pool.

    Args:
        connection_timeout: in seconds. A client that is given a transport ignores its own option of that name.
        read_timeout: likewise.
    """
    transport = RequestsTransport(connection_timeout=connection_timeout, read_timeout=read_timeout)
    transport.open()
    for adapter in transport.session.adapters.values():
        adapter.init_poolmanager(_POOL_SIZE, _POOL_SIZE)
    return transport


def _options() -> dict[str, Any]:
    """Return the options of a client, with a transport and retries of its own."""
    transport = roomy_transport(connection_timeout=OPTIONS["connection_timeout"], read_timeout=OPTIONS["read_timeout"])
    return OPTIONS | {"transport": transport, "retry_policy": _Retries(**OPTIONS)}


def forget_clients() -> None:
    """Drop all clients that are kept."""
    with _lock:
        _kept.clear()


@dataclass(frozen=True)
class ArchiveClient:
    """The client for one file.

    Attributes:
        file: the SDK's client of the file.
        reader: the kind of credential that its requests carry.
        host: the host that is asked, without the port.
    """

    file: DataLakeFileClient
    reader: Reader
    host: str


@contextmanager
def open_client(location: ArchiveLocation, settings: Settings) -> Iterator[ArchiveClient]:
    """Make the client for one file. Nothing is sent yet.

    Where the URL brought a SAS, the request carries it and nothing else: no key, and no token of the identity.

    Args:
        location: the file.
        settings: holds the connection string, if there is one.

    Yields:
        A client that gives up an account that does not answer after about a minute, and that reads at most
        one range (`RANGE_BYTES`) at a time.

    Raises:
        ConfigurationError: the connection string cannot be read.
    """
    secret, connection = settings.adls_connection_string, _own_connection(location, settings)
    endpoint = connection.endpoint if connection is not None else None

    def made(service: DataLakeServiceClient, reader: Reader) -> ArchiveClient:
        host = urlsplit(endpoint).hostname if endpoint is not None else None
        file = service.get_file_client(location.filesystem, location.path)
        return ArchiveClient(file, reader, host or location.host.name("blob"))

    if location.sas is not None:
        # Not kept: it is for this file alone, and no secret of a request outlives it.
        with _client_by_sas(endpoint or location.account_url, location.sas) as service:
            yield made(service, Reader.URL_SAS)
    elif secret is not None and connection is not None:
        key = secret
        service = kept_client(("connection string", key), lambda: _client_by_connection_string(key))
        yield made(service, connection.reader)
    else:
        yield made(_client_by_identity(location), Reader.IDENTITY)


@contextmanager
def open_container(location: ArchiveLocation, settings: Settings) -> Iterator[tuple[ContainerClient, ArchiveClient]]:
    """Make the client that lists the file system of a file, and the client for the file. Nothing is sent yet.

    The DataLake SDK lists by the `dfs` endpoint, which the function needs for nothing else and Azurite does not have.

    Raises:
        ConfigurationError: the connection string cannot be read.
    """
    secret = settings.adls_connection_string
    with open_client(location, settings) as client:
        try:
            if secret is not None and _own_connection(location, settings) is not None:
                text = secret.get_secret_value()
                container = ContainerClient.from_connection_string(text, location.filesystem, **_options())
            else:
                host = location.host
                container = ContainerClient(
                    f"https://{host.name('blob')}", location.filesystem, StorageIdentity(host.cloud), **_options()
                )
        except ValueError:
            # From None: see `_client_by_connection_string`.
            raise broken("does not name an endpoint that can be used") from None
        with container:
            yield container, client


def _own_connection(location: ArchiveLocation, settings: Settings) -> ConnectionString | None:
    """Read the connection string, if it is for the account of this file."""
    secret = settings.adls_connection_string
    connection = read_connection_string(secret.get_secret_value()) if secret is not None else None
    return connection if connection is not None and connection.host == location.host else None


def _client_by_sas(endpoint: str, sas: Secret) -> DataLakeServiceClient:
    try:
        # As a credential, the SAS is not part of the client's URL, which others may log.
        return DataLakeServiceClient(endpoint, AzureSasCredential(sas.get_secret_value()), **_options())
    except ValueError:
        raise broken("does not name an endpoint that can be used with a SAS") from None


def _client_by_connection_string(text: Secret) -> DataLakeServiceClient:
    try:
        return DataLakeServiceClient.from_connection_string(text.get_secret_value(), **_options())
    except ValueError:
        # From None: the SDK's error may quote the endpoint, and with it a signature.
        raise broken("does not name an endpoint that can be used") from None


def _client_by_identity(location: ArchiveLocation) -> DataLakeServiceClient:
    cloud = location.host.cloud
    return kept_client(
        (location.account_url, own_identity(cloud)),
        lambda: DataLakeServiceClient(location.account_url, StorageIdentity(cloud), **_options()),
    )
