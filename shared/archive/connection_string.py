"""The setting `ADLS_CONNECTION_STRING`: whose account it is for, and where its requests go.

https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from shared.archive.credential import Reader
from shared.errors import ConfigurationError
from shared.identity import CLOUDS, PUBLIC
from shared.model.location import StorageHost, parse_storage_host

_SETTING = "ADLS_CONNECTION_STRING"
# What the SDK itself takes UseDevelopmentStorage=true for.
# https://learn.microsoft.com/azure/storage/common/storage-connect-azurite
_DEVELOPMENT_ACCOUNT = "devstoreaccount1"
_DEVELOPMENT_ENDPOINT = f"http://127.0.0.1:10000/{_DEVELOPMENT_ACCOUNT}"
_ENDPOINT = re.compile(r"https?://", re.IGNORECASE)
_ACCOUNT_OF_ENDPOINT = re.compile(r"https://([a-z0-9]{3,24})\.", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class ConnectionString:
    """What a connection string says, without its key.

    Attributes:
        host: the account that it is for; None: an account of a cloud that no `adls_url` can name.
        endpoint: the address of the account, if the string names one (Azurite, a private endpoint).
        reader: the kind of credential that requests carry.
    """

    host: StorageHost | None
    endpoint: str | None
    reader: Reader


def read_connection_string(text: str) -> ConnectionString:
    """Read a connection string.

    Args:
        text: `<name>=<value>` with `;` between.

    Returns:
        What it says. An account is of the cloud that its EndpointSuffix, or the host of its BlobEndpoint, says, else of
        the public one.

    Raises:
        ConfigurationError: it cannot be read. Nothing of it is repeated.
    """
    parts = _parts(text)
    if parts.get("USEDEVELOPMENTSTORAGE") == "true":
        return ConnectionString(StorageHost(_DEVELOPMENT_ACCOUNT, PUBLIC), _DEVELOPMENT_ENDPOINT, Reader.SETTING_KEY)
    account, endpoint = parts.get("ACCOUNTNAME", "").lower(), parts.get("BLOBENDPOINT")
    reader = _reader(parts)
    if endpoint is not None:
        return ConnectionString(_host_of(endpoint, account), endpoint, reader)
    if not account:
        raise broken("names no account")
    suffix = parts.get("ENDPOINTSUFFIX", PUBLIC.storage_suffix).lower()
    cloud = next((cloud for cloud in CLOUDS if cloud.storage_suffix == suffix), None)
    return ConnectionString(None if cloud is None else StorageHost(account, cloud), None, reader)


def _reader(parts: dict[str, str]) -> Reader:
    """Say what the SDK takes from a connection string: `parse_connection_str` of azure-storage-blob 12.31."""
    if "ACCOUNTKEY" in parts and "ACCOUNTNAME" in parts:
        return Reader.SETTING_KEY
    # The query of an endpoint is sent along.
    if "SHAREDACCESSSIGNATURE" in parts or "?" in parts.get("BLOBENDPOINT", ""):
        return Reader.SETTING_SAS
    return Reader.NOBODY


def broken(what: str) -> ConfigurationError:
    """Make the error of a connection string that cannot be read."""
    return ConfigurationError(f"the setting {_SETTING} {what}", target=_SETTING)


def _parts(text: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in filter(None, text.split(";")):
        name, separator, value = part.partition("=")
        if not separator:
            raise broken("is not a list of <name>=<value> divided by ;")
        parts[name.upper()] = value
    if "ACCOUNTKEY" in parts:
        try:
            base64.b64decode(parts["ACCOUNTKEY"], validate=True)
        except binascii.Error:
            # From None: nothing about a key belongs in a log.
            raise broken("holds an AccountKey that is not Base64") from None
    return parts


def _host_of(endpoint: str, account: str) -> StorageHost:
    if not _ENDPOINT.match(endpoint):
        raise broken("holds a BlobEndpoint that is not a URL")
    try:
        name = urlsplit(endpoint).hostname or ""
    except ValueError:
        raise broken("holds a BlobEndpoint that is not a URL") from None
    host = parse_storage_host(name)
    if host is not None:
        return replace(host, account=account or host.account)
    # The portal's connection string for a SAS names no account, only endpoints.
    if not account:
        match = _ACCOUNT_OF_ENDPOINT.match(endpoint)
        if match is None:
            raise broken("names no account")
        account = match[1].lower()
    return StorageHost(account, PUBLIC)
