"""The host of a storage endpoint -> which account it is, and in which of Microsoft's clouds. Pure.

Account names are unique within a cloud and within a DNS zone, no further: the same name elsewhere is somebody else's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from shared.clouds import CLOUDS, PUBLIC, Cloud

# Exactly Microsoft's forms. A bearer token is sent to this host, so nothing looser will do.
# https://learn.microsoft.com/azure/storage/common/storage-account-overview#storage-account-endpoints
_HOST = re.compile(
    r"(?P<account>[a-z0-9]{{3,24}})"
    r"(?:\.(?:dfs|blob)\.(?P<suffix>{})|\.(?P<zone>z[0-9]{{2}})\.(?:dfs|blob)\.storage\.azure\.net)"
    r"(?::443)?".format("|".join(re.escape(cloud.storage_suffix) for cloud in CLOUDS)),
    re.ASCII,
)


@dataclass(frozen=True)
class StorageHost:
    """One storage account.

    Attributes:
        account: its name.
        cloud: where it is.
        zone: the DNS zone of its endpoints, `z00` to `z99`; None: it has those that every account had before zones.
    """

    account: str
    cloud: Cloud
    zone: str | None = None

    def name(self, service: Literal["dfs", "blob"]) -> str:
        """Return the host of one of its services, in lower case."""
        if self.zone is not None:
            return f"{self.account}.{self.zone}.{service}.storage.azure.net"
        return f"{self.account}.{service}.{self.cloud.storage_suffix}"


def parse_storage_host(host: str) -> StorageHost | None:
    """Read a host, in any case, with the port 443 or without one.

    Returns:
        The account; None where the host is not exactly a storage endpoint of Microsoft's.
    """
    # Not str.lower() before isascii(): it turns some other letters (the Kelvin sign) into ASCII ones.
    match = _HOST.fullmatch(host.lower()) if host.isascii() else None
    if match is None:
        return None
    clouds = {cloud.storage_suffix: cloud for cloud in CLOUDS}
    return StorageHost(match["account"], clouds.get(match["suffix"], PUBLIC), match["zone"])
