"""The function's own identity in Entra ID: managed or workload identity, or `az login` on a developer's machine.

`DefaultAzureCredential` tries these in turn, and reads `AZURE_CLIENT_ID` for a user-assigned identity itself:
https://learn.microsoft.com/python/api/azure-identity/azure.identity.defaultazurecredential

Also lists Microsoft's clouds: their hosts, the authority that signs tokens, and the scope of a token.
Endpoints: https://learn.microsoft.com/azure/azure-government/compare-azure-government-global-azure and
https://learn.microsoft.com/azure/china/resources-developer-guide. Authorities: `azure.identity.AzureAuthorityHosts`.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from shared.errors import DatabaseAccessDenied, DatabaseUnreachable
from shared.secret import Secret

if TYPE_CHECKING:
    from azure.identity import DefaultAzureCredential

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cloud:
    """One of Microsoft's clouds.

    Attributes:
        storage_suffix: the end of a storage account's host, after `.dfs.` or `.blob.`.
        postgres_suffix: the end of the host of an Azure Database for PostgreSQL.
        postgres_scope: the scope of a token for such a server.
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
    """Return the cloud of an Azure Database for PostgreSQL; None if the host is not one.

    Args:
        host: in lower case.
    """
    return next((cloud for cloud in CLOUDS if host.endswith(f".{cloud.postgres_suffix}")), None)


_lock = threading.Lock()


def own_identity(cloud: Cloud) -> DefaultAzureCredential:
    """Return the process's only credential for a cloud.

    It caches its tokens, and fetches a new one at least five minutes before the old one expires
    (`azure.core.credentials.AccessTokenInfo.refresh_on`, and `TokenCachingMixin` of azure-identity).

    Args:
        cloud: its authority signs the tokens. A managed identity uses the authority of its own cloud anyway.
    """
    with _lock:
        return _make(cloud)


def token_for_postgres(cloud: Cloud, scope: str) -> Secret:
    """Return a valid token of the function's identity.

    Args:
        cloud: its authority signs the token.
        scope: the scope of the token.

    Raises:
        DatabaseAccessDenied: the function has no identity, or it gets no token for PostgreSQL.
        DatabaseUnreachable: the token service did not answer.
    """
    # Imported here: modules that hold SQL load nothing of Azure's SDK.
    from azure.core.exceptions import AzureError, ClientAuthenticationError  # noqa: PLC0415

    try:
        return Secret(own_identity(cloud).get_token(scope).token)
    except ClientAuthenticationError as exc:
        log_refusal(exc)
        raise DatabaseAccessDenied(
            "the function has no identity that gets a token for PostgreSQL",
            hint="give the function app a managed identity; AZURE_CLIENT_ID names a user-assigned one; the log has the"
            " reason of each way that was tried",
        ) from exc
    except AzureError as exc:
        raise DatabaseUnreachable("the service that issues tokens to the function's identity did not answer") from exc


def log_refusal(error: Exception) -> None:
    """Log why no way to an identity led to a token, in one line.

    azure-identity writes the same as a dozen lines, and is kept quiet.

    Args:
        error: what azure-identity raised.
    """
    _log.warning("no token for the function's identity: %s", " ".join(str(error).split()))


@cache
def _make(cloud: Cloud) -> DefaultAzureCredential:
    # Imported here: it costs 0.07 s of cold start, and a function with a password and an account key never needs it.
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415

    return DefaultAzureCredential(authority=cloud.authority)
