from __future__ import annotations

import pytest

from shared.archive.connection_string import read_connection_string
from shared.errors import ConfigurationError
from shared.identity import CHINA, GOVERNMENT, PUBLIC
from shared.model.location import StorageHost

KEY = "c2VjcmV0LWtleS1vZi1hLXN0b3JhZ2UtYWNjb3VudA=="
ACCOUNT = f"AccountName=acct;AccountKey={KEY}"


@pytest.mark.parametrize(
    ("text", "host", "endpoint"),
    [
        (ACCOUNT, StorageHost("acct", PUBLIC), None),
        (f"DefaultEndpointsProtocol=https;{ACCOUNT.replace('acct', 'ACCT')};", StorageHost("acct", PUBLIC), None),
        (f"{ACCOUNT};EndpointSuffix=core.windows.net", StorageHost("acct", PUBLIC), None),
        (f"{ACCOUNT};EndpointSuffix=core.usgovcloudapi.net", StorageHost("acct", GOVERNMENT), None),
        (f"{ACCOUNT};endpointsuffix=Core.ChinaCloudApi.cn", StorageHost("acct", CHINA), None),
        # A cloud that no adls_url can name: the string is for no account.
        (f"{ACCOUNT};EndpointSuffix=core.cloudapi.de", None, None),
        (f"{ACCOUNT};EndpointSuffix=core.windows.net.evil.example", None, None),
        (
            f"{ACCOUNT};BlobEndpoint=https://acct.blob.core.usgovcloudapi.net/",
            StorageHost("acct", GOVERNMENT),
            "https://acct.blob.core.usgovcloudapi.net/",
        ),
        (
            f"{ACCOUNT};BlobEndpoint=https://acct.z07.blob.storage.azure.net/;EndpointSuffix=core.windows.net",
            StorageHost("acct", PUBLIC, "z07"),
            "https://acct.z07.blob.storage.azure.net/",
        ),
        # A host of nobody's counts as the public cloud's.
        (
            f"{ACCOUNT};BlobEndpoint=http://127.0.0.1:10000/acct",
            StorageHost("acct", PUBLIC),
            "http://127.0.0.1:10000/acct",
        ),
        (f"{ACCOUNT};BlobEndpoint=https://lake.example.com", StorageHost("acct", PUBLIC), "https://lake.example.com"),
        (
            "UseDevelopmentStorage=true",
            StorageHost("devstoreaccount1", PUBLIC),
            "http://127.0.0.1:10000/devstoreaccount1",
        ),
        # As the portal gives out a SAS: endpoints, and no account.
        (
            "BlobEndpoint=https://acct.blob.core.windows.net/;SharedAccessSignature=sv=1&sig=abc",
            StorageHost("acct", PUBLIC),
            "https://acct.blob.core.windows.net/",
        ),
        (
            "BlobEndpoint=https://acct.blob.core.chinacloudapi.cn;SharedAccessSignature=sv=1&sig=abc",
            StorageHost("acct", CHINA),
            "https://acct.blob.core.chinacloudapi.cn",
        ),
    ],
)
def test_it_is_for_one_account_in_one_cloud(text: str, host: StorageHost | None, endpoint: str | None) -> None:
    found = read_connection_string(text)
    assert (found.host, found.endpoint) == (host, endpoint)


@pytest.mark.parametrize(
    "text",
    [
        "secret",
        "AccountName=acct;secret",
        "AccountKey=secret;BlobEndpoint=http://x/",
        "AccountName=acct;AccountKey=secret!",
        "UseDevelopmentStorage=secret",
        "AccountName=acct;AccountKey=c2VjcmV0;BlobEndpoint=secret",
        "AccountName=acct;AccountKey=c2VjcmV0;BlobEndpoint=",
        "AccountName=acct;AccountKey=c2VjcmV0;BlobEndpoint=http://[secret",
        "BlobEndpoint=http://127.0.0.1:10000;SharedAccessSignature=sig=secret",
        "EndpointSuffix=core.windows.net",
        ";;",
    ],
)
def test_a_broken_one_is_our_configuration_and_stays_secret(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_connection_string(text)
    assert caught.value.target == "ADLS_CONNECTION_STRING"
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
