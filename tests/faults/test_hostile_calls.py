"""Queries, ids and messages that nobody sends by chance: refused by a 400, or dropped, and never tried forever."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from shared.api.call import HttpCall
from shared.api.handle import HttpAnswer
from shared.backfills import worker
from shared.backfills.http import backfills, result, retry
from shared.backfills.worker import dispatch_message, resume_broken_chains
from shared.calendar.http import get_days
from shared.jobs.day_notes import partition_of, read_days
from shared.jobs.http import get_restores, get_result
from shared.jobs.message import UnreadableMessageError
from shared.jobs.operation import BackfillOperation, DayOperation, GroupOperation
from shared.jobs.store import OperationStore
from shared.jobs.sweep import end_poisoned, sweep
from shared.settings import load_settings
from tests.faults.fix_backfills import Backfills, PlannerKilledError, day_of
from tests.faults.fix_fault_case import FaultCase, make_fault_case
from tests.faults.fix_jobs import SWEEP_PAUSE, Jobs, call_of
from tests.integration.fix_app import App
from tests.integration.fix_decoys import owner, path_with_decoys
from tools.process import wait_until

# What stands in a parameter, and whether only its length is wrong.
TEXTS = {
    "long": "x" * 40_000,
    "a little too long": "x" * 513,
    "of many bytes": "é" * 5_000,
    "half a surrogate pair": "\ud800",
    "NUL": "\0",
    "a line break": "a\nb",
    "C1": "\x9b31m",
}
DAYS = {"adls_url": "fs/d/s.t.{date}.csv.gz", "from": "2025-01-01", "to": "2025-01-01"}
# Each function with each parameter that it reads, and what else the query needs.
PARAMETERS: list[tuple[Callable[[HttpCall], HttpAnswer], str, dict[str, str], bool]] = [
    *((get_restores, name, {}, False) for name in ("status", "database", "target_table", "table", "day", "backfill")),
    *((get_restores, name, {}, False) for name in ("top", "after", "other")),
    *((backfills, name, {}, False) for name in ("status", "top", "after", "other")),
    *((backfills, name, {}, True) for name in ("top", "after")),
    *((get_days, name, DAYS, False) for name in ("from", "to", "target_table", "database", "time_column", "counts")),
    *((get_days, name, DAYS, False) for name in ("top", "other")),
]


def refused(answer: HttpAnswer, code: str = "InvalidRequest") -> dict[str, Any]:
    body = json.loads(answer.body.encode())
    assert (answer.status, body["error"]["code"]) == (400, code), body
    return dict(body["error"])


@pytest.mark.any_server
@pytest.mark.parametrize("text", TEXTS)
def test_each_parameter_of_each_function(many: Backfills, text: str) -> None:
    many.table()
    many.archive(0)
    backfill_id = many.taken(0, 0)
    for function, name, query, is_of_one in PARAMETERS:
        route = {"id": backfill_id} if is_of_one else {}
        call = call_of("GET", "/api/x", {}, query=query | {name: TEXTS[text]}, route=route)
        assert refused(function(call))["target"] == name
    # Storage would take it for the first row there is.
    for after in ("op~", "op~1", f"op~{TEXTS[text]}", "id~x"):
        for function in (get_restores, backfills):
            refused(function(call_of("GET", "/api/x", {}, query={"after": after})))
    stop = call_of("DELETE", "/api/x", {}, query={"running": TEXTS[text]}, route={"id": backfill_id})
    refused(backfills(stop))
    assert many.record(backfill_id).status == "NotStarted"


@pytest.mark.any_server
def test_addresses_names_and_days_of_a_query(many: Backfills) -> None:
    url = many.body(0, 0)["adls_url"]
    for text in TEXTS.values():
        address = url.replace("{date}", f"{text}/{{date}}")
        is_text = len(address) <= 16_384 and text.isprintable()
        call = call_of("GET", "/api/days", {}, query=DAYS | {"adls_url": address})
        refused(get_days(call), "InvalidArchiveUrl" if is_text else "InvalidRequest")
        # Its own name is any text, too, and stands in the answer.
        refused(get_days(call_of("GET", "/api/days", {}, query=DAYS | {text: "1"})))
    for day in ("20250101", "2025-W01-1", "2025-1-1", "9999-12-31"):
        refused(get_restores(call_of("GET", "/api/restores", {}, query={"day": day})))


@pytest.mark.any_server
@pytest.mark.parametrize("text", [*TEXTS.values(), ".", "..", "a/b", "%2e%2e"])
def test_each_id_and_each_token(jobs: Jobs, text: str) -> None:
    jobs.app.database.hypertable("t", "time timestamptz NOT NULL")
    body = {"adls_url": jobs.app.storage.url(jobs.app.path("t", day_of(0)))}
    known = jobs.taken(body).id
    for function in (get_restores, get_result, backfills, result, retry):
        method = "POST" if function is retry else "GET"
        answer = function(call_of(method, "/api/x", {}, route={"id": text}))
        assert (answer.status, json.loads(answer.body)["error"]["code"]) == (404, "OperationNotFound")
    answer = get_result(call_of("GET", "/api/x", {}, query={"token": text}, route={"id": known}))
    assert answer.status == 404
    # One dot and two are steps in a path: of a link, and of the blob that keeps a long request.
    columns = {"copy": {"columns": [f"{number:05}{'x' * 40}" for number in range(1000)]}}
    for more in ({}, columns):
        sent = jobs.post(body | more, Prefer="respond-async", Operation_Id=text)
        assert (sent.status, sent.code) == (400, "InvalidRequest")


@pytest.mark.any_server
def test_halves_of_surrogate_pairs_in_json(jobs: Jobs) -> None:
    for body in (
        {"\ud800": 1},
        {"pg": {"\ud800": 1}},
        {"adls_url": "\ud800"},
        {"copy": {"column_map": {"a": "\udfff"}}},
    ):
        assert jobs.post(body).status == 400


@pytest.mark.any_server
@pytest.mark.parametrize(
    "message",
    [
        {"id": "x outcome=ok request_id=1"},
        {"id": "x\nrestore outcome=ok"},
        {"id": "\ud800"},
        {"id": ".."},
        {"id": "x" * 65},
        {"id": "x", "kind": ["restore"]},
        {"id": "x", "kind": {}},
        {"id": "x", "version": 10**4000},
    ],
)
def test_a_forged_message_writes_nothing_into_the_log(
    jobs: Jobs, message: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    text = json.dumps({"version": 1} | message).encode()
    with caplog.at_level(logging.DEBUG, "restore_chunk"):
        with pytest.raises(UnreadableMessageError) as caught:
            dispatch_message(text)
        end_poisoned(text)
    assert jobs.storage
    for said in (str(caught.value), caplog.text):
        assert "outcome=ok" not in said
        assert len(said) < 300


@pytest.mark.any_server
def test_a_forged_message_starts_no_day_or_group_before_its_turn(many: Backfills) -> None:
    many.table()
    many.archive(*range(4))
    backfill_id = many.taken(0, 3, parallel=1)
    many.work()
    held = [day["operation_id"] for day in many.days(backfill_id).values()]
    groups = many.groups(backfill_id)
    assert [group.is_held for group in groups].count(True) == 3
    for operation_id in held:
        dispatch_message(json.dumps({"version": 1, "id": operation_id}).encode())
    for group in groups:
        if group.is_held:
            dispatch_message(json.dumps({"version": 1, "kind": "group", "id": group.id}).encode())
    assert many.counts() == {}
    # Nor does one in the poison queue end a day.
    for operation_id in held:
        end_poisoned(json.dumps({"version": 1, "id": operation_id}).encode())
    assert {day["outcome"] for day in many.days(backfill_id).values()} == {"waiting"}
    # A day that was stopped stays out, too.
    many.stop(backfill_id)
    for operation_id in held:
        dispatch_message(json.dumps({"version": 1, "id": operation_id}).encode())
    assert many.finish(backfill_id)["status"] == "Canceled"
    assert many.counts() == {}


def test_a_backfill_of_a_table_that_is_not_listed(many: Backfills, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused at once; and by the worker, if the list was made shorter since it was taken."""
    many.table()
    many.archive(0, 1)
    backfill_id = many.taken(0, 1)
    monkeypatch.setenv("ALLOWED_TARGETS", "other.*")
    for more in ({}, {"dry_run": True}):
        assert many.post(many.body(0, 1, **more)).code == "TargetNotAllowed"
    assert many.finish(backfill_id)["status"] == "Failed"
    assert "TargetNotAllowed" in (many.record(backfill_id).error or "")
    assert many.counts() == {}


