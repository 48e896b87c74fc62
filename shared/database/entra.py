"""A token of the function's own identity, as the password of its role in PostgreSQL.

The token is sent as the password, over TLS, and the role has the identity's name:
https://learn.microsoft.com/azure/postgresql/flexible-server/security-entra-concepts. It is asked for at each
connection; azure-identity keeps it while it is good.
"""

from __future__ import annotations

from azure.core.exceptions import AzureError, ClientAuthenticationError

from shared.database.endpoint import Endpoint
from shared.errors import DatabaseAccessDenied, DatabaseUnreachable
from shared.identity import own_identity
from shared.secret import Secret


def password_of(endpoint: Endpoint) -> Secret | None:
    """Return what the server is shown: the password, or a token that is still good.

    Raises:
        DatabaseAccessDenied: the function has no identity, or it gets no token for PostgreSQL.
        DatabaseUnreachable: whoever gives the tokens did not answer.
    """
    if endpoint.auth == "password":
        return endpoint.password
    try:
        return Secret(own_identity(endpoint.cloud).get_token(endpoint.scope).token)
    except ClientAuthenticationError as exc:
        raise DatabaseAccessDenied(
            "the function has no identity that gets a token for PostgreSQL",
            hint="give the function app a managed identity; AZURE_CLIENT_ID names a user-assigned one",
        ) from exc
    except AzureError as exc:
        raise DatabaseUnreachable("whoever gives tokens to the function's identity did not answer") from exc
