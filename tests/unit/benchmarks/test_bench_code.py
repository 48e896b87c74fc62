from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks import code
from benchmarks.code import commit_of, digest
from tools.config import REPOSITORY


@pytest.fixture(autouse=True)
def _forget() -> None:
    digest.cache_clear()
    commit_of.cache_clear()


def app(folder: Path) -> Path:
    for name in ("RestoreChunk/__init__.py", "shared/archive/a.py", "docs/a.md"):
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_text("1")
    return folder


@pytest.mark.parametrize("name", ["shared/archive/a.py", "RestoreChunk/__init__.py", "requirements.lock"])
def test_what_is_measured_is_in_the_digest(tmp_path: Path, name: str) -> None:
    root = app(tmp_path)
    before = digest(root)
    (root / name).write_text("2")
    digest.cache_clear()
    assert digest(root) != before


def test_what_is_not_measured_is_not(tmp_path: Path) -> None:
    root = app(tmp_path)
    before = digest(root)
    (root / "docs/a.md").write_text("2")
    digest.cache_clear()
    assert digest(root) == before


def test_what_measures_is_in_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "benchmarks"
    shutil.copytree(REPOSITORY / "benchmarks", here)
    monkeypatch.setattr(code, "_HERE", here)
    before = digest(REPOSITORY)
    for name, counts in (("cases", True), ("plot", False)):
        (here / f"{name}.py").write_text("")
        digest.cache_clear()
        assert (digest(REPOSITORY) != before) is counts
        before = digest(REPOSITORY)


def test_the_commit_of_another_work_tree(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.com"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    (tmp_path / "a").write_text("1")
    subprocess.run([*git, "add", "a"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message=a"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert commit_of(tmp_path) == head[:12]
    (tmp_path / "a").write_text("2")
    commit_of.cache_clear()
    assert commit_of(tmp_path) == f"{head[:12]}-dirty"
    assert commit_of(tmp_path / "no such folder") == "unknown"
