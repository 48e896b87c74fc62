"""The rules of bandit, which ruff calls S, are on for the product, and nothing in it switches them off as a whole."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PRODUCT = sorted([*(ROOT / "shared").rglob("*.py"), ROOT / "RestoreChunk/__init__.py"])

BAD = {
    "S602": "import subprocess\nsubprocess.run('ls', shell=True)\n",
    "S301": "import pickle\npickle.loads(b'')\n",
    "S608": "def f(t: str) -> str:\n    return f'DELETE FROM {t}'\n",
    "S501": "import requests\nrequests.get('https://example.com', verify=False, timeout=1)\n",
    "S105": "password = 'hunter2 hunter2'\n",
    "S311": "import random\nrandom.random()\n",
    "S324": "import hashlib\nhashlib.md5(b'')\n",
}


@pytest.mark.parametrize("folder", ["shared", "shared/load", "shared/archive", "RestoreChunk"])
def test_the_rules_are_on(folder: str) -> None:
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--output-format",
        "json",
        "--stdin-filename",
        f"{folder}/x.py",
        "-",
    ]
    done = subprocess.run(command, input="".join(BAD.values()), capture_output=True, text=True, cwd=ROOT, check=False)
    assert set(BAD) <= {found["code"] for found in json.loads(done.stdout)}


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_switched_off_as_a_whole(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"#\s*(?:ruff|flake8):", text)
    # An exception names its rule, and one of bandit's says why.
    for comment in re.findall(r"#\s*noqa(.*)", text):
        assert re.match(r": [A-Z]+\d+", comment), comment
        assert " - " in comment or not re.search(r"\bS\d", comment), comment
    assert "# nosec" not in text
