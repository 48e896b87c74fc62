"""HTTP to the local host, for the demos."""

from __future__ import annotations

import http.client
import json
from typing import Any

from tools.config import LOOPBACK, Config


def ask(
    config: Config, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Send a request to the local host, and return the answer's status, headers and JSON."""
    connection = http.client.HTTPConnection(LOOPBACK, config.host_port, timeout=60)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers or {})
        reply = connection.getresponse()
        return reply.status, dict(reply.getheaders()), json.loads(reply.read() or b"{}")
    finally:
        connection.close()
