from __future__ import annotations

import re
from typing import Any

import pytest

from restorectl.report import print_monitor, print_monitors, say_service_error
from restorectl.screen import Screen
from shared.api.render import error_answer
from shared.errors import (
    DataRejected,
    DaysFailed,
    Fault,
    InvalidRequest,
    JobStorageUnreachable,
    MissingRight,
    ReferencedRows,
    RestoreError,
    SecretInAsyncRequest,
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


@pytest.mark.parametrize(
    ("can_sync", "code", "next_step"),
    [
        (True, "JobStorageUnreachable", "--sync restores without the queue"),
        (False, "JobStorageUnreachable", "wait a while, and send it again"),
        (True, "SecretInAsyncRequest", "--sync restores without the queue, which would keep the secret"),
        (False, "SecretInAsyncRequest", "fix the cause, and send it again"),
    ],
)
def test_the_queue_is_done_without_where_there_is_such_an_option(
    can_sync: bool, code: str, next_step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = {"JobStorageUnreachable": JobStorageUnreachable, "SecretInAsyncRequest": SecretInAsyncRequest}[code]
    say_service_error(Screen("table"), error_answer(kind("no"), "r"), can_sync=can_sync)
    assert f"  next: {next_step} (docs/errors.md has {code})" in capsys.readouterr().err.splitlines()


UNREACHABLE = {"code": "DatabaseUnreachable", "message": "no", "hint": "wait a while", "retry": "later"}


@pytest.mark.parametrize(
    ("changes", "next_step"),
    [
        (
            {"status": "NotStarted", "next_attempt": "2025-01-01T02:03:04Z"},
            "nothing: it is tried again by itself at 2025-01-01 02:03:04Z",
        ),
        ({"status": "Running"}, "nothing: it is being tried again"),
    ],
)
def test_what_goes_on_by_itself_asks_for_nothing(
    changes: dict[str, str], next_step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_monitor(Screen("table"), {"id": "x", "kind": "restore", "error": UNREACHABLE} | changes)
    assert capsys.readouterr().err.splitlines() == ["last attempt: DatabaseUnreachable: no", f"  next: {next_step}"]


@pytest.mark.parametrize(
    ("backfill", "next_step"),
    [
        (None, "wait a while, and send it again under another id, or without one"),
        ("many", "fix the cause, then `restorectl retry many` restores the days that are not in"),
    ],
)
def test_what_has_ended_is_sent_again_under_another_id(
    backfill: str | None, next_step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monitor = {"id": "x", "kind": "restore", "backfill": backfill, "status": "Failed", "error": UNREACHABLE}
    print_monitor(Screen("table"), monitor)
    assert f"  next: {next_step}" in capsys.readouterr().err


def listed(status: str, **others: Any) -> dict[str, Any]:
    progress = {"stage": "copy", "percent": 45.2, "rows": 200_000, "seconds": 9.0}
    known = {"id": "0123456789abcdef", "day": "2025-01-01", "target_table": "silver.telemetry", "database": "weavix"}
    return known | {"status": status, "progress": progress, "created": "2025-01-02T02:03:04Z"} | others


@pytest.mark.parametrize(
    ("monitor", "outcome", "rows"),
    [
        (listed("Succeeded", outcome="ok"), "ok", True),
        (listed("Succeeded", outcome="ok_with_warnings"), "ok_with_warnings", True),
        (listed("Succeeded", outcome="dry_run"), "dry_run", False),
        (listed("Succeeded", outcome="skipped"), "skipped", False),
        (listed("Failed", outcome=None, error=UNREACHABLE), "DatabaseUnreachable", False),
        (listed("Canceled", outcome=None, error={"code": "RestoreCanceled"}), "", False),
        (listed("Running", outcome=None, canceling=False), "copy 45 %", True),
        (listed("Running", outcome=None, canceling=True), "canceling", True),
    ],
)
def test_a_list_shows_rows_only_where_they_are_or_will_be_in(
    monitor: dict[str, Any], outcome: str, rows: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    print_monitors(Screen("table"), "restores", [monitor, listed("Succeeded", outcome="ok")])
    heading, line, _ = capsys.readouterr().out.splitlines()
    at = heading.index("OUTCOME")
    assert line[at : heading.index("TABLE")].strip() == outcome
    assert ("200,000" in line) == rows


def test_a_list_keeps_what_matters_on_a_narrow_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    monitors = [listed("Succeeded", outcome="ok"), listed("Succeeded", outcome="dry_run")]
    for columns, headings in (
        (110, ["ID", "STATUS", "DAY", "OUTCOME", "TABLE", "DATABASE", "ROWS READ", "CREATED"]),
        (80, ["ID", "STATUS", "DAY", "OUTCOME", "TABLE"]),
    ):
        screen = Screen("table")
        screen.data.width = columns
        print_monitors(screen, "restores", monitors)
        assert re.split(r" {2,}", capsys.readouterr().out.splitlines()[0]) == headings


def test_a_backfill_shows_no_rows_of_days_that_are_not_in(capsys: pytest.CaptureFixture[str]) -> None:
    days = [{"day": "2025-01-01", "outcome": word, "rows": 5000} for word in ("failed", "canceled", "running")]
    print_monitor(Screen("table"), {"id": "x", "kind": "backfill", "status": "Running", "value": days})
    shown = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("2025-01-01")]
    assert shown == [["2025-01-01", "failed"], ["2025-01-01", "canceled"], ["2025-01-01", "running", "5,000"]]


@pytest.mark.parametrize("status", ["Running", "Failed", "Canceled"])
def test_a_restore_without_a_result_says_where_the_log_has_it(status: str, capsys: pytest.CaptureFixture[str]) -> None:
    canceling = status == "Running"
    print_monitor(Screen("table"), listed(status, kind="restore", request_id="r-1", canceling=canceling))
    facts = dict(re.split(r" {2,}", line) for line in capsys.readouterr().out.splitlines())
    assert facts["request_id"] == "r-1"
    assert ("canceling" in facts) == canceling


@pytest.mark.parametrize(("csv", "loaded"), [(4000, "25 % of 3.9 KiB"), (None, None)])
def test_what_was_read_is_not_what_was_loaded(
    csv: int | None, loaded: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """A percentage of a spooled archive is of its CSV."""
    progress = {"compressed_bytes": 1024, "compressed_bytes_total": 2048, "percent": 25.0, "csv_bytes_total": csv}
    print_monitor(Screen("table"), {"status": "Running", "progress": progress})
    shown = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    assert shown["archive read"].strip() == "1.0 KiB of 2.0 KiB"
    assert shown.get("loaded", "").strip() == (loaded or "")
