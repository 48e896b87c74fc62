"""A year of small days behind one queue: the planner is killed, and so are one, two and four worker processes."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from azure.core.pipeline.transport import RequestsTransport

from shared.backfills.records import Records
from shared.postgres.kept import SESSIONS
from shared.postgres.limited_cursor import LimitedCursor
from tests.faults.fix_backfills import Backfills, day_of
from tools.config import REPOSITORY
from tools.process import wait_until

pytestmark = pytest.mark.any_server

DAYS = 365
# Chunks of seven days begin on Thursdays: 1 January 2025 is a group of its own.
GROUPS = 53
WORKERS = (1, 2, 4)
# As many groups of each process as its host takes messages at once: each process of the last phase gets some.
PARALLEL = 12
_SECONDS = 200

# Killed within the days' records: a transaction has 50 of them.
_PLANNER = """
import os, signal, sys
from azure.data.tables import TableClient
from shared.backfills.worker import dispatch_message
write, written = TableClient.submit_transaction, []

def submit(*args, **options):
    if len(written) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    written.append(1)
    return write(*args, **options)

TableClient.submit_transaction = submit
dispatch_message(sys.stdin.buffer.read())
"""


@contextmanager
def workers(count: int, folder: Path) -> Iterator[list[Path]]:
    """Run worker processes, and kill them at the end. Yields the log of each."""
    command = [sys.executable, "-m", "tools.host", "--port", "0"]
    logs = [folder / f"worker-{count}-{number}.log" for number in range(count)]
    processes = []
    try:
        for log in logs:
            with log.open("wb") as out:
                processes.append(subprocess.Popen(command, cwd=REPOSITORY, stdout=out, stderr=out))
        yield logs
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def begun(log: Path) -> Counter[str]:
    """Count the attempts that a worker began, by operation. Its last line may be cut off."""
    lines = [line for line in log.read_text().splitlines() if line.endswith(" begins")]
    return Counter(line.partition("operation=")[2].split()[0] for line in lines)


def test_a_year_with_one_two_and_four_workers(many: Backfills, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKFILL_MAX_PARALLEL", str(PARALLEL))
    # Without a key: a row that came twice would be there twice.
    many.app.database.hypertable("t", "time timestamptz NOT NULL, v int", interval="interval '7 days'")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(many.archive, range(DAYS)))
    backfill_id = many.taken(0, DAYS - 1, parallel=PARALLEL)
    planner = subprocess.run(
        [sys.executable, "-c", _PLANNER], input=many.jobs.receive().content.encode(), cwd=REPOSITORY, check=False
    )
    assert planner.returncode < 0
    records = Records.of(many.jobs.storage)
    assert len(records.all_days(many.record(backfill_id))) == 200
    logs = []
    for number, count in enumerate(WORKERS, 1):

        def enough(most: int = DAYS * number // len(WORKERS)) -> bool:
            many.mend()
            days = records.all_days(many.record(backfill_id))
            return sum(day.has_ended for day in days) >= most

        with workers(count, tmp_path) as new:
            assert wait_until(enough, _SECONDS)
            if number == len(WORKERS):
                assert wait_until(lambda: many.record(backfill_id).has_ended, _SECONDS)
        logs += new
    state = many.monitor(backfill_id)
    assert (state["status"], state["days"]["total"], state["days"]["restored"]) == ("Succeeded", DAYS, DAYS)
    assert many.counts() == many.all_of(*range(DAYS))
    days = records.all_days(many.record(backfill_id))
    assert [day.day for day in days] == [day_of(number) for number in range(DAYS)]
    assert len(records.answers_of_groups(many.record(backfill_id))) == GROUPS
    # Each process had its share. A day was begun again only where its worker was killed.
    attempts = [begun(log) for log in logs]
    assert all(attempts)
    assert {day.id for day in days} == set().union(*attempts)
    again = sum(attempts, Counter()).total() - DAYS
    assert again <= sum(day.crashes for day in days) <= PARALLEL * (len(WORKERS) - 1)


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count what the body takes: requests to storage, connections to the server, statements there."""
    found: Counter[str] = Counter()

    def counting(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def count(*args: Any, **options: Any) -> Any:
            found[name] += 1
            return call(*args, **options)

        return count

    # The body begins without a session, whatever ran before it.
    SESSIONS.close_idle()
    with monkeypatch.context() as patched:
        patched.setattr(RequestsTransport, "send", counting("requests", RequestsTransport.send))
        patched.setattr(psycopg2, "connect", counting("connections", psycopg2.connect))
        patched.setattr(LimitedCursor, "execute", counting("statements", LimitedCursor.execute))
        yield found


def work_of_a_plan(many: Backfills, monkeypatch: pytest.MonkeyPatch, days: int) -> Counter[str]:
    """Plan days, and count what it takes."""
    backfill_id = many.taken(0, days - 1)
    # On a slow machine there would be more of them.
    monkeypatch.setattr("shared.jobs.claim.HEARTBEAT_SECONDS", 3600)
    with counted(monkeypatch) as found:
        many.work()
    assert many.record(backfill_id).phase == "run"
    many.stop(backfill_id)
    many.jobs.storage.queue.clear_messages()
    return found


def test_a_year_is_planned_by_few_requests(many: Backfills, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it takes grows by a request for 50 days and for 50 groups, and by a statement for 100 days."""
    many.table(interval="interval '7 days'")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(many.archive, range(DAYS)))
    week, year = (work_of_a_plan(many, monkeypatch, days) for days in (7, DAYS))
    assert year["connections"] == week["connections"]
    assert year["statements"] - week["statements"] <= 4 - 1
    # And the plan of a year is longer than an entity's text may be.
    assert year["requests"] - week["requests"] <= (8 - 1) + (2 - 1) + 2


@pytest.mark.parametrize("chunk", ["7 days", "1 day"])
def test_a_worker_takes_two_connections(many: Backfills, monkeypatch: pytest.MonkeyPatch, chunk: str) -> None:
    """Those of the lock and of the load, for all days of a group, and for the groups that follow it."""
    many.table(interval=f"interval '{chunk}'")
    many.archive(*range(1, 8))
    backfill_id = many.taken(1, 7, parallel=1)
    many.work()
    with counted(monkeypatch) as found:
        many.work()
    assert many.monitor(backfill_id)["days"]["restored"] == 7
    assert found["connections"] == 2
