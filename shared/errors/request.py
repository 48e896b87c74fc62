"""What is wrong with a request."""

from __future__ import annotations

from shared.errors.base import RestoreError


class RequestError(RestoreError):
    """The request cannot be understood or asks for something that does not exist."""

    status = 400


class InvalidJson(RequestError):
    """The body is not a JSON object."""

    code = "InvalidJson"
    default_hint = "send one JSON object with the header Content-Type: application/json"


class InvalidRequest(RequestError):
    """One or more fields are wrong; `details` names every one of them."""

    code = "InvalidRequest"
    default_hint = "every fault is listed in details; docs/request.md describes each field"


class RequestTooLarge(RequestError):
    """The HTTP body is larger than any request has to be."""

    code = "RequestTooLarge"
    status = 413
    default_hint = "the rows come from the lake: the body holds only what docs/request.md describes"


class InvalidArchiveUrl(RequestError):
    """`adls_url` is not one of the known forms, or its path is not one of the two layouts."""

    code = "InvalidArchiveUrl"
    default_target = "adls_url"
    default_hint = (
        "use abfss://<filesystem>@<account>.dfs.core.windows.net/<path>/<database>/<schema>.<table>.<YYYY-MM-DD>.csv.gz"
    )


class StorageHostNotAllowed(RequestError):
    """The host of `adls_url` is not a storage endpoint that this function may send a token to."""

    code = "StorageHostNotAllowed"
    default_target = "adls_url"
    default_hint = (
        "the host must be <account>.dfs.core.windows.net, the same with .blob., or that of Azure Government or China"
    )


class NotAllowed(RequestError):
    """A setting of the function app lists what is allowed, and this is not on it. Nothing was connected to."""

    status = 403


class StorageAccountNotAllowed(NotAllowed):
    """The setting ADLS_ALLOWED_ACCOUNTS does not list the account, or not this file system of it."""

    code = "StorageAccountNotAllowed"
    default_target = "adls_url"
    default_hint = "ask an operator to add it to the setting ADLS_ALLOWED_ACCOUNTS"


class DatabaseHostNotAllowed(NotAllowed):
    """The host is not one that the function may connect to, or may show its own password or token."""

    code = "DatabaseHostNotAllowed"
    default_target = "pg.host"
    default_hint = "ask an operator to add the host to the setting PG_ALLOWED_HOSTS"


class DatabaseNotAllowed(NotAllowed):
    """The setting PG_ALLOWED_DATABASES does not list the database."""

    code = "DatabaseNotAllowed"
    default_target = "pg.database"
    default_hint = "ask an operator to add the database to the setting PG_ALLOWED_DATABASES"


class TargetNotAllowed(NotAllowed):
    """The setting ALLOWED_TARGETS does not list the table."""

    code = "TargetNotAllowed"
    default_target = "destination.target_table"
    default_hint = "ask an operator to add the table to the setting ALLOWED_TARGETS"


class SslModeNotAllowed(NotAllowed):
    """The connection would be less safe than it has to be."""

    code = "SslModeNotAllowed"
    default_target = "pg.sslmode"
    default_hint = 'set pg.sslmode to "verify-full", or leave it out'
