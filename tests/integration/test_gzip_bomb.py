"""A gzip bomb, restored for real: it stops early, says why, and leaves the disk free."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import pytest

from shared.process import MIB
from tests.faults.fix_aftermath import Aftermath

pytestmark = pytest.mark.any_server


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """Half a MiB that unpacks to half a GiB."""
    return gzip.compress(bytes(512 * MIB), compresslevel=9)


def written() -> int:
    """How many bytes this process has written so far, to whatever file or connection."""
    counts = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(counts["wchar"])


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("kind", ["one member", "many members", "behind a header"])
def test_a_bomb_stops_early_and_leaves_nothing(aftermath: Aftermath, bomb: bytes, kind: str, *, dry_run: bool) -> None:
    database = aftermath.app.database
    database.hypertable("t", "time timestamptz NOT NULL, v text")
    database.execute("INSERT INTO {s}.t VALUES ('2025-01-01Z', 'before')")
    stored = {
        "one member": bomb,
        "many members": gzip.compress(bytes(16 * MIB), compresslevel=9) * 32,
        "behind a header": gzip.compress(b"time,v\n") + bomb,
    }[kind]
    assert len(stored) < MIB
    url = aftermath.app.stored("t", stored)
    before = written()
    answer = aftermath.app.restore(url, dry_run=dry_run, destination={"on_existing": "replace"})
    assert (answer.status, answer.code) == (422, "ArchiveTooLarge")
    error = answer.body["error"]
    assert (error["target"], error["retryable"]) == ("adls_url", False)
    assert "200 times its size that CSV_MAX_EXPANSION allows" in error["message"]
    assert written() - before < 64 * MIB
    assert aftermath.rows("t") == [('("2025-01-01 00:00:00+00",before)',)]
    aftermath.assert_nothing_left()


@pytest.mark.parametrize(("mode", "format_"), [("direct", "binary"), ("staging", "text")])
def test_a_bomb_that_is_streamed_is_rolled_back(aftermath: Aftermath, mode: str, format_: str) -> None:
    """Its rows are good, and thousands are in when the limit is passed; those that they replace are gone by then."""
    rows = b"2025-01-01 12:00:00+00,%s\n" % (b"x" * 1000) * 16_000
    stored = gzip.compress(b"time,v\n") + gzip.compress(rows, compresslevel=9) * 16
    assert len(stored) < MIB
    database = aftermath.app.database
    database.hypertable("t", "time timestamptz NOT NULL, v text")
    database.execute("INSERT INTO {s}.t VALUES ('2025-01-01Z', 'before')")
    tracemalloc.start()
    try:
        answer = aftermath.app.restore(
            aftermath.app.stored("t", stored),
            destination={"mode": mode, "on_existing": "replace"},
            copy={"transfer": "stream", "format": format_},
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (answer.status, answer.code) == (422, "ArchiveTooLarge")
    assert "200 times its size that CSV_MAX_EXPANSION allows" in answer.body["error"]["message"]
    # It would unpack to 250 MiB.
    assert peak < 64 * MIB
    assert aftermath.rows("t") == [('("2025-01-01 00:00:00+00",before)',)]
    aftermath.assert_nothing_left()


def test_the_size_that_is_allowed_holds_however_little_it_expands(
    aftermath: Aftermath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CSV_MAX_BYTES", "100000")
    database = aftermath.app.database
    database.hypertable("t", "time timestamptz NOT NULL, v text")
    rows = [f"2025-01-01 {n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}Z,{n}" for n in range(10_000)]
    csv = "\n".join(["time,v", *rows]).encode()
    url = aftermath.app.archive("t", csv)
    answer = aftermath.app.restore(url)
    assert (answer.status, answer.code) == (422, "ArchiveTooLarge")
    assert "100000 bytes that CSV_MAX_BYTES allows" in answer.body["error"]["message"]
    assert aftermath.rows("t") == []
    aftermath.assert_nothing_left()

    monkeypatch.setenv("CSV_MAX_BYTES", str(len(csv)))
    answer = aftermath.app.restore(url)
    assert (answer.status, answer.body["rows_loaded"]) == (200, 10_000)
