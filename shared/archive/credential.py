"""The kinds of credentials for an account, and the function's own identity in the form that storage clients need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any

from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions
from azure.core.exceptions import ClientAuthenticationError

from shared.errors import StorageAccessDenied
from shared.identity import Cloud, log_refusal, own_identity


class Reader(Enum):
    """The kind of credential that a request to storage carries. The value is its name in a message."""

    URL_SAS = "the SAS in adls_url"
    SETTING_KEY = "the account key in ADLS_CONNECTION_STRING"
    SETTING_SAS = "the SAS in ADLS_CONNECTION_STRING"
    NOBODY = "a request without credentials"
    IDENTITY = "the function's identity"

    @property
    def is_sas(self) -> bool:
        """Whether it is a shared access signature."""
        return self in {Reader.URL_SAS, Reader.SETTING_SAS}

    @property
    def target(self) -> str:
        """The field of the request or the setting that the credential comes from."""
        is_setting = self in {Reader.SETTING_KEY, Reader.SETTING_SAS, Reader.NOBODY}
        return "ADLS_CONNECTION_STRING" if is_setting else "adls_url"


class StorageIdentity:
    """The function's own identity, for a client of storage.

    If it gets no token, it raises an error of ours. The client would treat an error of the SDK's as a network fault,
    and would try every way to an identity twice more, with pauses.

    Args:
        cloud: its authority signs the tokens.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._identity = own_identity(cloud)

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Return a token as `azure.core.credentials.TokenCredential` does.

        Raises:
            StorageAccessDenied: there is no identity, or it gets no token.
        """
        with _translated():
            return self._identity.get_token(*scopes, **options)

    def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """Return a token as `azure.core.credentials.SupportsTokenInfo` does.

        Raises:
            StorageAccessDenied: there is no identity, or it gets no token.
        """
        with _translated():
            return self._identity.get_token_info(*scopes, options=options)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ClientAuthenticationError as exc:
        log_refusal(exc)
        raise StorageAccessDenied(
            "the function has no identity to read the storage account with",
            hint="give the function app a managed identity, or set ADLS_CONNECTION_STRING for this account; the log has"
            " the reason of each way that was tried",
        ) from exc
