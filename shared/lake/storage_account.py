"""Who reads a storage account: the SAS of the URL, the connection string of this very account, or the own identity."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from azure.core.credentials import AzureSasCredential
from azure.storage.filedatalake import DataLakeServiceClient

from shared.identity import own_identity
from shared.lake.connection_string import broken, read_connection_string
from shared.lake.service_client import OPTIONS, kept_client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from azure.storage.filedatalake import DataLakeFileClient

    from shared.lake.adls_url import ArchiveLocation
    from shared.secret import Secret
    from shared.settings import Settings


@contextmanager
def open_client(location: ArchiveLocation, settings: Settings) -> Iterator[DataLakeFileClient]:
    """Make the client for one file. Nothing is sent yet.

    Where the URL brought a SAS, the request carries it and nothing else: no key, and no token of the identity.

    Args:
        location: the file.
        settings: holds the connection string, if there is one.

    Yields:
        A client that gives up an account that does not answer after about a minute, and that reads at most
        4 MiB at a time.

    Raises:
        ConfigurationError: the connection string cannot be read.
    """
    secret = settings.adls_connection_string
    connection = read_connection_string(secret.get_secret_value()) if secret is not None else None
    is_named = connection is not None and connection.host == location.host
    if location.sas is not None:
        endpoint = connection.endpoint if connection is not None and is_named else None
        # Not kept: it is for this file alone, and no secret of a request outlives it.
        with _client_by_sas(endpoint or location.account_url, location.sas) as service:
            yield service.get_file_client(location.filesystem, location.path)
        return
    if secret is not None and is_named:
        key = secret
        service = kept_client(("connection string", key), lambda: _client_by_connection_string(key))
    else:
        service = _client_by_identity(location)
    yield service.get_file_client(location.filesystem, location.path)


def _client_by_sas(endpoint: str, sas: Secret) -> DataLakeServiceClient:
    try:
        # As a credential the SAS is no part of the client's URL, which others may write down.
        return DataLakeServiceClient(endpoint, AzureSasCredential(sas.get_secret_value()), **OPTIONS)
    except ValueError:
        raise broken("does not name an endpoint that can be used with a SAS") from None


def _client_by_connection_string(text: Secret) -> DataLakeServiceClient:
    try:
        return DataLakeServiceClient.from_connection_string(text.get_secret_value(), **OPTIONS)
    except ValueError:
        # From None: the SDK's error may quote the endpoint, and with it a signature.
        raise broken("does not name an endpoint that can be used") from None


def _client_by_identity(location: ArchiveLocation) -> DataLakeServiceClient:
    credential = own_identity(location.host.cloud)
    return kept_client(
        (location.account_url, credential), lambda: DataLakeServiceClient(location.account_url, credential, **OPTIONS)
    )
