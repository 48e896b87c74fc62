"""The disk under the database is full, for real: a tablespace on a small file system, which grows afterwards."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.fix_fault_case import PAIRS, make_fault_case
from tests.faults.fix_own_server import OwnServer


@pytest.fixture
def small_disk(own_server: OwnServer) -> Iterator[Path]:
    """Mount 1 MiB of memory as a tablespace; only root may mount."""
    server = own_server.server
    path = server.data.with_name(f"{server.name}.small")
    path.mkdir()
    uid, gid = server.root.postgres_ids
    options = f"size=1m,uid={uid},gid={gid},mode=700"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=False, capture_output=True)
    if done.returncode != 0:
        path.rmdir()
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.decode().strip()}")
    try:
        # As the server sees it, in its own root.
        own_server.app.database.execute(f"CREATE TABLESPACE small LOCATION '{_inside(path)}'")
        yield path
        own_server.app.database.execute("DROP SCHEMA {s} CASCADE")
        own_server.app.database.execute("DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)
        path.rmdir()


def _inside(path: Path) -> str:
    return "/" + str(Path(*path.parts[path.parts.index("srv") :]))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
@pytest.mark.parametrize("case", PAIRS)
def test_the_disk_of_the_table_is_full(
    own_server: OwnServer, small_disk: Path, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault_case = make_fault_case(own_server.app, case, tmp_path / "spool", monkeypatch, tablespace="small")
    fault_case.rows = 40_000
    fault_case.url = fault_case.app.archive("t", fault_case.csv())
    answer = fault_case.send()
    assert answer.body["error"]["details"][0]["sqlstate"] == "53100", answer.body
    fault_case.check_failed(answer, "DatabaseDiskFull", 507, retryable=False)
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    fault_case.check_repeat()
