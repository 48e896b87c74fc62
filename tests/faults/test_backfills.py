"""Many days at once: each day is there once, whatever happens to messages, workers, the planner and the database."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import azure.functions as func
import pytest

import RestoreBackfillResult
import RestoreQueue
from shared.backfills import planner
from shared.backfills.records import Records
from shared.errors import DatabaseDiskFull, DatabaseUnreachable
from shared.functions.entry import half_of_function_timeout
from shared.jobs.claim import claim_operation
from shared.jobs.message import Message
from shared.jobs.operation import Operation
from shared.jobs.sweep import end_poisoned
from tests.faults.fix_backfills import (
    Backfills,
    PlannerKilledError,
    behind_proxy,
    csv_of,
    day_of,
    die_in,
    lock_of_day,
    refuse_behind_commit,
)
from tests.faults.fix_jobs import SWEEP_PAUSE
from tests.faults.fix_proxy import Link
from tests.integration.fix_calendar import Calendar
from tests.integration.fix_small_day import slow_down
from tests.integration.fix_threads import Call
from tools.local_server import free_port
from tools.process import wait_until


@pytest.mark.any_server
def test_a_month_with_missing_and_corrupt_days(many: Backfills) -> None:
    many.table()
    many.archive(*(number for number in range(31) if number not in (4, 5, 9)))
    many.corrupt(9)
    taken = many.post(many.body(0, 30))
    backfill_id = taken.body["id"]
    assert many.result(taken.headers["Location"]).status == 202
    state = many.finish(backfill_id)
    assert (state["status"], state["error"]["code"]) == ("Failed", "DaysFailed")
    assert (state["outcome"], many.listed()[0]["outcome"]) == (None, None)
    assert state["days"] == {
        "total": 31,
        "waiting": 0,
        "running": 0,
        "restored": 28,
        "skipped": 0,
        "failed": 1,
        "canceled": 0,
        "missing": 2,
    }
    ended = many.result(taken.headers["Location"])
    assert (ended.status, ended.code) == (409, "DaysFailed")
    assert [fault["target"] for fault in ended.body["error"]["details"]] == [day_of(9)]
    assert many.counts() == many.all_of(*(number for number in range(31) if number not in (4, 5, 9)))
    many.archive(9, 4)
    before = {day: facts["ended"] for day, facts in many.days(backfill_id).items() if facts["outcome"] == "restored"}
    again = many.retry(backfill_id)
    assert again.status == 202
    assert many.finish(backfill_id)["status"] == "Succeeded"
    result = many.result(again.headers["Location"])
    assert (result.status, result.body["status"], result.body["missing"]) == (200, "ok_with_warnings", [day_of(5)])
    assert many.result(taken.headers["Location"]).status == 200
    assert many.monitor(backfill_id)["outcome"] == many.listed()[0]["outcome"] == "ok_with_warnings"
    # Only what was not in was restored.
    after = many.days(backfill_id)
    assert {day: after[day]["ended"] for day in before} == before
    assert many.counts() == many.all_of(*(number for number in range(31) if number != 5))


@pytest.mark.any_server
def test_a_day_that_waits_again_shows_nothing_of_its_failure(many: Backfills) -> None:
    many.table()
    many.archive(0)
    many.app.archive("t", csv_of(day_of(1), 50) + b"x,x\n", day=day_of(1))
    backfill_id = many.taken(0, 1)
    many.finish(backfill_id)
    failed = many.days(backfill_id)[day_of(1)]
    assert (failed["outcome"], failed["rows"] > 0) == ("failed", True), failed
    many.retry(backfill_id)
    # The planner, which lets the day wait.
    many.work()
    day = many.days(backfill_id)[day_of(1)]
    assert (day["outcome"], day["rows"], day["stage"], day["started"], day["ended"]) == ("waiting", 0, None, None, None)
    assert "error" not in day
    progress = many.jobs.monitor(day["operation_id"]).body["progress"]
    assert progress == {
        "stage": None,
        "compressed_bytes": 0,
        "compressed_bytes_total": None,
        "csv_bytes": 0,
        "csv_bytes_total": None,
        "percent": None,
        "rows": 0,
        "seconds": 0.0,
    }
    assert many.monitor(backfill_id)["progress"]["rows"] == many.rows


@pytest.mark.any_server
def test_nothing_is_written_without_an_archive(many: Backfills) -> None:
    """A path that is mistyped must not look like success."""
    many.table()
    state = many.finish(many.taken(0, 2))
    assert (state["status"], state["error"]["code"]) == ("Failed", "ArchiveNotFound")
    many.archive(0, 2)
    refused = many.post(many.body(0, 2, missing="error"))
    assert (refused.status, refused.code) == (404, "ArchiveNotFound")
    assert [fault["target"] for fault in refused.body["error"]["details"]] == [day_of(1)]
    assert many.counts() == {}


def test_a_plan(many: Backfills, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKFILL_MAX_PARALLEL", "5")
    many.table(interval="interval '7 days'")
    many.archive(*range(8))
    many.app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-03 12:00Z', 20250103)")
    answer = many.post(many.body(0, 8, dry_run=True))
    assert answer.status == 200, answer.body
    # Chunks of seven days begin on Thursdays: 2 January 2025 was one.
    assert answer.body["groups"] == [[day_of(0)], [day_of(number) for number in range(1, 8)]]
    assert (answer.body["missing"], answer.body["existing"], answer.body["failing"]) == (
        [day_of(8)],
        [day_of(2)],
        [day_of(2)],
    )
    replaced = many.post(many.body(0, 8, dry_run=True, existing="replace")).body
    assert (replaced["existing"], replaced["failing"]) == ([day_of(2)], [])
    # Each archive compresses to a length of its own.
    lengths = [day["archive"]["bytes"] for day in Calendar(many.app).days(day_of(0), day_of(7)).values()]
    assert (answer.body["days"], answer.body["bytes"], answer.body["parallel"]) == (8, sum(lengths), 2)
    assert many.post(many.body(0, 8, dry_run=True, parallel=4)).body["parallel"] == 4
    assert many.post(many.body(0, 8, dry_run=True, existing="skip")).body["skipped"] == [day_of(2)]
    assert many.jobs.store.queue_is_empty()
    assert many.listed() == []


@pytest.mark.any_server
@pytest.mark.parametrize(
    ("change", "target"),
    [
        ({"dates": {"from": "2025-01-02", "to": "2025-01-01"}}, "dates"),
        ({"dates": ["2025-01-01", "2025-01-01"]}, "dates"),
        ({"dates": []}, "dates"),
        ({"dates": ["2025-01-32"]}, "dates"),
        ({"destination": {"on_existing": "skip"}}, "destination.on_existing"),
        ({"copy": {"expected_rows": 1}}, "copy.expected_rows"),
        ({"parallel": 3}, "parallel"),
        ({"async": True}, "async"),
    ],
)
def test_a_request_that_is_wrong(many: Backfills, change: dict[str, Any], target: str) -> None:
    answer = many.post(many.body(0, 2) | change)
    assert (answer.status, answer.code) == (400, "InvalidRequest"), answer.body
    assert answer.body["error"]["target"] == target


@pytest.mark.any_server
def test_the_same_request_twice(many: Backfills) -> None:
    many.table()
    many.archive(0)
    first, second = (many.post(many.body(0, 0), Operation_Id="mine") for _ in range(2))
    assert (first.status, second.status) == (202, 202)
    assert many.post(many.body(0, 1), Operation_Id="mine").code == "OperationIdReused"
    assert many.finish("mine")["status"] == "Succeeded"
    assert many.result(first.headers["Location"]).status == many.result(second.headers["Location"]).status == 200
    assert [one["id"] for one in many.listed()] == ["mine"]
    assert many.retry("unknown").code == "OperationNotFound"


@pytest.mark.any_server
def test_backfills_are_listed_by_status_page_by_page(many: Backfills) -> None:
    ids = [many.taken(0, 0) for _ in range(4)]
    for backfill_id in ids[1:3]:
        assert many.stop(backfill_id).body["status"] == "Canceled"
    assert [one["id"] for one in many.listed()] == ids[::-1]
    assert [one["id"] for one in many.listed(status="Canceled")] == [ids[2], ids[1]]
    assert [one["id"] for one in many.listed(status="NotStarted", top="1")] == [ids[3]]
    assert many.listed(status="Succeeded") == []
    seen, query = [], {"status": "Canceled", "top": "1"}
    while query:
        answer = many.page(**query)
        seen += [one["id"] for one in answer.body["value"]]
        link = answer.body["nextLink"]
        query = dict(parse_qsl(urlsplit(link).query)) if link else {}
        assert not query or (query["status"], query["top"]) == ("Canceled", "1")
    assert seen == [ids[2], ids[1]]


@pytest.mark.parametrize("query", [{"status": "Lost"}, {"top": "0"}, {"after": "x"}, {"table": "t"}])
def test_a_list_of_backfills_that_cannot_be_asked_for(many: Backfills, query: dict[str, str]) -> None:
    answer = many.page(**query)
    assert (answer.status, answer.code, answer.body["error"]["target"]) == (400, "InvalidRequest", next(iter(query)))


@pytest.mark.any_server
def test_the_result_by_the_function_that_the_host_calls(many: Backfills) -> None:
    many.table()
    many.archive(0)
    location = many.post(many.body(0, 0)).headers["Location"]
    url = urlsplit(location)

    def ask() -> tuple[int, dict[str, Any]]:
        route = {"id": url.path.split("/")[-2]}
        request = func.HttpRequest("GET", location, params=dict(parse_qsl(url.query)), route_params=route, body=b"")
        answer = RestoreBackfillResult.main(request)
        return answer.status_code, json.loads(answer.get_body())

    assert ask()[0] == 202
    many.finish(url.path.split("/")[-2])
    status, body = ask()
    assert (status, body["days"]["restored"]) == (200, 1)


@pytest.mark.any_server
def test_nobody_takes_the_id_of_a_day(many: Backfills) -> None:
    """It follows from the backfill's id. A day whose id was taken would have no record, and the backfill no end."""
    many.table()
    many.archive(0)
    backfill_id = many.taken(0, 0)
    many.finish(backfill_id)
    (day,) = many.days(backfill_id).values()
    body = many.jobs.state(day["operation_id"]).request
    taken = many.jobs.post(json.loads(body), Operation_Id=day["operation_id"], Prefer="respond-async")
    assert (taken.status, taken.body["error"]["target"]) == (400, "Operation-Id")


