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
    default_hint = "the host must be <account>.dfs.core.windows.net or <account>.blob.core.windows.net"
