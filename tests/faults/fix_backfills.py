"""Backfills, with the test as the host: a table `t`, small archived days, and workers in this process or others."""

from __future__ import annotations

import json
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pytest
from azure.core.exceptions import AzureError

from shared.api.call import HttpCall
from shared.backfills.http import backfills, result, retry
from shared.backfills.records import Records
from shared.backfills.worker import resume_broken_chains
from shared.errors import JobStorageUnreachable
from shared.jobs.operation import BackfillOperation, DayOperation, GroupOperation
from shared.jobs.store import OperationStore
from shared.jobs.sweep import sweep
from shared.load.locks.restore_lock import restore_lock
from shared.names import QualifiedName
from shared.settings import load_settings
from shared.timescale.needed_settings import session_settings_of
from tests.faults.fix_jobs import SWEEP_PAUSE, Jobs, call_of, checked_answer, empty_queue
from tests.faults.fix_proxy import Link, Proxy
from tests.integration.fix_app import Answer, App
from tests.integration.fix_threads import Call
from tools.process import wait_until

FIRST = date(2025, 1, 1)
# Sixty days on a busy machine take more than a minute.
_MOST_SECONDS = 180


def day_of(number: int) -> str:
    return (FIRST + timedelta(days=number)).isoformat()


def csv_of(day: str, rows: int) -> bytes:
    """Make a day whose values tell it from every other one."""
    lines = (f"{day} {n // 60:02}:{n % 60:02}Z,{day[:4]}{day[5:7]}{day[8:]}" for n in range(rows))
    return ("time,v\n" + "\n".join(lines) + "\n").encode()


