"""By way of a temporary file or straight out of the lake: the same rows, the same refusals, and nothing is left."""

from __future__ import annotations

import gzip
import random
import tempfile
import threading
from typing import Any

import pytest

from tests.integration.fix_app import Answer, App

# The server gets the same COPY either way.
pytestmark = pytest.mark.any_server

COLUMNS = "time timestamptz NOT NULL, v text"
BOTH = pytest.mark.parametrize("transfer", ["spool", "stream"])
# More than one range of 4 MiB, of what gzip cannot make smaller.
NOISE = random.Random(5)  # noqa: S311 - the same every time
LARGE = b"time,v\n" + b"".join(
    b"2025-01-01 00:00:%02d+00,%s\n" % (number % 60, NOISE.randbytes(600).hex().encode()) for number in range(8_000)
)


def restore(app: App, url: str, transfer: str, **request: Any) -> Answer:
    copy = {"transfer": transfer} | request.pop("copy", {})
    return app.restore(url, copy=copy, **request)


@pytest.fixture
def large(app: App) -> str:
    app.database.hypertable("t", COLUMNS)
    packed = gzip.compress(LARGE, compresslevel=1)
    assert len(packed) > 5 * 1024 * 1024
    return app.stored("t", packed)


def threads_of_ours() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("gunzip", "download"))]


@BOTH
def test_every_row_of_a_large_file(app: App, large: str, transfer: str) -> None:
    answer = restore(app, large, transfer)
    assert (answer.status, answer.body["rows_loaded"]) == (200, 8_000)
    assert answer.body["source"]["csv_bytes"] == len(LARGE)
    digest = app.database.value("SELECT md5(string_agg(v, ',' ORDER BY v)) FROM {s}.t")
    app.database.execute("CREATE TABLE {s}.plain (time timestamptz, v text)")
    rows = [line.split(b",")[1].decode() for line in LARGE.splitlines()[1:]]
    app.database.execute("INSERT INTO {s}.plain (v) SELECT unnest(%s)", rows)
    assert app.database.value("SELECT md5(string_agg(v, ',' ORDER BY v)) FROM {s}.plain") == digest
    assert threads_of_ours() == []


@pytest.mark.parametrize(("limit", "expected"), [("1", "stream"), ("100000000", "spool")])
def test_the_size_decides(app: App, monkeypatch: pytest.MonkeyPatch, limit: str, expected: str) -> None:
    monkeypatch.setenv("SPOOL_MAX_ARCHIVE_BYTES", limit)
    app.database.hypertable("t", COLUMNS)
    answer = app.restore(app.archive("t", b"time,v\n2025-01-01,a\n"))
    assert answer.body["copy"]["transfer"] == expected


def test_streaming_takes_no_temporary_disk(app: App, large: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a temporary file was made")

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", refuse)
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert restore(app, large, "stream").status == 200


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda packed: packed[:-9], "ArchiveTruncated"),
        (lambda packed: packed[: len(packed) // 2], "ArchiveTruncated"),
        (lambda packed: packed[:-8] + b"\0\0\0\0" + packed[-4:], "ArchiveCorrupt"),
        (lambda packed: packed + b"more", "ArchiveCorrupt"),
        (lambda packed: packed + gzip.compress(b"2025-01-01,x\n\\.\n2025-01-01,y\n"), "EndOfDataMarker"),
    ],
)
@pytest.mark.parametrize(
    ("transfer", "destination"),
    # Where an archive is spooled no destination is touched yet.
    [("spool", {}), ("stream", {}), ("stream", {"mode": "staging"}), ("stream", {"on_existing": "replace"})],
)
def test_an_archive_that_is_not_whole_leaves_the_table_as_it_was(
    app: App, transfer: str, destination: dict[str, str], damage: Any, code: str
) -> None:
    app.database.hypertable("t", COLUMNS)
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01', 'was here')")
    url = app.stored("t", damage(gzip.compress(LARGE, compresslevel=1)))
    answer = restore(app, url, transfer, destination=destination or {"on_existing": "append"})
    assert (answer.status, answer.code) == (422, code)
    assert app.database.fetch("SELECT v FROM {s}.t") == [("was here",)]
    assert threads_of_ours() == []


