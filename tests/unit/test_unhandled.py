"""What Python itself prints of exceptions that nothing handles: in a thread, a destructor, at a program's end."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tools.config import REPOSITORY

CANARY = "canary-row-Zq8"
SECRET = "canary-secret-Zq8"

_BEGIN = f"""
import threading
import psycopg2
from shared.log_redaction import redact_logs
from shared.secret import Secret
redact_logs()
secret = Secret("{SECRET}")

def fail(*_):
    try:
        raise psycopg2.errors.UniqueViolation("DETAIL: {CANARY}")
    except psycopg2.Error as exc:
        raise RuntimeError("a bug of ours, {SECRET}") from exc
"""
_ENDS = {
    "in a thread": "thread = threading.Thread(target=fail); thread.start(); thread.join()",
    "in a destructor": "class Short:\n    __del__ = fail\nShort()",
    "in a generator": (
        "def rows():\n    try:\n        yield 1\n    finally:\n        fail()\n"
        "opened = rows(); next(opened); del opened"
    ),
    "at the end": "fail()",
}


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("end", _ENDS)
def test_an_exception_that_nothing_handles(end: str) -> None:
    said = run(_BEGIN + _ENDS[end])
    assert CANARY not in said.stdout + said.stderr
    assert SECRET not in said.stdout + said.stderr
    assert "a bug of ours, ***" in said.stderr
    assert "SQLSTATE" in said.stderr
    assert said.returncode == (1 if end == "at the end" else 0)


def test_an_exception_that_hides_nothing_is_printed_as_ever() -> None:
    plain = "import threading\nthread = threading.Thread(target=lambda: 1 / 0, name='t'); thread.start(); thread.join()"
    redacted = "from shared.log_redaction import redact_logs\nredact_logs()\n" + plain
    # All but the line numbers of the program.
    expected = run("\n\n" + plain).stderr
    assert "ZeroDivisionError" in expected
    assert run(redacted).stderr == expected
