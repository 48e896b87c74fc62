from __future__ import annotations

import datetime as dt
from typing import Any
from urllib.parse import parse_qs

import pytest
from azure.storage.blob import (
    AccountSasPermissions,
    BlobSasPermissions,
    ResourceTypes,
    UserDelegationKey,
    generate_account_sas,
    generate_blob_sas,
)
from azure.storage.filedatalake import DirectorySasPermissions, generate_directory_sas
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidArchiveUrl
from shared.model.location import SAS_PARAMETERS, split_sas

KEY = "c2VjcmV0LWtleS1vZi1hLXN0b3JhZ2UtYWNjb3VudA=="
START, END = dt.datetime(2025, 1, 1, tzinfo=dt.timezone.utc), dt.datetime(2099, 1, 1, tzinfo=dt.timezone.utc)
READ = BlobSasPermissions(read=True)


def delegation_key() -> Any:
    key: Any = UserDelegationKey()  # type: ignore[no-untyped-call] # the SDK's
    key.signed_oid = key.signed_tid = "0b1f6471-1bf0-4dda-aec3-cb9272f09590"
    key.signed_start, key.signed_expiry = "2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z"
    key.signed_service, key.signed_version, key.value = "b", "2024-11-04", KEY
    return key


def refused(query: str) -> InvalidArchiveUrl:
    with pytest.raises(InvalidArchiveUrl) as caught:
        split_sas(f"path?{query}")
    return caught.value


# What the SDK signs, of every kind and with all that may be in it.
SIGNED = {
    "service": generate_blob_sas("account", "fs1", "path", account_key=KEY, permission=READ, expiry=END),
    "service with everything": generate_blob_sas(
        "account",
        "fs1",
        "path",
        account_key=KEY,
        permission=READ,
        expiry=END,
        start=START,
        policy_id="a policy",
        ip="10.0.0.1-10.0.0.9",
        protocol="https",
        encryption_scope="scope",
        cache_control="no-cache",
        content_disposition='attachment; filename="ü.gz"',
        content_encoding="gzip",
        content_language="de",
        content_type="text/csv; charset=utf-8",
    ),
    "account": generate_account_sas(
        "account",
        KEY,
        ResourceTypes(object=True),
        AccountSasPermissions(read=True),
        END,
        start=START,
        ip="10.0.0.1",
        protocol="https",
        encryption_scope="scope",
    ),
    "user delegation": generate_blob_sas(
        "account", "fs1", "path", user_delegation_key=delegation_key(), permission=READ, expiry=END
    ),
    "user delegation of a folder": generate_directory_sas(
        "account",
        "fs1",
        "a/b",
        delegation_key(),
        permission=DirectorySasPermissions(read=True),
        expiry=END,
        preauthorized_agent_object_id="0b1f6471-1bf0-4dda-aec3-cb9272f09590",
        correlation_id="0b1f6471-1bf0-4dda-aec3-cb9272f09591",
    ),
}


@pytest.mark.parametrize("query", SIGNED.values(), ids=SIGNED)
def test_every_kind_of_sas_is_taken_exactly_as_it_is(query: str) -> None:
    path, sas = split_sas(f"path?{query}")
    assert path == "path"
    assert sas is not None
    assert sas.get_secret_value() == query


def test_the_kinds_together_hold_every_parameter_that_is_known() -> None:
    """So that none of them stands in the list without a reason."""
    names = {name for query in SIGNED.values() for name in parse_qs(query)}
    # It takes the place of saoid.
    assert names | {"suoid"} == SAS_PARAMETERS


@pytest.mark.parametrize(
    "value", ["abc%2Bdef%2F%3D%3D", "abc%2bdef%2f%3d%3d", "abc+def/==", "a.b_c~d-e", "2025-01-01T00:00:00Z", "a,b"]
)
def test_a_value_is_not_rewritten(value: str) -> None:
    _, sas = split_sas(f"path?sv=2024-11-04&sig={value}")
    assert sas is not None
    assert sas.get_secret_value() == f"sv=2024-11-04&sig={value}"


def test_without_a_question_mark_there_is_none() -> None:
    assert split_sas("path%3Fsv=1&sig=2") == ("path%3Fsv=1&sig=2", None)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?",
        "&",
        "hunter2",
        "sv=2024-11-04",
        "sig=hunter2",
        "sv=2024-11-04&sig=",
        "sv=&sig=hunter2",
        "sv=2024-11-04&sig",
        "sv=2024-11-04&sig=hunter2&",
        "&sv=2024-11-04&sig=hunter2",
        "sv=2024-11-04&&sig=hunter2",
        "sv=2024-11-04&sig=hunter2&sig=hunter2",
        "sv=2024-11-04&sv=2024-11-04&sig=hunter2",
        "sv=2024-11-04&sp=r&sp=rw&sig=hunter2",
        "?sv=2024-11-04&sig=hunter2",
        "sv=2024-11-04&sig=hunter2?x",
        "SV=2024-11-04&SIG=hunter2",
        "sv=2024-11-04&s%69g=hunter2",
        "sv=2024-11-04;sig=hunter2",
        # What else the Blob service takes in a query, or an older or another service's SAS.
        *(
            f"sv=2024-11-04&sig=hunter2&{name}=x"
            for name in (
                "snapshot",
                "versionid",
                "comp",
                "restype",
                "timeout",
                "prevsnapshot",
                "api-version",
                "tn",
                "spk",
            )
        ),
        # They ask for more than the SAS itself.
        *(f"sv=2024-11-04&sig=hunter2&{name}=x" for name in ("sduoid", "skdutid", "srh", "srq")),
        # Characters that would be escaped on the way, or that end the line of a header.
        *(
            f"sv=2024-11-04&sig=hunter2{tail}"
            for tail in ("%", "%2", "%zz", " ", "\n", "\r\nx", "\0", "ü", "\\", '"', "<")
        ),
    ],
)
def test_another_query_is_refused_and_not_repeated(query: str) -> None:
    error = refused(query)
    assert "query" in error.message
    assert "hunter2" not in f"{error} {error.hint} {error.__cause__}"


@pytest.mark.parametrize("text", ["path#", "path#hunter2", "path?sv=2024-11-04&sig=x#hunter2", "#?sv=1&sig=2"])
def test_a_fragment_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidArchiveUrl, match="fragment") as caught:
        split_sas(text)
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


@given(
    text=st.text()
    | st.lists(st.sampled_from(["sv=1", "sig=2", "&", "=", "?", "#", "%", "%2B", "sp=r", "x"])).map("".join)
)
def test_any_text_is_split_or_refused(text: str) -> None:
    try:
        url, sas = split_sas(text)
    except InvalidArchiveUrl:
        return
    assert text == (url if sas is None else f"{url}?{sas.get_secret_value()}")
    assert "?" not in url
