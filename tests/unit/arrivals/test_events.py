from __future__ import annotations

import json
from typing import Any

import pytest

from shared.arrivals.events import Event, read_event
from shared.jobs.message import UnreadableMessageError

URL = "https://account.blob.core.windows.net/fs1/backups/db/silver.t.2025-01-05.csv.gz"


def event_grid(kind: str, **data: Any) -> dict[str, Any]:
    """https://learn.microsoft.com/azure/event-grid/event-schema-blob-storage"""
    return {
        "topic": "/subscriptions/id/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/account",
        "subject": "/blobServices/default/containers/fs1/blobs/backups/db/silver.t.2025-01-05.csv.gz",
        "eventType": f"Microsoft.Storage.{kind}",
        "eventTime": "2025-01-06T18:41:00.9584103Z",
        "id": "831e1650-001e-001b-66ab-eeb76e069631",
        "data": {"api": "PutBlob", "contentLength": 524288, "blobType": "BlockBlob", **data},
        "dataVersion": "",
        "metadataVersion": "1",
    }


def cloud_event(kind: str, **data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "source": "/subscriptions/id/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/account",
        "type": f"Microsoft.Storage.{kind}",
        "id": "9aeb0fdf-c01e-0131-0922-9eb54906e209",
        "time": "2025-01-06T21:27:31.2Z",
        "data": data,
    }


@pytest.mark.parametrize("schema", [event_grid, cloud_event])
def test_both_schemas_are_read(schema: Any) -> None:
    renamed = {"destinationUrl": URL, "sourceUrl": f"{URL}.tmp"}
    for kind, data, expected in (
        ("BlobCreated", {"url": URL}, Event("written", URL)),
        ("BlobRenamed", renamed, Event("written", URL)),
        ("BlobTierChanged", {"url": URL, "accessTier": "Hot", "previousTier": "Archive"}, Event("online", URL)),
        ("BlobDeleted", {"url": URL}, None),
    ):
        assert read_event(json.dumps(schema(kind, **data)).encode()) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"hello",
        b"\xff",
        b"[]",
        b"[" * 100_000,
        b'"text"',
        b"{}",
        json.dumps([event_grid("BlobCreated", url=URL)]).encode(),
        json.dumps(event_grid("BlobCreated")).encode(),
        json.dumps(event_grid("BlobCreated", url=3)).encode(),
        json.dumps(event_grid("BlobCreated", url=URL * 100)).encode(),
        json.dumps(event_grid("BlobCreated", url=URL) | {"data": None}).encode(),
        json.dumps(event_grid("BlobCreated", url=URL) | {"eventType": 3}).encode(),
        json.dumps(cloud_event("BlobRenamed", url=URL)).encode(),
    ],
)
def test_what_is_not_an_event_cannot_be_read(text: bytes) -> None:
    with pytest.raises(UnreadableMessageError):
        read_event(text)
