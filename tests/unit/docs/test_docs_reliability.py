"""Each fault that the docs promise something about has a test, and each fault's test stands in the docs."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "reliability.md").read_text()
# Of the suite's own tools, not of a fault.
OF_THE_TOOLS = {"test_the_proxy_is_whole_without_rules"}


def names_in(*folders: str) -> set[str]:
    files = (file for folder in folders for file in (ROOT / "tests" / folder).rglob("test_*.py"))
    return {name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)}


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert named - names_in("unit", "integration", "faults", "fuzz", "load", "twin") == set()


def test_every_fault_that_is_tested_is_named() -> None:
    assert names_in("faults", "load") - set(re.findall(r"`(test_\w+)`", PAGE)) - OF_THE_TOOLS == set()
