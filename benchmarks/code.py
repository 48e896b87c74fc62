"""Which code was measured, and by which: figures of different code must not stand in one series."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_HERE = Path(__file__).resolve().parent
# What decides about a run; the rest only tells of it.
_MEASURING = ("archive", "backends", "cases", "day", "function", "probe", "race", "recipe", "rivals", "server", "table")


@cache
def digest(root: Path) -> str:
    """Return a digest of a function app, of its requirements, and of the modules that time it.

    Args:
        root: the function app's folder.
    """
    hashed = hashlib.sha256()
    for path in (*_function_app(root), *(_HERE / f"{name}.py" for name in _MEASURING)):
        hashed.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return hashed.hexdigest()[:16]


@cache
def commit_of(root: Path) -> str:
    """Return the commit of a work tree, with `-dirty` where it was changed since; `unknown` without git."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    command = [git, "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip() or "unknown"


def _function_app(root: Path) -> Iterator[Path]:
    for folder in ("RestoreChunk", "shared"):
        yield from sorted((root / folder).rglob("*.py"))
    requirements = root / "requirements.lock"
    if requirements.exists():
        yield requirements
