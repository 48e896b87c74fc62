"""A network to storage that is cut or stalls, and downloads that end early."""

from __future__ import annotations

import pytest

from shared.archive.client import RANGE_BYTES
from tests.faults.fix_days import WAYS, Days, unreachable
from tests.faults.fix_http_fault import Fault, Kind

# Of a short answer that calls itself whole the network knows nothing: only the count of the bytes tells.
CUTS: list[Kind] = ["cut", "cut body", "end early", "short"]
STALLS: list[Kind] = ["stall", "stall answer", "stall body"]

# The first of the three ranges, the second and the last.
RANGES = (0, RANGE_BYTES, 2 * RANGE_BYTES)

# The SDK leaves the connection of an answer that it will retry to the garbage collector.
pytestmark = [pytest.mark.any_server, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]


def add_all(days: Days, kinds: list[Kind], times: int | None) -> list[str]:
    """Make a table for each kind and range, each to be restored in another way than the one before."""
    ways = list(WAYS)
    cases = [(kind, from_byte) for kind in kinds for from_byte in RANGES]
    tables = [f"{'lasting' if times is None else 'passing'}_{number}" for number in range(len(cases))]
    for number, (table, (kind, from_byte)) in enumerate(zip(tables, cases, strict=True)):
        way = ways[(number + number // len(ways)) % len(ways)]
        days.add(table, way, Fault(kind, times=times, from_byte=from_byte))
    return tables


def test_a_network_that_is_cut_once_is_got_over(days: Days) -> None:
    add_all(days, CUTS, times=1)
    days.assert_restored()
    assert {fault.hits for fault in days.storage.faults.values()} == {1}


def test_a_network_that_is_cut_each_time_is_unreachable(days: Days) -> None:
    """Takes the six seconds that the SDK pauses."""
    add_all(days, CUTS, times=None)
    days.assert_refused(unreachable)


def test_a_stalled_network_is_got_over_or_given_up(days: Days) -> None:
    """Takes the real 20 s of silence that each of three attempts is given: about 70 s, all cases side by side."""
    passing = add_all(days, STALLS, times=1)
    lasting = add_all(days, STALLS, times=None)
    before = {table: days.aftermath.rows(table) for table in lasting}
    answers = days.restore_all()
    for table in passing:
        assert answers[table].status == 200, (table, answers[table].body)
        days.assert_complete(table)
        del days.ways[table]
    for table in lasting:
        assert unreachable(answers[table]), (table, answers[table].body)
        assert days.aftermath.rows(table) == before[table]
    days.aftermath.assert_nothing_left()
    assert all(fault.hits for fault in days.storage.faults.values())
    days.storage.faults.clear()
    days.assert_restored()
