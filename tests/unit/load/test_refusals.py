"""What the refusals say."""

from __future__ import annotations

from datetime import date, datetime, timezone

import pytest

from shared.load.refusals import in_progress
from shared.model.results import RunningRestore
from shared.names import QualifiedName

TABLE = QualifiedName("s", "t")
DAY = date(2025, 1, 3)
BEGAN = datetime(2025, 1, 4, 10, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("running", "message"),
    [
        (
            RunningRestore(DAY, TABLE, "a1", BEGAN, 12, "role", "restore-chunk/a1"),
            "a restore of 2025-01-03 into s.t has been running since 2025-01-04T10:00:00Z, with the request_id a1",
        ),
        (
            RunningRestore(DAY, TABLE, "a1", None, 12, "role", "restore-chunk/a1"),
            "a restore of 2025-01-03 into s.t is running, with the request_id a1",
        ),
        (RunningRestore(None, TABLE), "a restore into s.t is running"),
        (
            RunningRestore(DAY, TABLE, None, BEGAN, 12, "role", "psql"),
            (
                "the lock of 2025-01-03 of s.t is held by pid 12 (role role, psql), which is not a restore;"
                " the transaction of that session began 2025-01-04T10:00:00Z"
            ),
        ),
        (
            RunningRestore(DAY, TABLE, None, None, 12),
            "the lock of 2025-01-03 of s.t is held by pid 12, which is not a restore",
        ),
    ],
)
def test_what_runs_or_holds_the_lock_and_since_when(running: RunningRestore, message: str) -> None:
    assert in_progress(TABLE, running).message == message
