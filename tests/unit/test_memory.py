"""Whether the process gives back what it no longer uses, by the kernel's own figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RESIDENT = """
from pathlib import Path

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1024
"""

# A block that is freed raises the bound; then large blocks lie between small ones that stay.
KEPT_AFTERWARDS = """
import sys
from shared.process import limit_heap_retention

if sys.argv[1] == "set":
    assert limit_heap_retention()
before = resident()
first = bytearray(b"x") * (16 << 20)
del first
large, small = [], []
for _ in range(20):
    large.append(bytearray(b"x") * (5 << 20))
    small.append(bytearray(b"x") * 100_000)
del large
print(resident() - before)
"""

# Threads fill the C library's heaps and Arrow's, and something small stays in each.
GIVEN_BACK = """
from threading import Barrier, Thread
import pyarrow as pa
from shared.process import give_back_memory, limit_heap_retention

limit_heap_retention()
before, small, together = resident(), [], Barrier(8)

def work():
    held = []
    for _ in range(20):
        held += [bytearray(b"x") * 100_000 for _ in range(10)]
        held.append(pa.array([b"x" * 1000] * 1000))
        small.append(bytearray(b"x") * 2000)
    together.wait()

threads = [Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
filled = resident() - before
give_back_memory()
print(filled, resident() - before)
"""


def numbers_of(script: str, *arguments: str) -> list[int]:
    """What a process of its own prints, in MiB."""
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", RESIDENT + script, *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return list(map(int, done.stdout.split()))


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_large_blocks_go_back() -> None:
    assert numbers_of(KEPT_AFTERWARDS, "set")[0] < 10
    assert numbers_of(KEPT_AFTERWARDS, "leave")[0] > 60


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_what_threads_have_filled_goes_back() -> None:
    filled, kept = numbers_of(GIVEN_BACK)
    assert filled > 200
    assert kept < 50