@BOTH
@pytest.mark.parametrize(
    ("stored", "code", "message", "hint"),
    [
        (b"", "ArchiveTruncated", "the file is empty: it has 0 bytes", "wrote nothing"),
        (bytes(4096), "ArchiveNotGzip", "but like zeros, as a file whose writer stopped before it wrote", "gzip"),
        (LARGE, "ArchiveNotGzip", "but like text that is not compressed", "compress it with gzip"),
        (b"PK\x03\x04" + bytes(100), "ArchiveNotGzip", "but like a ZIP file", "gzip"),
        (b"PAR1" + bytes(100), "ArchiveNotGzip", "but like a Parquet file", "gzip"),
        (b"\xff\xfe\0\0", "ArchiveNotGzip", "the file does not begin like gzip", "gzip"),
        (
            gzip.compress(gzip.compress(LARGE)),
            "ArchiveCompressedTwice",
            "it was compressed twice",
            "decompress it once",
        ),
        # The seam of two members lies inside the inner header.
        (
            gzip.compress(gzip.compress(LARGE)[:2]) + gzip.compress(gzip.compress(LARGE)[2:]),
            "ArchiveCompressedTwice",
            "it was compressed twice",
            "Content-Encoding: gzip",
        ),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_file_that_is_not_an_archive_is_named_for_what_it_is(
    app: App, transfer: str, stored: bytes, code: str, message: str, hint: str, dry_run: bool
) -> None:
    app.database.hypertable("t", COLUMNS)
    answer = restore(app, app.stored("t", stored, content_encoding="gzip"), transfer, dry_run=dry_run)
    assert (answer.status, answer.code) == (422, code)
    error = answer.body["error"]
    assert error["message"].endswith(message)
    assert hint in error["hint"]
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0


@BOTH
@pytest.mark.parametrize(
    ("csv", "options", "rows"),
    [
        (b"\xef\xbb\xbftime,v\r\n2025-01-01,a\r\n", {}, [("a",)]),
        (b"\xef\xbb\xbf2025-01-01;a\n", {"csv_options": {"HEADER": False, "DELIMITER": ";"}}, [("a",)]),
        (b'time,v\n2025-01-01,"a\nb"\n', {}, [("a\nb",)]),
        ("time,v\n2025-01-01,é\n".encode("latin-1"), {"csv_options": {"ENCODING": "LATIN1"}}, [("é",)]),
        (b"time,v\n", {}, []),
        (b"time,v\n2025-01-01,a", {"expected_rows": 1}, [("a",)]),
    ],
)
def test_every_kind_of_csv(
    app: App, transfer: str, csv: bytes, options: dict[str, Any], rows: list[tuple[str]]
) -> None:
    app.database.hypertable("t", COLUMNS)
    copy = options | ({"columns": ["time", "v"]} if "HEADER" in options.get("csv_options", {}) else {})
    # One byte in each member, so that every seam is a member's.
    url = app.stored("t", b"".join(gzip.compress(csv[at : at + 1]) for at in range(len(csv))))
    answer = restore(app, url, transfer, copy=copy)
    assert (answer.status, answer.body["rows_loaded"]) == (200, len(rows)), answer.body
    assert app.database.fetch("SELECT v FROM {s}.t") == rows


@BOTH
def test_promises_are_kept(app: App, large: str, transfer: str) -> None:
    assert restore(app, large, transfer, copy={"expected_sha256": "0" * 64}).code == "ArchiveChecksumMismatch"
    assert restore(app, large, transfer, copy={"expected_rows": 1}).code == "RowCountMismatch"
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0


@BOTH
def test_a_dry_run_counts(app: App, large: str, transfer: str) -> None:
    body = restore(app, large, transfer, dry_run=True).body
    assert (body["dry_run"]["rows_in_archive"], body["source"]["csv_bytes"]) == (8_000, len(LARGE))
    damaged = app.stored("t", gzip.compress(LARGE)[:-9])
    assert restore(app, damaged, transfer, dry_run=True).code == "ArchiveTruncated"


@BOTH
def test_rows_that_are_left_out_are_counted(app: App, transfer: str) -> None:
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    url = app.archive("t", b"time,v\n2025-01-01,1\n2025-01-01,x\n2025-01-01,2\n")
    answer = restore(
        app, url, transfer, destination={"mode": "staging"}, copy={"on_error": "skip", "max_rejected_rows": 1}
    )
    assert (answer.body["rows_loaded"], answer.body["rows_rejected"], answer.body["rejected_lines"]) == (2, 1, [3])


@BOTH
def test_a_bad_row_names_its_line(app: App, transfer: str) -> None:
    app.database.hypertable("t", COLUMNS)
    url = app.stored("t", gzip.compress(LARGE + b"oops,v\n"))
    answer = restore(app, url, transfer)
    assert answer.code == "DataRejected"
    assert answer.body["error"]["details"][0]["line"] == 8_002
    assert threads_of_ours() == []
