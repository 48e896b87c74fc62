"""docs/cli.md has every command, option of the key and exit code."""

from __future__ import annotations

import re
from pathlib import Path

from restorectl.exit_codes import ExitCode
from tests.unit.restorectl.fix_help import COMMANDS

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "cli.md").read_text()


def test_every_exit_code() -> None:
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)] == list(ExitCode)


def test_every_command_is_shown() -> None:
    assert set(re.findall(r"\brestorectl ([a-z][a-z-]+)\b", PAGE)) == set(COMMANDS)
