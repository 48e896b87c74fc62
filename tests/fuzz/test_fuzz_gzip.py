"""Archives that were damaged in any way: an "ok" stands only over the bytes that Python's own gzip reads as well."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.fix_fuzz import FUZZ, Target

DAMAGE_CODES = {"ArchiveTruncated", "ArchiveNotGzip", "ArchiveCorrupt", "ArchiveCompressedTwice"}
# What the CSV may be refused for, where the damage left the gzip whole.
CSV_CODES = {"HeaderMissing", "HeaderInvalid", "UnknownColumn", "DataRejected", "EndOfDataMarker", "RowsOutsideWindow"}

ROWS = st.lists(st.integers(0, 86_399), max_size=60).map(
    lambda seconds: [(f"2025-01-01 {n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}Z", n) for n in seconds]
)


def csv_of(rows: list[tuple[str, int]]) -> bytes:
    return b"time,v\n" + b"".join(f"{time},{v}\n".encode() for time, v in rows)


@st.composite
def members(draw: st.DrawFn, data: bytes) -> bytes:
    """Cut the data into members of every kind of header and block, empty ones and padding included."""
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=4)))
    archive = b""
    for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        level, strategy = draw(st.integers(0, 9)), draw(st.sampled_from([zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED]))
        packer = zlib.compressobj(level, zlib.DEFLATED, 31, strategy=strategy)
        member = packer.compress(data[begin:end])
        if draw(st.booleans()):
            member += packer.flush(zlib.Z_FULL_FLUSH)
        member += packer.flush()
        if draw(st.booleans()):  # FLG.FNAME, RFC 1952
            name = draw(st.binary(max_size=20)).replace(b"\0", b"") + b"\0"
            member = member[:3] + b"\x08" + member[4:10] + name + member[10:]
        archive += member
    return archive + b"\0" * draw(st.sampled_from([0, 0, 1, 512]))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    archive = bytearray(draw(members(csv_of(draw(ROWS)))))
    for _ in range(draw(st.integers(1, 3))):
        # The end is where a check is easily missing: a member's trailer is its last eight bytes.
        place = len(archive) - draw(st.integers(0, min(len(archive), 12)) | st.integers(0, len(archive)))
        how = draw(st.sampled_from(["flip", "cut", "drop", "insert", "repeat", "append"]))
        if how == "flip" and place < len(archive):
            archive[place] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut":
            del archive[place:]
        elif how == "drop":
            del archive[place : place + draw(st.integers(1, 20))]
        elif how == "insert":
            archive[place:place] = draw(st.binary(min_size=1, max_size=20))
        elif how == "repeat":
            archive[place:place] = archive[:place]
        else:
            archive += draw(st.binary(min_size=1, max_size=20))
    return bytes(archive)


@pytest.fixture
def table(target: Target) -> str:
    target.app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    target.app.database.execute("INSERT INTO {s}.t VALUES ('2024-12-31Z', -1), ('2025-01-02Z', -2)")
    return "t"


def restore(target: Target, table: str, archive: bytes) -> tuple[int, str | None, list[int]]:
    """Put the archive in the place of the day; return what was answered, and the day."""
    url = target.app.stored(table, archive)
    destination: dict[str, Any] = {"on_existing": "replace", "min_rows_ratio": 0}
    answer = target.send({"adls_url": url, "pg": target.app.database.pg, "destination": destination})
    rows = [v for (v,) in target.app.database.fetch("SELECT v FROM {s}.t ORDER BY v")]
    assert rows[:2] == [-2, -1], "the neighbours"
    return answer.status, answer.code, rows[2:]


@settings(FUZZ, max_examples=60)
@given(rows=ROWS, data=st.data())
def test_whole_archives_are_restored_whole(target: Target, table: str, rows: list[Any], data: st.DataObject) -> None:
    archive = data.draw(members(csv_of(rows)))
    assert restore(target, table, archive) == (200, None, sorted(v for _, v in rows))


@settings(FUZZ, max_examples=120)
@given(archive=damaged() | st.binary(max_size=300))
def test_damaged_archives_are_refused_or_harmless(target: Target, table: str, archive: bytes) -> None:
    before = restore(target, table, gzip.compress(csv_of([("2025-01-01 00:00Z", 5)])))
    assert before == (200, None, [5])
    status, code, rows = restore(target, table, archive)
    if status == 200:
        assert csv_of([]) == gzip.decompress(archive)[: len(csv_of([]))]
        assert rows == sorted(int(line.split(b",")[1]) for line in gzip.decompress(archive).splitlines()[1:])
    else:
        assert (status, code in DAMAGE_CODES | CSV_CODES) == (422, True), code
        assert rows == [5]


@settings(FUZZ, max_examples=20)
@given(size=st.integers(1_000, 40_000_000), padding=st.sampled_from([b"\0", b"\n", b"a", b'"', b"\xff", b"\\.\n"]))
def test_small_archives_that_unpack_to_much(target: Target, table: str, size: int, padding: bytes) -> None:
    """A bomb with a good beginning. That memory stays bounded is tests/faults/test_temporary_disk.py's to show."""
    csv = csv_of([("2025-01-01 00:00Z", 7)]) + padding * (size // len(padding))
    status, code, rows = restore(target, table, gzip.compress(csv, compresslevel=1))
    assert (status, code in {*CSV_CODES, "ArchiveTooLarge"}) == (422, True), code
    assert rows == []
