"""Reads the messages of the queue `archive-events`: Azure Event Grid's events about blobs, in either of its schemas.

https://learn.microsoft.com/azure/event-grid/event-schema-blob-storage. A queue gets one event a message
(https://learn.microsoft.com/azure/event-grid/handler-storage-queues). An event is a hint: events come twice, late, in
any order and before the data.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from shared.jobs.message import UnreadableMessageError

Kind: TypeAlias = Literal["written", "online"]

# The field of `data` that names the blob, and what the event means.
_KNOWN: dict[str, tuple[str, Kind]] = {
    "Microsoft.Storage.BlobCreated": ("url", "written"),
    # Its final name stands in this event only.
    "Microsoft.Storage.BlobRenamed": ("destinationUrl", "written"),
    # The end of a rehydration.
    "Microsoft.Storage.BlobTierChanged": ("url", "online"),
}
_MOST_CHARACTERS = 4096


@dataclass(frozen=True)
class Event:
    """What happened to a blob.

    Attributes:
        kind: `written`: there is something to read, perhaps; `online`: it left the archive tier, perhaps.
        url: of the blob, by its host for blobs or for Data Lake Storage.
    """

    kind: Kind
    url: str


def read_event(text: bytes) -> Event | None:
    """Read a message.

    Returns:
        The event; None if it is one of another kind.

    Raises:
        UnreadableMessageError: it is not an event.
    """
    try:
        body: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise UnreadableMessageError("it is not JSON") from None
    if not isinstance(body, dict):
        raise UnreadableMessageError("it is JSON, but not an object")
    # CloudEvents 1.0 says `type`, Event Grid's own schema `eventType`.
    type_ = body.get("type") if "specversion" in body else body.get("eventType")
    if not isinstance(type_, str):
        raise UnreadableMessageError("it has no type of an event")
    if type_ not in _KNOWN:
        return None
    field, kind = _KNOWN[type_]
    data = body.get("data")
    url = data.get(field) if isinstance(data, dict) else None
    if not isinstance(url, str) or len(url) > _MOST_CHARACTERS:
        raise UnreadableMessageError(f"its data has no {field}")
    return Event(kind, url)