@pytest.mark.parametrize(("interval", "days"), [("20000 years", (0, 1)), ("7 days", (2912805, 2912806))])
def test_a_chunk_that_ends_after_the_last_day_there_is(many: Backfills, interval: str, days: tuple[int, int]) -> None:
    assert day_of(2912806) == "9999-12-30"
    many.table(interval=f"interval '{interval}'")
    many.archive(*days)
    state = many.finish(many.taken(*days))
    assert (state["status"], state["days"]["restored"]) == ("Succeeded", 2)


def test_days_that_are_stale(many: Backfills) -> None:
    many.table()
    many.archive(0, 1)
    assert many.finish(many.taken(0, 1))["status"] == "Succeeded"
    many.rows = 5
    many.archive(1, 2)
    many.app.archive("t", csv_of(day_of(3), 2), day=day_of(3))
    many.app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-04 12:00Z', 20250104)")
    state = many.finish(many.taken(0, 3, existing="stale"))
    assert state["status"] == "Succeeded", state
    words = {day: (facts["outcome"], facts["state"]) for day, facts in many.days(state["id"]).items()}
    assert words == {
        day_of(0): ("skipped", "restored"),
        day_of(1): ("restored", None),
        day_of(2): ("restored", None),
        day_of(3): ("skipped", "present"),
    }
    assert many.counts() == {day_of(0): 3, day_of(1): 5, day_of(2): 5, day_of(3): 1}


@pytest.mark.any_server
@pytest.mark.parametrize("running", [None, "cancel"])
def test_a_stop_while_days_end(many: Backfills, running: str | None) -> None:
    many.table(interval="interval '4 days'")
    many.archive(*range(12))
    slow_down(many.app, 0.5)
    backfill_id = many.taken(0, 11, parallel=2)
    many.work()
    workers = [Call(many.work) for _ in range(2)]
    assert wait_until(lambda: many.monitor(backfill_id)["days"]["restored"] >= 1, 60)
    answer = many.stop(backfill_id, **({} if running is None else {"running": running}))
    assert (answer.status, answer.body["stopping"]) == (202, True)
    assert many.stop(backfill_id).status == 202
    for worker in workers:
        worker.result()
    state = many.finish(backfill_id)
    counts = state["days"]
    assert (state["status"], state["error"]["code"]) == ("Canceled", "RestoreCanceled")
    assert counts["failed"] == counts["waiting"] == counts["running"] == 0
    assert counts["canceled"] + counts["restored"] == 12
    assert 1 <= counts["restored"] <= 5
    restored = {day for day, facts in many.days(backfill_id).items() if facts["outcome"] == "restored"}
    assert many.counts() == dict.fromkeys(sorted(restored), 3)
    many.app.database.execute("DROP TRIGGER slow ON {s}.t")
    assert many.retry(backfill_id).status == 202
    assert many.finish(backfill_id)["status"] == "Succeeded"
    assert many.counts() == many.all_of(*range(12))


def taken_beside_another_worker(many: Backfills, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Records]:
    """Take a backfill of one group of two days, the first of which another worker has."""
    many.table(interval="interval '7 days'")
    many.archive(1, 2)
    backfill_id = many.taken(1, 2)
    many.work()
    monkeypatch.setattr("shared.jobs.operation.STALE_SECONDS", 600)
    records = Records.of(many.jobs.storage)
    assert claim_operation(records.days, records.day(many.record(backfill_id), day_of(1))) is not None
    return backfill_id, records


