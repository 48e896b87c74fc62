from __future__ import annotations

import errno
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.archive.csv_sources import StreamedCsv, spooled_csv
from shared.csvfile.head import CsvDialect
from shared.errors import EndOfDataMarker, TemporaryDiskFull
from shared.progress.progress import Progress
from tests.fix_small_disk import can_mount

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("limit", [1, 9, 10, 11, 1000])
def test_all_bytes_come_back_from_memory_and_from_disk(limit: int) -> None:
    with spooled_csv([b"a,b\n", b"", b"1,2\n34"], max_memory_bytes=limit) as csv:
        assert csv.size == csv.probable_size == 10
        assert csv.file.tell() == 0
        assert csv.file.read() == b"a,b\n1,2\n34"
        csv.file.seek(4)
        assert csv.file.read(3) == b"1,2"


def test_a_spooled_archive_counts_from_0_again_as_it_is_loaded() -> None:
    """To read it takes seconds, and to load it minutes: 100 % at the start of the COPY would say nothing."""
    progress = Progress()
    progress.compressed_bytes = progress.compressed_bytes_total = 5
    assert progress.percent == 100
    with spooled_csv([b"a,b\n", b"1,2\n"], max_memory_bytes=10, progress=progress) as csv:
        assert progress.percent == 0
        with csv.open() as reader:
            assert b"".join(iter(partial(reader.read, 5), b"")) == b"a,b\n1,2\n"
        assert (progress.percent, progress.csv_bytes, progress.csv_bytes_total) == (100, 8, 8)


def test_a_streamed_archive_counts_what_is_read() -> None:
    """It is loaded meanwhile."""
    progress = Progress()
    progress.compressed_bytes, progress.compressed_bytes_total, progress.csv_bytes = 2, 8, 20
    assert progress.percent == 25


def test_no_blocks_are_an_empty_file() -> None:
    with spooled_csv([], max_memory_bytes=10) as csv:
        assert (csv.size, csv.probable_size, csv.file.read()) == (0, 0, b"")


@pytest.mark.parametrize("data", [b"", b"a,b\n1,2\n"])
def test_the_size_of_a_stream_is_estimated_until_it_is_known(data: bytes) -> None:
    def unpack() -> Generator[bytes, None, None]:
        yield data

    csv = StreamedCsv(unpack, CsvDialect(), stored_size=100)
    assert (csv.size, csv.probable_size) == (None, 350)
    csv.drain()
    assert (csv.size, csv.probable_size) == (len(data), len(data))


@pytest.mark.parametrize(("limit", "on_disk"), [(9, True), (10, False)])
def test_only_what_is_too_large_for_the_memory_goes_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, *, on_disk: bool
) -> None:
    # A directory that is gone: to open a file in it fails.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    if on_disk:
        with pytest.raises(FileNotFoundError), spooled_csv([b"x" * 10], max_memory_bytes=limit):
            pass
    else:
        with spooled_csv([b"x" * 10], max_memory_bytes=limit) as csv:
            assert csv.size == 10


@pytest.mark.parametrize("limit", [1, 1000])
def test_the_file_is_closed_whatever_happens(limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def failing() -> Iterator[bytes]:
        yield b"some bytes"
        raise ConnectionResetError

    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(ConnectionResetError), spooled_csv(failing(), max_memory_bytes=limit):
        pass
    with pytest.raises(KeyError), spooled_csv([b"some bytes"], max_memory_bytes=limit) as csv:
        raise KeyError
    assert csv.file.closed
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert list(tmp_path.iterdir()) == []


# --- a disk that is full -----------------------------------------------------------------------------------------

# Run by a process of its own, whose disk or whose file size is limited for real.
PROBE = """
import resource, sys, tempfile
from shared.errors import TemporaryDiskFull
from shared.archive.csv_sources import StreamedCsv, spooled_csv
directory, file_limit, block, times, memory = sys.argv[1], *map(int, sys.argv[2:])
tempfile.tempdir = directory
if file_limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
try:
    with spooled_csv((b"x" * block for _ in range(times)), max_memory_bytes=memory) as csv:
        print("held", csv.size)
except TemporaryDiskFull as error:
    print("full", error.status, error.__cause__.errno)
"""

WAYS = pytest.mark.parametrize(
    ("block", "times", "memory"),
    [
        (300_000, 10, 1),  # while it is written
        (300_000, 10, 2_500_000),  # when the memory is poured into the file
        (1000, 1050, 1_000),  # in Python's own buffer, at the end
    ],
)


def probe(directory: Path, file_limit: int, block: int, times: int, memory: int, *, mount: bool) -> str:
    python = [sys.executable, "-c", PROBE, str(directory), *map(str, (file_limit, block, times, memory))]
    if mount:
        script = f'mount -t tmpfs -o size=1m none "{directory}" && exec "$@"'
        python = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh", *python]
    ran = subprocess.run(python, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


@WAYS
def test_a_full_disk_is_an_error_of_ours(tmp_path: Path, block: int, times: int, memory: int) -> None:
    if not can_mount():
        pytest.skip("this machine lets nobody mount a small disk")
    assert probe(tmp_path, 0, block, times, memory, mount=True) == f"full 507 {errno.ENOSPC}"


@WAYS
def test_a_limited_file_is_a_full_disk_too(tmp_path: Path, block: int, times: int, memory: int) -> None:
    assert probe(tmp_path, 1_048_576, block, times, memory, mount=False) == f"full 507 {errno.EFBIG}"


def test_what_fits_is_held(tmp_path: Path) -> None:
    assert probe(tmp_path, 1_048_576, 1000, 1000, 1, mount=False) == "held 1000000"


def test_other_errors_of_the_disk_stay_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError) as caught, spooled_csv([b"x" * 10], max_memory_bytes=1):
        pass
    assert not isinstance(caught.value, TemporaryDiskFull)


# --- the end-of-data marker -------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 1000])
def test_rows_after_an_end_marker_are_refused(limit: int) -> None:
    with (
        pytest.raises(EndOfDataMarker, match="line 3 of the file"),
        spooled_csv([b"a\n1\n\\", b".", b"\n2\n"], max_memory_bytes=limit),
    ):
        pass


def test_the_dialect_decides_whether_a_marker_is_data() -> None:
    blocks = [b"a\n'1\n\\.\n2'\n"]
    with spooled_csv(blocks, max_memory_bytes=1, dialect=CsvDialect(quote="'", escape="'")) as csv:
        assert csv.file.tell() == 0
    with pytest.raises(EndOfDataMarker), spooled_csv(blocks, max_memory_bytes=1):
        pass


@given(blocks=st.lists(st.binary(max_size=50), max_size=10), limit=st.integers(1, 300))
def test_any_blocks_come_back(blocks: list[bytes], limit: int) -> None:
    # What follows such a line is refused, and has tests of its own.
    assume(rb"\." not in b"".join(blocks))
    with spooled_csv(blocks, max_memory_bytes=limit) as csv:
        data = csv.file.read()
    assert data == b"".join(blocks)
    assert csv.size == len(data)
