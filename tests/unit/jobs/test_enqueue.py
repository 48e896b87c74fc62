"""When an operation is tried again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.errors import (
    ArchiveBeingRehydrated,
    CommitOutcomeUnknown,
    DatabaseDiskFull,
    DatabaseUnreachable,
    DataRejected,
    RestoreError,
)
from shared.jobs.claim import HEARTBEAT_SECONDS
from shared.jobs.enqueue import delay_seconds
from shared.jobs.operation import STALE_SECONDS, RestoreOperation
from shared.settings import Settings

NEW = RestoreOperation(
    id="id", request="{}", archive="archive", database="db", target_table="public.t", day="2025-01-01", created=""
)


def delays(error: RestoreError, *, waits: bool = False) -> list[int | None]:
    """Return the delays until the operation ends."""
    found: list[int | None] = []
    while not found or found[-1] is not None:
        tries = len(found)
        tried = replace(NEW, waits=tries) if waits else replace(NEW, retries=tries)
        found.append(delay_seconds(error, tried, Settings()))
    return found


def test_delays_double_up_to_five_minutes_and_eight_attempts() -> None:
    assert delays(DatabaseUnreachable("x"))[-6:] == [10, 20, 40, 80, 160, 300, None][-6:]
    assert len(delays(DatabaseUnreachable("x"))) == 8
    # A server that is away for a minute is back before the attempts are used up.
    assert sum(delay or 0 for delay in delays(DatabaseUnreachable("x"))) > 5 * 60


@pytest.mark.parametrize(("error", "first"), [("later", 5), ("ask", 5), ("now", 0)])
def test_what_may_pass_at_once_is_tried_at_once(error: str, first: int) -> None:
    class Passing(RestoreError):
        retry = error  # type: ignore[assignment]

    assert delays(Passing("x")) == [first, 10, 20, 40, 80, 160, 300, None]


def test_what_must_be_mended_is_not_tried_again_and_a_full_disk_once() -> None:
    assert delays(DataRejected("x")) == [None]
    assert delays(DatabaseDiskFull("x")) == [5, None]
    assert CommitOutcomeUnknown.retry == "ask"


def test_a_file_that_is_being_rehydrated_is_waited_for_fifteen_hours() -> None:
    found = delays(ArchiveBeingRehydrated("x"), waits=True)
    assert found == [600] * 90 + [None]
    assert sum(filter(None, found)) == 15 * 3600


def test_the_figures_of_the_contract() -> None:
    """Tests shorten them."""
    assert (HEARTBEAT_SECONDS, STALE_SECONDS) == (5, 120)
    settings = Settings()
    assert (settings.job_max_attempts, settings.job_max_crashes, settings.job_retention_days) == (8, 3, 30)
