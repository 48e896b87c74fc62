"""Archives that arrive, and days that a timer finds: restored once, in the version that is there."""

from __future__ import annotations

import base64
import json
import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from shutil import copytree
from typing import Any, cast

import azure.functions as func
import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient

import RestoreDaily
from shared.archive.client import OPTIONS
from shared.arrivals.arrive import archive_arrived
from shared.arrivals.daily import restore_daily
from shared.backfills.records import Records
from shared.errors import ConfigurationError, StorageUnreachable
from shared.jobs.message import UnreadableMessageError
from shared.jobs.operation import RestoreOperation
from shared.jobs.store import each_page
from shared.jobs.sweep import sweep
from tests.faults.fix_backfills import Backfills, day_of
from tests.faults.fix_http_fault import Fault, FaultyStorage
from tests.faults.fix_jobs import Jobs
from tests.integration.fix_app import job_storage_string
from tests.integration.fix_host import running_host
from tests.integration.fix_threads import at_once
from tools.config import REPOSITORY
from tools.process import wait_until

pytestmark = pytest.mark.any_server

DAY = "2025-01-05"
TODAY = date(2025, 1, 6)


@dataclass
class Arrivals:
    """A table `t`, archives of it, and the events about them."""

    jobs: Jobs
    monkeypatch: pytest.MonkeyPatch

    @property
    def pattern(self) -> str:
        app = self.jobs.app
        return app.storage.url(app.path("t", DAY)).replace(f".t.{DAY}", ".*.{date}")

    def rules(self, **rule: Any) -> None:
        """Set the one rule that there is."""
        given = {"name": "all", "pattern": self.pattern, "delay_seconds": 0} | rule
        self.monkeypatch.setenv("RESTORE_RULES", json.dumps([given]))

    def url(self, table: str = "t", day: str = DAY) -> str:
        """Return the address that an event has."""
        app = self.jobs.app
        account, filesystem = app.storage.account, app.storage.filesystem
        return f"https://{account}.blob.core.windows.net/{filesystem}/{app.path(table, day)}"

    def put(self, value: int = 1, table: str = "t", day: str = DAY) -> None:
        """Write an archive of one row."""
        self.jobs.app.archive(table, f"time,v\n{day} 01:00Z,{value}\n".encode(), day=day)

    def tell(self, kind: str = "BlobCreated", **data: Any) -> None:
        """Hand an event over."""
        told = {"specversion": "1.0", "type": f"Microsoft.Storage.{kind}", "data": {"url": self.url()} | data}
        archive_arrived(json.dumps(told).encode())

    def orders(self) -> list[RestoreOperation]:
        """Return the restores that were ordered, the oldest first."""
        return list(each_page(self.jobs.store, {}))[::-1]

    def order(self) -> RestoreOperation:
        """Return the only one."""
        (one,) = self.orders()
        return one

    def values(self, table: str = "t") -> list[int]:
        return [value for (value,) in self.jobs.app.database.fetch(f"SELECT v FROM {{s}}.{table} ORDER BY time, v")]


@pytest.fixture
def arrivals(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Arrivals]:
    jobs.app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    found = Arrivals(jobs, monkeypatch)
    found.rules()
    yield found
    assert jobs.store.queue_is_empty()


def test_the_same_event_five_times_is_one_restore(arrivals: Arrivals) -> None:
    arrivals.put()
    for _ in range(5):
        arrivals.tell()
    arrivals.jobs.work()
    arrivals.tell()
    order = arrivals.order()
    assert (order.status, order.database, order.day) == ("Succeeded", arrivals.jobs.app.database.name, DAY)
    assert arrivals.values() == [1]


def test_the_same_event_to_five_workers_at_once_is_one_restore(arrivals: Arrivals) -> None:
    arrivals.put()
    at_once(5, arrivals.tell)
    order = arrivals.order()
    # Each of them may have put in a message. All but one bring nothing about.
    while not arrivals.jobs.store.queue_is_empty():
        arrivals.jobs.serve_once()
    ended = arrivals.jobs.state(order.id)
    assert (ended.status, ended.attempt) == ("Succeeded", 1)
    assert arrivals.values() == [1]


def test_nobody_takes_the_id_of_an_order(arrivals: Arrivals) -> None:
    """It follows from the rule and the archive's version. An archive whose id was taken would count as ordered."""
    arrivals.put()
    arrivals.tell()
    arrivals.jobs.work()
    order = arrivals.order()
    taken = arrivals.jobs.post(json.loads(order.request), Operation_Id=order.id, Prefer="respond-async")
    assert (taken.status, taken.body["error"]["target"]) == (400, "Operation-Id")


