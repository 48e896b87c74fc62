"""Microsoft's clouds: which hosts are theirs, who signs tokens there, and for what. Pure.

Endpoints: https://learn.microsoft.com/azure/azure-government/compare-azure-government-global-azure and
https://learn.microsoft.com/azure/china/resources-developer-guide. Authorities: `azure.identity.AzureAuthorityHosts`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cloud:
    """One of the clouds.

    Attributes:
        storage_suffix: what the host of a storage account ends with, behind `.dfs.` or `.blob.`.
        postgres_suffix: what the host of an Azure Database for PostgreSQL ends with.
        postgres_scope: what a token for such a server is asked for.
        authority: the host that signs tokens.
    """

    storage_suffix: str
    postgres_suffix: str
    postgres_scope: str
    authority: str


PUBLIC = Cloud(
    storage_suffix="core.windows.net",
    postgres_suffix="postgres.database.azure.com",
    postgres_scope="https://ossrdbms-aad.database.windows.net/.default",
    authority="login.microsoftonline.com",
)
GOVERNMENT = Cloud(
    storage_suffix="core.usgovcloudapi.net",
    postgres_suffix="postgres.database.usgovcloudapi.net",
    postgres_scope="https://ossrdbms-aad.database.usgovcloudapi.net/.default",
    authority="login.microsoftonline.us",
)
CHINA = Cloud(
    storage_suffix="core.chinacloudapi.cn",
    postgres_suffix="postgres.database.chinacloudapi.cn",
    postgres_scope="https://ossrdbms-aad.database.chinacloudapi.cn/.default",
    authority="login.chinacloudapi.cn",
)
CLOUDS = (PUBLIC, GOVERNMENT, CHINA)


def cloud_of_postgres(host: str) -> Cloud | None:
    """Name the cloud of an Azure Database for PostgreSQL; None where the host is none.

    Args:
        host: in lower case.
    """
    return next((cloud for cloud in CLOUDS if host.endswith(f".{cloud.postgres_suffix}")), None)
