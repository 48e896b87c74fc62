"""Translates Azure's errors to ours: what storage answered, or why it did not, and what to do about it.

Storage's own codes: https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes,
https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes, and those of a SAS:
https://learn.microsoft.com/rest/api/storageservices/sas-error-codes. An error's text is never read nor shown: it may
hold what was signed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

from shared.archive.client import ArchiveClient
from shared.archive.credential import Reader
from shared.archive.network_fault import network_fault
from shared.errors import (
    ArchiveBeingRehydrated,
    ArchiveChanged,
    ArchiveError,
    ArchiveNotFound,
    ArchiveNotReadable,
    Fault,
    StorageAccessDenied,
    StorageUnreachable,
)
from shared.model.location import ArchiveLocation

E = TypeVar("E", bound=ArchiveError)

_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _REQUEST_TIMEOUT = 401, 403, 404, 408
_PRECONDITION_FAILED, _TOO_MANY_REQUESTS, _FIRST_OF_ERRORS, _SERVER_ERROR = 412, 429, 300, 500

# The only forms that are accepted: a proxy may send anything.
_CODE = re.compile(r"[A-Za-z0-9]{1,80}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,6}", re.ASCII)
_REQUEST_ID = re.compile(r"[0-9A-Fa-f-]{1,80}", re.ASCII)
_WORD = re.compile(r"[A-Za-z]{1,20}", re.ASCII)

_NO_FILE_SYSTEM = frozenset({"ContainerNotFound", "FilesystemNotFound"})
_NO_FILE = frozenset({"BlobNotFound", "PathNotFound"})
_NOT_ONLINE = frozenset({"BlobArchived", "BlobBeingRehydrated"})
# A 409, though it is about access.
_NOT_PUBLIC = "PublicAccessNotPermitted"

_NOT_STORAGE = "storage sends a code with every error, so something else answered, such as a proxy or a firewall"
_FIREWALL = (
    "let the function's network in: by a private endpoint for blob, or by a rule for its virtual network; the account's"
    " rules for IP addresses do not hold for an app in the account's own region"
)
_ROLE = (
    "give the function's identity the role Storage Blob Data Reader on the account or file system (Owner and"
    " Contributor read no files), or, by ACLs, r on the file and x on its folders; a new role takes some minutes"
)
_KEY = "the key was changed, or is another account's: correct the setting, or refresh its Key Vault reference"
_NO_CREDENTIAL = (
    "the setting has neither AccountKey nor SharedAccessSignature: add one, or remove the setting, so that the"
    " function's identity reads"
)
_NEW_SAS = "make a new SAS for this file with the permission r (read): this one "
# By storage's own code.
_OF_SAS: Mapping[str, str] = {
    "AuthenticationFailed": "has expired, does not hold yet, was altered, or its key was changed",
    "AuthorizationPermissionMismatch": "is for another permission or file",
    "AuthorizationResourceTypeMismatch": "is for other types of resources (srt needs o)",
    "AuthorizationServiceMismatch": "is for other services (ss needs b)",
    "AuthorizationSourceIPMismatch": "is for other addresses (sip) than the function's",
}
_OTHER: Mapping[str, str] = {
    "AccountRequiresHttps": "write the endpoint in ADLS_CONNECTION_STRING with https://",
    "BlobUsesCustomerSpecifiedEncryption": "the file was encrypted with a key that its uploader sent along; store it"
    " without one",
    "ContainerBeingDeleted": "the file system was deleted; restore it, or name another",
    "FilesystemBeingDeleted": "the file system was deleted; restore it, or name another",
}


@dataclass(frozen=True)
class _Answer:
    """What storage answered instead of the file.

    Attributes:
        status: the HTTP status.
        code: storage's own code; empty where there is none.
        request_id: by which Microsoft finds the request; None where there is none.
        retry_after_seconds: how long storage asks to wait.
    """

    status: int
    code: str
    request_id: str | None
    retry_after_seconds: int | None

    @property
    def shown(self) -> str:
        """The code as the end of a message, or nothing."""
        return f" ({self.code})" if self.code else ""


@contextmanager
def translated(location: ArchiveLocation, client: ArchiveClient) -> Iterator[None]:
    """Turn the SDK's errors into ours.

    Args:
        location: the file that is read.
        client: what reads it.

    Raises:
        ArchiveNotFound: there is no such file system or file.
        StorageAccessDenied: storage refused the credential, or the network that the request came from.
        StorageUnreachable: no answer, or one that says "busy".
        ArchiveChanged: the file is not the version that was asked for.
        ArchiveNotReadable: any other answer.
    """
    try:
        yield
    except AzureError as exc:
        raise _translate(exc, location, client) from exc
    except ValueError as exc:
        # What the SDK makes of a 200 without a Content-Range: a proxy that answers in the account's place.
        raise StorageUnreachable(f"{client.host} did not answer as storage does", hint=_NOT_STORAGE) from exc


def _translate(error: AzureError, location: ArchiveLocation, client: ArchiveClient) -> ArchiveError:
    answer = _answer(error)
    if answer is not None:
        return _refused(answer, location, client)
    if isinstance(error, ClientAuthenticationError):
        # No server was asked: the credential cannot be used.
        return StorageAccessDenied(f"{client.reader.value} cannot be used", target=client.reader.target)
    fault = network_fault(error, client.host)
    return StorageUnreachable(fault.message, hint=fault.hint)


def _refused(answer: _Answer, location: ArchiveLocation, client: ArchiveClient) -> ArchiveError:
    if answer.status == _NOT_FOUND:
        return _not_found(answer, location, client)
    if answer.status in {_UNAUTHORIZED, _FORBIDDEN} or answer.code == _NOT_PUBLIC:
        return _denied(answer, location, client)
    if answer.status == _PRECONDITION_FAILED:
        return _made(ArchiveChanged, answer, f"{location.url} was overwritten or deleted while it was read")
    if answer.status in {_REQUEST_TIMEOUT, _TOO_MANY_REQUESTS} or answer.status >= _SERVER_ERROR:
        return _made(StorageUnreachable, answer, f"{client.host} answered HTTP {answer.status}{answer.shown}")
    if answer.code in _NOT_ONLINE:
        return _not_online(answer, location, client)
    return _made(
        ArchiveNotReadable,
        answer,
        f"{client.host} answered HTTP {answer.status}{answer.shown} when it was asked for {location.url}",
        hint=_OTHER.get(answer.code) if answer.code else _NOT_STORAGE,
    )


def _answer(error: AzureError) -> _Answer | None:
    """Read an HTTP answer; None where there was none."""
    # The SDK's type of a response leaves out its headers.
    response: Any = error.response if isinstance(error, HttpResponseError) else None
    if response is None or response.status_code < _FIRST_OF_ERRORS:
        return None
    code = getattr(error, "error_code", None)
    # An enum where the SDK knows it, a string where it does not.
    shown, request_id = str(getattr(code, "value", code)), response.headers.get("x-ms-request-id", "")
    return _Answer(
        response.status_code,
        shown if code is not None and _CODE.fullmatch(shown) else "",
        request_id if _REQUEST_ID.fullmatch(request_id) else None,
        _seconds(response.headers.get("Retry-After")),
    )


def _seconds(retry_after: str | None) -> int | None:
    """Read a Retry-After: seconds, or a date (RFC 9110, 10.2.3)."""
    if retry_after is None:
        return None
    if _SECONDS.fullmatch(retry_after):
        return int(retry_after)
    try:
        until = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=timezone.utc)
    return max(0, round((until - datetime.now(timezone.utc)).total_seconds()))


def _made(kind: type[E], answer: _Answer, message: str, *, hint: str | None = None, target: str | None = None) -> E:
    facts: dict[str, Any] = {
        "storage_status": answer.status,
        "storage_code": answer.code or None,
        "storage_request_id": answer.request_id,
    }
    known = tuple((name, fact) for name, fact in facts.items() if fact is not None)
    # Without a target: that of the error's class says where.
    error = kind(message, target=target, hint=hint, details=[Fault(kind.code, message, info=known)])
    if answer.retry_after_seconds is not None:
        error.retry_after_seconds = answer.retry_after_seconds
    return error


def _not_found(answer: _Answer, location: ArchiveLocation, client: ArchiveClient) -> ArchiveNotFound:
    if answer.code in _NO_FILE_SYSTEM:
        return _made(
            ArchiveNotFound,
            answer,
            f"the account {location.account} has no file system {location.filesystem}",
            hint="check the spelling of the account and the file system",
        )
    if not answer.code:
        return _made(ArchiveNotFound, answer, f"{client.host} answered HTTP 404", hint=_NOT_STORAGE)
    hint = None
    if answer.code in _NO_FILE:
        hint = (
            f"the account has the file system {location.filesystem}: check the spelling of the path in it, upper and"
            " lower case included"
        )
    elif client.reader is Reader.NOBODY:
        # For a request without credentials, storage pretends that a file that is not public does not exist.
        hint = _NO_CREDENTIAL
    return _made(ArchiveNotFound, answer, f"there is no file {location.url}", hint=hint)


def _denied(answer: _Answer, location: ArchiveLocation, client: ArchiveClient) -> StorageAccessDenied:
    account, reader, target = f"the account {location.account}", client.reader, client.reader.target
    hint: str | None
    if not answer.code:
        message, hint, target = f"{client.host} answered HTTP {answer.status}", _NOT_STORAGE, "adls_url"
    elif answer.code == "AccountIsDisabled":
        message, target = f"{account} is disabled", "adls_url"
        hint = "look at the account and its subscription in the portal"
    elif answer.code == "AuthorizationFailure" and not reader.is_sas:
        message, target = f"{account} refused the function's network, most likely by its firewall", "adls_url"
        hint = _FIREWALL + ("; Azurite says the same of a wrong key" if reader is Reader.SETTING_KEY else "")
    elif answer.code == "KeyBasedAuthenticationNotPermitted":
        message = f"{account} takes no account keys, and no SAS that is signed with one"
        hint = (
            "make a user delegation SAS, or leave the SAS out, so that the function's identity reads"
            if reader is Reader.URL_SAS
            else "remove the setting ADLS_CONNECTION_STRING, so that the function's identity reads"
        )
    elif answer.code == "InvalidAuthenticationInfo" and reader is Reader.IDENTITY:
        message = f"{account} does not take the token of the function's identity"
        hint = "the account may belong to another tenant of Entra ID than the function's identity"
    else:
        message, hint = f"{account} refused {reader.value}", _hint_of(reader, answer.code)
    return _made(StorageAccessDenied, answer, message + answer.shown, hint=hint, target=target)


def _hint_of(reader: Reader, code: str) -> str | None:
    if reader is Reader.NOBODY:
        return _NO_CREDENTIAL
    if reader.is_sas:
        reason = _OF_SAS.get(code, "has expired, does not hold yet, or is for another file, permission or address")
        return _NEW_SAS + reason + (f"; if it is right, {_FIREWALL}" if code == "AuthorizationFailure" else "")
    known = {
        (Reader.IDENTITY, "AuthorizationPermissionMismatch"): _ROLE,
        (Reader.SETTING_KEY, "AuthenticationFailed"): _KEY,
    }
    return known.get((reader, code))


def _not_online(answer: _Answer, location: ArchiveLocation, client: ArchiveClient) -> ArchiveNotReadable:
    """Distinguish a file in the archive tier from one that is being rehydrated.

    Storage's code does not always say which: a file that is being rehydrated stays in the archive tier until it is
    done.
    """
    headers = _properties(client)
    # rehydrate-pending-to-hot, -cool, -cold or -smart
    # https://learn.microsoft.com/rest/api/storageservices/get-blob-properties
    tier = headers.get("x-ms-archive-status", "").removeprefix("rehydrate-pending-to-")
    if not tier and answer.code != "BlobBeingRehydrated":
        return _made(
            ArchiveNotReadable,
            answer,
            f"{location.url} is in the archive access tier{answer.shown}",
            hint="rehydrate it to hot, cool or cold: that takes up to 15 hours, with high priority often less than one",
        )
    priority = headers.get("x-ms-rehydrate-priority", "")
    message = f"{location.url} is being rehydrated from the archive access tier"
    message += f" to {tier}" if _WORD.fullmatch(tier) else ""
    message += f" with priority {priority}" if _WORD.fullmatch(priority) else ""
    return _made(ArchiveBeingRehydrated, answer, message + answer.shown)


def _properties(client: ArchiveClient) -> Mapping[str, str]:
    """Ask for the file's properties; return nothing if they cannot be read."""
    found: dict[str, str] = {}

    def keep(response: Any) -> None:
        found.update({name.lower(): value for name, value in response.http_response.headers.items()})

    try:
        # The SDK's own `FileProperties` leaves these headers out (azure-storage-file-datalake 12.26).
        client.file.get_file_properties(raw_response_hook=keep)
    except AzureError:
        return {}
    return found
