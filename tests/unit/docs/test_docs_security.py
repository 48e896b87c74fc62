"""The threat model names tests that exist and settings that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "security.md").read_text()


def test_every_file_that_is_named_exists() -> None:
    named = set(re.findall(r"`((?:tests|tools)/[\w/]+\.py)`", PAGE))
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_defence_has_a_test() -> None:
    table = PAGE.partition("## What a request cannot do")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| to ")]
    assert len(rows) > 8
    assert all("tests/" in row.split("|")[3] or "](" in row.split("|")[3] for row in rows)


def test_every_setting_that_is_recommended_exists() -> None:
    table = PAGE.partition("## Recommended settings")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([A-Z][A-Z_]+)`", table))
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE))
    assert len(named) > 7
    assert named - documented == set()
