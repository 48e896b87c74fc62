"""Storage that answers 500, 503 or 429, for a while and for good."""

from __future__ import annotations

import pytest

from shared.archive.client import RANGE_BYTES
from tests.faults.fix_days import WAYS, Days, unreachable
from tests.faults.fix_http_fault import Fault

# https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes
STATUSES = [(500, "InternalError"), (503, "ServerBusy"), (429, "TooManyRequests")]

# The SDK leaves the connection of an answer that it will retry to the garbage collector.
pytestmark = [pytest.mark.any_server, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]


def add_all(days: Days, times: int | None) -> None:
    """Make a table for each status, at the archive's beginning and in its middle."""
    ways = list(WAYS)
    for number, (status, code) in enumerate(STATUSES):
        for place, from_byte in enumerate((0, RANGE_BYTES + 1)):
            for repeat in range(2):
                way = ways[(number + place + repeat) % len(ways)]
                days.add(f"t{status}_{place}_{way}", way, Fault("status", (status, code), times, from_byte))


def test_two_bad_answers_are_got_over(days: Days) -> None:
    """Takes the six seconds that the SDK pauses."""
    add_all(days, times=2)
    days.assert_restored()
    assert {fault.hits for fault in days.storage.faults.values()} == {2}


def test_a_file_that_storage_still_copies_is_not_read(days: Days) -> None:
    for way in WAYS:
        days.add(f"t_{way}", way, Fault("headers", headers=(("x-ms-copy-status", "pending"),)))
    days.assert_refused(lambda answer: (answer.status, answer.code) == (409, "ArchiveBeingCopied"))


def test_an_account_that_stays_busy_is_unreachable(days: Days) -> None:
    """Takes the six seconds that the SDK pauses. Three attempts, and no more."""
    add_all(days, times=None)
    faults = list(days.storage.faults.values())
    days.assert_refused(unreachable)
    assert {fault.hits for fault in faults} == {3}
