"""Whether the process gives back what it no longer uses, by the kernel's own figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# A block that is freed raises the bound; then large blocks lie between small ones that stay.
KEPT_AFTERWARDS = """
import sys
from pathlib import Path
from shared.process import limit_heap_retention

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1024

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


def kept_mib(how: str) -> int:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", KEPT_AFTERWARDS, how], cwd=root, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_large_blocks_go_back() -> None:
    assert kept_mib("set") < 10
    assert kept_mib("leave") > 60
