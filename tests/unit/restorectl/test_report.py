from __future__ import annotations

from typing import Any

import pytest

from restorectl.report import say_service_error
from restorectl.screen import Screen
from shared.api.render import error_answer
from shared.errors import (
    DataRejected,
    DaysFailed,
    Fault,
    InvalidRequest,
    MissingRight,
    ReferencedRows,
    RestoreError,
    TooManyRejectedRows,
    lacks,
)

ROW = "line 2, column v: invalid text representation"


def rejected(*facts: tuple[str, Any]) -> DataRejected:
    return DataRejected(ROW, target="v", details=[Fault("DataRejected", ROW, info=facts)])


def said(error: RestoreError, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines about the details."""
    say_service_error(Screen("table"), error_answer(error, "r"))
    lines = capsys.readouterr().err.splitlines()
    return [line.strip() for line in lines if line.startswith(("  details:", "    "))]


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (
            rejected(("sqlstate", "22P02"), ("line", 2), ("column", "v")),
            ["details: sqlstate 22P02, line 2, column v"],
        ),
        (rejected(("line", 2), ("constraint", None)), ["details: line 2"]),
        (rejected(), []),
        (
            TooManyRejectedRows(
                "too many", details=[Fault("TooManyRejectedRows", "too many", info=(("lines", [3, 9]),))]
            ),
            ["details: lines 3, 9"],
        ),
        (
            ReferencedRows(
                "no",
                details=[Fault("ReferencedRows", "no", info=(("referenced_rows", [{"table": "s.b", "rows": 3}]),))],
            ),
            ["details: referenced rows (table s.b, rows 3)"],
        ),
        (
            lacks([MissingRight("writer", "INSERT", "s.t")]),
            ["details: target s.t, role writer, right INSERT"],
        ),
        (
            DaysFailed("2 of 3 days failed", details=[Fault("DataRejected", ROW, f"2025-01-0{day}") for day in (1, 2)]),
            [f"details: 2025-01-01: {ROW}", f"2025-01-02: {ROW}"],
        ),
        (
            InvalidRequest("a: wrong", target="a", details=[Fault("x", "a: wrong", "a"), Fault("x", "b: no", "b")]),
            ["details: b: no"],
        ),
    ],
)
def test_an_error_is_followed_by_what_its_details_add(
    error: RestoreError, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(error, capsys) == lines