def test_an_order_whose_message_was_not_put_in(arrivals: Arrivals) -> None:
    """The worker ended in between, and the host handed the event over again."""
    arrivals.put()
    with arrivals.monkeypatch.context() as ended:
        ended.setattr("shared.arrivals.order.enqueue_new", lambda *_, **__: None)
        arrivals.tell()
    arrivals.tell()
    arrivals.jobs.work()
    assert arrivals.order().status == "Succeeded"


def test_events_in_the_wrong_order(arrivals: Arrivals) -> None:
    """The event of the finished file comes first, then the one of the empty file, then a deletion."""
    arrivals.put()
    arrivals.tell(api="FlushWithClose", contentLength=55)
    arrivals.tell(api="CreateFile", contentLength=0)
    arrivals.tell("BlobDeleted", api="DeleteBlob")
    arrivals.jobs.work()
    assert arrivals.order().status == "Succeeded"


def test_a_file_that_is_empty_as_yet_or_gone_again(arrivals: Arrivals) -> None:
    arrivals.tell()
    arrivals.jobs.app.stored("t", b"", day=DAY)
    arrivals.tell(api="CreateFile")
    assert arrivals.orders() == []
    arrivals.put()
    arrivals.tell(api="FlushWithClose")
    arrivals.jobs.work()
    assert arrivals.values() == [1]


def test_a_file_gets_its_name_by_a_rename(arrivals: Arrivals) -> None:
    arrivals.put()
    arrivals.tell("BlobRenamed", url=None, sourceUrl=arrivals.url() + ".tmp", destinationUrl=arrivals.url())
    arrivals.jobs.work()
    assert arrivals.values() == [1]


def test_a_newer_version_replaces_the_older_one(arrivals: Arrivals) -> None:
    for value in (1, 2):
        arrivals.put(value)
        arrivals.tell()
        arrivals.jobs.work()
    assert [order.status for order in arrivals.orders()] == ["Succeeded"] * 2
    assert arrivals.values() == [2]


def test_a_version_that_was_overwritten_while_its_restore_waited(arrivals: Arrivals) -> None:
    """The order of the older version ends; that of the newer one restores it, and the calendar knows of no failure."""
    arrivals.put(1)
    arrivals.tell()
    arrivals.put(2)
    arrivals.tell()
    arrivals.jobs.work()
    older, newer = arrivals.orders()
    assert (older.status, newer.status) == ("Failed", "NotStarted")
    assert json.loads(older.error)["code"] == "ArchiveOtherVersion"
    arrivals.jobs.work()
    assert arrivals.orders()[1].status == "Succeeded"
    assert arrivals.values() == [2]


def test_rows_that_no_restore_brought_stay(arrivals: Arrivals) -> None:
    arrivals.jobs.app.database.execute(f"INSERT INTO {{s}}.t VALUES ('{DAY} 07:00Z', 7)")
    arrivals.put()
    arrivals.tell()
    arrivals.jobs.work()
    assert json.loads(arrivals.order().error)["code"] == "WindowNotEmpty"
    assert arrivals.values() == [7]


def test_a_restore_waits_as_long_as_its_rule_says(arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch) -> None:
    arrivals.rules(delay_seconds=3)
    arrivals.put()
    arrivals.tell()
    # However old the record is: it waits on purpose.
    monkeypatch.setattr("shared.jobs.operation.STALE_SECONDS", -1)
    sweep()
    queue = arrivals.jobs.storage.queue
    assert list(queue.receive_messages(max_messages=1)) == []
    assert queue.get_queue_properties().approximate_message_count == 1
    arrivals.jobs.work()
    assert arrivals.order().status == "Succeeded"


