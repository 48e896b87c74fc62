"""An app that was deployed without pyarrow and pgpq: everything works, as text."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.integration.fix_app import App
from tools.config import REPOSITORY

pytestmark = pytest.mark.any_server

# None in sys.modules is a module that cannot be found (https://docs.python.org/3/reference/import.html#the-module-cache).
_RUN = """
import sys
sys.modules["pyarrow"] = sys.modules["pgpq"] = None
import azure.functions as func
from RestoreChunk import main
headers = {"Content-Type": "application/json"}
answer = main(func.HttpRequest("POST", "/api/restore", headers=headers, body=sys.stdin.buffer.read()))
sys.stdout.write(answer.get_body().decode())
"""
ROWS = 3


def restored(app: App, **request: Any) -> dict[str, Any]:
    app.database.hypertable("t", "time timestamptz NOT NULL, v int, name text")
    rows = "".join(f"2025-01-01 0{n}:00Z,{n},name {n}\n" for n in range(ROWS))
    body = {"adls_url": app.archive("t", f"time,v,name\n{rows}".encode()), "pg": app.database.pg} | request
    done = subprocess.run(
        [sys.executable, "-c", _RUN],
        cwd=REPOSITORY,
        input=json.dumps(body),
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_day_is_restored_as_text(app: App, mode: str) -> None:
    answer = restored(app, destination={"mode": mode})
    assert (answer["status"], answer["rows_loaded"], answer["copy"]["format"]) == ("ok", ROWS, "text"), answer
    assert app.database.fetch("SELECT v, name FROM {s}.t ORDER BY v") == [(n, f"name {n}") for n in range(ROWS)]


def test_binary_is_text_too_and_the_answer_says_why(app: App) -> None:
    """As with every other reason against binary: it is a wish and no condition (docs/request.md, copy.format)."""
    answer = restored(app, copy={"format": "binary"})
    assert (answer["status"], answer["rows_loaded"]) == ("ok", ROWS), answer
    assert (answer["copy"]["format"], answer["copy"]["text_because"]) == ("text", "pyarrow is not installed")


def test_a_full_dry_run_needs_neither(app: App) -> None:
    answer = restored(app, dry_run="full", copy={"format": "binary"})
    assert answer["status"] == "dry_run", answer
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0
