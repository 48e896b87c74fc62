from __future__ import annotations

import pytest

from shared.errors import StorageAccountNotAllowed
from shared.model.location import parse_adls_url
from shared.restore.access import refuse_other_accounts
from shared.settings import Settings, load_settings

PATH = "db/s.t.2025-01-01.csv.gz"
PUBLIC = "account.dfs.core.windows.net"
GOVERNMENT = "account.dfs.core.usgovcloudapi.net"
CHINA = "account.dfs.core.chinacloudapi.cn"
ZONE = "account.z07.dfs.storage.azure.net"


def is_allowed(allowed: str, host: str, filesystem: str = "fs1") -> bool:
    settings = load_settings({"ADLS_ALLOWED_ACCOUNTS": allowed})
    try:
        refuse_other_accounts(parse_adls_url(f"abfss://{filesystem}@{host}/{PATH}"), settings)
    except StorageAccountNotAllowed as error:
        return (error.status, error.target) != (403, "adls_url")
    return True


@pytest.mark.parametrize("host", [PUBLIC, GOVERNMENT, CHINA, ZONE])
def test_without_the_setting_everything_is_read(host: str) -> None:
    refuse_other_accounts(parse_adls_url(f"abfss://fs1@{host}/{PATH}"), Settings())


@pytest.mark.parametrize(
    ("allowed", "hosts"),
    [
        ("account", {PUBLIC}),
        ("ACCOUNT", {PUBLIC}),
        (PUBLIC, {PUBLIC}),
        ("account.blob.core.windows.net", {PUBLIC}),
        (GOVERNMENT, {GOVERNMENT}),
        ("account.blob.core.usgovcloudapi.net", {GOVERNMENT}),
        (CHINA, {CHINA}),
        (ZONE, {ZONE}),
        ("account.z08.dfs.storage.azure.net", set()),
        (f"other, account, {CHINA}", {PUBLIC, CHINA}),
        ("accoun", set()),
        ("account2", set()),
        ("account/fs2", set()),
        ("core.windows.net", set()),
        ("account.core.windows.net", set()),
    ],
)
def test_only_a_listed_account_is_read(allowed: str, hosts: set[str]) -> None:
    """The same name in another cloud or zone is another account."""
    assert {host for host in (PUBLIC, GOVERNMENT, CHINA, ZONE) if is_allowed(allowed, host)} == hosts


@pytest.mark.parametrize("listed", ["account", PUBLIC, "account.blob.core.windows.net"])
def test_a_file_system_may_be_listed_alone(listed: str) -> None:
    assert is_allowed(f"{listed}/fs1", PUBLIC)
    assert is_allowed(f"{listed}/fs1", "account.blob.core.windows.net")
    assert not is_allowed(f"{listed}/fs1", PUBLIC, filesystem="fs2")
    assert not is_allowed(f"{listed}/fs1", PUBLIC, filesystem="fs11")
    assert not is_allowed(f"{listed}/fs1", GOVERNMENT)
    assert is_allowed(f"{listed}/fs2, {listed}", PUBLIC)


def test_a_bare_path_is_no_way_around_it() -> None:
    location = parse_adls_url(PATH, default_account_url=f"https://{PUBLIC}", default_filesystem="fs1")
    with pytest.raises(StorageAccountNotAllowed):
        refuse_other_accounts(location, Settings(adls_allowed_accounts=("other",)))
    refuse_other_accounts(location, Settings(adls_allowed_accounts=("account/fs1",)))


def test_a_sas_is_no_way_around_it() -> None:
    location = parse_adls_url(f"abfss://fs1@{PUBLIC}/{PATH}?sv=2024-11-04&sig=hunter2")
    with pytest.raises(StorageAccountNotAllowed) as caught:
        refuse_other_accounts(location, Settings(adls_allowed_accounts=("other",)))
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"
