from __future__ import annotations

import subprocess
from pathlib import Path

from benchmarks.race import commit_of


def test_the_commit_of_another_work_tree(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.com"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    (tmp_path / "a").write_text("1")
    subprocess.run([*git, "add", "a"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message=a"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert commit_of(tmp_path) == head[:12]
    (tmp_path / "a").write_text("2")
    assert commit_of(tmp_path) == f"{head[:12]}-dirty"
    assert commit_of(tmp_path / "no such folder") == "unknown"
