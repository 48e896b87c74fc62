from __future__ import annotations

import csv
import gzip
import itertools
from datetime import datetime, timedelta, timezone
from pathlib import Path

from benchmarks.day import COLUMNS, DAY, DEVICES, lines, make_day

MIDNIGHT = datetime.fromisoformat(DAY).replace(tzinfo=timezone.utc)


def test_the_same_day_is_the_same_bytes(tmp_path: Path) -> None:
    first, second = make_day(tmp_path / "a", 5000), make_day(tmp_path / "b", 5000)
    assert first.path.read_bytes() == second.path.read_bytes()
    # The header holds no time: the next second would be other bytes.
    assert first.path.read_bytes()[4:8] == bytes(4)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["day-5000-sums.json", "day-5000.csv.gz"]


def test_a_day_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    made = make_day(tmp_path, 100)
    made.path.write_bytes(b"kept")
    assert make_day(tmp_path, 100) == made
    assert made.path.read_bytes() == b"kept"


def test_the_facts_are_those_of_the_file(tmp_path: Path) -> None:
    day = make_day(tmp_path, 20_000)
    plain = gzip.decompress(day.path.read_bytes())
    header, *rows = csv.reader(plain.decode().splitlines())
    assert tuple(header) == COLUMNS
    assert {len(row) for row in rows} == {8}
    assert day.rows == len(rows)
    assert day.counters == sum(int(row[2]) for row in rows)
    assert day.millidegrees == sum(round(float(row[3]) * 1000) for row in rows)
    assert 80 < len(plain) / day.rows < 100


def test_rows_are_in_order_of_time_and_keys_occur_once() -> None:
    read = [line.split(",") for line, _, _ in lines(10_007)]
    times = [datetime.fromisoformat(row[0].replace("+00", "+00:00")) for row in read]
    assert all(one < other for one, other in itertools.pairwise(times))
    assert times[0] == MIDNIGHT
    assert times[-1] < MIDNIGHT + timedelta(days=1)
    # Neighbours are of different devices, and every device reports.
    devices = [int(row[1]) for row in read]
    assert set(devices) == set(range(DEVICES))
    assert all(one != other for one, other in itertools.pairwise(devices))


def test_null_and_the_empty_string_are_written_apart() -> None:
    messages = {line.rstrip("\n").split(",", 7)[7] for line, _, _ in lines(1000)}
    assert {"", '""'} <= messages
    assert len(messages) == 16