@pytest.mark.any_server
@pytest.mark.parametrize(("running", "outcome"), [(None, "restored"), ("cancel", "canceled")])
def test_a_stop_while_a_day_runs(many: Backfills, running: str | None, outcome: str) -> None:
    """It ends, unless the caller wants it to be canceled."""
    many.table()
    many.archive(0, 1)
    slow_down(many.app, 1)
    backfill_id = many.taken(0, 1, parallel=1)
    many.work()
    worker = Call(many.work)
    sleeps = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    assert wait_until(lambda: bool(many.app.database.value(sleeps)), 30)
    stopped = many.stop(backfill_id, **({} if running is None else {"running": running}))
    assert (stopped.status, stopped.body["status"], stopped.body["days"]["running"]) == (202, "Running", 1)
    worker.result()
    assert many.finish(backfill_id)["status"] == "Canceled"
    outcomes = {day: facts["outcome"] for day, facts in many.days(backfill_id).items()}
    assert outcomes == {day_of(0): outcome, day_of(1): "canceled"}
    assert many.counts() == (many.all_of(0) if outcome == "restored" else {})


@pytest.mark.any_server
def test_a_stop_beside_a_day_that_another_worker_has(many: Backfills, monkeypatch: pytest.MonkeyPatch) -> None:
    """The group comes back to that day later: it does not try to claim it without a pause."""
    backfill_id, records = taken_beside_another_worker(many, monkeypatch)
    assert many.stop(backfill_id).status == 202
    Call(many.work).result()
    (group,) = many.groups(backfill_id)
    due = datetime.fromisoformat(group.next_attempt.replace("Z", "+00:00"))
    assert timedelta(0) < due - records.days.service_time() <= timedelta(seconds=10)
    outcomes = {day: facts["outcome"] for day, facts in many.days(backfill_id).items()}
    assert outcomes == {day_of(1): "running", day_of(2): "canceled"}
    # The other worker is lost.
    monkeypatch.setattr("shared.jobs.operation.STALE_SECONDS", 0)
    assert many.finish(backfill_id)["status"] == "Canceled"
    assert many.counts() == {}


@pytest.mark.any_server
def test_a_day_that_gets_rows_after_the_plan_is_not_replaced_as_stale(many: Backfills) -> None:
    """The unit of such a column follows from the rows. Without any, nothing is known of a day."""
    many.app.database.hypertable("t", "time bigint NOT NULL, v int", interval="86400")
    many.app.archive("t", b"time,v\n1735689600,20250101\n", day=day_of(0))
    backfill_id = many.taken(0, 0, existing="stale")
    many.work()
    many.app.database.execute("INSERT INTO {s}.t VALUES (1735689660, 7)")
    state = many.finish(backfill_id)
    assert (state["status"], state["days"]["skipped"]) == ("Succeeded", 1), state
    assert many.app.database.fetch("SELECT v FROM {s}.t") == [(7,)]


def live_days(many: Backfills) -> dict[str, int]:
    """Fill a table without a key with days of each kind, and return the rows that it then has.

    Day 0 is archived, day 1 has rows of its own, 2 is restored, and 3 restored from an older version.
    """
    many.app.database.hypertable("t", "time timestamptz NOT NULL, v int", interval="interval '1 day'")
    many.archive(2, 3)
    assert many.finish(many.taken(2, 3))["status"] == "Succeeded"
    many.rows = 5
    many.archive(0, 1, 3)
    many.app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-02 12:00Z', 20250102)")
    return {day_of(1): 1, day_of(2): 3, day_of(3): 3}


def test_a_backfill_that_says_nothing_of_them_leaves_live_days_as_they_are(many: Backfills) -> None:
    before = live_days(many)
    state = many.finish(many.taken(0, 3))
    assert (state["status"], state["error"]["code"]) == ("Failed", "DaysFailed")
    errors = {day: facts.get("error", {}).get("code") for day, facts in many.days(state["id"]).items()}
    assert errors == {day_of(0): None} | dict.fromkeys(before, "WindowNotEmpty")
    assert many.counts() == {day_of(0): 5} | before
    # A retry changes nothing of that.
    many.retry(state["id"])
    assert many.finish(state["id"])["days"]["failed"] == 3
    assert many.counts() == {day_of(0): 5} | before


def test_days_to_which_an_archive_is_added(many: Backfills) -> None:
    """The rows that a restore has loaded from the archive are not loaded again."""
    live_days(many)
    plan = many.post(many.body(0, 3, existing="append", dry_run=True)).body
    assert (plan["existing"], plan["skipped"]) == ([day_of(1), day_of(3)], [day_of(2)])
    assert plan["failing"] == [day_of(3)]
    state = many.finish(many.taken(0, 3, existing="append"))
    words = {day: facts.get("error", {}).get("code", facts["outcome"]) for day, facts in many.days(state["id"]).items()}
    assert words == {
        day_of(0): "restored",
        day_of(1): "restored",
        day_of(2): "skipped",
        day_of(3): "WindowNotEmpty",
    }
    loaded = {day_of(0): 5, day_of(1): 6, day_of(2): 3, day_of(3): 3}
    assert many.counts() == loaded
    assert many.retry(state["id"]).status == 202
    assert many.finish(state["id"])["days"]["failed"] == 1
    assert many.counts() == loaded
    # The same once more finds its days restored.
    assert many.finish(many.taken(0, 2, existing="append"))["days"]["skipped"] == 3
    assert many.counts() == loaded


def test_a_retry_does_not_add_to_a_day_that_was_restored_meanwhile(many: Backfills) -> None:
    many.app.database.hypertable("t", "time timestamptz NOT NULL, v int", interval="interval '1 day'")
    many.app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 12:00Z', 20250101)")
    many.corrupt(0)
    state = many.finish(many.taken(0, 0, existing="append"))
    assert state["days"]["failed"] == 1
    many.archive(0)
    answer = many.jobs.post(
        {"adls_url": many.body(0, 0)["adls_url"].replace("{date}", day_of(0))}
        | {"destination": {"on_existing": "append"}}
    )
    assert answer.status == 200, answer.body
    many.retry(state["id"])
    again = many.finish(state["id"])
    assert (again["status"], again["days"]["skipped"]) == ("Succeeded", 1), again
    assert many.counts() == {day_of(0): 4}


@pytest.mark.parametrize("stage", ["commit", "recompress"])
def test_a_worker_that_is_killed_around_the_commit_of_rows_that_are_added(many: Backfills, stage: str) -> None:
    many.app.database.hypertable("t", "time timestamptz NOT NULL, v int", interval="interval '1 day'")
    many.app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 12:00Z', 20250101)")
    many.archive(0)
    backfill_id = many.taken(0, 0, existing="append")
    many.work()
    with many.jobs.worker(many.jobs.receive().content, TEST_KILLED_AT=stage) as process:
        assert process.wait(60) == -signal.SIGKILL
    assert many.counts() == {day_of(0): 1 if stage == "commit" else 4}
    many.serve_until_ended(backfill_id)
    state = many.monitor(backfill_id)
    assert (state["status"], state["days"]["restored"]) == ("Succeeded", 1), state
    assert many.counts() == {day_of(0): 4}


