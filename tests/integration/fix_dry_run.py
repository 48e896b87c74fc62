"""Dry runs, and the errors of the real restores beside them."""

from __future__ import annotations

import re
from typing import Any

from tests.integration.fix_app import App

CSV = b'time,v,note\n2025-01-01 00:00Z,1,"two\nlines"\n2025-01-01 12:00Z,2,\n'


def dry(app: App, csv: bytes = CSV, **request: Any) -> dict[str, Any]:
    answer = app.restore(app.archive("t", csv), **{"dry_run": True} | request)
    assert (answer.status, answer.body["status"]) == (200, "dry_run"), answer.body
    found: dict[str, Any] = answer.body["dry_run"]
    return found


def same_words(app: App, csv: bytes = CSV, **request: Any) -> list[str]:
    """Compare the problems with the errors of real restores; return their codes. The first one is what ends it."""
    problems = dry(app, csv, **request)["problems"]
    answer = app.restore(app.archive("t", csv), **request | {"dry_run": False})
    error = answer.body["error"]
    # PostgreSQL may name a chunk and its constraints, which are not there yet.
    messages = [error["message"], re.sub(r'_hyper_\d+_\d+_chunk|(?<=")(\d+_)+t', "t", error["message"])]
    assert any({"code": error["code"], "message": message} in problems for message in messages), (problems, error)
    return [problem["code"] for problem in problems]


def codes(found: dict[str, Any]) -> list[str]:
    """Return the codes of the problems, in order."""
    return [problem["code"] for problem in found["problems"]]
