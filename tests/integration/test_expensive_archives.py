"""An archive that keeps the processor busy ends with an error of its own before the database has its rows."""

from __future__ import annotations

import gzip
import random
from typing import Any

import pytest

from tests.integration.fix_app import App

pytestmark = pytest.mark.any_server

# A comment without a letter, and nothing else: some microseconds of the processor for 21 bytes, each of them.
BUSY = (b"\x1f\x8b\x08\x10" + bytes(7) + gzip.compress(b"")[10:]) * 1_200_000
ROWS = b"time,v\n" + b"".join(
    b"2025-01-01 00:00:%02d.%06d,%d\n" % (number % 60, number, random.Random(number).getrandbits(60))  # noqa: S311
    for number in range(80_000)
)

WAYS: dict[str, dict[str, Any]] = {
    "spool": {"copy": {"transfer": "spool"}},
    "stream": {"copy": {"transfer": "stream"}},
    "dry run": {"copy": {"transfer": "stream"}, "dry_run": True},
    "full dry run": {"copy": {"transfer": "stream"}, "dry_run": "full"},
}


@pytest.fixture(autouse=True)
def _one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREPARE_CPU_SECONDS", "1")


@pytest.mark.parametrize("way", WAYS)
def test_members_that_hold_nothing(app: App, way: str) -> None:
    """Before the header, and behind more rows than are read for it."""
    app.database.hypertable("t", "time timestamptz NOT NULL, v bigint")
    request = WAYS[way]
    packed = gzip.compress(ROWS, 1)
    for archive in (gzip.compress(ROWS[:7]) + BUSY, packed + BUSY + gzip.compress(b"2025-01-01,1\n")):
        answer = app.restore(app.stored("t", archive), **request)
        assert (answer.status, answer.code) == (422, "ArchiveTooExpensive"), answer.body
        assert "1 s of processor time" in answer.body["error"]["message"]
        assert app.database.value("SELECT count(*) FROM {s}.t") == 0


@pytest.mark.parametrize("format_", ["text", "binary"])
def test_members_of_a_byte_each_in_a_stream(app: App, format_: str) -> None:
    """Each part that the database gets takes less than the whole may: not each of them may take as much."""
    app.database.hypertable("t", "time timestamptz NOT NULL, v bigint")
    row = b"".join(gzip.compress(bytes([byte]), mtime=0) for byte in b"2025-01-01,1\n")
    archive = gzip.compress(ROWS, 1) + row * 60_000
    answer = app.restore(app.stored("t", archive), copy={"transfer": "stream", "format": format_})
    assert (answer.status, answer.code) == (422, "ArchiveTooExpensive"), answer.body
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0


@pytest.mark.parametrize("transfer", ["spool", "stream"])
def test_an_ordinary_archive_does_not_take_it(app: App, transfer: str) -> None:
    app.database.hypertable("t", "time timestamptz NOT NULL, v bigint")
    answer = app.restore(app.archive("t", ROWS), copy={"transfer": transfer})
    assert (answer.status, answer.body["rows_loaded"]) == (200, 80_000)