@pytest.mark.any_server
def test_a_stop_before_a_day_whose_commit_did_not_take_place(many: Backfills, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is asked for the COMMIT. The day does not start once more."""
    many.table()
    many.archive(0)
    backfill_id = many.taken(0, 0)
    many.work()
    with behind_proxy(many.app, monkeypatch) as proxy, many.jobs.worker(many.jobs.receive().content) as worker:

        def lose(link: Link) -> None:
            worker.kill()
            link.cut()

        proxy.when(b"COMMIT\0", lose)
        assert worker.wait(60) == -signal.SIGKILL
    (day,) = many.days(backfill_id).values()
    assert many.jobs.state(day["operation_id"]).commit
    assert many.stop(backfill_id).status == 202
    many.serve_until_ended(backfill_id)
    state = many.monitor(backfill_id)
    assert (state["status"], state["error"]["code"]) == ("Canceled", "RestoreCanceled")
    assert many.counts() == {}


@pytest.mark.any_server
def test_a_group_that_is_given_up_behind_the_commit_of_a_day(many: Backfills) -> None:
    """The rows of the day may be in: no error may say otherwise, and a retry asks the server."""
    backfill_id = many.lost_behind_its_commit()
    (group,) = many.groups(backfill_id)
    Records.of(many.jobs.storage).groups.change(group, crashes=9)
    many.serve_until_ended(backfill_id)
    (day,) = many.days(backfill_id).values()
    assert (day["outcome"], day["error"]["code"]) == ("failed", "CommitOutcomeUnknown")
    assert many.retry(backfill_id).status == 202
    assert many.finish(backfill_id)["status"] == "Succeeded"
    assert many.counts() == many.all_of(0)


@pytest.mark.any_server
def test_a_group_that_is_given_up_beside_a_day_that_another_worker_has(
    many: Backfills, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for that worker, and does not end the day under it."""
    backfill_id, records = taken_beside_another_worker(many, monkeypatch)
    (group,) = many.groups(backfill_id)
    records.groups.change(group, crashes=9)
    many.work()
    outcomes = {day: facts["outcome"] for day, facts in many.days(backfill_id).items()}
    assert outcomes == {day_of(1): "running", day_of(2): "failed"}
    assert len(many.groups(backfill_id)) == 1
    # The other worker is lost.
    monkeypatch.setattr("shared.jobs.operation.STALE_SECONDS", 0)
    state = many.finish(backfill_id)
    assert {detail["code"] for detail in state["error"]["details"]} == {"TooManyAttempts"}
    assert many.counts() == {}


@pytest.mark.any_server
def test_a_stop_beside_a_day_whose_server_cannot_be_asked_for_its_commit(
    many: Backfills, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked again after a while, and not so often at once that the outcome stays unknown."""
    backfill_id = many.lost_behind_its_commit()
    assert many.stop(backfill_id).status == 202

    def asked() -> bool:
        many.mend()
        many.jobs.serve_once()
        (day,) = many.days(backfill_id).values()
        return "error" in day

    with monkeypatch.context() as away:
        away.setenv("PGPORT", str(free_port()))
        assert wait_until(asked, 60, pause=SWEEP_PAUSE)
    (day,) = many.days(backfill_id).values()
    assert (day["outcome"], day["error"]["code"]) == ("waiting", "CommitOutcomeUnknown")
    assert many.jobs.state(day["operation_id"]).retries == 1
    many.serve_until_ended(backfill_id)
    assert many.monitor(backfill_id)["status"] == "Succeeded"
    assert many.counts() == many.all_of(0)


@pytest.mark.any_server
@pytest.mark.parametrize(("by", "status"), [("caller", "Canceled"), ("administrator", "Failed")])
def test_a_plan_that_is_canceled(many: Backfills, by: str, status: str) -> None:
    """Only what a caller has canceled is called so."""
    many.table()
    many.archive(0)
    backfill_id = many.taken(0, 0, existing="skip")
    with locked(many, f"{many.app.database.schema}.t"):
        planning = Call(many.work)
        many.app.database.wait_for_session("wait_event_type = 'Lock'")
        if by == "caller":
            assert many.stop(backfill_id, running="cancel").status == 202
        else:
            many.app.database.execute(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        planning.result()
    state = many.monitor(backfill_id)
    assert (state["status"], state["error"]["code"]) == (status, "RestoreCanceled")
    assert many.days(backfill_id) == {}
    assert many.retry(backfill_id).status == 202
    assert many.finish(backfill_id)["status"] == "Succeeded"


@pytest.mark.any_server
def test_a_day_whose_commit_was_refused_waits_again_without_it(
    many: Backfills, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its outcome is known. A server that is away, or was restarted, cannot make it unknown."""
    many.app.database.execute(
        "CREATE TABLE {s}.known (v int PRIMARY KEY);"
        " CREATE TABLE {s}.t (time timestamptz PRIMARY KEY,"
        " v int REFERENCES {s}.known DEFERRABLE INITIALLY DEFERRED)"
    )
    many.archive(0)
    backfill_id = many.taken(0, 0)
    assert many.finish(backfill_id)["error"]["code"] == "DaysFailed"
    (day,) = many.days(backfill_id).values()
    assert day["error"]["code"] == "DataRejected"
    assert many.jobs.state(day["operation_id"]).commit == ""
    assert many.retry(backfill_id).status == 202
    many.work()
    with monkeypatch.context() as away:
        away.setenv("PGPORT", str(free_port()))
        many.work()
        (day,) = many.days(backfill_id).values()
        assert (day["outcome"], day["error"]["code"]) == ("waiting", "DatabaseUnreachable")
    many.app.database.execute("INSERT INTO {s}.known VALUES (20250101)")
    assert many.finish(backfill_id)["status"] == "Succeeded"
    assert many.counts() == many.all_of(0)


@pytest.mark.any_server
def test_a_stop_before_it_was_planned(many: Backfills) -> None:
    many.table()
    many.archive(0)
    backfill_id = many.taken(0, 0)
    assert many.stop(backfill_id).body["status"] == "Canceled"
    assert many.stop(backfill_id).status == 202
    many.work()
    assert many.counts() == {}
    assert many.retry(backfill_id).status == 202
    assert many.finish(backfill_id)["status"] == "Succeeded"
    assert many.counts() == many.all_of(0)
    assert (many.stop(backfill_id).status, many.stop(backfill_id).code) == (409, "OperationEnded")


@pytest.mark.any_server
def test_stops_and_retries_while_days_end(many: Backfills) -> None:
    """A retry before the end is refused. After it, what was canceled is restored, and nothing else."""
    many.table(interval="interval '2 days'")
    many.archive(*range(20))
    backfill_id = many.taken(0, 19)

    def restored() -> int:
        return int(many.monitor(backfill_id)["days"]["restored"])

    with many.served(workers=2):
        for number in range(5):
            before = restored()
            assert wait_until(lambda: many.record(backfill_id).has_ended or restored() > before, 60)  # noqa: B023 - at once
            stopped = many.stop(backfill_id, **({"running": "cancel"} if number % 2 else {}))
            assert (stopped.status, stopped.code) in ((202, None), (409, "OperationEnded")), stopped.body
            early = many.retry(backfill_id)
            if early.status != 202:
                assert (early.status, early.code) == (409, "OperationNotEnded")
                assert wait_until(lambda: many.record(backfill_id).has_ended, 60)
                assert many.retry(backfill_id).status == 202
        assert wait_until(lambda: many.record(backfill_id).has_ended, 60)
    state = many.monitor(backfill_id)
    # A day that was restored once more would have failed: it has rows.
    assert (state["status"], state["days"]["restored"], state["days"]["total"]) == ("Succeeded", 20, 20), state
    assert many.counts() == many.all_of(*range(20))


@pytest.mark.any_server
def test_a_day_that_fails_stops_the_rest(many: Backfills) -> None:
    many.table()
    many.archive(0, 2, 3)
    many.corrupt(1)
    state = many.finish(many.taken(0, 3, on_failure="stop", parallel=1))
    assert (state["status"], state["error"]["code"]) == ("Failed", "DaysFailed")
    assert [day["outcome"] for day in state["value"]] == ["restored", "failed", "canceled", "canceled"]
    assert many.counts() == many.all_of(0)


@pytest.mark.any_server
def test_never_more_messages_than_may_run(many: Backfills) -> None:
    many.table()
    many.archive(*range(6))
    backfill_id = many.taken(0, 5, parallel=2)
    many.work()
    assert many.waiting_messages() == 2
    many.mend()
    many.mend()
    assert many.waiting_messages() == 2
    # There is no time for more than one day, so each end puts in the next group.
    while not many.record(backfill_id).has_ended:
        many.work(seconds=0.001)
        many.mend()
        assert many.waiting_messages() <= 2
    assert many.monitor(backfill_id)["status"] == "Succeeded"
    assert many.counts() == many.all_of(*range(6))


@pytest.mark.any_server
@pytest.mark.parametrize(("timeout", "restored"), [("00:00:00", 1), ("-1", 3)])
def test_no_further_day_begins_in_the_second_half_of_the_function_timeout(
    many: Backfills, monkeypatch: pytest.MonkeyPatch, timeout: str, restored: int
) -> None:
    monkeypatch.setenv("AzureFunctionsJobHost__functionTimeout", timeout)
    half_of_function_timeout.cache_clear()
    many.table(interval="interval '7 days'")
    many.archive(1, 2, 3)
    backfill_id = many.taken(1, 3)
    try:
        many.work()
        message = many.jobs.receive()
        RestoreQueue.main(func.QueueMessage(body=message.content))
        many.jobs.storage.queue.delete_message(message)
    finally:
        half_of_function_timeout.cache_clear()
    assert many.monitor(backfill_id)["days"]["restored"] == restored
    assert many.finish(backfill_id)["status"] == "Succeeded"
    assert many.counts() == many.all_of(1, 2, 3)


@pytest.mark.any_server
def test_a_worker_that_is_killed_in_a_group(many: Backfills) -> None:
    many.table(interval="interval '7 days'")
    many.archive(*range(1, 8))
    slow_down(many.app, 0.3)
    backfill_id = many.taken(1, 7)
    many.work()
    with many.jobs.worker(many.jobs.receive().content) as worker:
        assert wait_until(lambda: many.monitor(backfill_id)["days"]["restored"] >= 2, 60)
        worker.kill()
        worker.wait()
    many.app.database.execute("DROP TRIGGER slow ON {s}.t")

    def mended() -> bool:
        many.mend()
        return not many.record(backfill_id).has_ended and not many.jobs.store.queue_is_empty()

    assert wait_until(mended, 60, pause=SWEEP_PAUSE)
    # With sweeps: on a slow machine the message may be seen again before the lost claim is stale, and is dropped then.
    many.serve_until_ended(backfill_id)
    assert many.monitor(backfill_id)["status"] == "Succeeded"
    assert many.counts() == many.all_of(*range(1, 8))


@pytest.mark.any_server
def test_a_chain_that_broke(many: Backfills) -> None:
    """All messages are lost: the timer puts in others."""
    many.table()
    many.archive(*range(4))
    backfill_id = many.taken(0, 3)
    many.work()
    many.jobs.storage.queue.clear_messages()
    # The records of two groups become old one after the other, so one run of the timer may find only one of them.
    many.serve_until_ended(backfill_id)
    assert many.monitor(backfill_id)["status"] == "Succeeded"
    assert many.counts() == many.all_of(*range(4))


@pytest.mark.any_server
@pytest.mark.parametrize("moment", ["days", "within", "groups"])
def test_a_planner_that_dies_is_run_again(many: Backfills, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    many.table()
    many.archive(*range(60))
    backfill_id = many.taken(0, 59)
    with monkeypatch.context() as dying:
        die_in(dying, moment)
        with pytest.raises(PlannerKilledError):
            many.work()
    assert many.record(backfill_id).claim
    assert many.counts() == {}

    def mended() -> bool:
        many.mend()
        return not many.record(backfill_id).claim

    assert wait_until(mended, 60, pause=SWEEP_PAUSE)
    state = many.finish(backfill_id)
    assert state["status"] == "Succeeded"
    assert (state["days"]["total"], state["days"]["restored"]) == (60, 60)
    assert many.counts() == many.all_of(*range(60))
    records = [one["day"] for one in many.jobs.listed(top="1000").body["value"]]
    assert sorted(records) == [day_of(number) for number in range(60)]


@pytest.mark.any_server
def test_a_planner_that_was_taken_for_dead_leaves_the_days_of_another_alone(
    many: Backfills, monkeypatch: pytest.MonkeyPatch
) -> None:
    many.table()
    for number in range(4):
        many.corrupt(number)
    backfill_id = many.taken(0, 3)
    assert many.finish(backfill_id)["days"]["failed"] == 4
    many.archive(*range(4))
    assert many.retry(backfill_id).status == 202
    # No heartbeat finds out that the claim is lost.
    monkeypatch.setattr("shared.jobs.claim.HEARTBEAT_SECONDS", 3600)
    renew = planner._renew

    def renew_and_lose_the_claim(*arguments: Any) -> None:
        renew(*arguments)
        backfills = Records.of(many.jobs.storage).backfills
        backfills.change(backfills.get(backfill_id), claim="another")

    with monkeypatch.context() as losing:
        losing.setattr(planner, "_renew", renew_and_lose_the_claim)
        many.work()
    outcomes = [facts["outcome"] for facts in many.days(backfill_id).values()]
    assert outcomes == ["waiting", "failed", "failed", "failed"]
    # The other one is lost as well.
    many.serve_until_ended(backfill_id)
    assert many.monitor(backfill_id)["status"] == "Succeeded"
    assert many.counts() == many.all_of(*range(4))


@pytest.mark.any_server
def test_messages_of_what_is_held_that_the_host_gave_up(many: Backfills) -> None:
    """A group whose turn has not come, and a day, get no message, and are not noted to have one."""
    many.table()
    many.archive(0, 1)
    backfill_id = many.taken(0, 1, parallel=1)
    many.work()
    (held,) = [group for group in many.groups(backfill_id) if group.is_held]
    records, waiting = Records.of(many.jobs.storage), many.waiting_messages()
    day = records.day(many.record(backfill_id), day_of(0))
    for message in (Message(held.id, kind="group"), Message(day.id)):
        end_poisoned(message.encode().encode())
    assert many.waiting_messages() == waiting
    left: list[Operation] = [records.groups.get(held.id), records.days.get(day.id)]
    assert [(one.status, one.is_queued) for one in left] == [("NotStarted", False)] * 2
    assert many.finish(backfill_id)["status"] == "Succeeded"
    assert many.counts() == many.all_of(0, 1)


def test_a_day_that_another_restore_holds(many: Backfills) -> None:
    """Its error may pass: the group goes on with its other days, and comes back."""
    many.table(interval="interval '7 days'")
    many.archive(1, 2)
    backfill_id = many.taken(1, 2)
    with lock_of_day(many.app, day_of(1)):
        many.work()
        many.work()
        days = many.days(backfill_id)
        assert (days[day_of(1)]["outcome"], days[day_of(2)]["outcome"]) == ("waiting", "restored")
        assert days[day_of(1)]["error"]["code"] == "RestoreInProgress"
        assert days[day_of(1)]["next_attempt"]
    assert many.finish(backfill_id)["status"] == "Succeeded"
    assert many.counts() == many.all_of(1, 2)


def hash_partitioned(many: Backfills) -> None:
    """Make a table whose weeks have three chunks each, and archive days with rows in all of them."""
    many.app.database.hypertable(
        "t",
        "time timestamptz NOT NULL, v int, device int NOT NULL, PRIMARY KEY (time, device)",
        interval="interval '7 days'",
    )
    many.app.database.execute("SELECT public.add_dimension('{s}.t', 'device', number_partitions => 3)")
    many.rows = 30
    for number in range(1, 10):
        header, *lines = csv_of(day_of(number), many.rows).decode().splitlines()
        rows = [f"{line},{device}" for device, line in enumerate(lines)]
        many.app.archive("t", "\n".join([f"{header},device", *rows, ""]).encode(), day=day_of(number))


def test_days_of_a_hash_partitioned_table(many: Backfills) -> None:
    hash_partitioned(many)
    plan = many.post(many.body(1, 9, dry_run=True)).body
    assert [len(group) for group in plan["groups"]] == [7, 2]
    assert many.finish(many.taken(1, 9))["status"] == "Succeeded"
    assert many.counts() == many.all_of(*range(1, 10))
    assert many.finish(many.taken(1, 9, existing="replace"))["status"] == "Succeeded"
    assert many.counts() == many.all_of(*range(1, 10))


def compress_all(many: Backfills) -> None:
    many.app.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress)")
    many.app.database.execute("SELECT compress_chunk(c) FROM show_chunks('{s}.t') c")


def are_compressed(many: Backfills) -> list[bool]:
    found = many.app.database.fetch(
        "SELECT is_compressed FROM timescaledb_information.chunks"
        f" WHERE hypertable_schema = '{many.app.database.schema}' ORDER BY range_start"
    )
    return [is_compressed for (is_compressed,) in found]


def actions(many: Backfills, backfill_id: str) -> list[str]:
    """List what was done to chunks, day by day, and at the end of groups."""
    found = []
    for day in many.days(backfill_id).values():
        answer = many.jobs.monitor(day["operation_id"]).body["result"]
        found += [f"{step['action']} {step['outcome']}" for step in answer["chunks"]]
    result = many.monitor(backfill_id)["result"]
    return found + [f"group: {step['action']} {step['outcome']}" for step in result["chunks"]]


def test_a_compressed_chunk_is_decompressed_once(community_many: Backfills) -> None:
    many = community_many
    many.table(interval="interval '7 days'")
    many.app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-08 23:59Z', 20250108)")
    compress_all(many)
    many.archive(*range(1, 7))
    state = many.finish(many.taken(1, 6))
    assert state["status"] == "Succeeded", state
    done = actions(many, state["id"])
    assert done.count("decompress done") == 1, done
    assert done.count("group: recompress done") == 1
    assert not any(one.startswith("recompress done") for one in done)
    assert are_compressed(many) == [True]
    assert many.counts() == many.all_of(*range(1, 7)) | {day_of(7): 1}


def test_compressed_chunks_of_a_hash_partitioned_table(community_many: Backfills) -> None:
    many = community_many
    hash_partitioned(many)
    many.app.database.execute(
        "INSERT INTO {s}.t SELECT '2025-01-08 23:59:59Z', 20250108, 100 + n FROM generate_series(1, 10) n"
    )
    compress_all(many)
    assert are_compressed(many) == [True] * 3
    state = many.finish(many.taken(1, 6, timescaledb={"compress_new_chunks": True}))
    assert state["status"] == "Succeeded", state
    assert sorted(actions(many, state["id"])).count("decompress done") == 3
    assert are_compressed(many) == [True] * 3
    assert many.counts() == many.all_of(*range(1, 7)) | {day_of(7): 10}


def test_rows_that_the_role_does_not_see_tell_the_unit_of_the_time(
    community_many: Backfills, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it, the days of one chunk would be groups of their own, and each would decompress it."""
    many = community_many
    database = many.app.database
    database.hypertable("t", "time bigint NOT NULL, v int", interval=str(7 * 24 * 3600))
    database.execute("INSERT INTO {s}.t VALUES (extract(epoch FROM timestamptz '2025-01-08 12:00Z'), 20250108)")
    compress_all(many)
    role = database.role("GRANT ALL ON SCHEMA {s}")
    database.execute(f"ALTER TABLE {{s}}.t OWNER TO {role['user']}")
    # The second name up to TimescaleDB 2.27.
    for name in ("enable_columnarscan", "enable_transparent_decompression"):
        database.execute(f"ALTER ROLE {role['user']} SET timescaledb.{name} = 'off'")
    for name in ("user", "password"):
        monkeypatch.setenv(f"PG{name.upper()}", role[name])
    many.archive(1, 2, 3)
    plan = many.post(many.body(1, 3, dry_run=True))
    assert plan.status == 200, plan.body
    assert plan.body["groups"] == [[day_of(1), day_of(2), day_of(3)]]


def test_new_chunks_of_a_group_are_compressed_at_its_end(community_many: Backfills) -> None:
    many = community_many
    many.table(interval="interval '7 days'")
    many.app.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress)")
    many.archive(*range(8))
    many.corrupt(5)
    state = many.finish(many.taken(0, 7, timescaledb={"compress_new_chunks": True}))
    assert state["days"]["failed"] == 1
    # The first day is a group of its own, and was compressed as it was loaded.
    assert are_compressed(many) == [True, True]
    assert many.counts() == many.all_of(0, 1, 2, 3, 4, 6, 7)


def test_a_chunk_that_a_policy_compresses_in_the_middle(community_many: Backfills) -> None:
    many = community_many
    many.table(interval="interval '7 days'")
    many.app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-08 23:59Z', 20250108)")
    compress_all(many)
    many.archive(*range(1, 7))
    backfill_id = many.taken(1, 6)
    many.work()
    # There is time for one day.
    many.work(seconds=0.001)
    many.work(seconds=0.001)
    while many.monitor(backfill_id)["days"]["restored"] < 2:
        many.work(seconds=0.5)
    many.app.database.execute("SELECT compress_chunk(c, if_not_compressed => true) FROM show_chunks('{s}.t') c")
    assert many.finish(backfill_id)["status"] == "Succeeded"
    assert are_compressed(many) == [True]
    assert many.counts() == many.all_of(*range(1, 7)) | {day_of(7): 1}


def aggregate(many: Backfills) -> None:
    many.app.database.execute(
        "CREATE MATERIALIZED VIEW {s}.daily WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS"
        " SELECT time_bucket('1 day', time) AS bucket, count(*) FROM {s}.t GROUP BY 1 WITH NO DATA"
    )


def aggregated(many: Backfills) -> dict[str, int]:
    rows = many.app.database.fetch("SELECT (bucket AT TIME ZONE 'UTC')::date::text, count FROM {s}.daily ORDER BY 1")
    return dict(rows)


def test_aggregates_are_refreshed_once_also_if_days_failed(community_many: Backfills) -> None:
    many = community_many
    many.table()
    aggregate(many)
    many.archive(0, 1, 3)
    many.corrupt(4)
    state = many.finish(many.taken(0, 4, timescaledb={"refresh_caggs": "all"}))
    assert state["error"]["code"] == "DaysFailed"
    assert aggregated(many) == many.all_of(0, 1, 3)
    for day in (0, 3):
        facts = many.days(state["id"])[day_of(day)]
        answer = many.jobs.monitor(facts["operation_id"]).body["result"]
        assert (answer["timescaledb"]["refresh_caggs"], answer["caggs"]) == ("later", [])


@contextmanager
def locked(many: Backfills, name: str) -> Iterator[None]:
    """Lock a table, so that every other session waits for it."""
    with closing(many.app.database.session(autocommit=False)) as other, other.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
        yield


def aggregate_locked(many: Backfills) -> AbstractContextManager[None]:
    """Let a refresh wait."""
    ((name,),) = many.app.database.fetch(
        "SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)"
        f" FROM timescaledb_information.continuous_aggregates WHERE view_schema = '{many.app.database.schema}'"
    )
    return locked(many, name)


def test_a_refresh_that_fails(community_many: Backfills, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows are in: it is a warning."""
    many = community_many
    many.table()
    aggregate(many)
    many.archive(0)
    monkeypatch.setenv("PG_LOCK_TIMEOUT_SECONDS", "1")
    with aggregate_locked(many):
        state = many.finish(many.taken(0, 0, timescaledb={"refresh_caggs": "all"}))
    assert (state["status"], state["result"]["status"]) == ("Succeeded", "ok_with_warnings")
    assert [warning["code"] for warning in state["result"]["warnings"]] == ["RefreshFailed"]
    assert state["result"]["caggs"][0]["outcome"] == "failed"
    assert many.counts() == many.all_of(0)


def lose_connection_behind_commit(many: Backfills, monkeypatch: pytest.MonkeyPatch, **timescaledb: Any) -> str:
    """Run a backfill of two days in one chunk, and refuse connections right behind the first COMMIT."""
    many.archive(1, 2)
    backfill_id = many.taken(1, 2, timescaledb=timescaledb)
    many.work()
    with behind_proxy(many.app, monkeypatch) as proxy:
        refuse_behind_commit(proxy)
        # There is time for one day.
        many.work(seconds=0.001)
        assert proxy.is_refusing
    first = many.jobs.state(many.days(backfill_id)[day_of(1)]["operation_id"])
    warnings = [one["code"] for one in json.loads(first.answer)["warnings"]]
    assert (first.status, "AfterCommitFailed" in warnings) == ("Succeeded", True), first
    return backfill_id


def test_a_day_whose_connection_is_refused_after_its_commit(many: Backfills, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows are in: the day was not skipped."""
    many.table(interval="interval '7 days'")
    backfill_id = lose_connection_behind_commit(many, monkeypatch)
    assert many.days(backfill_id)[day_of(1)]["outcome"] == "restored"
    state = many.finish(backfill_id)
    assert (state["status"], state["days"]["restored"], state["days"]["skipped"]) == ("Succeeded", 2, 0)
    assert many.counts() == many.all_of(1, 2)


def test_what_a_day_leaves_is_done_even_if_its_connection_is_refused_after_its_commit(
    community_many: Backfills, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = community_many
    many.table(interval="interval '7 days'")
    many.app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-08 23:59Z', 20250108)")
    aggregate(many)
    compress_all(many)
    state = many.finish(lose_connection_behind_commit(many, monkeypatch, refresh_caggs="all"))
    assert (state["status"], state["days"]["restored"]) == ("Succeeded", 2), state
    assert actions(many, state["id"]).count("group: recompress done") == 1
    assert are_compressed(many) == [True]
    assert aggregated(many) == many.all_of(1, 2)
    assert many.counts() == many.all_of(1, 2) | {day_of(7): 1}


def test_a_table_that_cannot_be_read_after_a_commit(many: Backfills, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker that goes on behind the COMMIT of one that was killed."""
    backfill_id = many.lost_behind_its_commit()

    def refuse(*_: object) -> None:
        raise DatabaseUnreachable("the server is gone")

    monkeypatch.setattr("shared.restore.pending.read_table", refuse)
    many.serve_until_ended(backfill_id)
    state = many.monitor(backfill_id)
    assert (state["status"], state["days"]["restored"]) == ("Succeeded", 1), state
    (day,) = many.days(backfill_id).values()
    warnings = many.jobs.monitor(day["operation_id"]).body["result"]["warnings"]
    assert [warning["code"] for warning in warnings] == ["AfterCommitFailed"]


def before_its_end(many: Backfills, **request: Any) -> str:
    """Run a backfill until only its aggregates are to be refreshed."""
    many.table()
    many.archive(0)
    backfill_id = many.taken(0, 0, timescaledb={"refresh_caggs": "all"}, **request)
    while many.record(backfill_id).phase != "refresh":
        # There is time for one day.
        many.work(seconds=0.001)
    return backfill_id


def check_not_refreshed(many: Backfills, state: dict[str, Any]) -> None:
    """The days are in: the aggregates, which could not be refreshed, are a warning."""
    assert (state["status"], state["days"]["restored"]) == ("Succeeded", 1), state
    assert [warning["code"] for warning in state["result"]["warnings"]] == ["RefreshFailed"]
    assert many.counts() == many.all_of(0)


def test_a_server_that_is_gone_at_the_end_of_a_backfill_that_is_stopped(
    many: Backfills, monkeypatch: pytest.MonkeyPatch
) -> None:
    backfill_id = before_its_end(many)
    assert many.stop(backfill_id, running="cancel").status == 202
    monkeypatch.setattr("shared.jobs.enqueue.FIRST_DELAY_SECONDS", 0)
    with behind_proxy(many.app, monkeypatch) as proxy:
        proxy.is_refusing = True
        many.work()
        again = many.record(backfill_id)
        assert (again.status, again.retries) == ("NotStarted", 1)
        state = many.finish(backfill_id)
    check_not_refreshed(many, state)


def test_a_stop_does_not_end_the_refresh_at_the_end_of_a_backfill(community_many: Backfills) -> None:
    many = community_many
    backfill_id = before_its_end(many)
    aggregate(many)
    with aggregate_locked(many):
        ending = Call(lambda: many.finish(backfill_id))
        many.app.database.wait_for_session("wait_event_type = 'Lock'")
        assert many.stop(backfill_id, running="cancel").status == 202
        # Each heartbeat reads it, and writes.
        for _ in range(3):
            written = many.record(backfill_id).etag
            wait_until(lambda: many.record(backfill_id).etag != written, 5)  # noqa: B023 - at once
    state = ending.result()
    assert (state["status"], state["warnings"]) == ("Succeeded", [])
    assert aggregated(many) == many.all_of(0)


def test_a_server_that_is_full_at_the_end_of_a_backfill(many: Backfills, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again as often as any other operation with that error, and then ends with its days."""
    backfill_id = before_its_end(many)

    def full(*_: object) -> None:
        raise DatabaseDiskFull("no space left on device")

    monkeypatch.setattr("shared.backfills.conclusion.table_to_maintain", full)
    many.work()
    again = many.record(backfill_id)
    assert (again.status, again.retries, json.loads(again.error)["code"]) == ("NotStarted", 1, "DatabaseDiskFull")
    check_not_refreshed(many, many.finish(backfill_id))


def test_settings_that_no_longer_allow_the_request_at_the_end_of_a_backfill(
    many: Backfills, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its days are in. A setting without which its archives have no address only keeps it from a refresh."""
    storage = many.app.storage
    monkeypatch.setenv("ADLS_ACCOUNT_URL_DEFAULT", f"https://{storage.account}.dfs.core.windows.net")
    monkeypatch.setenv("ADLS_FILESYSTEM_DEFAULT", storage.filesystem)
    backfill_id = before_its_end(many, adls_url=many.app.path("t", day_of(0)).replace(day_of(0), "{date}"))
    monkeypatch.delenv("ADLS_FILESYSTEM_DEFAULT")
    check_not_refreshed(many, many.finish(backfill_id))


def test_fewer_groups_at_once_than_a_backfill_asked_for_are_allowed_at_its_end(
    community_many: Backfills, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = community_many
    backfill_id = before_its_end(many, parallel=2)
    aggregate(many)
    monkeypatch.setenv("BACKFILL_MAX_PARALLEL", "1")
    state = many.finish(backfill_id)
    assert (state["status"], state["warnings"]) == ("Succeeded", [])
    assert aggregated(many) == many.all_of(0)


@pytest.mark.parametrize("crashes", [3, 6])
def test_workers_that_die_at_the_end_of_a_backfill(many: Backfills, crashes: int) -> None:
    """The refresh may be what kills them, and is left out. If that does not help either, the backfill ends."""
    backfill_id = before_its_end(many)
    Records.of(many.jobs.storage).backfills.change(many.record(backfill_id), crashes=crashes)
    state = many.finish(backfill_id)
    if crashes == 3:
        check_not_refreshed(many, state)
    else:
        assert (state["status"], state["error"]["code"]) == ("Failed", "TooManyAttempts")


@pytest.mark.parametrize("end", ["DaysFailed", "RestoreCanceled"])
def test_warnings_of_a_backfill_whose_days_are_not_all_in(many: Backfills, end: str) -> None:
    many.table(interval="interval '7 days'")
    many.archive(1, 2)
    if end == "DaysFailed":
        many.corrupt(2)
    taken = many.post(many.body(1, 3))
    backfill_id = taken.body["id"]
    assert taken.body["warnings"] == []
    many.work()
    if end == "RestoreCanceled":
        # There is time for one day.
        many.work(seconds=0.001)
        assert many.stop(backfill_id).status == 202
    state = many.finish(backfill_id)
    assert state["error"]["code"] == end
    assert [warning["code"] for warning in state["warnings"]] == ["DaysMissing"]
    result = many.result(taken.headers["Location"])
    assert (result.status, result.code, result.body["warnings"]) == (409, end, state["warnings"])


@pytest.mark.any_server
def test_a_backfill_tells_what_the_restores_of_its_days_warn_of(many: Backfills) -> None:
    """An export that has failed left a header alone: nobody looks at 31 results that are all `ok`."""
    many.table()
    many.archive(0)
    for number in (1, 2):
        many.app.archive("t", b"time,v\n", day=day_of(number))
    state = many.finish(many.taken(0, 2))
    assert (state["status"], state["outcome"]) == ("Succeeded", "ok_with_warnings")
    (warning,) = state["warnings"]
    assert warning == {"code": "DaysWithWarnings", "message": f"NoRows: 2 days, the first is {day_of(1)}"}
    assert [day["warnings"] for day in state["value"]] == [[], ["NoRows"], ["NoRows"]]
    result = many.jobs.monitor(state["value"][1]["operation_id"]).body
    assert (result["outcome"], result["result"]["warnings"][0]["code"]) == ("ok_with_warnings", "NoRows")


def test_the_log_says_why_a_backfill_failed_and_names_its_pattern(
    many: Backfills, caplog: pytest.LogCaptureFixture
) -> None:
    many.table()
    many.archive(0, 1)
    many.corrupt(1)
    failed = many.taken(0, 1)
    state = many.finish(failed)
    (line,) = (one for one in caplog.records if one.getMessage().startswith(f"backfill={failed} ended: "))
    assert line.levelname == "WARNING"
    assert line.getMessage().endswith(f" DaysFailed: 1 of 2 days failed: {day_of(1)} (DataRejected)")
    assert state["error"]["message"] in line.getMessage()
    caplog.clear()
    assert many.post(many.body(0, 3, missing="error")).code == "ArchiveNotFound"
    (line,) = caplog.records
    assert line.getMessage().startswith("backfill request_id=")
    assert f"faults={day_of(2)},{day_of(3)} " in line.getMessage()
    assert ".{date}.csv.gz" in line.getMessage()
    assert f".{day_of(0)}.csv.gz" not in line.getMessage()
