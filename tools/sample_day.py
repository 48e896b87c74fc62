"""One generated day of telemetry, written as an archive. No server is needed."""

from __future__ import annotations

import gzip
import io
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TextIO

DAY = datetime(2025, 1, 1, tzinfo=timezone.utc)
DEVICES = 140
COLUMNS = ("ts", "device_id", "temperature", "humidity", "battery", "status", "message")

_MESSAGES = (None, "", "ok", "low battery", 'said "hello", then went quiet', "two\nlines", "Grüße, 温度 ✓")
_MINUTES = 24 * 60
ROWS = DEVICES * _MINUTES

Row = tuple[str, str, str, str, str, str, "str | None"]


def sample_rows(day: datetime = DAY, devices: int = DEVICES) -> Iterator[Row]:
    """Generate one row for each minute and device, in order of time; the same rows every time.

    Args:
        day: midnight UTC of the day.
        devices: how many devices report; the day has 1,440 times as many rows.
    """
    chance = random.Random(day.toordinal())  # noqa: S311 - sample data
    warmth = [15 + 10 * chance.random() for _ in range(devices)]
    for minute in range(_MINUTES):
        ts = (day + timedelta(minutes=minute)).isoformat(sep=" ")
        for device in range(devices):
            warmth[device] += chance.random() - 0.5
            yield (
                ts,
                f"device-{device:04d}",
                f"{warmth[device]:.3f}",
                f"{100 * chance.random():.2f}",
                f"{1 - minute / _MINUTES / 2:.4f}",
                str(int(chance.random() * 4)),
                _MESSAGES[int(chance.random() * len(_MESSAGES))],
            )


def write_sample_day(path: Path, day: datetime = DAY, devices: int = DEVICES) -> int:
    """Write the day as gzipped CSV with a header, row by row; the same bytes every time.

    An unquoted empty field is NULL, `""` is an empty string: COPY reads them so.

    Returns:
        The number of rows.
    """
    rows = 0
    with new_archive(path) as text:
        text.write(",".join(COLUMNS) + "\r\n")
        for row in sample_rows(day, devices):
            text.write(_csv_line(row))
            rows += 1
    return rows


@contextmanager
def new_archive(path: Path) -> Iterator[TextIO]:
    """Write a gzip file: the same text is the same bytes. The file has its name only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with (
        partial.open("wb") as stored,
        # The gzip header holds neither a time nor the file's name.
        gzip.GzipFile(filename="", fileobj=stored, mode="wb", compresslevel=6, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="") as text,
    ):
        yield text
    partial.replace(path)


def _csv_line(row: Row) -> str:
    # Python's csv module can write NULL and "" differently only from 3.12 on.
    *plain, message = row
    quoted = "" if message is None else '"' + message.replace('"', '""') + '"'
    return ",".join([*plain, quoted]) + "\r\n"
