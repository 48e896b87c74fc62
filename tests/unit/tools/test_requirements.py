"""The lock files: `make lock-check` holds them against the ranges of requirements*.txt."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.tools.wheels import write_wheel

ROOT = Path(__file__).resolve().parents[3]
LOCKS = ("requirements.lock", "requirements-dev.lock")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with our Makefile, and an index that has three packages."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.txt").write_text("left>=1\n")
    (tmp_path / "requirements-dev.txt").write_text("-r requirements.txt\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "own"\nversion = "1"\ndependencies = ["right"]\n')
    (tmp_path / "index").mkdir()
    for name, version in (("pip", "1.0"), ("left", "1.0"), ("left", "1.1"), ("right", "1.0")):
        write_wheel(tmp_path / "index", name, version)
    return tmp_path


def make(project: Path, target: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        # `venv` would make one here.
        ["make", "--no-print-directory", "--old-file=venv", target, f"PY={sys.executable}"],
        cwd=project,
        env={name: value for name, value in os.environ.items() if not name.startswith("UV_")}
        | {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(project / "index"), "UV_CACHE_DIR": str(project / "cache")}
        | environ,
        capture_output=True,
        text=True,
        check=False,
    )


def locks(project: Path) -> list[str]:
    return [(project / name).read_text() for name in LOCKS]


def test_lock_pins_one_version_with_its_hash_and_the_check_passes(project: Path) -> None:
    assert make(project, "lock").returncode == 0
    for text in locks(project):
        assert re.search(r"^left==1\.1 \\\n    --hash=sha256:[0-9a-f]{64}$", text, re.MULTILINE), text
        assert str(project) not in text
    # What the command line needs is not deployed.
    assert ["right==1.0 " in text for text in locks(project)] == [False, True]
    before = locks(project)
    checked = make(project, "lock-check")
    assert (checked.returncode, checked.stderr, locks(project)) == (0, "", before)


def test_a_new_release_is_not_a_fault_of_the_lock(project: Path) -> None:
    assert make(project, "lock").returncode == 0
    write_wheel(project / "index", "left", "1.2")
    assert make(project, "lock-check").returncode == 0


def test_a_lock_that_does_not_fit_the_ranges_fails_and_is_mended(project: Path) -> None:
    assert make(project, "lock").returncode == 0
    (project / "requirements.txt").write_text("left<1.1\n")
    checked = make(project, "lock-check")
    assert checked.returncode != 0
    assert "the lock files did not fit requirements*.txt" in checked.stderr
    assert all("left==1.0 " in text for text in locks(project))


def test_ranges_that_nothing_fits_fail(project: Path) -> None:
    assert make(project, "lock").returncode == 0
    # Tests run on what is deployed: the second lock cannot have another version than the first.
    (project / "requirements-dev.txt").write_text("-r requirements.txt\nleft<1.1\n")
    assert make(project, "lock-check").returncode != 0


def test_without_an_index_nothing_is_checked_and_a_warning_says_so(project: Path) -> None:
    assert make(project, "lock").returncode == 0
    before = locks(project)
    (project / "requirements.txt").write_text("left<1.1\n")
    checked = make(project, "lock-check", UV_FIND_LINKS=str(project / "nothing"))
    assert (checked.returncode, locks(project)) == (0, before)
    assert checked.stderr.startswith("WARNING: the lock files WERE NOT CHECKED")


def test_bootstrap_installs_nothing_else() -> None:
    """pip installs uv, and uv the rest: both from the lock file, by its hashes."""
    script = (ROOT / "tools/bootstrap").read_text().replace("\\\n", "")
    assert [" ".join(command.split()) for command in re.findall(r"pip install (.*)", script)] == [
        "--disable-pip-version-check --require-hashes --no-deps --requirement .work/uv.lock",
        "--python .work/venv/bin/python --require-hashes --compile-bytecode --requirement requirements-dev.lock",
    ]
    selected = re.search(r"^ *(awk .* requirements-dev\.lock) >\.work/uv\.lock$", script, re.MULTILINE)
    assert selected is not None
    lock = subprocess.run(["sh", "-c", selected[1]], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    name, *hashes = (line.split(" \\")[0] for line in lock.splitlines() if "# via" not in line and "-r " not in line)
    assert name.startswith("uv==")
    assert hashes
    assert all(re.fullmatch(r" +--hash=sha256:[0-9a-f]{64}", line) for line in hashes), hashes
