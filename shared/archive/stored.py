"""One stored file as storage describes it, without its bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from azure.core.pipeline import PipelineResponse

from shared.archive.client import check_answer, open_client
from shared.archive.storage_error import translated
from shared.errors import ArchiveNotFound, StorageUnreachable
from shared.model.location import ArchiveLocation, bare_etag
from shared.settings import Settings


@dataclass(frozen=True)
class FoundArchive:
    """A stored file.

    Attributes:
        size: in bytes, as stored; 0 where its writer has not closed it yet.
        etag: of this version, without quotes.
        copy_id: of the copy from somewhere else that storage has not ended yet; empty if there is none.
    """

    size: int
    etag: str
    copy_id: str


class CopyHeaders:
    """Notes the copy that an answer names, if storage has not ended it. The SDK's properties of a file do not have it.

    https://learn.microsoft.com/rest/api/storageservices/get-blob-properties#response-headers
    """

    def __init__(self) -> None:
        self.pending_id = ""

    def hook(self, response: PipelineResponse[Any, Any]) -> None:
        """Look at an answer. An option of one call replaces the client's own, so its check is done here as well."""
        check_answer(response)
        headers = response.http_response.headers
        is_pending = headers.get("x-ms-copy-status") == "pending"
        self.pending_id = headers.get("x-ms-copy-id", "unknown") if is_pending else ""


def version_of(etag: str | None, host: str) -> str:
    """Return the version that an answer names, without quotes.

    Args:
        etag: as the answer has it.
        host: who answered.

    Raises:
        StorageUnreachable: it names none. Storage always does; a proxy in between may not.
    """
    if not etag:
        raise StorageUnreachable(f"{host} did not answer as storage does: it names no version of the file")
    return bare_etag(etag)


def look_at(location: ArchiveLocation, settings: Settings) -> FoundArchive | None:
    """Ask storage for a file's properties.

    Returns:
        What it says; None if there is no such file.

    Raises:
        StorageAccessDenied, StorageUnreachable, ArchiveNotReadable, ConfigurationError: as for reading it.
    """
    copy = CopyHeaders()
    with open_client(location, settings) as client:
        try:
            with translated(location, client):
                found = client.file.get_file_properties(raw_response_hook=copy.hook)
        except ArchiveNotFound:
            return None
    return FoundArchive(found.size, version_of(found.etag, client.host), copy.pending_id)
