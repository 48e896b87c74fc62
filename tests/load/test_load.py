"""Many restores: 200 days at once with faulty ones among them, and 1,000 one after the other in one process."""

from __future__ import annotations

import gc
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest

from shared.archive.client import forget_clients
from shared.postgres.connect import APPLICATION_NAME
from shared.postgres.kept import SESSIONS
from shared.process import MIB
from tests.integration.fix_app import Answer, App
from tools.process import wait_until

ROOT = Path(__file__).parents[2]
DAYS = 200
AT_ONCE = 8
ROWS = 240
FIRST = date(2025, 1, 1)

# Every twentieth day has one of these faults.
FAULTS = {
    3: (422, "ArchiveTruncated"),
    23: (422, "DataRejected"),
    43: (404, "ArchiveNotFound"),
    63: (404, "TableNotFound"),
    83: (422, "ArchiveTruncated"),
    103: (422, "DataRejected"),
    123: (404, "ArchiveNotFound"),
    143: (404, "TableNotFound"),
    163: (422, "ArchiveTruncated"),
    183: (422, "DataRejected"),
}


@dataclass(frozen=True)
class Job:
    number: int
    adls_url: str
    mode: str


def day_of(number: int) -> str:
    return (FIRST + timedelta(number)).isoformat()


def csv_of(number: int) -> bytes:
    """Make a day of one row each six minutes; each of its values is in no other day."""
    rows = [f"{day_of(number)} {n // 10:02}:{n % 10 * 6:02}Z,{number * ROWS + n}" for n in range(ROWS)]
    if FAULTS.get(number, ())[1:] == ("DataRejected",):
        rows[ROWS // 2] += "x"
    return "\n".join(["time,v", *rows, ""]).encode()


def job(app: App, number: int) -> Job:
    code = FAULTS.get(number, (200, None))[1]
    table = "nix" if code == "TableNotFound" else "t"
    archive = gzip.compress(csv_of(number))
    if code == "ArchiveTruncated":
        archive = archive[: len(archive) // 2]
    url = app.stored(table, archive, day=day_of(number))
    if code == "ArchiveNotFound":
        url = url.replace("/backups/", "/nowhere/")
    return Job(number, url, "staging" if number % 2 else "direct")


def sessions(app: App) -> int:
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE %s || '%%' AND datname = %s"
    return int(app.database.value(count, APPLICATION_NAME, app.database.name))


def file_descriptors() -> int:
    # Connections to storage and to the server are kept on purpose; what the SDK leaves to the garbage collector is not
    # lost.
    forget_clients()
    SESSIONS.close_idle()
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Functions runs a function that is not `async` in a thread pool too."""
    with ThreadPoolExecutor(AT_ONCE) as found:
        yield found


def test_two_hundred_days_with_faulty_ones_among_them(app: App, pool: ThreadPoolExecutor) -> None:
    app.database.hypertable("t", "time timestamptz NOT NULL, v int NOT NULL, PRIMARY KEY (time)")
    jobs = list(pool.map(lambda number: job(app, number), range(DAYS)))

    def send(work: Job) -> Answer:
        return app.restore(work.adls_url, destination={"mode": work.mode})

    assert send(jobs[0]).status == 200  # what is imported and opened once is there now
    app.database.execute("TRUNCATE {s}.t")
    before = file_descriptors()

    answers = dict(zip(range(DAYS), pool.map(send, jobs), strict=True))

    for number, answer in answers.items():
        status, code = FAULTS.get(number, (200, None))
        assert (answer.status, answer.code) == (status, code), (number, answer.body)
        if status == 200:
            assert (answer.body["status"], answer.body["rows_loaded"]) == ("ok", ROWS), answer.body
            assert answer.body["verification"]["rows_after"] == ROWS
    assert len({answer.body["request_id"] for answer in answers.values()}) == DAYS
    expected = [
        (f"{day_of(number)} {n // 10:02}:{n % 10 * 6:02}", number * ROWS + n)
        for number in range(DAYS)
        if number not in FAULTS
        for n in range(ROWS)
    ]
    read = "SELECT to_char(time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'), v FROM {s}.t ORDER BY time"
    assert app.database.fetch(read) == expected
    assert app.database.value("SELECT count(*) FROM public.show_chunks('{s}.t')") == DAYS - len(FAULTS)
    assert file_descriptors() <= before
    assert wait_until(lambda: sessions(app) == 0, 10), "a connection is left"


# A day that replaces itself, over and over, by a thread for each table; one in twenty is refused.
PROBE = """
import gc, json, os, sys
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from RestoreChunk import main
from tests.fix_call import http_request
from shared.archive.client import forget_clients
from shared.postgres.kept import SESSIONS

bodies = json.loads(sys.stdin.read())
WORKERS = len(bodies["good"])

def restore(worker, numbers):
    statuses = []
    for number in numbers:
        work = bodies["good"][worker] if number % 20 else bodies["bad"]
        response = main(http_request(json.dumps(work).encode()))
        statuses.append(response.status_code)
    return statuses

def measure():
    # How many of its connections to storage a pool holds depends on how the threads met, and so do the idle sessions.
    forget_clients()
    SESSIONS.close_idle()
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

found = {"memory": [], "statuses": {}}
with ThreadPoolExecutor(WORKERS) as pool:
    # The first round is a warm-up: the thread that notes each day in a table takes that long to settle.
    for begin in range(-200, 1000, 200):
        shares = [range(begin + worker, begin + 200, WORKERS) for worker in range(WORKERS)]
        for status in chain.from_iterable(pool.map(restore, range(WORKERS), shares)):
            if begin >= 0:
                found["statuses"][status] = found["statuses"].get(status, 0) + 1
        if begin < 0:
            continue
        found["memory"].append(measure())
        found["descriptors"] = [*found.get("descriptors", []), len(os.listdir("/proc/self/fd"))]
print(json.dumps(found))
"""

# Python's and the C library's heaps do not give every freed page back, and four threads have a heap each: that moves
# by some hundred KiB from one measurement to the next. Measured: 0.6, 0.2 and 0.2 MiB over the first three of the four
# times 200 restores after the first measurement. A leak of 3 KiB a restore, less than one of these days takes, would be
# above this.
TOLERANCE_BYTES = 2 * MIB


def test_memory_and_descriptors_stay_flat_over_a_thousand_restores(app: App) -> None:
    good = []
    for n in range(4):
        # In a chunk of a week the day is deleted; a TRUNCATE would wait for the other threads' transactions to end.
        app.database.hypertable(f"t{n}", "time timestamptz NOT NULL, v int", interval="interval '7 days'")
        destination = {"on_existing": "replace", "mode": "staging" if n % 2 else "direct"}
        good.append({"adls_url": app.archive(f"t{n}", csv_of(0)), "pg": app.database.pg, "destination": destination})
    bad = good[0] | {"adls_url": app.archive("t0", csv_of(23), day=day_of(23))}
    ran = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=ROOT,
        input=json.dumps({"good": good, "bad": bad}),
        env=os.environ.copy(),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = json.loads(ran.stdout)
    assert found["statuses"] == {"200": 950, "422": 50}
    after_warm_up, *_, end = found["memory"]
    assert end - after_warm_up < TOLERANCE_BYTES, found
    assert found["descriptors"][-1] <= found["descriptors"][0], found
    for n in range(4):
        assert app.database.value(f"SELECT count(*) FROM {{s}}.t{n}") == ROWS
    assert sessions(app) == 0
