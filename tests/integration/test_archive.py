from __future__ import annotations

import gzip
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from shared.archive.client import RANGE_BYTES
from shared.archive.download import open_archive
from shared.errors import (
    ArchiveChanged,
    ArchiveNotFound,
    ArchiveNotReadable,
    RestoreError,
    StorageAccessDenied,
    StorageUnreachable,
)
from shared.model.location import parse_adls_url
from shared.process import MIB
from shared.secret import Secret
from shared.settings import Settings
from tests.integration.fix_storage import read, refused
from tools.local_server import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.fix_storage import Storage

PATH = "backups/weavix/silver.telemetry.2025-01-01.csv.gz"
KEY = "c2VjcmV0LWtleS1vZi1hLXN0b3JhZ2UtYWNjb3VudA=="

# The SDK leaves the connection of an answer that it will retry to the garbage collector.
pytestmark = [
    pytest.mark.any_server,
    pytest.mark.usefixtures("collected_connections"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


# --- what is read --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, RANGE_BYTES - 1, RANGE_BYTES, RANGE_BYTES + 1, 2 * RANGE_BYTES + 7])
def test_all_stored_bytes_come_in_order_and_in_bounded_chunks(storage: Storage, size: int) -> None:
    data = os.urandom(size)
    url = storage.put(f"sizes/db/s.t{size}.2025-01-01.csv.gz", data)

    with open_archive(parse_adls_url(url), storage.settings) as archive:
        chunks = list(archive.chunks())

    assert b"".join(chunks) == data
    assert archive.size == size
    assert max(map(len, chunks), default=0) <= RANGE_BYTES


def test_the_etag_names_the_version(storage: Storage) -> None:
    url = storage.put(PATH, b"one")
    properties = storage.service.get_blob_client(storage.filesystem, PATH).get_blob_properties()
    with open_archive(parse_adls_url(url), storage.settings) as archive:
        assert archive.etag == properties.etag


def test_content_encoding_gzip_does_not_unpack_the_stored_bytes(storage: Storage) -> None:
    data = gzip.compress(os.urandom(RANGE_BYTES + MIB))
    url = storage.put("encoded/db/s.t.2025-01-01.csv.gz", data, content_encoding="gzip")
    assert read(url, storage.settings) == data


@pytest.mark.parametrize("name", ['we "ird', "Ünï + %41 & é", "it's;semi", "two.dots", "percent%2Fslash"])
def test_names_with_special_characters_are_found(storage: Storage, name: str) -> None:
    url = storage.put(f"Back ups/my db/{name}.t.2025-01-01.csv.gz", b"found")
    assert read(url, storage.settings) == b"found"


def test_the_https_form_reads_the_same_file(storage: Storage) -> None:
    storage.put(PATH, b"same")
    url = f"https://{storage.account}.blob.core.windows.net/{storage.filesystem}/{PATH}"
    assert read(url, storage.settings) == b"same"


# --- a file that changes ---------------------------------------------------------------------------------------


def test_overwriting_in_mid_read_is_an_error_and_never_a_mixture(storage: Storage) -> None:
    path = "changing/db/s.t.2025-01-01.csv.gz"
    url = storage.put(path, b"a" * (2 * RANGE_BYTES + MIB))
    with open_archive(parse_adls_url(url), storage.settings) as archive:
        chunks = archive.chunks()
        assert set(next(chunks)) == {ord("a")}
        storage.put(path, b"b" * (2 * RANGE_BYTES + MIB))
        with pytest.raises(ArchiveChanged) as caught:
            list(chunks)
    assert caught.value.status == 409


def test_deleting_in_mid_read_is_an_error(storage: Storage) -> None:
    path = "vanishing/db/s.t.2025-01-01.csv.gz"
    url = storage.put(path, b"a" * (2 * RANGE_BYTES + MIB))
    with open_archive(parse_adls_url(url), storage.settings) as archive:
        chunks = archive.chunks()
        next(chunks)
        storage.service.get_blob_client(storage.filesystem, path).delete_blob()
        # Which of the two depends on what the server checks first.
        with pytest.raises((ArchiveChanged, ArchiveNotFound)):
            list(chunks)


# --- a file that is not there, or is not given -------------------------------------------------------------------


def test_a_missing_file_is_named(storage: Storage) -> None:
    url = storage.url("nowhere/db/s.t.2025-01-01.csv.gz")
    error = refused(url, storage.settings)
    assert isinstance(error, ArchiveNotFound)
    assert error.message == f"there is no file {url}"


def test_a_missing_file_system_is_named(storage: Storage) -> None:
    error = refused(f"abfss://nosuchfs@{storage.account}.dfs.core.windows.net/{PATH}", storage.settings)
    assert isinstance(error, ArchiveNotFound)
    assert error.message == f"the account {storage.account} has no file system nosuchfs"


def test_a_folder_is_not_a_file(storage: Storage) -> None:
    url = storage.put("folder/db/s.t.2025-01-01.csv.gz", b"", metadata={"hdi_isfolder": "true"})
    error = refused(url, storage.settings)
    assert isinstance(error, ArchiveNotFound)
    assert error.message.endswith("is a folder, not a file")


def test_a_file_in_the_archive_tier_is_not_readable(storage: Storage) -> None:
    path = "cold/db/s.t.2025-01-01.csv.gz"
    url = storage.put(path, b"frozen")
    storage.service.get_blob_client(storage.filesystem, path).set_standard_blob_tier("Archive")
    error = refused(url, storage.settings)
    assert isinstance(error, ArchiveNotReadable)
    assert error.message.endswith("(BlobArchived)")


def test_a_wrong_key_is_access_denied_and_stays_unnamed(storage: Storage) -> None:
    url = storage.put(PATH, b"locked")
    right = storage.connection_string
    wrong = re.sub(r"AccountKey=[^;]+", f"AccountKey={KEY}", right)
    assert wrong != right
    error = refused(url, Settings(adls_connection_string=Secret(wrong)))
    assert isinstance(error, StorageAccessDenied)
    assert KEY not in str(error)


# --- a signature, and where it must not show ---------------------------------------------------------------------


@pytest.mark.usefixtures("quick_retries")
def test_a_sas_connection_string_reads_and_its_signature_shows_nowhere(storage: Storage) -> None:
    url = storage.put(PATH, b"signed")
    parts = storage.parts
    signature = generate_container_sas(
        storage.account,
        storage.filesystem,
        account_key=parts["AccountKey"],
        permission=ContainerSasPermissions(read=True),
        expiry="2099-01-01T00:00:00Z",
    )
    base = f"AccountName={storage.account};SharedAccessSignature={signature};BlobEndpoint="
    assert read(url, Settings(adls_connection_string=Secret(base + parts["BlobEndpoint"]))) == b"signed"

    closed = f"http://127.0.0.1:{free_port()}/{storage.account}"
    error: BaseException | None = refused(url, Settings(adls_connection_string=Secret(base + closed)))
    assert isinstance(error, StorageUnreachable)
    while error is not None:  # the log shows the causes too
        assert "sig=" not in str(error)
        error = error.__cause__


# --- storage that does not answer, or answers wrongly ------------------------------------------------------------


class _Answer(BaseHTTPRequestHandler):
    """A storage account that misbehaves in the way that the path's first folder names."""

    def do_GET(self) -> None:
        kind = self.path.split("/")[3]
        if kind in {"500", "503", "429", "403", "409", "302", "416", "200"}:
            self.send_response(int(kind))
            self.send_header("Location", "http://127.0.0.1:1/")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        first, last = map(int, re.findall(r"\d+", self.headers["x-ms-range"]))
        total = 6 * MIB
        last = min(last, total - 1)
        length = last + 1 - first
        sent = length if first == 0 else 100
        self.send_response(206)
        self.send_header("ETag", '"0x1"')
        self.send_header("Content-Range", f"bytes {first}-{last}/{total}")
        # A cut connection is shorter than it said; a short answer says so itself and looks complete.
        self.send_header("Content-Length", str(sent if kind == "short" else length))
        self.end_headers()
        self.wfile.write(b"x" * sent)
        if kind == "stall" and first:
            self.server.released.wait(10)  # type: ignore[attr-defined] # set below

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        pass


@pytest.fixture
def misbehaving() -> Iterator[Settings]:
    with HTTPServer(("127.0.0.1", 0), _Answer) as server:
        server.released = threading.Event()  # type: ignore[attr-defined] # read above
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        endpoint = f"http://127.0.0.1:{server.server_port}/account"
        yield Settings(adls_connection_string=Secret(f"AccountName=account;AccountKey={KEY};BlobEndpoint={endpoint}"))
        server.released.set()  # type: ignore[attr-defined] # as above
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("500", StorageUnreachable),
        ("503", StorageUnreachable),
        ("429", StorageUnreachable),
        ("403", StorageAccessDenied),
        ("409", ArchiveNotReadable),
        ("302", ArchiveNotReadable),
        ("416", ArchiveNotReadable),
        ("200", StorageUnreachable),
        ("cut", StorageUnreachable),
        ("stall", StorageUnreachable),
        ("short", StorageUnreachable),
    ],
)
@pytest.mark.usefixtures("quick_retries")
def test_a_wrong_answer_is_an_error_of_ours(misbehaving: Settings, kind: str, expected: type[RestoreError]) -> None:
    error = refused(f"abfss://fs1@account.dfs.core.windows.net/{kind}/db/s.t.2025-01-01.csv.gz", misbehaving)
    assert type(error) is expected


@pytest.mark.usefixtures("quick_retries")
def test_an_account_that_nobody_serves_is_unreachable() -> None:
    settings = Settings(
        adls_connection_string=Secret(
            f"AccountName=account;AccountKey={KEY};BlobEndpoint=http://127.0.0.1:{free_port()}/account"
        )
    )
    error = refused(f"abfss://fs1@account.dfs.core.windows.net/{PATH}", settings)
    assert isinstance(error, StorageUnreachable)
    assert error.retryable
