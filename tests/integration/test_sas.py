"""A SAS in the query of `adls_url`: signed by the SDK, checked by the server, used for one file, shown nowhere."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from azure.storage.blob import ContainerSasPermissions, ResourceTypes, generate_account_sas, generate_container_sas

from shared.archive.client import RANGE_BYTES
from shared.archive.download import open_archive
from shared.errors import ArchiveNotFound, StorageAccessDenied
from shared.model.location import parse_adls_url
from shared.process import MIB
from shared.secret import Secret
from shared.settings import Settings
from tests.integration.fix_app import App
from tests.integration.fix_azure import Azure
from tests.integration.fix_identity import ManagedIdentity
from tests.integration.fix_storage import Storage, read, refused

pytestmark = pytest.mark.any_server

PATH = "backups/weavix/silver.telemetry.2025-01-01.csv.gz"
WRONG_KEY = "c2VjcmV0LWtleS1vZi1hLXN0b3JhZ2UtYWNjb3VudA=="
SAS = "sv=2024-11-04&sr=b&sp=r&se=2099-01-01T00%3A00%3A00Z&sig=abc%2Bdef%2Fghi%3D"


def endpoint_alone(storage: Storage) -> Settings:
    """Settings that say where the storage server is, with a key that it refuses."""
    text = re.sub("AccountKey=[^;]+", f"AccountKey={WRONG_KEY}", storage.connection_string)
    assert text != storage.connection_string
    return Settings(adls_connection_string=Secret(text))


# --- what the storage server says --------------------------------------------------------------------------------


def test_the_least_right_reads_the_file(storage: Storage) -> None:
    """Several ranges, in every form of the URL. The key beside it is wrong: it is not what reads."""
    url = storage.put(PATH, b"r" * (2 * RANGE_BYTES + MIB))
    sas = storage.sas(PATH)
    https = f"https://{storage.account}.blob.core.windows.net/{storage.filesystem}/{PATH}"
    for form in (url, https):
        assert read(f"{form}?{sas}", endpoint_alone(storage)) == b"r" * (2 * RANGE_BYTES + MIB)
    assert isinstance(refused(url, endpoint_alone(storage)), StorageAccessDenied)


def test_a_bare_path_takes_a_sas_too(storage: Storage) -> None:
    storage.put(PATH, b"bare")
    location = parse_adls_url(
        f"{PATH}?{storage.sas(PATH)}",
        default_account_url=f"https://{storage.account}.dfs.core.windows.net",
        default_filesystem=storage.filesystem,
    )
    with open_archive(location, endpoint_alone(storage)) as archive:
        assert b"".join(archive.chunks()) == b"bare"


@pytest.mark.parametrize("name", ['we "ird', "Ünï + %41 & é", "percent%2Fslash"])
def test_a_sas_for_a_name_with_special_characters(storage: Storage, name: str) -> None:
    path = f"Back ups/my db/{name}.t.2025-01-01.csv.gz"
    url = storage.put(path, b"found")
    assert read(f"{url}?{storage.sas(path)}", endpoint_alone(storage)) == b"found"


def test_a_sas_of_the_file_system_or_the_account_reads_the_file(storage: Storage) -> None:
    url = storage.put(PATH, b"wide")
    key, expiry = storage.parts["AccountKey"], "2099-01-01T00:00:00Z"
    of_file_system = generate_container_sas(
        storage.account, storage.filesystem, key, permission=ContainerSasPermissions(read=True), expiry=expiry
    )
    of_account = generate_account_sas(storage.account, key, ResourceTypes(object=True), "r", expiry)
    for sas in (of_file_system, of_account):
        assert read(f"{url}?{sas}", endpoint_alone(storage)) == b"wide"


def test_every_signature_survives_the_way(storage: Storage) -> None:
    """Base64 has + / and =, two of which the SDK escapes. Enough signatures that each of them comes up."""
    url = storage.put(PATH, b"signed")
    signatures = [storage.sas(PATH, minutes=minutes) for minutes in range(10, 40)]
    assert all(any(escape in sas.partition("sig=")[2] for sas in signatures) for escape in ("%2B", "/", "%3D"))
    for sas in signatures:
        assert read(f"{url}?{sas}", endpoint_alone(storage)) == b"signed"
        # Others escape the slash too, and in lower case.
        other = re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), sas.replace("/", "%2F"))
        assert read(f"{url}?{other}", endpoint_alone(storage)) == b"signed"


def test_a_missing_file_is_not_blamed_on_the_sas(storage: Storage) -> None:
    url = storage.url("nowhere/db/s.t.2025-01-01.csv.gz")
    assert isinstance(
        refused(f"{url}?{storage.sas('nowhere/db/s.t.2025-01-01.csv.gz')}", storage.settings), ArchiveNotFound
    )


@pytest.mark.parametrize(
    "kind", ["expired", "list", "write", "other file", "other file system", "altered", "other key"]
)
def test_a_refused_sas_is_said_to_be_the_sas(storage: Storage, kind: str) -> None:
    """And neither the key, which would read the file, nor anything else steps in."""
    url = storage.put(PATH, b"closed")
    other = replace(storage, filesystem="another")
    wrong = replace(storage, connection_string=f"AccountKey={WRONG_KEY}")
    good = storage.sas(PATH)
    sas = {
        "expired": storage.sas(PATH, minutes=-1),
        "list": generate_container_sas(
            storage.account,
            storage.filesystem,
            storage.parts["AccountKey"],
            permission=ContainerSasPermissions(list=True),
            expiry="2099-01-01T00:00:00Z",
        ),
        "write": storage.sas(PATH, "w"),
        "other file": storage.sas("backups/weavix/silver.telemetry.2025-01-02.csv.gz"),
        "other file system": other.sas(PATH),
        "altered": good.replace("sp=r", "sp=rw"),
        "other key": wrong.sas(PATH),
    }[kind]
    assert read(url, storage.settings) == b"closed"
    error = refused(f"{url}?{sas}", storage.settings)
    assert isinstance(error, StorageAccessDenied)
    assert re.fullmatch(rf"the account {storage.account} refused the SAS in adls_url \(Auth\w+\)", error.message), (
        error.message
    )
    assert "identity" not in f"{error.message} {error.hint}"
    assert "SAS" in (error.hint or "")
    assert sas.partition("sig=")[2] not in f"{error} {error.hint}"


def test_a_restore_by_sas_shows_it_nowhere(app: App, caplog: pytest.LogCaptureFixture) -> None:
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    url = app.archive("t", b"time,v\n2025-01-01 01:00Z,1\n")
    path = url.partition("windows.net/")[2]
    sas = app.storage.sas(path)
    with caplog.at_level("DEBUG"):
        answer = app.restore(f"{url}?{sas}")
    assert (answer.status, answer.body["rows_loaded"]) == (200, 1)
    assert url in str(answer.body)
    signature = sas.partition("sig=")[2]
    assert "urllib3.connectionpool" in {record.name for record in caplog.records}
    assert signature not in f"{answer.body} {answer.headers} {caplog.text}"


# --- what is sent --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, f"AccountName=account;AccountKey={WRONG_KEY}"])
def test_nothing_but_the_sas_is_sent_and_it_is_sent_as_it_came(
    azure: Azure, managed_identity: ManagedIdentity, key: str | None
) -> None:
    """Neither the identity's token nor the key of this very account."""
    azure.files[f"/fs1/{PATH}"] = b"x" * (RANGE_BYTES + MIB)
    settings = Settings(adls_connection_string=None if key is None else Secret(key))
    assert read(f"abfss://fs1@account.dfs.core.windows.net/{PATH}?{SAS}", settings) == b"x" * (RANGE_BYTES + MIB)
    assert {(seen.target, seen.authorization) for seen in azure.requests} == {(f"/fs1/{PATH}?{SAS}", None)}
    assert len(azure.requests) == 2
    assert managed_identity.tokens_given == []


