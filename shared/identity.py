"""The function's own identity in Entra ID: managed or workload identity, or `az login` on a developer's machine.

`DefaultAzureCredential` asks for them in turn, and reads `AZURE_CLIENT_ID` for a user-assigned identity itself:
https://learn.microsoft.com/python/api/azure-identity/azure.identity.defaultazurecredential
"""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.identity import DefaultAzureCredential

    from shared.clouds import Cloud

_lock = threading.Lock()


def own_identity(cloud: Cloud) -> DefaultAzureCredential:
    """Return the process's one credential for a cloud.

    It keeps the tokens that it fetched, and fetches a new one before the old one ends: five minutes at the least
    (`azure.core.credentials.AccessTokenInfo.refresh_on`, and `TokenCachingMixin` of azure-identity).

    Args:
        cloud: whose authority signs the tokens. A managed identity has the authority of its own cloud anyway.
    """
    with _lock:
        return _make(cloud)


@cache
def _make(cloud: Cloud) -> DefaultAzureCredential:
    # Imported here: 0.07 s of cold start that a function with a password and an account key never needs.
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415

    return DefaultAzureCredential(authority=cloud.authority)
