"""The archive's stored bytes, all of one version. No gzip.

The bytes are taken as they are stored: a blob with `Content-Encoding: gzip` would otherwise be decompressed by
the SDK, range by range. Every range after the first asks for the ETag that the first one came with, so a file
that is overwritten while it is read is an error and never a mixture of both.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice

from azure.core import MatchConditions
from azure.storage.filedatalake import StorageStreamDownloader

from shared.archive.client import RANGE_BYTES, ArchiveClient, open_client
from shared.archive.storage_error import translated
from shared.archive.stored import CopyHeaders, version_of
from shared.errors import (
    ArchiveBeingCopied,
    ArchiveChecksumMismatch,
    ArchiveNotFound,
    ArchiveOtherVersion,
    StorageUnreachable,
)
from shared.model.location import ArchiveLocation
from shared.process import current_join, result_of
from shared.progress.progress import Progress
from shared.settings import Settings

_STALE_MD5 = (
    "the property may be stale: storage keeps it as its uploader set it, and a tool that changes a file may leave the"
    " old one; compare the file with its source, and if it is right, set the property again, or send"
    " copy.expected_sha256, which is then checked instead"
)


def checked(chunks: Iterable[bytes], *, sha256: str | None, md5: bytes | None) -> Iterator[bytes]:
    """Pass the bytes through, and raise at the end if their checksum does not match.

    Args:
        chunks: the stored bytes.
        sha256: what the caller expects, as 64 lower-case hexadecimal digits. If it is given, `md5` is not checked: it
            is the stronger proof, and storage never checks the Content-MD5 that it stores.
        md5: the blob's Content-MD5, which its uploader may have set; None: it has none.

    Yields:
        The same bytes.

    Raises:
        ArchiveChecksumMismatch: the checksum that decides does not match.
    """
    if sha256 is not None:
        digest, expected = hashlib.sha256(), bytes.fromhex(sha256)
        source, target, hint = "expected_sha256", "copy.expected_sha256", None
    elif md5 is not None:
        # No security rests on it: it finds damage.
        digest, expected = hashlib.md5(usedforsecurity=False), md5
        source, target, hint = "its Content-MD5", "adls_url", _STALE_MD5
    else:
        yield from chunks
        return
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
    if digest.digest() != expected:
        # The right checksum is not shown: it would allow a small file to be guessed.
        raise ArchiveChecksumMismatch(
            f"the stored file's {digest.name} is not the one that {source} says",
            target=target,
            hint=hint,
        )


# A few ranges at once hide the time that each takes to begin. 10 MiB wait at most, beside the first one, which is kept,
# and the one that is worked on.
_RANGES_AT_ONCE = 2
_RANGES_AHEAD = 2


class Archive:
    """One version of one stored file.

    Attributes:
        etag: the version, as storage names it.
        size: length of the stored (compressed) file in bytes.
        content_md5: of the stored bytes, as their uploader set it; None where it was not set.
    """

    def __init__(
        self,
        location: ArchiveLocation,
        client: ArchiveClient,
        download: StorageStreamDownloader,
        pool: ThreadPoolExecutor,
        progress: Progress,
    ) -> None:
        self.etag: str = download.properties.etag
        self.size: int = download.size
        content_md5 = download.properties.content_settings.content_md5
        self.content_md5: bytes | None = bytes(content_md5) if content_md5 else None
        self._location = location
        self._client = client
        self._pool = pool
        self._progress = progress
        # The first range. It is kept, since a file may be read twice.
        self.first = b"".join(islice(download.chunks(), 1))

    def chunks(self) -> Generator[bytes, None, None]:
        """Read the file from its beginning. The next ranges are fetched ahead.

        Yields:
            The stored bytes in order, at most one range (`RANGE_BYTES`) at a time.

        Raises:
            ArchiveChanged: the file has been overwritten or deleted since it was opened.
            ArchiveError: as `open_archive`, at any point of the iteration; StorageUnreachable also where
                storage ended the file early without an error of its own.
        """
        delivered = self._progress.compressed_bytes = 0
        for chunk in self._parts():
            delivered += len(chunk)
            self._progress.compressed_bytes = delivered
            yield chunk
        # https://github.com/Azure/azure-sdk-for-python/issues/16723
        if delivered != self.size:
            raise StorageUnreachable(f"storage delivered {delivered} of the {self.size} bytes of {self._location.url}")

    def _parts(self) -> Iterator[bytes]:
        if self.first:
            yield self.first
        starts = iter(range(len(self.first), self.size, RANGE_BYTES))
        waiting = deque(self._pool.submit(self._fetch, start) for start in islice(starts, _RANGES_AHEAD))
        try:
            while waiting:
                part = result_of(waiting.popleft(), check=self._progress.check)
                # Before this one is used, so that the pool is never idle.
                waiting += [self._pool.submit(self._fetch, start) for start in islice(starts, 1)]
                yield part
        finally:
            for future in waiting:
                future.cancel()

    def _fetch(self, start: int) -> bytes:
        length = min(RANGE_BYTES, self.size - start)
        with translated(self._location, self._client):
            part = self._client.file.download_file(
                start,
                length,
                etag=self.etag,
                match_condition=MatchConditions.IfNotModified,
                decompress=False,
                max_concurrency=1,
            ).readall()
        if len(part) != length:
            raise StorageUnreachable(f"storage delivered {len(part)} of {length} bytes of {self._location.url}")
        return part


@contextmanager
def open_archive(
    location: ArchiveLocation, settings: Settings, progress: Progress | None = None, *, expected_etag: str | None = None
) -> Iterator[Archive]:
    """Open an archive; its first range (`RANGE_BYTES`) is fetched at once.

    Args:
        location: the file.
        settings: how the account is read.
        progress: counts what is read, and says whether to stop.
        expected_etag: the only version that is opened, without quotes; None: the present one.

    Yields:
        The archive.

    Raises:
        ArchiveOtherVersion: there is another version than the expected one.
        ArchiveBeingCopied: storage still copies the file from somewhere else.
        ArchiveNotFound: no such file system or file, or the path is a folder.
        StorageAccessDenied: no identity, or one that may not read; or the SAS of the URL is refused.
        StorageUnreachable: no answer within about a minute, or an answer that says "busy".
        ArchiveNotReadable: the file exists, but storage does not deliver it.
        ConfigurationError: the setting ADLS_CONNECTION_STRING cannot be read.
    """
    progress = progress or Progress()
    copy = CopyHeaders()

    def begin() -> StorageStreamDownloader:
        with translated(location, client):
            return client.file.download_file(decompress=False, max_concurrency=1, raw_response_hook=copy.hook)

    with open_client(location, settings) as client:
        pool = ThreadPoolExecutor(_RANGES_AT_ONCE, thread_name_prefix="download", initializer=current_join())
        try:
            download = result_of(pool.submit(begin), check=progress.check)
            # With a hierarchical namespace a folder can be read: as an empty file with this metadata.
            # https://learn.microsoft.com/azure/storage/blobs/data-lake-storage-known-issues
            if (download.properties.metadata or {}).get("hdi_isfolder") == "true":
                raise ArchiveNotFound(f"{location.url} is a folder, not a file")
            if copy.pending_id:
                raise ArchiveBeingCopied(f"{location.url} is still being copied from somewhere else")
            if expected_etag not in (None, version_of(download.properties.etag, client.host)):
                raise ArchiveOtherVersion(f"{location.url} is another version than copy.expected_etag names")
            with translated(location, client):
                archive = Archive(location, client, download, pool, progress)
            progress.compressed_bytes_total = archive.size
            yield archive
        finally:
            # A request that storage does not answer would hold a canceled restore up for a minute.
            pool.shutdown(wait=not progress.is_canceled, cancel_futures=True)
