"""`.funcignore`, by git's own reading of it: what is deployed, and what stays at home."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# Where a deployment from the lock file has the packages.
PACKAGES = ".python_packages/lib/site-packages"

AT_HOME = [
    ".ci/run",
    ".gitignore",
    ".work/venv/pyvenv.cfg",
    "README.md",
    "benchmarks/race.py",
    "deploy/deploy.sh",
    "docs/errors.md",
    "examples/restore.sh",
    "local.settings.json",
    "requirements-dev.lock",
    "restorectl/commands.py",
    "tests/unit/test_funcignore.py",
    "tools/host.py",
]
DEPLOYED = [
    "RestoreChunk/function.json",
    "host.json",
    "requirements.txt",
    "shared/errors.py",
    f"{PACKAGES}/package/README.md",
    f"{PACKAGES}/package/docs/__init__.py",
    f"{PACKAGES}/package/examples/data.csv",
    f"{PACKAGES}/package/pyproject.toml",
    f"{PACKAGES}/package/tests/util.py",
    f"{PACKAGES}/package/tools/convert.py",
    f"{PACKAGES}/tests/__init__.py",
]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A repository of which git ignores what `.funcignore` says."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text((ROOT / ".funcignore").read_text())
    return tmp_path


def ignored(app: Path, paths: list[str]) -> list[str]:
    done = subprocess.run(
        ["git", "-c", "core.excludesFile=", "check-ignore", "--no-index", "--stdin"],
        cwd=app,
        input="\n".join(paths),
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode in {0, 1}, done.stderr
    return done.stdout.splitlines()


def test_tests_and_tools_stay_at_home(app: Path) -> None:
    assert ignored(app, AT_HOME) == AT_HOME


def test_a_package_keeps_folders_of_the_same_names(app: Path) -> None:
    assert ignored(app, DEPLOYED) == []


def test_each_file_of_the_repository_is_one_or_the_other(app: Path) -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True)
    deployed = set(tracked.stdout.splitlines()) - set(ignored(app, tracked.stdout.splitlines()))
    assert {path.split("/")[0] for path in deployed} == {
        ".funcignore",
        "ArchiveArrived",
        *(
            f"Restore{name}"
            for name in (
                "BackfillResult",
                "BackfillRetry",
                "Backfills",
                "Chunk",
                "Daily",
                "Days",
                "Health",
                "HealthDetails",
                "Page",
                "Poison",
                "Queue",
                "Result",
                "Status",
                "Sweep",
            )
        ),
        "host.json",
        "requirements.lock",
        "requirements.txt",
        "shared",
    }
