"""What a failed restore must not leave: connections, locks, staging tables, temporary files."""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shared.postgres.connect import APPLICATION_NAME
from shared.postgres.kept import IDLE_NAME
from tests.integration.fix_app import App
from tools.process import wait_until

PATIENCE_SECONDS = 10


def open_files(directory: Path) -> list[str]:
    """List the files of a directory that this process has open, deleted ones included.

    Not the files without a name into which pytest leads the standard streams: some kernels show them in any directory.
    """
    streams = {_identity(Path(f"/proc/self/fd/{number}")) for number in (1, 2)}
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        # One of them is the listing's own, and gone already.
        with contextlib.suppress(FileNotFoundError):
            found.append((str(entry.readlink()), _identity(entry)))
    return [name for name, identity in found if name.startswith(str(directory)) and identity not in streams]


def _identity(descriptor: Path) -> tuple[int, int]:
    status = descriptor.stat()
    return status.st_dev, status.st_ino


@dataclass(frozen=True)
class Aftermath:
    """An app whose restores spool to a disk of the test's own, and what they leave there and elsewhere."""

    app: App
    temporary: Path

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        """Read a table row for row."""
        return self.app.database.fetch(f"SELECT t::text FROM {{s}}.{table} t ORDER BY 1")

    def left(self) -> list[str]:
        """Name what is left right now."""
        database = self.app.database
        sessions = database.fetch(
            "SELECT 'session in state ' || coalesce(state, '?') FROM pg_stat_activity"
            " WHERE application_name LIKE %s || '%%' AND datname = %s AND application_name <> %s",
            APPLICATION_NAME,
            database.name,
            IDLE_NAME,
        )
        locks = database.fetch(
            "SELECT 'lock ' || locktype || ' ' || mode FROM pg_locks JOIN pg_database d ON d.oid = database"
            " WHERE datname = %s AND (locktype = 'advisory' OR relation::regclass::text LIKE %s)"
            " AND pid <> pg_backend_pid()",
            database.name,
            database.schema + ".%",
        )
        staging = database.fetch(
            "SELECT 'unlogged table ' || c.oid::regclass FROM pg_class c"
            " WHERE c.relnamespace = %s::regnamespace AND c.relpersistence <> 'p'",
            database.schema,
        )
        files = [str(path) for path in self.temporary.iterdir()] + open_files(self.temporary)
        return [row[0] for row in (*sessions, *locks, *staging)] + files

    def assert_nothing_left(self) -> None:
        """Wait some seconds for the server to notice that its clients have gone, then insist."""
        assert wait_until(lambda: not self.left(), PATIENCE_SECONDS), self.left()


@pytest.fixture
def aftermath(app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aftermath]:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("SPOOL_MAX_MEMORY_BYTES", "10")
    assert os.access(temporary, os.W_OK)
    yield Aftermath(app, temporary)
    # The storage SDK leaves the connection of an answer that it will retry to the garbage collector.
    gc.collect()
