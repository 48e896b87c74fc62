"""The locked packages as they are installed here, for a package of the app without an index."""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import distribution
from pathlib import Path

from deploy import package

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def copy_installed(folder: Path, *, text_only: bool = False) -> None:
    """Copy what requirements.lock names, without byte code and programs.

    Args:
        folder: where to.
        text_only: without pyarrow and pgpq.
    """
    for name in package.locked(python=PYTHON, text_only=text_only):
        for file in distribution(name).files or ():
            if file.parts[0] != ".." and "__pycache__" not in file.parts:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), folder / file)
