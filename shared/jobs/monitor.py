"""What callers see of an operation: its status monitor, and the links to it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from shared.jobs.operation import Operation
from shared.model.monitor import Monitor, OperationLinks
from shared.progress.progress import percent_of
from shared.settings import Settings

# How soon a caller should look again, in seconds.
RETRY_AFTER_SECONDS = 5

_HOST = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?", re.ASCII)


def base_url(settings: Settings, url: str, headers: Mapping[str, str], route: str) -> str:
    """Return what links begin with: the address by which the caller reached the function, up to its route.

    App Service ends TLS in front of the function and says what the caller used in `X-Forwarded-Proto` and
    `X-Forwarded-Host` (a proxy in front of it adds the latter):
    https://learn.microsoft.com/azure/app-service/configure-language-python#detect-https-session

    Args:
        settings: `PUBLIC_BASE_URL` wins.
        url: of the request, as the host saw it.
        headers: of the request.
        route: the path behind the base, such as `/restore`.
    """
    if settings.public_base_url is not None:
        return settings.public_base_url
    # By hand: `urlsplit` raises where the header Host is none, such as `[:::::]`.
    seen_scheme, _, rest = url.partition("://")
    seen_host, slash, rest = rest.partition("/")
    path = slash + re.split(r"[?#]", rest, maxsplit=1)[0]
    scheme = _first(headers, "X-Forwarded-Proto")
    host = _first(headers, "X-Forwarded-Host")
    scheme = scheme if scheme in ("http", "https") else seen_scheme
    host = host if host is not None and _HOST.fullmatch(host) else seen_host
    prefix, found, _ = path.rpartition(route)
    return f"{scheme}://{host}{prefix if found else path.rstrip('/')}"


def _first(headers: Mapping[str, str], name: str) -> str | None:
    """Return the first value of a header to which each proxy adds its own."""
    value = headers.get(name)
    return None if value is None else value.partition(",")[0].strip()


def links(base: str, operation: Operation) -> OperationLinks:
    """Return the addresses of an operation. None of them holds its token."""
    own = f"{base}/restores/{operation.id}"
    return {"self": own, "result": f"{own}/result", "cancel": own}


def monitor(operation: Operation, base: str, *, with_result: bool = True) -> Monitor:
    """Return the status monitor, in the shape of Azure's REST guidelines for long-running operations.

    https://github.com/microsoft/api-guidelines/blob/vNext/azure/ConsiderationsForServiceDesign.md#long-running-operations

    Args:
        operation: the record.
        base: what links begin with.
        with_result: whether to add the request, and the answer of a success.
    """
    shown: Monitor = {
        "id": operation.id,
        "kind": "restore",
        "backfill": operation.backfill or None,
        "status": operation.status,
        "created": operation.created,
        "started": operation.started or None,
        "ended": operation.ended or None,
        "attempt": operation.attempt,
        "heartbeat": _heartbeat(operation),
        "next_attempt": operation.next_attempt or None,
        "archive": operation.archive,
        "database": operation.database,
        "target_table": operation.target_table,
        "day": operation.day,
        "progress": {
            "stage": operation.stage or None,
            "compressed_bytes": operation.compressed_bytes,
            "compressed_bytes_total": operation.compressed_bytes_total or None,
            "percent": percent_of(operation.compressed_bytes, operation.compressed_bytes_total),
            "rows": operation.rows,
            "seconds": operation.seconds,
        },
        "links": links(base, operation),
    }
    if with_result:
        shown["request"] = json.loads(operation.request)
    if with_result and operation.status == "Succeeded" and operation.answer:
        shown["result"] = json.loads(operation.answer)
    if operation.error:
        shown["error"] = json.loads(operation.error)
    return shown


def _heartbeat(operation: Operation) -> str | None:
    if operation.status != "Running" or operation.written is None:
        return None
    return operation.written.isoformat(timespec="seconds").replace("+00:00", "Z")
