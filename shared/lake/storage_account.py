"""Who reads a storage account: the connection string for the account that it names, else the own identity."""

from __future__ import annotations

import base64
import binascii
import re
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import HttpResponseError, ServiceResponseError
from azure.storage.filedatalake import DataLakeFileClient

from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from azure.core.pipeline import PipelineResponse
    from azure.identity import DefaultAzureCredential

    from shared.lake.adls_url import ArchiveLocation
    from shared.settings import Settings

MIB = 1024 * 1024
_SETTING = "ADLS_CONNECTION_STRING"
# What the SDK itself takes UseDevelopmentStorage=true for.
# https://learn.microsoft.com/azure/storage/common/storage-connect-azurite
_DEVELOPMENT_ACCOUNT = "devstoreaccount1"
_ENDPOINT = re.compile(r"https?://", re.IGNORECASE)
_BLOB_ENDPOINT_ACCOUNT = re.compile(r"https://([a-z0-9]{3,24})\.", re.ASCII | re.IGNORECASE)

_PARTIAL_CONTENT, _TOO_MANY_REQUESTS = 206, 429
_ASKED = re.compile(r"bytes=(\d+)-(\d+)")
_TOTAL = re.compile(r"bytes \d+-\d+/(\d+)")


def _check_answer(response: PipelineResponse[Any, Any]) -> None:
    """Make errors of answers that the SDK hands on as they are; after an error it tries again.

    It repeats a 5xx but no 429, and takes an answer with fewer bytes than it asked for, as long as Content-Length
    agrees with it. Read from `is_retry` and `StorageRetryPolicy.send` of azure-storage-blob 12.31, and measured.
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
_TRANSPORT: dict[str, Any] = {
    "connection_timeout": 10,
    "read_timeout": 20,
    "retry_total": 2,
    "initial_backoff": 0,
    "increment_base": 2,
    "random_jitter_range": 0,
    # Storage never redirects; a token or a signature must not follow whoever does.
    "permit_redirects": False,
    "raw_response_hook": _check_answer,
}
_RANGES: dict[str, Any] = {"max_single_get_size": 4 * MIB, "max_chunk_get_size": 4 * MIB}

_credential_lock = threading.Lock()


def open_client(location: ArchiveLocation, settings: Settings) -> DataLakeFileClient:
    """Make the client for one file. Nothing is sent yet.

    Args:
        location: the file.
        settings: holds the connection string, if there is one.

    Returns:
        A client that gives up an account that does not answer after about a minute, and that reads at most
        4 MiB at a time. It wants to be closed.

    Raises:
        ConfigurationError: the connection string cannot be read.
    """
    if settings.adls_connection_string is not None:
        parts = _read_connection_string(settings.adls_connection_string.get_secret_value())
        if _account_of(parts) == location.account:
            return _client_by_connection_string(location, settings.adls_connection_string.get_secret_value())
    return DataLakeFileClient(
        location.account_url, location.filesystem, location.path, _credential(), **_TRANSPORT, **_RANGES
    )


def _client_by_connection_string(location: ArchiveLocation, text: str) -> DataLakeFileClient:
    try:
        return DataLakeFileClient.from_connection_string(
            text, location.filesystem, location.path, **_TRANSPORT, **_RANGES
        )
    except ValueError:
        # From None: the SDK's error may quote the endpoint, and with it a signature.
        raise _broken("does not name an endpoint that can be used") from None


def _credential() -> DefaultAzureCredential:
    # One for the process: it holds the tokens that were already fetched.
    with _credential_lock:
        return _make_credential()


@cache
def _make_credential() -> DefaultAzureCredential:
    # Imported here: 0.07 s of cold start that a function with a connection string never needs.
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415

    return DefaultAzureCredential()


def _read_connection_string(text: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in filter(None, text.split(";")):
        name, separator, value = part.partition("=")
        if not separator:
            raise _broken("is not a list of <name>=<value> divided by ;")
        parts[name.upper()] = value
    if "ACCOUNTKEY" in parts:
        try:
            base64.b64decode(parts["ACCOUNTKEY"], validate=True)
        except binascii.Error:
            # From None: nothing about a key belongs into a log.
            raise _broken("holds an AccountKey that is not Base64") from None
    if not _ENDPOINT.match(parts.get("BLOBENDPOINT", "https://")):
        raise _broken("holds a BlobEndpoint that is not a URL")
    return parts


def _account_of(parts: dict[str, str]) -> str:
    if parts.get("USEDEVELOPMENTSTORAGE") == "true":
        return _DEVELOPMENT_ACCOUNT
    if parts.get("ACCOUNTNAME"):
        return parts["ACCOUNTNAME"].lower()
    # The portal's connection string for a SAS names no account, only endpoints.
    match = _BLOB_ENDPOINT_ACCOUNT.match(parts.get("BLOBENDPOINT", ""))
    if match is None:
        raise _broken("names no account")
    return match[1].lower()


def _broken(what: str) -> ConfigurationError:
    return ConfigurationError(f"the setting {_SETTING} {what}", target=_SETTING)