@dataclass
class Backfills:
    """A table `t` whose days are archived, and a queue that only the test serves."""

    jobs: Jobs
    rows: int = 3

    @property
    def app(self) -> App:
        return self.jobs.app

    def table(self, *, interval: str = "interval '1 day'") -> None:
        self.app.database.hypertable("t", "time timestamptz NOT NULL, v int, PRIMARY KEY (time)", interval=interval)

    def archive(self, *numbers: int) -> None:
        for number in numbers:
            self.app.archive("t", csv_of(day_of(number), self.rows), day=day_of(number))

    def corrupt(self, number: int) -> None:
        self.app.archive("t", f"time,v\n{day_of(number)} 00:00Z,x\n".encode(), day=day_of(number))

    def body(self, first: int, last: int, **request: Any) -> dict[str, Any]:
        pattern = self.app.storage.url(self.app.path("t", day_of(0))).replace(day_of(0), "{date}")
        return {"adls_url": pattern, "dates": {"from": day_of(first), "to": day_of(last)}} | request

    def post(self, body: dict[str, Any], **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        call = call_of("POST", "/api/backfills", named, body=json.dumps(body).encode())
        return checked_answer(backfills(call), "restoreDays")

    def taken(self, first: int, last: int, **request: Any) -> str:
        """Send a request that is taken, and return its id."""
        answer = self.post(self.body(first, last, **request))
        assert answer.status == 202, answer.body
        return str(answer.body["id"])

    def monitor(self, backfill_id: str, **query: str) -> dict[str, Any]:
        answer = checked_answer(backfills(self._call("GET", backfill_id, **query)), "getBackfill")
        assert answer.status == 200, answer.body
        return answer.body

    def days(self, backfill_id: str) -> dict[str, dict[str, Any]]:
        return {day["day"]: day for day in self.monitor(backfill_id, top="1000")["value"]}

    def stop(self, backfill_id: str, **query: str) -> Answer:
        return checked_answer(backfills(self._call("DELETE", backfill_id, **query)), "cancelBackfill")

    def retry(self, backfill_id: str) -> Answer:
        call = call_of("POST", f"/api/backfills/{backfill_id}/retry", {}, route={"id": backfill_id})
        return checked_answer(retry(call), "retryBackfill")

    def result(self, location: str) -> Answer:
        """Ask for the result by the address of the header `Location`."""
        path, _, token = location.partition("?token=")
        backfill_id = path.split("/")[-2]
        call = call_of("GET", "/" + path.split("/", 3)[3], {}, query={"token": token}, route={"id": backfill_id})
        return checked_answer(result(call), "getBackfillResult")

    def page(self, **query: str) -> Answer:
        return checked_answer(backfills(call_of("GET", "/api/backfills", {}, query=query)), "listBackfills")

    def listed(self, **query: str) -> list[dict[str, Any]]:
        answer = self.page(**query)
        assert answer.status == 200, answer.body
        return list(answer.body["value"])

    def record(self, backfill_id: str) -> BackfillOperation:
        return Records.of(self.jobs.storage).backfills.get(backfill_id)

    def groups(self, backfill_id: str) -> list[GroupOperation]:
        records = Records.of(self.jobs.storage)
        return records.open_groups(records.backfills.get(backfill_id))

    def waiting_messages(self) -> int:
        count = self.jobs.storage.queue.get_queue_properties().approximate_message_count
        return int(count or 0)

    def work(self, **options: Any) -> None:
        """Work on one message, as the host does."""
        self.jobs.work(**options)

    def lost_behind_its_commit(self, **environ: str) -> str:
        """Return the id of a backfill of one day; its worker was killed between the day's COMMIT and the note of it."""
        self.table()
        self.archive(0)
        backfill_id = self.taken(0, 0)
        self.work()
        with self.jobs.worker(self.jobs.receive().content, TEST_KILLED_AT="recompress", **environ) as worker:
            assert worker.wait(60) == -signal.SIGKILL
        return backfill_id

    def finish(self, backfill_id: str, **options: Any) -> dict[str, Any]:
        """Work on messages until a backfill has ended."""

        def ended() -> bool:
            if self.record(backfill_id).has_ended:
                return True
            while self.jobs.serve_once(hidden_seconds=60, **options):
                if self.record(backfill_id).has_ended:
                    return True
            return False

        assert wait_until(ended, _MOST_SECONDS), self.monitor(backfill_id)
        return self.monitor(backfill_id)

    def serve_until_ended(self, backfill_id: str) -> None:
        """Sweep, and work on messages, until a backfill has ended. The storage account may be away meanwhile."""

        def look() -> bool:
            with suppress(JobStorageUnreachable, AzureError):
                self.mend()
                while self.jobs.serve_once():
                    if self.record(backfill_id).has_ended:
                        return True
                return self.record(backfill_id).has_ended
            return False

        assert wait_until(look, _MOST_SECONDS, pause=SWEEP_PAUSE), self.record(backfill_id)

    @contextmanager
    def served(self, workers: int) -> Iterator[None]:
        """Work on messages in so many threads while the body runs."""
        is_over = threading.Event()

        def serve() -> bool:
            while not is_over.wait(0.02):
                self.jobs.serve_once(hidden_seconds=60)
            return True

        calls = [Call(serve) for _ in range(workers)]
        try:
            yield
        finally:
            is_over.set()
        for call in calls:
            assert call.result()

    def mend(self) -> None:
        """Do what the timer does."""
        sweep()
        resume_broken_chains()

    def counts(self) -> dict[str, int]:
        """Count the table's rows by day, and check that each is of its day."""
        found = self.app.database.fetch(
            "SELECT (time AT TIME ZONE 'UTC')::date::text, count(*),"
            " bool_and(v = to_char(time AT TIME ZONE 'UTC', 'YYYYMMDD')::int) FROM {s}.t GROUP BY 1 ORDER BY 1"
        )
        assert all(is_right for _, _, is_right in found)
        return {day: count for day, count, _ in found}

    def all_of(self, *numbers: int) -> dict[str, int]:
        return {day_of(number): self.rows for number in numbers}

    def _call(self, method: str, backfill_id: str, **query: str) -> HttpCall:
        path = f"/api/backfills/{backfill_id}"
        return call_of(method, path, {}, query=query, route={"id": backfill_id})


class PlannerKilledError(Exception):
    """Stands for the end of a planner's process: nothing handles it, and its claim stays."""


def die_in(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Let the planner end before the days, within them, or before the groups."""

    def die(*_: object, **__: object) -> None:
        raise PlannerKilledError

    if place == "days":
        monkeypatch.setattr(OperationStore, "create_all", die)
    elif place == "groups":
        monkeypatch.setattr("shared.backfills.planner.group_records", die)
    else:
        create, created = OperationStore.creation, []

        def create_some(store: OperationStore[DayOperation], operation: DayOperation) -> object:
            created.append(operation)
            if len(created) > 55:
                die()
            return create(store, operation)

        monkeypatch.setattr(OperationStore, "creation", create_some)


@contextmanager
def behind_proxy(app: App, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Let the settings name a proxy before the test's server, while the body runs."""
    info = app.database.connection.info
    proxy = Proxy(info.host, info.port)
    try:
        with monkeypatch.context() as patch:
            for name in ("host", "port", "sslmode"):
                patch.setenv(f"PG{name.upper()}", str(proxy.pg(app)[name]))
            yield proxy
    finally:
        proxy.close()


def refuse_behind_commit(proxy: Proxy) -> None:
    """Lose the answer to the next COMMIT, and refuse connections once the server was asked for it."""

    def refuse(_: Link) -> None:
        proxy.is_refusing = True

    proxy.when(b"COMMIT\0", Link.cut, answers=True)
    proxy.when(b"pg_xact_status", refuse)


@contextmanager
def lock_of_day(app: App, day: str) -> Iterator[None]:
    """Hold what keeps a second restore of a day out."""
    table = QualifiedName(app.database.schema, "t")
    with closing(app.database.session()) as other:
        lock = restore_lock(
            other,
            table,
            date.fromisoformat(day),
            session_settings_of(load_settings()),
            request_id=str(uuid.uuid4()),
            connect_to_cancel=app.database.session,
        )
        with lock:
            yield


@pytest.fixture
def many(jobs: Jobs) -> Backfills:
    return Backfills(jobs)


@pytest.fixture
def community_many(community_app: App, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backfills]:
    with empty_queue(community_app, monkeypatch) as jobs:
        yield Backfills(jobs)