def work_until_ended(many: Backfills, backfill_id: str, *, rounds: int) -> int:
    """Hand messages over until a backfill has ended; return how many of them killed their worker."""
    kills = 0

    def mended() -> bool:
        many.mend()
        return many.record(backfill_id).has_ended or not many.jobs.store.queue_is_empty()

    for _ in range(rounds):
        assert wait_until(mended, 60, pause=SWEEP_PAUSE)
        if many.record(backfill_id).has_ended:
            return kills
        message = many.jobs.receive()
        # The host deletes it in the end, whether its worker died or not: the sweep has to find the record.
        many.jobs.storage.queue.delete_message(message)
        try:
            dispatch_message(message.content.encode())
        except PlannerKilledError:
            kills += 1
    raise AssertionError(f"after {rounds} messages, {many.monitor(backfill_id)}")


def die(*_: object, **__: object) -> None:
    raise PlannerKilledError


def test_a_groups_message_that_kills_each_worker_while_it_compresses(
    many: Backfills, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOB_MAX_CRASHES", "2")
    monkeypatch.setattr("shared.backfills.group.compress_left", die)
    many.table(interval="interval '7 days'")
    many.archive(1, 2, 3)
    backfill_id = many.taken(1, 3)
    assert work_until_ended(many, backfill_id, rounds=6) == 2
    state = many.monitor(backfill_id)
    assert (state["status"], state["result"]["status"]) == ("Succeeded", "ok_with_warnings")
    assert [warning["code"] for warning in state["result"]["warnings"]] == ["RecompressFailed"]
    assert many.counts() == many.all_of(1, 2, 3)


@pytest.mark.any_server
def test_a_groups_message_that_kills_each_worker_between_days(many: Backfills, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOB_MAX_CRASHES", "2")
    with monkeypatch.context() as killing:
        killing.setattr("shared.backfills.group.claim_operation", die)
        many.table()
        many.archive(0, 1)
        backfill_id = many.taken(0, 1, parallel=1)
        assert work_until_ended(many, backfill_id, rounds=12) == 4
    state = many.monitor(backfill_id)
    assert (state["status"], state["error"]["code"]) == ("Failed", "DaysFailed")
    assert {detail["code"] for detail in state["error"]["details"]} == {"TooManyAttempts"}
    assert many.counts() == {}
    table = partition_of(state["database"], state["target_table"])
    notes = read_days(load_settings(), table, date.fromisoformat(day_of(0)), date.fromisoformat(day_of(1)))
    assert [note.code for note in notes.values()] == ["TooManyAttempts"] * 2
    many.retry(backfill_id)
    assert many.finish(backfill_id)["status"] == "Succeeded"
    assert many.counts() == many.all_of(0, 1)


@pytest.mark.any_server
@pytest.mark.parametrize("place", ["day", "backfill"])
def test_a_group_whose_records_are_gone_ends(many: Backfills, place: str) -> None:
    many.table(interval="interval '7 days'")
    many.archive(1, 2)
    backfill_id = many.taken(1, 2)
    many.work()
    (group,) = many.groups(backfill_id)
    store = OperationStore(many.jobs.storage, DayOperation if place == "day" else BackfillOperation)
    gone = many.days(backfill_id)[day_of(1)]["operation_id"] if place == "day" else backfill_id
    store.delete(store.get(gone))
    many.work()
    groups = OperationStore(many.jobs.storage, GroupOperation)
    assert groups.get(group.id).has_ended
    assert many.counts() == ({} if place == "backfill" else many.all_of(2))


@pytest.mark.any_server
def test_the_days_of_a_backfill_are_kept_as_long_as_it_is(many: Backfills, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may take longer than records are kept."""
    many.table()
    many.archive(0, 1)
    backfill_id = many.taken(0, 1, parallel=1)
    many.work()
    many.work(seconds=0)
    assert many.monitor(backfill_id)["days"]["restored"] == 1
    later = many.jobs.store.service_time().replace(year=2100)
    with monkeypatch.context() as much_later:
        much_later.setattr(OperationStore, "service_time", lambda _: later)
        sweep()
    assert many.finish(backfill_id)["days"]["restored"] == 2
    with monkeypatch.context() as much_later:
        much_later.setattr(OperationStore, "service_time", lambda _: later)
        sweep()
        sweep()
    assert many.jobs.listed().body["value"] == []


def test_a_backfill_that_cannot_go_on_does_not_hold_up_others(many: Backfills, monkeypatch: pytest.MonkeyPatch) -> None:
    many.table()
    many.archive(0)
    good, bad = many.taken(0, 0), many.taken(0, 0)
    for _ in range(2):
        many.work()
    many.jobs.storage.queue.clear_messages()
    go_on, seen = worker.go_on, list[str]()

    def fail_for_one(backfill_id: str, context: Any) -> None:
        seen.append(backfill_id)
        if backfill_id == bad:
            raise KeyError("plan")
        go_on(backfill_id, context)

    monkeypatch.setattr(worker, "go_on", fail_for_one)
    resume_broken_chains()
    assert sorted(seen) == sorted([good, bad])


def test_a_question_for_a_commit_that_kills_each_worker_ends(
    jobs: Jobs, app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server may say so much that a worker has no memory left."""
    day: FaultCase = make_fault_case(app, "staging-replace-plain", tmp_path / "spool", monkeypatch)
    monkeypatch.setenv("JOB_MAX_CRASHES", "1")
    monkeypatch.setenv("JOB_MAX_ATTEMPTS", "1")
    operation = jobs.taken(day.job_body())
    for where in ("recompress", "commit"):
        with jobs.worker(jobs.receive().content, TEST_KILLED_AT=where) as process:
            assert process.wait(60) == -signal.SIGKILL
        day.wait_until_gone()
        jobs.sweep_until_queued(operation.id)
    jobs.work()
    state = jobs.monitor(operation.id).body
    assert (state["status"], state["error"]["code"]) == ("Failed", "CommitOutcomeUnknown")
    assert "lost its worker 2 times" in state["error"]["message"]
    day.check_complete()


def test_a_day_whose_workers_die_after_its_commit_is_still_refreshed(many: Backfills) -> None:
    """What its backfill does at the end must know of it."""
    backfill_id = many.lost_behind_its_commit(JOB_MAX_CRASHES="1")
    (day,) = many.days(backfill_id).values()
    assert many.jobs.state(day["operation_id"]).commit
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOB_MAX_CRASHES", "1")

        def ended() -> bool:
            many.mend()
            many.jobs.serve_once(hidden_seconds=60)
            return many.jobs.state(day["operation_id"]).has_ended

        assert wait_until(ended, 60, pause=SWEEP_PAUSE)
    (day,) = many.days(backfill_id).values()
    assert day["outcome"] == "restored"
    state = many.jobs.state(day["operation_id"])
    assert isinstance(state, DayOperation)
    assert state.left


@pytest.mark.parametrize("place", ["before the catalogue", "behind it"])
def test_a_backfill_among_decoys(many: Backfills, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its plan to its end, behind the queue: nothing of another schema runs as the role."""
    many.table(interval="interval '7 days'")
    many.archive(1, 2, 3)
    many.app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-06 12:00Z', 20250106)")
    role = owner(many.app.database, path_with_decoys(many.app.database, place))
    monkeypatch.setenv("PGUSER", role["user"])
    monkeypatch.setenv("PGPASSWORD", role["password"])
    state = many.finish(many.taken(1, 3))
    assert (state["status"], state["result"]["warnings"]) == ("Succeeded", [])
    again = many.finish(many.taken(1, 3, existing="replace"))
    assert (again["status"], again["result"]["warnings"]) == ("Succeeded", [])
    assert many.counts() == many.all_of(1, 2, 3) | {"2025-01-06": 1}
