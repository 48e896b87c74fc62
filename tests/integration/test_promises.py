"""What the caller expects of the archive, and rows that may be left out."""

from __future__ import annotations

import gzip
import hashlib
from typing import Any

import pytest
from azure.storage.blob import ContentSettings

from tests.integration.fix_app import Answer, App

CSV = b"time,v\n2025-01-01 00:00Z,1\n2025-01-01 12:00Z,2\n"
STAGING = {"mode": "staging"}


@pytest.fixture(autouse=True)
def table(app: App) -> None:
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")


def rows(app: App) -> int:
    return int(app.database.value("SELECT count(*) FROM {s}.t"))


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_expected_rows(app: App, mode: str) -> None:
    url = app.archive("t", CSV)
    answer = app.restore(url, destination={"mode": mode}, copy={"expected_rows": 3})
    assert (answer.status, answer.code, rows(app)) == (422, "RowCountMismatch", 0)
    assert app.restore(url, destination={"mode": mode}, copy={"expected_rows": 2}).status == 200


def test_expected_sha256_is_of_the_stored_file(app: App) -> None:
    # Once: gzip's header holds the second at which it was made.
    packed = gzip.compress(CSV)
    url = app.stored("t", packed)
    wrong = hashlib.sha256(CSV).hexdigest()
    answer = app.restore(url, copy={"expected_sha256": wrong}, pg={"host": "127.0.0.1", "port": 1})
    assert (answer.status, answer.code) == (422, "ArchiveChecksumMismatch")
    assert answer.body["error"]["target"] == "copy.expected_sha256"
    right = hashlib.sha256(packed).hexdigest().upper()
    assert app.restore(url, copy={"expected_sha256": right}).status == 200


def test_the_blobs_own_content_md5_is_checked(app: App) -> None:
    url = app.archive("t", CSV)
    blob = app.storage.service.get_blob_client(app.storage.filesystem, app.path("t"))
    blob.set_http_headers(ContentSettings(content_md5=bytearray(hashlib.md5(b"another file").digest())))
    answer = app.restore(url)
    assert (answer.status, answer.code, rows(app)) == (422, "ArchiveChecksumMismatch", 0)
    assert "the property may be stale" in answer.body["error"]["hint"]
    right = hashlib.md5(blob.download_blob().readall()).digest()
    blob.set_http_headers(ContentSettings(content_md5=bytearray(right)))
    assert app.restore(url).status == 200


@pytest.mark.parametrize("transfer", ["spool", "stream"])
def test_a_right_sha256_wins_over_a_stale_content_md5(app: App, transfer: str) -> None:
    """The property that a file had before it was overwritten is still there."""
    packed = gzip.compress(CSV)
    url = app.stored("t", packed)
    blob = app.storage.service.get_blob_client(app.storage.filesystem, app.path("t"))
    blob.set_http_headers(ContentSettings(content_md5=bytearray(hashlib.md5(b"the file before").digest())))
    copy = {"transfer": transfer, "expected_sha256": hashlib.sha256(b"the file before").hexdigest()}
    answer = app.restore(url, copy=copy)
    assert (answer.code, answer.body["error"]["target"]) == ("ArchiveChecksumMismatch", "copy.expected_sha256")
    assert "stale" not in answer.body["error"]["hint"]
    assert rows(app) == 0
    answer = app.restore(url, copy=copy | {"expected_sha256": hashlib.sha256(packed).hexdigest()})
    assert (answer.status, answer.body["status"], rows(app)) == (200, "ok", 2)


def skipping(app: App, csv: bytes, most: int, **copy: Any) -> Answer:
    copy |= {"on_error": "skip", "max_rejected_rows": most}
    return app.restore(app.archive("t", csv), destination=STAGING, copy=copy)


BAD = b"time,v\n2025-01-01 00:00Z,1\noops,2\n2025-01-01 01:00Z,x\n2025-01-01 02:00Z,4\n"


def test_rows_that_cannot_be_parsed_are_left_out_and_counted(app: App) -> None:
    body = skipping(app, BAD, 2, expected_rows=4).body
    assert body["status"] == "ok_with_warnings"
    assert [warning["code"] for warning in body["warnings"]] == ["RowsRejected"]
    assert (body["rows_read"], body["rows_loaded"], body["rows_rejected"]) == (2, 2, 2)
    assert body["rejected_lines"] == [3, 4]
    assert app.database.fetch("SELECT v FROM {s}.t ORDER BY time") == [(1,), (4,)]


def test_a_clean_file_has_no_rejects(app: App) -> None:
    body = skipping(app, CSV, 0).body
    assert (body["status"], body["rows_rejected"], body["rejected_lines"]) == ("ok", 0, [])


def test_more_rejects_than_allowed(app: App) -> None:
    answer = skipping(app, BAD, 1)
    assert (answer.status, answer.code, rows(app)) == (422, "TooManyRejectedRows", 0)
    assert answer.body["error"]["details"][0]["lines"] == [3, 4]


def test_only_the_first_hundred_lines_are_named(app: App) -> None:
    csv = b"time,v\n" + b"oops 7,x\n" * 500 + b"2025-01-01 00:00Z,1\n"
    body = skipping(app, csv, 1000).body
    assert body["rows_rejected"] == 500
    assert body["rejected_lines"] == list(range(2, 102))


def test_a_row_of_another_shape_is_still_an_error(app: App) -> None:
    assert skipping(app, b"time,v\n2025-01-01 00:00Z,1,extra\n", 5).code == "DataRejected"


def test_skipping_takes_staging_and_a_limit(app: App) -> None:
    url = app.archive("t", CSV)
    for request in (
        {"copy": {"on_error": "skip", "max_rejected_rows": 1}},
        {"copy": {"on_error": "skip"}, "destination": STAGING},
        {"copy": {"max_rejected_rows": 1}, "destination": STAGING},
    ):
        assert app.restore(url, **request).code == "InvalidRequest"
