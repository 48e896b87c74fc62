"""docs/architecture.md draws the packages of `shared/`; pyproject.toml has the walls between them (`make lint`)."""

from __future__ import annotations

import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT / "shared"
MOST_SINGLE_FILES = 7

each_file = pytest.mark.parametrize("path", sorted(SHARED.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))


def drawn(indent: int) -> list[str]:
    tree = re.search(r"```text\n(.*?)```", (ROOT / "docs/architecture.md").read_text(), re.DOTALL)
    assert tree is not None
    return re.findall(rf"^ {{{indent}}}(\w[\w.]*/?) ", tree[1], re.MULTILINE)


def test_the_page_draws_every_package_and_single_file() -> None:
    entries = [path for path in SHARED.iterdir() if path.name not in ("__init__.py", "__pycache__")]
    assert sorted(drawn(2)) == sorted(f"{path.name}/" if path.is_dir() else path.name for path in entries)


def test_the_page_draws_every_package_in_another() -> None:
    assert sorted(drawn(4)) == sorted(f"{path.parent.name}/" for path in SHARED.glob("*/*/__init__.py"))


def test_few_files_are_beside_the_packages() -> None:
    singles = [path for path in SHARED.glob("*.py") if path.name != "__init__.py"]
    assert len(singles) <= MOST_SINGLE_FILES


@pytest.mark.parametrize("module", ["shared.load.load", "shared.timescale.caggs", "shared.binary.encoder"])
def test_what_holds_sql_loads_neither_the_archive_nor_azures_sdk(module: str) -> None:
    code = f"import sys, {module}; print([m for m in sys.modules if m.startswith(('shared.archive', 'azure'))])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@each_file
def test_the_environment_is_read_in_settings_alone(path: Path) -> None:
    with path.open("rb") as file:
        names = {token.string for token in tokenize.tokenize(file.readline) if token.type == tokenize.NAME}
    assert path.name == "settings.py" or not names & {"environ", "getenv"}


def test_errors_of_psycopg2_become_ours_where_they_end_a_restore_and_where_a_step_may_fail() -> None:
    """And nowhere else: their texts hold values of rows."""
    uses = re.compile(r"\b(?:database_error|row_error)\(")
    found = {path.relative_to(SHARED).as_posix() for path in SHARED.rglob("*.py") if uses.search(path.read_text())}
    assert found == {f"postgres/{name}.py" for name in ("optional_step", "savepoint", "sqlstate")}


def test_no_test_imports_another() -> None:
    """What two need is in a `fix_` module."""
    found = re.compile(r"^\s*(?:from|import) tests\.(?:\w+\.)*test_", re.MULTILINE)
    assert not [path for path in (ROOT / "tests").rglob("*.py") if found.search(path.read_text())]
