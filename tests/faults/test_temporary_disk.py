"""A temporary disk that is full, for real: a process of its own on a small disk, or under a limit of its own."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shared.process import MIB
from tests.faults.fix_aftermath import Aftermath
from tests.fix_small_disk import can_mount

pytestmark = pytest.mark.any_server

ROOT = Path(__file__).parents[2]
# Restores twice: while the disk is full, and after it was made larger. Says what happened and what is left.
PROBE = """
import json, os, resource, shutil, subprocess, sys
from pathlib import Path
from RestoreChunk import main
from tests.fix_call import http_request
from tests.faults.fix_aftermath import open_files

kind, body, directory = sys.argv[1], sys.argv[2].encode(), os.environ["TMPDIR"]

def restore():
    response = main(http_request(body))
    return {
        "status": response.status_code,
        "answer": json.loads(response.get_body()),
        "files": os.listdir(directory) + open_files(Path(directory)),
        "free": shutil.disk_usage(directory).free,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }

begin = {"free": shutil.disk_usage(directory).free, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
if kind == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, resource.RLIM_INFINITY))
full = restore()
if kind == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
else:
    subprocess.run(["mount", "-o", "remount,size=64m", directory], check=True)
print(json.dumps({"begin": begin, "full": full, "later": restore()}))
"""


def probe(aftermath: Aftermath, kind: str, body: dict[str, Any]) -> dict[str, Any]:
    python = [sys.executable, "-c", PROBE, kind, json.dumps(body)]
    if kind == "disk":
        script = f'mount -t tmpfs -o size=2m none "{aftermath.temporary}" && exec "$@"'
        python = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh", *python]
    ran = subprocess.run(
        python,
        cwd=ROOT,
        # Nothing but the disk stops a gzip bomb here: 1032 times is what DEFLATE can do.
        env=os.environ | {"SPOOL_MAX_MEMORY_BYTES": "100000", "CSV_MAX_EXPANSION": "1032"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


@pytest.fixture(params=["disk", "limit"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "disk" and not can_mount():
        pytest.skip("this machine lets nobody mount a small disk")
    return str(request.param)


def check_full(found: dict[str, Any]) -> None:
    full = found["full"]
    assert (full["status"], full["answer"]["error"]["code"]) == (507, "TemporaryDiskFull"), full
    assert full["answer"]["error"]["retryable"] is False
    assert full["files"] == []


def test_a_full_temporary_disk(aftermath: Aftermath, kind: str) -> None:
    # No mode is at work while an archive is spooled; the restore afterwards goes either way.
    mode = {"disk": "direct", "limit": "staging"}[kind]
    database = aftermath.app.database
    database.hypertable("t", "time timestamptz NOT NULL, v text")
    database.execute("INSERT INTO {s}.t VALUES ('2024-12-31 23:59Z', 'before'), ('2025-01-02Z', 'after')")
    before = aftermath.rows("t")
    rows = [f"2025-01-01 {n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}Z,{'x' * 100}" for n in range(40_000)]
    url = aftermath.app.archive("t", "\n".join(["time,v", *rows]).encode())
    found = probe(aftermath, kind, {"adls_url": url, "pg": database.pg, "destination": {"mode": mode}})
    check_full(found)
    if kind == "disk":
        assert found["full"]["free"] == found["begin"]["free"]
    # Had the first restore left a row, the second one would have counted it before its own.
    assert found["later"]["status"] == 200, found["later"]
    assert found["later"]["answer"]["verification"]["rows_before"] == 0
    assert found["later"]["files"] == []
    assert database.value("SELECT count(*) FROM {s}.t") == len(rows) + len(before)
    aftermath.assert_nothing_left()


def test_a_gzip_bomb_fills_the_temporary_disk_and_no_memory(aftermath: Aftermath, kind: str) -> None:
    """An eighth of a MiB that unpacks to 128. Only the disk bounds it: the answer is 507, and the disk is free again.

    On a disk that is large enough the file is unpacked to its end, and refused for its header.
    """
    bomb = gzip.compress(bytes(128 * MIB), compresslevel=9)
    assert len(bomb) < MIB // 2
    database = aftermath.app.database
    database.hypertable("t", "time timestamptz NOT NULL, v text")
    found = probe(aftermath, kind, {"adls_url": aftermath.app.stored("t", bomb), "pg": database.pg})
    check_full(found)
    if kind == "disk":
        check_full({"full": found["later"]})
        assert found["later"]["free"] == 64 * MIB
    else:
        assert found["later"]["answer"]["error"]["code"] == "HeaderInvalid"
    # Blocks of one MiB, the memory before the disk, and what the storage SDK and the interpreter take.
    assert found["later"]["peak"] - found["begin"]["peak"] < 64 * MIB
    aftermath.assert_nothing_left()
