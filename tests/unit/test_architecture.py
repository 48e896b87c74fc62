"""The walls that docs/architecture.md draws, held in place."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = sorted((ROOT / "shared").rglob("*.py"))
MOST_LINES_OF_CODE = 250

OTHER_WING = {"lake": "shared.database", "database": "shared.lake"}
# They belong to no line of code.
SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}

each_file = pytest.mark.parametrize("path", SHARED, ids=lambda path: str(path.relative_to(ROOT)))


def tokens(path: Path) -> list[tokenize.TokenInfo]:
    return list(tokenize.generate_tokens(io.StringIO(path.read_text()).readline))


def imports(path: Path) -> set[str]:
    """The modules that a file imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def docstring_lines(path: Path) -> set[int]:
    return {
        line
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def test_the_layout_names_every_file_of_shared() -> None:
    tree = re.search(r"```text\n(.*?)```", (ROOT / "docs/architecture.md").read_text(), re.DOTALL)
    assert tree is not None
    drawn = re.findall(r"^ +(\w+\.py) ", tree[1], re.MULTILINE)
    assert sorted(drawn) == sorted(path.name for path in SHARED if path.name != "__init__.py")


@each_file
def test_the_wings_do_not_import_each_other(path: Path) -> None:
    other = OTHER_WING.get(path.parent.name)
    assert other is None or not [module for module in imports(path) if f"{module}.".startswith(f"{other}.")]


@each_file
def test_the_environment_is_read_in_settings_alone(path: Path) -> None:
    names = {token.string for token in tokens(path) if token.type == tokenize.NAME}
    assert path.name == "settings.py" or not names & {"environ", "getenv"}


@each_file
def test_no_file_grows_too_long(path: Path) -> None:
    lines = {
        line for token in tokens(path) if token.type not in SILENT for line in range(token.start[0], token.end[0] + 1)
    }
    assert len(lines - docstring_lines(path)) <= MOST_LINES_OF_CODE
