"""One generated day of measurements, written as an exporter writes it: ordered by time; and where it is stored."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

from azure.storage.blob import BlobServiceClient

from tools.azurite import Azurite, connection_string
from tools.config import load_config
from tools.sample_day import new_archive
from tools.sample_target import adls_url, upload

# The archive's path names the database that it is restored into.
DATABASE = "restore_chunk_bench"
DAY = "2025-01-01"
COLUMNS = ("time", "device_id", "counter", "temperature", "humidity", "pressure", "status", "message")
DEVICES = 1000

_MIDNIGHT = datetime.fromisoformat(DAY)
_DAY_MICROSECONDS = 86_400_000_000
# An odd step visits every device before it comes back to one.
_DEVICE_STEP = 617
# Knuth's MMIX generator; its high bits are good enough for figures that only must not compress too well.
_FACTOR, _ADDEND, _MASK = 6364136223846793005, 1442695040888963407, (1 << 64) - 1
# An unquoted empty field is NULL, `""` is an empty string.
_MESSAGES = (
    *("", '""', "ok", "battery low: 18 days left", "cover opened", "link restored", "calibrated by hand"),
    *("sensor warmed up after the night", "value out of range", "firmware 4.2.1 started without a fault"),
    *('"moved, then placed back"', '"said ""hello"" again"', "no answer from the gateway for 30 s"),
    *("synchronised with the time server", "Grüße aus der Halle 7", "温度 ✓ within limits"),
)


@dataclass(frozen=True)
class Day:
    """An archive, and what a target must hold once it is restored.

    Attributes:
        path: the gzipped CSV file, with a header.
        rows: number of rows.
        counters: the sum of the column `counter`.
        millidegrees: the sum of the column `temperature`, times 1000.
    """

    path: Path
    rows: int
    counters: int
    millidegrees: int


def make_day(folder: Path, rows: int) -> Day:
    """Return the day with this many rows; write it if it is missing. It is the same bytes every time."""
    path, facts = folder / f"day-{rows}.csv.gz", folder / f"day-{rows}-sums.json"
    if not facts.exists():
        facts.write_text(json.dumps(asdict(_write(path, rows)) | {"path": path.name}))
    return Day(**json.loads(facts.read_text()) | {"path": path})


def lines(rows: int) -> Iterator[tuple[str, int, int]]:
    """Generate the rows as CSV lines, in order of time, each at a time of its own.

    Args:
        rows: how many; at most 86,400,000,000.

    Yields:
        The line, its counter, and its temperature in thousandths of a degree.
    """
    chance = 42
    for row in range(rows):
        time = _MIDNIGHT + timedelta(microseconds=row * _DAY_MICROSECONDS // rows)
        chance = (chance * _FACTOR + _ADDEND) & _MASK
        counter = chance >> 38
        temperature = 15_000 + (chance >> 24) % 12_000
        line = (
            f"{time.isoformat(' ', 'microseconds')}+00,{row * _DEVICE_STEP % DEVICES},{counter},"
            f"{temperature // 1000}.{temperature % 1000:03},{(chance >> 12) % 100_000 / 1000},"
            f"{990 + (chance >> 18) % 40_000 / 1000},{chance >> 62},{_MESSAGES[chance >> 56 & 15]}\n"
        )
        yield line, counter, temperature


def _write(path: Path, rows: int) -> Day:
    counters = millidegrees = 0
    with new_archive(path) as text:
        text.write(",".join(COLUMNS) + "\n")
        for line, counter, temperature in lines(rows):
            text.write(line)
            counters, millidegrees = counters + counter, millidegrees + temperature
    return Day(path, rows, counters, millidegrees)


@dataclass(frozen=True)
class Lake:
    """A file system of the benchmark's own in the account of the connection string `storage`."""

    storage: str
    filesystem: str

    def path(self, day: Day) -> str:
        """Return the path of a day in the file system."""
        return f"rows-{day.rows}/{DATABASE}/silver.telemetry.{DAY}.csv.gz"

    def url(self, day: Day) -> str:
        """Return the `adls_url` of a day."""
        return adls_url(self.storage, self.path(day), self.filesystem)

    def upload(self, day: Day) -> None:
        """Upload a day."""
        upload(self.storage, day.path, self.path(day), self.filesystem)


@contextmanager
def open_lake() -> Iterator[Lake]:
    """Use the account of `RESTORE_TEST_STORAGE`, else Azurite; an Azurite that was started here is stopped again."""
    with ExitStack() as stack:
        storage = os.environ.get("RESTORE_TEST_STORAGE")
        if not storage:
            azurite = Azurite(load_config().azurite_port)
            if azurite.pid is None:
                stack.callback(azurite.stop)
            azurite.start()
            storage = connection_string(azurite.port)
        service = stack.enter_context(BlobServiceClient.from_connection_string(storage))
        container = service.create_container(f"bench-{uuid.uuid4().hex[:12]}")
        stack.callback(container.delete_container)
        yield Lake(storage, container.container_name)
