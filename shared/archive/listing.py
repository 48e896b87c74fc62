"""Lists the archives of a range of days by one listing, which needs the right to list the file system."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from itertools import takewhile

from shared.archive.client import open_container
from shared.archive.storage_error import translated
from shared.archive.stored import version_of
from shared.model.location import ArchiveLocation
from shared.settings import Settings


@dataclass(frozen=True)
class StoredArchive:
    """An archive as storage lists it.

    Attributes:
        size: in bytes, as stored. 0 where its writer has not closed it yet.
        etag: of this version, without quotes: a listing has none, other answers have them.
        modified: when it was last written.
        tier: access tier, such as `Hot` or `Archive`; None if storage names none.
    """

    size: int
    etag: str
    modified: datetime
    tier: str | None


def list_archives(locations: Mapping[date, ArchiveLocation], settings: Settings) -> dict[date, StoredArchive]:
    """List the archives of some days.

    The Blob API lists by a prefix only, so what all paths begin with is listed, and other files are left out. It lists
    5,000 files in an answer (https://learn.microsoft.com/rest/api/storageservices/list-blobs).

    Args:
        locations: of the days' archives, all in one file system.
        settings: hold the credential.

    Returns:
        The archives that exist.

    Raises:
        ArchiveNotFound: there is no such file system.
        StorageAccessDenied: the credential may read files, perhaps, but not list them.
        StorageUnreachable, ArchiveNotReadable, ConfigurationError: as for reading one.
    """
    if not locations:
        return {}
    days = {location.path: day for day, location in locations.items()}
    prefix = _common_prefix(min(days), max(days))
    found: dict[date, StoredArchive] = {}
    one = next(iter(locations.values()))
    with open_container(one, settings) as (container, client), translated(one, client):
        for blob in container.list_blobs(name_starts_with=prefix):
            day = days.get(blob.name)
            if day is not None:
                found[day] = StoredArchive(
                    blob.size, version_of(blob.etag, client.host), blob.last_modified, blob.blob_tier
                )
    return found


def list_paths(location: ArchiveLocation, prefix: str, settings: Settings) -> Iterator[str]:
    """List the files of a file system whose paths begin with a prefix.

    Args:
        location: a file of the file system; it need not be there.
        prefix: of the paths.
        settings: hold the credential.

    Raises:
        RestoreError: as `list_archives`.
    """
    with open_container(location, settings) as (container, client), translated(location, client):
        yield from container.list_blob_names(name_starts_with=prefix)


def _common_prefix(one: str, other: str) -> str:
    return "".join(pair[0] for pair in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
