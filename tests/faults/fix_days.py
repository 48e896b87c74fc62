"""Large days of several tables, each behind its own fault, restored side by side."""

from __future__ import annotations

import functools
import gzip
import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared.archive.client import RANGE_BYTES
from tests.faults.fix_aftermath import Aftermath
from tests.faults.fix_copies import COPIES, check_way
from tests.faults.fix_http_fault import Fault, FaultyStorage
from tests.faults.fix_quiet import CANARY
from tests.integration.fix_app import DAY, Answer, App

COLUMNS = "time timestamptz NOT NULL, v text NOT NULL, PRIMARY KEY (time)"
NEIGHBOURS = "('2024-12-31 23:59:59.999999Z', 'before'), ('2025-01-02 00:00Z', 'after')"
_DESTINATIONS: dict[str, dict[str, Any]] = {
    "direct": {"mode": "direct"},
    "staging": {"mode": "staging"},
    "replace": {"mode": "direct", "on_existing": "replace"},
}
WAYS: dict[str, dict[str, Any]] = {
    f"{name}_{copy}": {"destination": destination, "copy": COPIES[copy]}
    for name, destination in _DESTINATIONS.items()
    for copy in COPIES
}


@functools.cache
def large_csv() -> bytes:
    """Make a day whose archive is read in three ranges: 11.9 MiB, which gzip only wraps."""
    rows = (
        f"2025-01-01 {n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}Z,{CANARY}{os.urandom(3125).hex()}"
        for n in range(2000)
    )
    return ("time,v\n" + "\n".join(rows) + "\n").encode()


@functools.cache
def large_archive() -> bytes:
    archive = gzip.compress(large_csv(), compresslevel=0)
    assert 2 * RANGE_BYTES < len(archive) < 3 * RANGE_BYTES
    return archive


def unreachable(answer: Answer) -> bool:
    return (answer.status, answer.code) == (503, "StorageUnreachable") and answer.body["error"]["retryable"] is True


@dataclass
class Days:
    """Tables between whose neighbouring rows an archived day belongs. `faults` are the proxy's."""

    aftermath: Aftermath
    storage: FaultyStorage
    ways: dict[str, str] = field(default_factory=dict)

    @property
    def app(self) -> App:
        return self.aftermath.app

    def add(self, table: str, way: str, fault: Fault | None = None) -> str:
        """Make a table, its archive and the fault before it, and return the archive's path."""
        if not self.ways:
            self._make_reference()
        database = self.app.database
        database.hypertable(table, COLUMNS)
        database.execute(f"INSERT INTO {{s}}.{table} VALUES {NEIGHBOURS}")
        if WAYS[way]["destination"].get("on_existing") == "replace":
            database.execute(f"INSERT INTO {{s}}.{table} VALUES ('2025-01-01 12:00Z', 'the old day')")
        self.ways[table] = way
        self.app.stored(table, large_archive())
        if fault is not None:
            self.storage.faults[self.file_name(table)] = fault
        return f"backups/{database.name}/{self.file_name(table)}"

    def file_name(self, table: str) -> str:
        return f"{self.app.database.schema}.{table}.{DAY}.csv.gz"

    def restore(self, table: str) -> Answer:
        path = f"backups/{self.app.database.name}/{self.file_name(table)}"
        return self.app.restore(self.app.storage.url(path), **WAYS[self.ways[table]])

    def restore_all(self) -> dict[str, Answer]:
        """Send one request for each table, all at once."""
        with ThreadPoolExecutor(len(self.ways)) as pool:
            return dict(zip(self.ways, pool.map(self.restore, self.ways), strict=True))

    def assert_refused(self, expected: Callable[[Answer], bool]) -> None:
        """Send all requests: each is refused as expected, nothing changes, nothing is left; without faults all work."""
        before = {table: self.aftermath.rows(table) for table in self.ways}
        for table, answer in self.restore_all().items():
            assert expected(answer), (table, answer.body)
            assert self.aftermath.rows(table) == before[table], table
        self.aftermath.assert_nothing_left()
        assert all(fault.hits for fault in self.storage.faults.values()), self.storage.faults
        self.storage.faults.clear()
        self.assert_restored()

    def assert_restored(self) -> None:
        """Send all requests: each puts the whole day between the neighbours."""
        for table, answer in self.restore_all().items():
            assert (answer.status, answer.body["status"]) == (200, "ok"), (table, answer.body)
            check_way(answer, WAYS[self.ways[table]]["copy"], self.app.database)
            self.assert_complete(table)
        self.aftermath.assert_nothing_left()

    def assert_complete(self, table: str) -> None:
        compare = "SELECT count(*) FROM (TABLE {{s}}.{} EXCEPT ALL TABLE {{s}}.{}) AS difference"
        missing = self.app.database.value(compare.format("reference", table))
        added = self.app.database.value(compare.format(table, "reference"))
        assert (missing, added) == (0, 0), table

    def _make_reference(self) -> None:
        database = self.app.database
        database.execute(f"CREATE TABLE {{s}}.reference ({COLUMNS})")
        database.execute(f"INSERT INTO {{s}}.reference VALUES {NEIGHBOURS}")
        with database.connection.cursor() as cursor:
            statement = f"COPY {database.schema}.reference FROM STDIN (FORMAT csv, HEADER)"
            cursor.copy_expert(statement, io.BytesIO(large_csv()))


@pytest.fixture
def days(aftermath: Aftermath, faulty_storage: FaultyStorage) -> Days:
    return Days(aftermath, faulty_storage)
