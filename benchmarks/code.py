"""Which code was measured, and which code measured it: figures of different code must not be compared."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from functools import cache
from pathlib import Path

_HERE = Path(__file__).resolve().parent
# What decides about a run; the rest only reports it.
_MEASURING = ("archive", "cases", "day", "function", "probe", "race", "recipe", "rivals", "server", "table")


@cache
def digest(root: Path) -> str:
    """Return a digest of a function app, of its requirements, and of the modules that time it."""
    paths = [path for folder in ("RestoreChunk", "shared") for path in sorted((root / folder).rglob("*.py"))]
    paths += [path for path in [root / "requirements.lock"] if path.exists()]
    hashed = hashlib.sha256()
    for path in (*paths, *(_HERE / f"{name}.py" for name in _MEASURING)):
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
