"""An archive that is overwritten or deleted while it is restored, and a key that no longer fits."""

from __future__ import annotations

import gzip
import re
import threading
from typing import Any

import pytest

from shared.archive.client import RANGE_BYTES
from tests.faults.fix_days import Days
from tests.faults.fix_http_fault import Fault
from tests.integration.fix_app import Answer

pytestmark = pytest.mark.any_server

WRONG_KEY = "c2VjcmV0LWtleS1vZi1hLXN0b3JhZ2UtYWNjb3VudA=="
# Where an archive is spooled no destination is touched yet; where it is streamed each of them has rows by then.
IN_MID_READ = pytest.mark.parametrize("way", ["direct_plain", "direct_fast", "staging_fast", "replace_fast"])
# No byte has come.
BEFORE_IT_IS_READ = pytest.mark.parametrize("way", ["staging_plain", "replace_fast"])
SMALL = gzip.compress(b"time,v\n2025-01-01 06:00Z,another version\n")


def blob(days: Days, path: str) -> Any:
    return days.app.storage.service.get_blob_client(days.app.storage.filesystem, path)


def stored(days: Days, path: str) -> bytes:
    return bytes(blob(days, path).download_blob().readall())


def in_mid_read(days: Days, way: str, call: Any, from_byte: int = RANGE_BYTES) -> str:
    """Let `call` run with the archive's path before a later range is read."""
    path = ""
    path = days.add("t", way, Fault("call", times=1, from_byte=from_byte, call=lambda: call(path)))
    return path


def changed(answer: Answer) -> bool:
    return (answer.status, answer.code) == (409, "ArchiveChanged") and answer.body["error"]["retryable"] is False


@IN_MID_READ
@pytest.mark.parametrize("from_byte", [RANGE_BYTES, 2 * RANGE_BYTES], ids=["second range", "last range"])
def test_an_archive_that_is_overwritten_in_mid_read(days: Days, way: str, from_byte: int) -> None:
    """The other version is as long, and begins alike: only the ETag tells. It is the one that is restored next."""

    def overwrite(path: str) -> None:
        days.app.storage.put(path, stored(days, path))

    in_mid_read(days, way, overwrite, from_byte)
    days.assert_refused(changed)


@IN_MID_READ
def test_an_archive_that_is_overwritten_by_a_shorter_one(days: Days, way: str) -> None:
    """The second range lies beyond the new version's end."""
    path = in_mid_read(days, way, lambda path: days.app.storage.put(path, SMALL))
    before = days.aftermath.rows("t")
    assert changed(days.restore("t"))
    assert days.aftermath.rows("t") == before
    days.aftermath.assert_nothing_left()
    answer = days.restore("t")
    assert (answer.status, answer.body["rows_loaded"]) == (200, 1), path


@IN_MID_READ
def test_an_archive_that_is_overwritten_after_it_was_read(days: Days, way: str) -> None:
    """What was read whole is restored whole, and the answer names the version."""
    path = days.add("t", way)
    first = blob(days, path).get_blob_properties().etag

    def overwrite() -> None:
        days.app.storage.put(path, SMALL)

    # The two ranges after the first are asked for at once. When both are answered, the file was read whole.
    both_read = threading.Barrier(2, overwrite, timeout=30)
    days.storage.faults[days.file_name("t")] = Fault("call after", times=2, from_byte=RANGE_BYTES, call=both_read.wait)
    answer = days.restore("t")
    assert (answer.status, answer.body["source"]["etag"]) == (200, first)
    days.assert_complete("t")
    assert stored(days, path) == SMALL


@IN_MID_READ
def test_an_archive_that_is_deleted_in_mid_read(days: Days, way: str) -> None:
    content: dict[str, bytes] = {}

    def delete(path: str) -> None:
        content[path] = stored(days, path)
        blob(days, path).delete_blob()

    in_mid_read(days, way, delete)
    before = days.aftermath.rows("t")
    answer = days.restore("t")
    # Which of the two depends on what the server checks first.
    assert (answer.status, answer.code) in {(404, "ArchiveNotFound"), (409, "ArchiveChanged")}, answer.body
    assert answer.body["error"]["retryable"] is False
    assert days.aftermath.rows("t") == before
    days.aftermath.assert_nothing_left()
    for path, data in content.items():
        days.app.storage.put(path, data)
    days.assert_restored()


@BEFORE_IT_IS_READ
def test_an_archive_that_is_deleted_before_it_is_read(days: Days, way: str) -> None:
    path = days.add("t", way)
    content = stored(days, path)
    blob(days, path).delete_blob()
    before = days.aftermath.rows("t")
    answer = days.restore("t")
    assert (answer.status, answer.code) == (404, "ArchiveNotFound")
    assert answer.body["error"]["retryable"] is False
    assert days.aftermath.rows("t") == before
    days.aftermath.assert_nothing_left()
    days.app.storage.put(path, content)
    days.assert_restored()


@BEFORE_IT_IS_READ
def test_a_key_that_was_rotated(days: Days, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    days.add("t", way)
    before = days.aftermath.rows("t")
    right = days.app.storage.connection_string
    monkeypatch.setenv("ADLS_CONNECTION_STRING", re.sub("AccountKey=[^;]+", f"AccountKey={WRONG_KEY}", right))
    answer = days.restore("t")
    assert (answer.status, answer.code) == (403, "StorageAccessDenied")
    assert answer.body["error"]["retryable"] is False
    assert WRONG_KEY not in str(answer.body)
    assert days.aftermath.rows("t") == before
    days.aftermath.assert_nothing_left()
    monkeypatch.setenv("ADLS_CONNECTION_STRING", right)
    days.assert_restored()
