"""The program as a process, without a function app."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
ENVIRON = {"PATH": os.environ["PATH"], "COLUMNS": "100"}


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "restorectl", *arguments]
    return subprocess.run(command, env=ENVIRON | environ, cwd=ROOT, check=False, capture_output=True, text=True)


def _commands() -> list[str]:
    listed = run("--help").stdout.partition("Commands:\n")[2].partition("\n\n")[0]
    return re.findall(r"^  (\S+)", listed, re.MULTILINE)


COMMANDS = _commands()
