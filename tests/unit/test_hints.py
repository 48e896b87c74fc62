"""Every error has a hint, and no hint points to a file that only a developer has."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import InternalError, MissingRight, RestoreError, lacks
from tests.fix_errors import errors

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = [path.with_name("__init__.py") for path in ROOT.glob("*/function.json")]
SOURCES = sorted([*(ROOT / "shared").rglob("*.py"), *FUNCTIONS])


def texts(path: Path) -> Iterator[str]:
    """Every text of a module that may be shown: all but its docstrings."""
    tree = ast.parse(path.read_text())
    docstrings = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                docstrings.add(id(first.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_text_points_to_a_file_that_is_not_deployed(path: Path) -> None:
    for text in texts(path):
        assert "docs/" not in text
        assert ".md" not in text
        assert "README" not in text
        assert "examples/" not in text


@pytest.mark.parametrize("kind", list(errors()), ids=lambda kind: kind.code)
def test_every_error_has_a_hint(kind: type[RestoreError]) -> None:
    hint = kind("message").hint
    assert hint
    assert len(hint) < 300
    assert not hint.endswith(".")
    assert hint[0].islower()


def test_the_hint_for_a_missing_right_is_sql_that_the_details_complete() -> None:
    error = lacks([MissingRight("restore", "INSERT", "silver.telemetry")])
    assert "GRANT <right> ON <target> TO <role>" in str(error.hint)
    (detail,) = error.details
    assert (detail.target, dict(detail.info)) == ("silver.telemetry", {"role": "restore", "right": "INSERT"})


def test_a_bug_of_ours_names_the_log() -> None:
    assert "request_id" in str(InternalError("x").hint)