def test_what_matches_no_rule_is_dropped(arrivals: Arrivals, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    arrivals.put()
    arrivals.rules(pattern=arrivals.pattern.replace("backups/", "elsewhere/"))
    for url in (arrivals.url(), arrivals.url() + ".tmp", "https://evil.example/x", arrivals.url() + "?sig=secret"):
        arrivals.tell(url=url)
    assert arrivals.orders() == []
    assert caplog.text.count("dropped") == 4
    assert "secret" not in caplog.text


def test_a_rule_that_names_a_forbidden_table(arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its restore fails where everybody looks for restores that fail."""
    monkeypatch.setenv("ALLOWED_TARGETS", "other.*")
    arrivals.put()
    arrivals.tell()
    arrivals.jobs.work()
    order = arrivals.order()
    assert (order.status, json.loads(order.error)["code"]) == ("Failed", "TargetNotAllowed")
    assert arrivals.values() == []


def test_a_wrong_rule_stops_what_reads_it_alone(arrivals: Arrivals) -> None:
    arrivals.rules(lookback=0)
    arrivals.put()
    for call in (arrivals.tell, restore_daily):
        with pytest.raises(ConfigurationError, match="rule all: lookback"):
            call()
    answer = arrivals.jobs.post({"adls_url": arrivals.jobs.app.storage.url(arrivals.jobs.app.path("t", DAY))})
    assert answer.status == 200, answer.body


def test_what_cannot_be_read_or_looked_at_comes_again(
    arrivals: Arrivals, faulty_storage: FaultyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OPTIONS, "retry_total", 0)
    with pytest.raises(UnreadableMessageError):
        archive_arrived(b"hello")
    arrivals.put()
    faulty_storage.faults["csv.gz"] = Fault("status", (503, "ServerBusy"))
    with pytest.raises(StorageUnreachable):
        arrivals.tell()
    faulty_storage.faults.clear()
    arrivals.tell()
    arrivals.jobs.work()
    assert arrivals.order().status == "Succeeded"


def test_a_copy_that_has_not_ended(
    arrivals: Arrivals, faulty_storage: FaultyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end is not an event, so the restore waits for it in the queue."""
    monkeypatch.setattr("shared.errors.ArchiveBeingCopied.retry_delay_seconds", 0)
    arrivals.put()
    pending = (("x-ms-copy-status", "pending"), ("x-ms-copy-id", "4ac9"))
    faulty_storage.faults["csv.gz"] = Fault("headers", headers=pending)
    arrivals.tell(api="CopyBlob")
    arrivals.tell(api="CopyBlob")
    arrivals.jobs.work()
    order = arrivals.order()
    assert (order.status, json.loads(order.error)["code"]) == ("NotStarted", "ArchiveBeingCopied")
    faulty_storage.faults.clear()
    arrivals.put(2)
    arrivals.jobs.work()
    assert arrivals.order().status == "Succeeded"
    assert arrivals.values() == [2]


def test_a_file_that_comes_back_from_the_archive_tier(arrivals: Arrivals, faulty_storage: FaultyStorage) -> None:
    arrivals.put()
    arrivals.tell("BlobTierChanged")
    assert arrivals.orders() == []
    arrivals.tell()
    faulty_storage.faults["csv.gz"] = Fault("status", (409, "BlobBeingRehydrated"))
    arrivals.jobs.work()
    order = arrivals.order()
    assert (order.status, order.waits) == ("NotStarted", 1)
    faulty_storage.faults.clear()
    # Its message is to be seen in ten minutes; the event puts in another one.
    arrivals.tell("BlobTierChanged")
    arrivals.jobs.work()
    assert arrivals.order().status == "Succeeded"
    arrivals.jobs.storage.queue.clear_messages()


@pytest.mark.parametrize("is_waiting_for_its_turn", [True, False])
def test_a_day_of_a_backfill_that_comes_back_from_the_archive_tier(
    many: Backfills, faulty_storage: FaultyStorage, *, is_waiting_for_its_turn: bool
) -> None:
    """No rule names it. Its group is due in ten minutes, or its message is hidden until then."""
    many.table()
    many.archive(0)
    backfill_id = many.taken(0, 0)
    many.work()
    faulty_storage.faults["csv.gz"] = Fault("status", (409, "BlobBeingRehydrated"))
    many.work()
    (group,) = many.groups(backfill_id)
    assert (many.days(backfill_id)[day_of(0)]["outcome"], group.status) == ("waiting", "NotStarted")
    if is_waiting_for_its_turn:
        groups = Records.of(many.jobs.storage).groups
        groups.change(groups.get(group.id), is_held=True)
    faulty_storage.faults.clear()
    app = many.app
    url = f"https://{app.storage.account}.blob.core.windows.net/{app.storage.filesystem}/{app.path('t', day_of(0))}"
    told = {"specversion": "1.0", "type": "Microsoft.Storage.BlobTierChanged", "data": {"url": url}}
    archive_arrived(json.dumps(told).encode())
    many.work()
    assert many.finish(backfill_id)["status"] == "Succeeded"
    assert many.counts() == many.all_of(0)


def test_every_day_restores_what_is_archived_or_stale(arrivals: Arrivals) -> None:
    """And nothing else: not what is restored, not what somebody put in, not what failed, nor what is older."""
    database = arrivals.jobs.app.database
    database.hypertable("other", "time timestamptz NOT NULL, v int")
    arrivals.rules(daily=True, lookback=4)
    arrivals.put(1, day="2025-01-01")  # too old
    arrivals.put(2, day="2025-01-02")  # restored, then stale
    arrivals.put(3, day="2025-01-03")  # present
    database.execute("INSERT INTO {s}.t VALUES ('2025-01-03 07:00Z', 7)")
    arrivals.put(4, day="2025-01-04")  # failed
    arrivals.jobs.app.archive("t", b"nonsense\n", day="2025-01-04")
    for day in ("2025-01-02", "2025-01-04"):
        arrivals.jobs.post({"adls_url": arrivals.jobs.app.storage.url(arrivals.jobs.app.path("t", day))})
    arrivals.put(20, day="2025-01-02")
    arrivals.put(5, table="other")
    for _ in range(2):
        restore_daily(TODAY)
    assert sorted((order.target_table.partition(".")[2], order.day) for order in arrivals.orders()) == [
        ("other", DAY),
        ("t", "2025-01-02"),
    ]
    for _ in range(2):
        arrivals.jobs.work()
    assert arrivals.values() == [20, 7]
    assert arrivals.values("other") == [5]
    restore_daily(TODAY)


def test_every_day_by_the_function_that_the_host_calls(arrivals: Arrivals) -> None:
    """It looks at the days before today."""
    yesterday = (datetime.now(timezone.utc) - timedelta(days=1)).date().isoformat()
    arrivals.rules(daily=True)
    arrivals.put(day=yesterday)
    # The host's own object; the function does not look at it.
    RestoreDaily.main(cast("func.TimerRequest", None))
    arrivals.jobs.work()
    order = arrivals.order()
    assert (order.status, order.day) == ("Succeeded", yesterday)


def test_a_message_that_is_no_event_goes_to_the_poison_queue_and_into_the_log(
    arrivals: Arrivals, tmp_path: Path
) -> None:
    """By the host, which calls the function that reads the queue of the events."""
    setting, name = job_storage_string(arrivals.jobs.app.storage), f"q{uuid.uuid4().hex[:12]}"
    queue, poison = (QueueClient.from_connection_string(setting, text) for text in (name, f"{name}-poison"))
    root = tmp_path / "app"
    # By other names, since those of the repository would be found first. The local host wants a function for HTTP.
    for function, own_name in (("ArchiveArrived", "Arrived"), ("RestoreHealth", "Health")):
        copytree(REPOSITORY / function, root / own_name)
    host = json.loads((REPOSITORY / "host.json").read_text())
    host["extensions"]["queues"] |= {"maxDequeueCount": 1}
    (root / "host.json").write_text(json.dumps(host))
    bindings = root / "Arrived/function.json"
    bindings.write_text(bindings.read_text().replace("archive-events", name))
    arrivals.put()
    told = {"specversion": "1.0", "type": "Microsoft.Storage.BlobCreated", "data": {"url": arrivals.url()}}
    queue.create_queue()
    for text in ("hello", json.dumps(told)):
        queue.send_message(base64.b64encode(text.encode()).decode())
    log = tmp_path / "host.log"

    def given_up() -> list[str]:
        with suppress(ResourceNotFoundError):
            return [base64.b64decode(one.content).decode() for one in poison.peek_messages(32)]
        return []

    def is_done() -> bool:
        return bool(given_up()) and any(order.is_queued for order in arrivals.orders())

    try:
        with running_host(root, log, os.environ):
            assert wait_until(is_done, 40), log.read_text()
        assert given_up() == ["hello"]
    finally:
        for one in (queue, poison):
            with suppress(ResourceNotFoundError):
                one.delete_queue()
    assert "ArchiveArrived failed" in log.read_text()
    assert "it is not JSON" in log.read_text()
    arrivals.jobs.work()
    assert arrivals.order().status == "Succeeded"


def test_every_day_and_an_event_order_one_restore(arrivals: Arrivals) -> None:
    arrivals.rules(daily=True)
    arrivals.put()
    arrivals.tell()
    restore_daily(TODAY)
    arrivals.tell()
    arrivals.jobs.work()
    assert arrivals.order().status == "Succeeded"


def test_a_table_of_which_nothing_can_be_found_out_stops_no_other(
    arrivals: Arrivals, caplog: pytest.LogCaptureFixture
) -> None:
    arrivals.rules(daily=True)
    arrivals.put(table="gone")
    arrivals.put()
    restore_daily(TODAY)
    assert "TableNotFound" in caplog.text
    arrivals.jobs.work()
    assert arrivals.order().status == "Succeeded"


def test_no_rule_looks_back_unless_it_says_so(arrivals: Arrivals) -> None:
    arrivals.put()
    restore_daily(TODAY)
    assert arrivals.orders() == []
