from __future__ import annotations

import csv
import gzip
from datetime import datetime, timedelta, timezone
from pathlib import Path

from tools.sample_day import COLUMNS, DAY, ROWS, sample_rows, write_sample_day


def test_the_same_day_is_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv.gz", tmp_path / "b.csv.gz"
    assert write_sample_day(first, devices=3) == write_sample_day(second, devices=3) == 3 * 1440
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv.gz", "b.csv.gz"]


def test_the_file_holds_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    write_sample_day(path, devices=2)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as text:
        header, *read = csv.reader(text)
    assert header == list(COLUMNS)
    assert [tuple(row) for row in read] == [(*row[:-1], row[-1] or "") for row in sample_rows(devices=2)]


def test_null_and_the_empty_string_are_written_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    write_sample_day(path, devices=1)
    messages = {row[-1] for row in sample_rows(devices=1)}
    lines = gzip.decompress(path.read_bytes()).decode().split("\r\n")
    assert {None, ""} <= messages
    assert any(line.endswith(",") for line in lines)
    assert any(line.endswith(',""') for line in lines)


def test_every_row_lies_in_the_day_once() -> None:
    keys = [(row[0], row[1]) for row in sample_rows(devices=5)]
    assert len(set(keys)) == len(keys) == 5 * 1440
    times = [datetime.fromisoformat(ts) for ts, _ in keys]
    assert DAY <= min(times) <= max(times) < DAY + timedelta(days=1)


def test_another_day_is_other_rows() -> None:
    other = datetime(2025, 1, 2, tzinfo=timezone.utc)
    assert next(sample_rows(other))[1:] != next(sample_rows())[1:]


def test_the_demo_restores_about_two_hundred_thousand_rows() -> None:
    assert sum(1 for _ in sample_rows()) == ROWS == 201_600
