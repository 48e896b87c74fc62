"""The request that a function host hands over."""

from __future__ import annotations

import azure.functions as func


def http_request(body: bytes, content_type: str | None = "application/json") -> func.HttpRequest:
    """Return a `POST /api/restore`, as the worker decodes it."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    return func.HttpRequest("POST", "/api/restore", headers=headers, body=body)
