"""What storage answers instead of the file, and what is made of it.

Azurite has no tiers, firewalls or roles: a stand-in for Azure's HTTPS endpoints answers as Azure does.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from shared.archive.stored import look_at
from shared.errors import (
    ArchiveBeingRehydrated,
    ArchiveChanged,
    ArchiveNotFound,
    ArchiveNotReadable,
    RestoreError,
    StorageAccessDenied,
    StorageUnreachable,
)
from shared.model.location import parse_adls_url
from shared.secret import Secret
from shared.settings import Settings
from tests.integration.fix_app import App
from tests.integration.fix_azure import KEY, PATH, REQUEST_ID, Azure, Refusal, by_key
from tests.integration.fix_storage import refused

pytestmark = [
    pytest.mark.any_server,
    pytest.mark.usefixtures("managed_identity", "quick_retries", "collected_connections"),
    # The SDK leaves the connection of an answer that it will retry to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <:ResourceWarning"),
]

URL = f"abfss://fs1@account.dfs.core.windows.net/{PATH}"
SAS = "sv=2024-11-04&sr=b&sp=r&se=2099-01-01T00%3A00%3A00Z&sig=hunter2hunter2"
SHOWN = f"abfss://fs1@account.dfs.core.windows.net/{PATH}"

READERS = {
    "identity": (URL, Settings()),
    "key": (URL, by_key()),
    "sas": (f"{URL}?{SAS}", by_key()),
    "setting's sas": (URL, Settings(adls_connection_string=Secret(f"AccountName=account;SharedAccessSignature={SAS}"))),
    "endpoint's sas": (
        URL,
        Settings(adls_connection_string=Secret(f"BlobEndpoint=https://account.blob.core.windows.net/?{SAS}")),
    ),
    "nobody": (URL, Settings(adls_connection_string=Secret("AccountName=account"))),
    # Without AccountName the SDK leaves the key out as well.
    "key without a name": (
        URL,
        Settings(
            adls_connection_string=Secret(f"AccountKey={KEY};BlobEndpoint=https://account.blob.core.windows.net/")
        ),
    ),
}


def answer(azure: Azure, refusal: Refusal, reader: str = "identity") -> RestoreError:
    """Read a file that is refused."""
    azure.refusals[f"/fs1/{PATH}"] = refusal
    url, settings = READERS[reader]
    error = refused(url, settings)
    assert "hunter2" not in f"{error} {error.hint} {error.details}"
    assert KEY not in f"{error} {error.hint} {error.details}"
    return error


# --- 401 and 403 -------------------------------------------------------------------------------------------------

# Status and code as in Azure's own lists (`shared/archive/storage_error.py` names them); who asked; what is said; where
# the fault is; a word of the hint, and one that it must not have.
DENIED = [
    (403, "AuthorizationPermissionMismatch", "identity", "refused the function's identity", "adls_url", "Data Reader"),
    (403, "AuthorizationPermissionMismatch", "sas", "refused the SAS in adls_url", "adls_url", "another permission"),
    (403, "AuthorizationFailure", "identity", "refused the function's network", "adls_url", "private endpoint"),
    (403, "AuthorizationFailure", "key", "refused the function's network", "adls_url", "private endpoint"),
    (403, "AuthorizationFailure", "sas", "refused the SAS in adls_url", "adls_url", "private endpoint"),
    (403, "AuthenticationFailed", "key", "refused the account key", "ADLS_CONNECTION_STRING", "the key was changed"),
    (403, "AuthenticationFailed", "sas", "refused the SAS in adls_url", "adls_url", "has expired"),
    (403, "AuthenticationFailed", "setting's sas", "refused the SAS in ADLS", "ADLS_CONNECTION_STRING", "has expired"),
    (403, "AuthenticationFailed", "endpoint's sas", "refused the SAS in ADLS", "ADLS_CONNECTION_STRING", "has expired"),
    (403, "AuthorizationSourceIPMismatch", "sas", "refused the SAS in adls_url", "adls_url", "sip"),
    (403, "AuthorizationResourceTypeMismatch", "sas", "refused the SAS in adls_url", "adls_url", "srt"),
    (403, "AuthorizationServiceMismatch", "sas", "refused the SAS in adls_url", "adls_url", "ss needs b"),
    (403, "KeyBasedAuthenticationNotPermitted", "key", "takes no account keys", "ADLS_CONNECTION_STRING", "identity"),
    (403, "KeyBasedAuthenticationNotPermitted", "sas", "takes no account keys", "adls_url", "user delegation SAS"),
    (403, "AccountIsDisabled", "identity", "is disabled", "adls_url", "subscription"),
    (403, "AccountIsDisabled", "key", "is disabled", "adls_url", "subscription"),
    (403, "InsufficientAccountPermissions", "key", "refused the account key", "ADLS_CONNECTION_STRING", "error-codes"),
    (403, "SomethingNew", "identity", "refused the function's identity", "adls_url", "common-rest-api-error-codes"),
    (401, "InvalidAuthenticationInfo", "identity", "does not take the token", "adls_url", "tenant"),
    (401, "NoAuthenticationInformation", "nobody", "without credentials", "ADLS_CONNECTION_STRING", "AccountKey"),
    (409, "PublicAccessNotPermitted", "nobody", "without credentials", "ADLS_CONNECTION_STRING", "AccountKey"),
    (409, "PublicAccessNotPermitted", "key without a name", "without cred", "ADLS_CONNECTION_STRING", "AccountKey"),
]


@pytest.mark.parametrize(("status", "code", "reader", "said", "target", "hint"), DENIED)
def test_a_refusal_says_what_was_refused(
    azure: Azure, status: int, code: str, reader: str, said: str, target: str, hint: str
) -> None:
    error = answer(azure, Refusal(status, code), reader)
    assert isinstance(error, StorageAccessDenied)
    assert said in error.message
    assert error.message.endswith(f" ({code})")
    assert (error.target, hint in (error.hint or "")) == (target, True), error.hint
    if reader != "identity":
        assert "identity" not in error.message
    assert [(fault.code, fault.target, dict(fault.info)) for fault in error.details] == [
        (
            "StorageAccessDenied",
            None,
            {"storage_status": status, "storage_code": code, "storage_request_id": REQUEST_ID},
        )
    ]


@pytest.mark.parametrize("reader", ["identity", "key", "sas"])
def test_a_403_that_is_not_storages_own_blames_no_credential(azure: Azure, reader: str) -> None:
    error = answer(azure, Refusal(403), reader)
    assert isinstance(error, StorageAccessDenied)
    assert error.message == "account.blob.core.windows.net answered HTTP 403"
    assert (error.target, dict(error.details[0].info)) == ("adls_url", {"storage_status": 403})
    assert "a proxy or a firewall" in (error.hint or "")


def test_a_code_that_storage_cannot_have_sent_is_not_repeated(azure: Azure) -> None:
    error = answer(azure, Refusal(403, "Denied: <script>"))
    assert error.message == "account.blob.core.windows.net answered HTTP 403"


# --- 404 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reader", "message", "hint"),
    [
        ("ContainerNotFound", "identity", "the account account has no file system fs1", "the file system"),
        ("FilesystemNotFound", "key", "the account account has no file system fs1", "the file system"),
        ("BlobNotFound", "identity", f"there is no file {SHOWN}", "the account has the file system fs1: "),
        ("PathNotFound", "sas", f"there is no file {SHOWN}", "the account has the file system fs1: "),
        ("ResourceNotFound", "identity", f"there is no file {SHOWN}", "spelling of the path"),
        # Storage hides what is not public from a request that carries nothing.
        ("ResourceNotFound", "nobody", f"there is no file {SHOWN}", "AccountKey"),
        (None, "identity", "account.blob.core.windows.net answered HTTP 404", "a proxy or a firewall"),
    ],
)
def test_what_is_missing_is_named(azure: Azure, code: str | None, reader: str, message: str, hint: str) -> None:
    error = answer(azure, Refusal(404, code), reader)
    assert isinstance(error, ArchiveNotFound)
    assert (error.message, hint in (error.hint or "")) == (message, True), error.hint


# --- the archive tier --------------------------------------------------------------------------------------------

ARCHIVED = {"x-ms-access-tier": "Archive"}
PENDING = ARCHIVED | {"x-ms-archive-status": "rehydrate-pending-to-cool", "x-ms-rehydrate-priority": "High"}


@pytest.mark.parametrize(
    ("code", "properties", "message", "hint"),
    [
        ("BlobArchived", ARCHIVED, "is in the archive access tier (BlobArchived)", "rehydrate it to hot, cool or cold"),
        ("BlobArchived", None, "is in the archive access tier (BlobArchived)", "rehydrate it to hot, cool or cold"),
        (
            "BlobArchived",
            PENDING,
            "is being rehydrated from the archive access tier to cool with priority High (BlobArchived)",
            "wait until it is there",
        ),
        (
            "BlobBeingRehydrated",
            PENDING,
            "is being rehydrated from the archive access tier to cool with priority High (BlobBeingRehydrated)",
            "wait until it is there",
        ),
        (
            "BlobBeingRehydrated",
            None,
            "is being rehydrated from the archive access tier (BlobBeingRehydrated)",
            "wait until it is there",
        ),
    ],
)
@pytest.mark.parametrize("reader", ["identity", "sas"])
def test_an_archived_file_is_distinguished_from_one_on_its_way_back(
    azure: Azure, reader: str, code: str, properties: dict[str, str] | None, message: str, hint: str
) -> None:
    error = answer(azure, Refusal(409, code, properties=properties), reader)
    expected = ArchiveBeingRehydrated if "is being rehydrated" in message else ArchiveNotReadable
    assert type(error) is expected
    assert (error.message, (error.hint or "").startswith(hint)) == (f"{SHOWN} {message}", True), error.hint


# --- other answers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (409, "ContainerBeingDeleted", "the file system was deleted"),
        (409, "BlobUsesCustomerSpecifiedEncryption", "a key that its uploader sent along"),
        (409, "SystemInUse", "blob-service-error-codes"),
        (400, "AccountRequiresHttps", "https://"),
        (400, "InvalidHeaderValue", "blob-service-error-codes"),
        (416, "InvalidRange", "blob-service-error-codes"),
    ],
)
def test_another_answer_is_shown_with_storages_own_code(azure: Azure, status: int, code: str, hint: str) -> None:
    """And says nothing of tiers."""
    error = answer(azure, Refusal(status, code))
    assert isinstance(error, ArchiveNotReadable)
    assert (
        error.message == f"account.blob.core.windows.net answered HTTP {status} ({code}) when it was asked for {SHOWN}"
    )
    assert hint in (error.hint or "")
    assert not re.search("tier|rehydrat", f"{error.message} {error.hint}")


@pytest.mark.parametrize("status", [302, 409, 400])
def test_another_answer_without_a_code_is_not_storages(azure: Azure, status: int) -> None:
    error = answer(azure, Refusal(status))
    assert isinstance(error, ArchiveNotReadable)
    assert error.message == f"account.blob.core.windows.net answered HTTP {status} when it was asked for {SHOWN}"
    assert "something else answered" in (error.hint or "")


def test_a_condition_that_does_not_hold_is_a_change(azure: Azure) -> None:
    assert isinstance(answer(azure, Refusal(412, "ConditionNotMet")), ArchiveChanged)


@pytest.mark.parametrize(
    ("status", "code"), [(503, "ServerBusy"), (500, "OperationTimedOut"), (429, "TooManyRequests"), (503, None)]
)
def test_storage_that_is_busy_is_named_with_its_code(azure: Azure, status: int, code: str | None) -> None:
    error = answer(azure, Refusal(status, code))
    assert isinstance(error, StorageUnreachable)
    shown = f" ({code})" if code else ""
    assert error.message == f"account.blob.core.windows.net answered HTTP {status}{shown}"
    assert len(azure.requests) == 3
    assert error.retry_after_seconds == RestoreError.retry_after_seconds


@pytest.mark.parametrize("status", [429, 503])
def test_how_long_storage_asks_to_wait_is_kept(azure: Azure, status: int) -> None:
    error = answer(azure, Refusal(status, "ServerBusy", {"Retry-After": "17"}))
    assert error.retry_after_seconds == 17
    later = datetime.now(timezone.utc) + timedelta(seconds=100)
    error = answer(azure, Refusal(status, "ServerBusy", {"Retry-After": format_datetime(later, usegmt=True)}))
    assert 80 <= error.retry_after_seconds <= 100
    for nonsense in ("soon", "-3", "1e3", "", "Mon, 01 Jan 99999999999 00:00:00 GMT"):
        error = answer(azure, Refusal(status, "ServerBusy", {"Retry-After": nonsense}))
        assert error.retry_after_seconds == RestoreError.retry_after_seconds


def test_a_word_of_storage_is_shown_only_if_it_is_one(azure: Azure) -> None:
    said = {"x-ms-archive-status": "rehydrate-pending-to-hot " * 9, "x-ms-rehydrate-priority": "High outcome=ok"}
    error = answer(azure, Refusal(409, "BlobBeingRehydrated", properties=said))
    assert error.message == f"{SHOWN} is being rehydrated from the archive access tier (BlobBeingRehydrated)"


def test_a_file_of_no_version_is_not_read(azure: Azure) -> None:
    """Its ranges could be those of several."""
    azure.files[f"/fs1/{PATH}"] = b"any"
    azure.etag = None
    url, settings = READERS["identity"]
    error = refused(url, settings)
    assert isinstance(error, StorageUnreachable)
    assert "names no version" in error.message
    azure.refusals[f"/fs1/{PATH}"] = Refusal(404, properties={})
    with pytest.raises(StorageUnreachable, match="names no version"):
        look_at(parse_adls_url(url), settings)


@pytest.mark.parametrize(("headers", "seconds"), [({"Retry-After": "17"}, "17"), ({}, "30")])
def test_the_answer_says_how_long_to_wait(app: App, azure: Azure, headers: dict[str, str], seconds: str) -> None:
    """As long as storage asks for, and else as long as always."""
    path = app.path("t")
    azure.refusals[f"/fs1/{path}"] = Refusal(503, "ServerBusy", headers)
    answer = app.restore(f"abfss://fs1@account.dfs.core.windows.net/{path}")
    assert (answer.status, answer.code, answer.headers.get("Retry-After")) == (503, "StorageUnreachable", seconds)
