"""The app's own storage account fails in the middle of a backfill: at the plan, in a group, at the conclusion."""

from __future__ import annotations

import pytest

from tests.faults.fix_account import Account, Kind, Service
from tests.faults.fix_backfills import Backfills, day_of

pytestmark = pytest.mark.any_server

# Longer than the function tries here before it says that the account is away, as a minute is in earnest.
SECONDS = 1.2
DAYS = range(1, 6)
# The requests with which the trouble begins: what they write, and of which record.
STEPS = {
    "the plan is claimed": rb"RestoreJobs.*\"status\": \"Running\".*\"claim\": \"[0-9a-f]",
    "the plan is written": rb"\"phase\": \"create\"",
    "the records are created": rb"\$batch",
    "the groups may run": rb"\"phase\": \"run\"",
    "a group is claimed": rb"-0001-0000'.*\"status\": \"Running\"",
    "a day is claimed": rb"-2025-01-03'.*\"status\": \"Running\"",
    "a day is about to commit": rb"-2025-01-03'.*\"commit\": \"[^\"]",
    "a day ends": rb"-2025-01-03'.*\"status\": \"Succeeded\"",
    "a group ends": rb"-0001-0000'.*\"status\": \"Succeeded\"",
    "the conclusion begins": rb"\"phase\": \"refresh\"",
    "the backfill ends": rb"\"answer_status\": 200(?!.*\"day\")",
}
ALL: tuple[Kind, ...] = ("away", "late", "busy", "refused")


@pytest.fixture
def brisk(account: Account, many: Backfills, monkeypatch: pytest.MonkeyPatch) -> Backfills:  # noqa: ARG001 - before the jobs
    """Nothing waits for long."""
    monkeypatch.setattr("shared.jobs.claim.PAUSE_SECONDS", 0.2)
    monkeypatch.setattr("shared.jobs.operation.STALE_SECONDS", 3)
    monkeypatch.setattr("shared.jobs.enqueue.FIRST_DELAY_SECONDS", 0)
    many.table(interval="interval '7 days'")
    many.archive(*DAYS)
    return many


@pytest.mark.parametrize(
    ("step", "service", "kind"),
    [
        *((step, "table", "away") for step in STEPS),
        *(
            (step, "table", kind)
            for step in ("the records are created", "a day ends", "the backfill ends")
            for kind in ALL[1:]
        ),
        *((step, "queue", "away") for step in ("the groups may run", "the conclusion begins")),
    ],
)
def test_while_a_backfill_runs(brisk: Backfills, account: Account, step: str, service: Service, kind: Kind) -> None:
    backfill_id = brisk.taken(DAYS[0], DAYS[-1])
    account.trouble(service, kind, at=STEPS[step], seconds=SECONDS)
    brisk.serve_until_ended(backfill_id)
    assert account.began.is_set()
    state = brisk.monitor(backfill_id)
    assert state["status"] == "Succeeded", state
    assert (state["days"]["total"], state["days"]["restored"]) == (len(DAYS), len(DAYS))
    assert brisk.counts() == brisk.all_of(*DAYS)
    assert [day["day"] for day in state["value"]] == [day_of(number) for number in DAYS]
