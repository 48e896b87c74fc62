from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.probe import disk_use, process_memory
from shared.process import MIB


def test_files_without_a_name_count_once(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "named").write_bytes(bytes(3 * MIB))
    with (tmp_path / "gone").open("wb") as gone, (tmp_path / "below" / "named").open("rb"):
        gone.write(bytes(5 * MIB))
        gone.flush()
        (tmp_path / "gone").unlink()
        assert disk_use(os.getpid(), tmp_path) == 8 * MIB
    assert disk_use(os.getpid(), tmp_path) == 3 * MIB


def test_another_folder_does_not_count(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    with (tmp_path / "mine-too").open("wb") as other:
        other.write(bytes(MIB))
        other.flush()
        assert disk_use(os.getpid(), mine) == 0


def test_peak_memory_remembers_what_was_given_back() -> None:
    program = "import sys; block = b'x' * (200 << 20); del block; print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        seen = process_memory(process.pid).peak
        process.communicate()
    assert 200 * MIB < seen < 300 * MIB
    assert process_memory(process.pid) == (0, 0)