def test_a_sas_serves_its_own_file_alone(azure: Azure, managed_identity: ManagedIdentity) -> None:
    """What is read next from the same account is read with the identity again, and no client of a SAS is kept."""
    azure.files[f"/fs1/{PATH}"] = b"x"
    url = f"abfss://fs1@account.dfs.core.windows.net/{PATH}"
    for each in (url, f"{url}?{SAS}", url, f"{url}?{SAS.replace('abc', 'other')}"):
        assert read(each, Settings()) == b"x"
    bearer = f"Bearer {managed_identity.token}"
    assert [seen.authorization for seen in azure.requests] == [bearer, None, bearer, None]
    assert ["sig=" in seen.target for seen in azure.requests] == [False, True, False, True]
    assert len(azure.connections) == 3


@pytest.mark.parametrize("suffix", ["core.usgovcloudapi.net", "core.chinacloudapi.cn"])
def test_an_endpoint_of_another_cloud_is_not_taken_for_this_one(azure: Azure, suffix: str) -> None:
    """The connection string is for the public cloud's account of that name."""
    azure.files[f"/fs1/{PATH}"] = b"x"
    settings = Settings(
        adls_connection_string=Secret(
            f"AccountName=account;AccountKey={WRONG_KEY};BlobEndpoint=http://127.0.0.1:1/account"
        )
    )
    assert read(f"abfss://fs1@account.dfs.{suffix}/{PATH}?{SAS}", settings) == b"x"
    assert azure.connections == [f"account.blob.{suffix}:443"]
