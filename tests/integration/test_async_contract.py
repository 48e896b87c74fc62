"""What callers of an asynchronous restore may rely on: ids, tokens, links, lists, and what is refused."""

from __future__ import annotations

import base64
import gzip
import json
import re
from datetime import date, timedelta
from typing import Any

import pytest
from azure.storage.queue import QueueClient

from shared.api.call import HttpCall, base_url
from shared.backfills.worker import dispatch_message
from shared.calendar.http import get_days
from shared.jobs.day_notes import partition_of, read_days
from shared.jobs.http import get_restores, get_result
from shared.jobs.message import decode
from shared.model.stamp import stamp
from shared.settings import Settings, load_settings
from tests.faults.fix_jobs import Jobs, call_of, checked_answer
from tests.integration.fix_app import Answer, App
from tests.integration.fix_threads import at_once
from tools.local_server import free_port

pytestmark = pytest.mark.any_server

CSV = b"time,v\n2025-01-01 01:00Z,1\n2025-01-01 02:00Z,2\n"
ASYNC = {"Prefer": "respond-async"}
TWO_UNITS = "\N{GRINNING FACE}"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def url(app: App) -> str:
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    return app.archive("t", CSV)


@pytest.fixture
def body(url: str) -> dict[str, Any]:
    return {"adls_url": url}


def is_empty(jobs: Jobs) -> bool:
    return not list(jobs.storage.table.list_entities()) and jobs.store.queue_is_empty()


# --- taken ---------------------------------------------------------------------------------------------------------


def test_the_answer_to_a_restore_that_is_taken(jobs: Jobs, app: App, body: dict[str, Any]) -> None:
    taken = jobs.post(body, Prefer="wait=10, respond-async; x=1", traceparent=TRACE)
    assert taken.status == 202
    own = f"http://localhost:7071/api/restores/{taken.body['id']}"
    assert taken.headers["Operation-Location"] == own
    assert re.fullmatch(re.escape(f"{own}/result?token=") + r"[A-Za-z0-9_-]{40,}", taken.headers["Location"])
    assert int(taken.headers["Retry-After"]) > 0
    assert taken.headers["Preference-Applied"] == "respond-async"
    monitor = {name: value for name, value in taken.body.items() if value is not None}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", monitor.pop("created"))
    assert monitor == {
        "id": taken.body["id"],
        "kind": "restore",
        "status": "NotStarted",
        "canceling": False,
        "attempt": 0,
        "attempts": [],
        "archive": body["adls_url"],
        "database": app.database.name,
        "target_table": f"{app.database.schema}.t",
        "day": "2025-01-01",
        "request": body,
        "progress": taken.body["progress"],
        "links": {"self": own, "result": f"{own}/result", "cancel": own},
    }
    (message,) = jobs.storage.queue.peek_messages()
    expected = {"version": 1, "kind": "restore", "id": monitor["id"], "traceparent": TRACE}
    assert json.loads(message.content) == expected


def test_a_message_is_base64_and_more_fields_are_harmless(jobs: Jobs, body: dict[str, Any]) -> None:
    operation = jobs.taken(body)
    text = json.dumps({"version": 1, "id": operation.id, "colour": "green", "traceparent": 5}).encode()
    assert decode(text).operation_id == operation.id
    dispatch_message(text)
    assert jobs.state(operation.id).status == "Succeeded"
    setting = load_settings().web_jobs_storage.connection_string
    assert setting is not None
    with QueueClient.from_connection_string(setting.get_secret_value(), "restore-requests") as plain:
        (message,) = plain.peek_messages()
    assert json.loads(base64.b64decode(message.content, validate=True))["id"] == operation.id


@pytest.mark.parametrize(
    ("headers", "base"),
    [
        ({"X_Forwarded_Proto": "https", "X_Forwarded_Host": "restore.example"}, "https://restore.example/api"),
        ({"X_Forwarded_Proto": "https, http", "X_Forwarded_Host": "a.example, b"}, "https://a.example/api"),
        ({"X_Forwarded_Proto": "https"}, "https://localhost:7071/api"),
        ({"X_Forwarded_Proto": "javascript", "X_Forwarded_Host": "a.example/x?"}, "http://localhost:7071/api"),
    ],
)
def test_links_begin_with_what_the_caller_used(
    jobs: Jobs, body: dict[str, Any], headers: dict[str, str], base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = jobs.post(body, **ASYNC, **headers)
    assert taken.body["links"]["self"] == f"{base}/restores/{taken.body['id']}"
    assert taken.headers["Location"].startswith(f"{base}/restores/")
    monkeypatch.setenv("PUBLIC_BASE_URL", "https://gateway.example/lake")
    taken = jobs.post(body, **ASYNC, **headers)
    assert taken.headers["Operation-Location"] == f"https://gateway.example/lake/restores/{taken.body['id']}"


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://[:::::]/api/restore?x=/restore#/restore", "/api"),
        ("https://app.example:8443/lake/v1/restore", "https://app.example:8443/lake/v1"),
        ("https://app.example/lake", "https://app.example/lake"),
        ("https://app.example", "https://app.example"),
    ],
)
def test_any_address_has_a_base(url: str, base: str) -> None:
    assert base_url(HttpCall("POST", url, {}, {}, {}, b""), Settings(), "/restore") == base


def test_what_needs_no_connection_is_checked_at_once(
    jobs: Jobs, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert jobs.post(body | {"verify": "perhaps"}, **ASYNC).code == "InvalidRequest"
    assert jobs.post(body | {"adls_url": "x"}, **ASYNC).status == 400
    monkeypatch.setenv("PG_ALLOWED_DATABASES", "another")
    assert jobs.post(body, **ASYNC).status == 403
    monkeypatch.delenv("PG_ALLOWED_DATABASES")
    monkeypatch.setenv("ADLS_ALLOWED_ACCOUNTS", "another")
    assert jobs.post(body, **ASYNC).status == 403
    assert is_empty(jobs)


def test_a_secret_is_refused_by_the_name_of_its_field(jobs: Jobs, app: App, url: str) -> None:
    info = app.database.pg
    uri = f"postgresql://{info['user']}:secret@{info['host']}:{info['port']}/{app.database.name}"
    for change, field, setting in (
        ({"pg": info | {"password": "secret"}}, "pg.password", "PGPASSWORD"),
        ({"pg": {"connection_uri": uri}}, "pg.connection_uri", "PGPASSWORD"),
        ({"adls_url": f"{url}?sv=2024-11-04&sp=r&sig=secret"}, "adls_url", "ADLS_CONNECTION_STRING"),
    ):
        refused = jobs.post({"adls_url": url} | change, **ASYNC)
        assert (refused.status, refused.code) == (400, "SecretInAsyncRequest"), refused.body
        error = refused.body["error"]
        assert error["target"] == field
        assert field in error["message"]
        assert setting in error["hint"]
        assert "secret@" not in str(refused.body)
    assert is_empty(jobs)
    without = uri.replace(":secret@", "@")
    assert jobs.post({"adls_url": url, "pg": {"connection_uri": without}}, **ASYNC).status == 202


def test_async_in_the_body_wins_over_prefer(jobs: Jobs, body: dict[str, Any]) -> None:
    assert jobs.post(body | {"async": False}, **ASYNC, Operation_Id="???").status == 200
    assert is_empty(jobs)
    assert jobs.post(body | {"async": True}, Prefer="return=minimal").status == 202


@pytest.mark.parametrize(
    ("prefer", "is_async"),
    [
        ("RESPOND-Async", True),
        ("return=minimal,respond-async ; wait=3, wait=5", True),
        # Several lines of one header arrive joined by commas.
        ('x="a, \\"b", respond-async', True),
        ('respond-async; note="a,b;c"', True),
        ('respond-async=""', True),
        ("respond-async =", True),
        ('x="respond-async, respond-async, y"', False),
        ('respond-async="no"', False),
        ("respond-async-not", False),
        ("wait; respond-async", False),
        ('"respond-async"', False),
        (",;=,", False),
        ("", False),
    ],
)
def test_preferences_are_read_as_http_writes_them(
    jobs: Jobs, body: dict[str, Any], prefer: str, is_async: bool
) -> None:
    """RFC 7240, section 2. The body is refused, if it is to wait, by what it asks for."""
    refused = body | {"pg": {"password": "x"}, "destination": {"target_table": "nowhere.at_all"}}
    answer = jobs.post(refused, Prefer=prefer)
    assert (answer.code == "SecretInAsyncRequest") is is_async, answer.body
    assert answer.status >= 400


def test_a_dry_run_may_be_asynchronous(jobs: Jobs, app: App, body: dict[str, Any]) -> None:
    taken = jobs.post(body | {"dry_run": True}, **ASYNC)
    jobs.work()
    monitor = jobs.monitor(taken.body["id"]).body
    assert (monitor["status"], monitor["result"]["status"]) == ("Succeeded", "dry_run")
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0


def test_monitors_and_lists_tell_successes_apart(jobs: Jobs, body: dict[str, Any]) -> None:
    """Only some of them have loaded a row. A long answer is not read for a list."""
    sent = {
        "dry_run": body | {"dry_run": True},
        "ok": body,
        "skipped": body | {"destination": {"on_existing": "skip"}},
        "ok_with_warnings": body | {"destination": {"mode": "staging"}},
        None: body,
    }
    for number, asked in enumerate(sent.values()):
        operation = jobs.taken(asked, Operation_Id=f"op{number}")
        assert jobs.monitor(operation.id).body["outcome"] is None
        jobs.work()
    ended = jobs.state("op1")
    jobs.store.change(ended, answer=ended.answer + " " * 70_000)
    monitors = [jobs.monitor(f"op{number}").body for number in range(len(sent))]
    listed = [*reversed(jobs.listed().body["value"])]
    for found in (monitors, listed):
        assert [one["outcome"] for one in found] == [*sent]
        assert [one["status"] for one in found] == ["Succeeded"] * 4 + ["Failed"]
    assert [one["result"]["status"] for one in monitors[:-1]] == [*sent][:-1]


# --- ids -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Operation_Id", "Repeatability_Request_ID", "Idempotency_Key"])
def test_the_same_request_under_an_id_is_the_same_operation(jobs: Jobs, url: str, name: str) -> None:
    first = jobs.post({"adls_url": url, "dry_run": False, "pg": None}, **ASYNC, **{name: "Day.1_of-2"})
    assert first.body["id"] == "Day.1_of-2"
    # Other bytes, other headers, the same request.
    again = jobs.post({"async": True, "adls_url": url}, **{name: "Day.1_of-2"})
    assert (again.status, again.body["id"]) == (202, "Day.1_of-2")
    assert again.headers["Location"] != first.headers["Location"]
    other = jobs.post({"adls_url": url, "dry_run": True}, **ASYNC, **{name: "Day.1_of-2"})
    assert (other.status, other.code) == (400, "OperationIdReused")
    jobs.work()
    assert jobs.store.queue_is_empty()
    for taken in (first, again):
        assert jobs.result(taken.headers["Location"]).status == 200
    late = jobs.post({"adls_url": url}, **ASYNC, **{name: "Day.1_of-2"})
    assert (late.status, late.body["status"]) == (202, "Succeeded")
    assert jobs.result(late.headers["Location"]).status == 200


def test_ids_that_cannot_be_one(jobs: Jobs, body: dict[str, Any]) -> None:
    for headers in (
        {"Operation_Id": ""},
        {"Operation_Id": "a b"},
        {"Operation_Id": "ü"},
        {"Operation_Id": "x" * 65},
        {"Operation_Id": "."},
        {"Idempotency_Key": '".."'},
        # Two lines of one header.
        {"Operation_Id": "a,b"},
        {"Operation_Id": '"quoted"'},
        {"Repeatability_Request_ID": '"quoted"'},
        {"Idempotency_Key": '"'},
        {"Operation_Id": "a", "Idempotency_Key": "b"},
    ):
        refused = jobs.post(body, **ASYNC, **headers)
        assert (refused.status, refused.code) == (400, "InvalidRequest"), headers
    assert is_empty(jobs)
    same = {"Operation_Id": "x" * 64, "Idempotency_Key": f'"{"x" * 64}"', "Repeatability_Request_ID": "x" * 64}
    assert jobs.post(body, **ASYNC, **same).body["id"] == "x" * 64
    # A call that waits has no operation.
    assert jobs.post(body, Operation_Id="a b", Idempotency_Key="c").status == 200


@pytest.mark.parametrize("name", ["a/b", "a\\b", "\x00", "x" * 65, "\ud800", ""])
def test_an_operation_that_cannot_be(jobs: Jobs, name: str) -> None:
    """Storage answers such a key by an error that may pass. The result is open to everybody."""
    assert [jobs.monitor(name, method).status for method in ("GET", "DELETE")] == [404, 404]
    assert get_result(call_of("GET", "/api/restores/x/result", {}, route={"id": name})).status == 404


def test_two_calls_with_one_id_at_once(jobs: Jobs, app: App, body: dict[str, Any]) -> None:
    taken = at_once(4, lambda: jobs.post(body, **ASYNC, Operation_Id="one"))
    assert [answer.status for answer in taken] == [202] * 4
    for _ in range(4):
        jobs.serve_once()
    assert jobs.state("one").attempt == 1
    assert app.database.value("SELECT count(*) FROM {s}.t") == 2
    assert {jobs.result(answer.headers["Location"]).status for answer in taken} == {200}


# --- followed ------------------------------------------------------------------------------------------------------


def without_times(answer: Answer) -> tuple[int, dict[str, str], dict[str, Any]]:
    """An answer without what differs from one restore to the next."""
    body = dict(answer.body)
    headers = {name: value for name, value in answer.headers.items() if name != "x-ms-request-id"}
    assert answer.headers["x-ms-request-id"] == body.pop("request_id")
    body.pop("timings", None)
    (body.get("copy") or {}).pop("waited_seconds", None)
    for detail in (body.get("error") or {}).get("details", []):
        detail.pop("storage_request_id", None)
    return answer.status, headers, body


def test_the_result_while_it_runs(jobs: Jobs, body: dict[str, Any]) -> None:
    taken = jobs.post(body, **ASYNC)
    waiting = jobs.result(taken.headers["Location"])
    assert waiting.status == 202
    assert waiting.headers["Location"] == taken.headers["Location"]
    assert int(waiting.headers["Retry-After"]) > 0
    assert int(jobs.monitor(taken.body["id"]).headers["Retry-After"]) > 0
    # One that waits is looked at when it is tried again, and in a minute at the latest.
    in_an_hour = stamp(jobs.store.service_time() + timedelta(hours=1))
    operation = jobs.store.change(jobs.state(taken.body["id"]), next_attempt=in_an_hour)
    answers = [jobs.monitor(operation.id), jobs.result(taken.headers["Location"])]
    assert [answer.headers["Retry-After"] for answer in answers] == ["60", "60"]
    jobs.store.change(operation, next_attempt=stamp(jobs.store.service_time() + timedelta(seconds=30)))
    # The header Date, by which the service tells its time, has whole seconds.
    assert 25 < int(jobs.monitor(operation.id).headers["Retry-After"]) <= 31
    jobs.work()
    result = jobs.result(taken.headers["Location"])
    monitor = jobs.monitor(taken.body["id"])
    assert monitor.body["result"] == result.body
    assert "Retry-After" not in monitor.headers


@pytest.mark.parametrize(
    ("change", "settings", "expected"),
    [
        ({"destination": {"on_existing": "replace"}}, {}, (200, "ok")),
        ({"destination": {"on_existing": "skip"}}, {}, (200, "skipped")),
        (
            {
                "adls_url": "{folder}/t.2025-01-04.csv.gz",
                "destination": {"mode": "staging", "on_existing": "replace"},
            },
            {},
            (200, "ok_with_warnings"),
        ),
        ({"dry_run": True}, {}, (200, "dry_run")),
        ({"dry_run": "full"}, {}, (200, "dry_run")),
        ({}, {}, (409, "WindowNotEmpty")),
        ({"adls_url": "{folder}/t.2024-01-01.csv.gz"}, {}, (404, "ArchiveNotFound")),
        ({"adls_url": "{folder}/t.2025-01-02.csv.gz"}, {}, (422, "DataRejected")),
        ({"adls_url": "{folder}/t.2025-01-03.csv.gz"}, {}, (422, "ArchiveTruncated")),
        ({}, {"PGPASSWORD": "wrong"}, (403, "DatabaseAccessDenied")),
        # With the header Retry-After.
        ({}, {"PGPORT": "1", "JOB_MAX_ATTEMPTS": "1"}, (503, "DatabaseUnreachable")),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else None,
)
def test_the_result_is_what_the_call_would_have_answered(
    jobs: Jobs,
    app: App,
    url: str,
    change: dict[str, Any],
    settings: dict[str, str],
    expected: tuple[int, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its status, its headers, its body."""
    app.archive("t", b"time,v\n2025-01-02 01:00Z,x\n", day="2025-01-02")
    app.stored("t", gzip.compress(CSV)[:-5], day="2025-01-03")
    app.archive("t", b"time,v,other\n2025-01-04 01:00Z,1,2\n", day="2025-01-04")
    body = {"adls_url": url} | change
    body["adls_url"] = (
        body["adls_url"].replace("{folder}", url.rpartition("/")[0]).replace("/t.", f"/{app.database.schema}.t.")
    )
    # So that either finds the same rows and chunks.
    assert jobs.post({"adls_url": url}).status == 200
    jobs.post(body)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    taken = jobs.post(body, **ASYNC)
    jobs.work()
    result = jobs.result(taken.headers["Location"])
    assert (result.status, result.code if result.status >= 400 else result.body["status"]) == expected, result.body
    assert ("Retry-After" in result.headers) is (expected[0] == 503)
    assert without_times(result) == without_times(jobs.post(body))


def test_a_token_opens_one_result(jobs: Jobs, body: dict[str, Any]) -> None:
    one, another = (jobs.post(body, **ASYNC) for _ in range(2))
    own = one.headers["Location"].split("token=")
    theirs = another.headers["Location"].split("token=")
    for location in (own[0], own[0] + "token="):
        refused = jobs.result(location)
        assert (refused.status, refused.code) == (404, "OperationNotFound")
        assert "token is missing" in refused.body["error"]["message"]
        nobody = jobs.result(location.replace(one.body["id"], "nobody"))
        assert nobody.body["error"] == refused.body["error"]
    for location in (own[0] + "token=" + theirs[1], own[0] + "token=" + own[1][:-1]):
        refused = jobs.result(location)
        assert "token" in refused.body["error"]["message"]
        assert (refused.status, refused.code) == (404, "OperationNotFound")
    nobody = jobs.result(one.headers["Location"].replace(one.body["id"], "nobody"))
    assert (nobody.status, nobody.body["error"] | {"message": ""}) == (404, refused.body["error"] | {"message": ""})
    assert nobody.body["error"]["message"] == refused.body["error"]["message"]
    assert own[1] not in str([dict(entity) for entity in jobs.storage.table.list_entities()])


def test_the_last_sixteen_tokens_open_the_result(jobs: Jobs, body: dict[str, Any]) -> None:
    taken = [jobs.post(body, **ASYNC, Operation_Id="one") for _ in range(17)]
    jobs.work()
    statuses = [jobs.result(answer.headers["Location"]).status for answer in taken]
    assert statuses == [404] + [200] * 16


def test_a_result_that_was_canceled(jobs: Jobs, body: dict[str, Any]) -> None:
    taken = jobs.post(body, **ASYNC)
    assert jobs.cancel(taken.body["id"]).body["status"] == "Canceled"
    assert jobs.cancel(taken.body["id"]).status == 202
    result = jobs.result(taken.headers["Location"])
    assert (result.status, result.code) == (409, "RestoreCanceled")
    assert jobs.monitor(taken.body["id"]).body["error"]["code"] == "RestoreCanceled"


def test_a_cancel_of_nothing_in_particular(jobs: Jobs, body: dict[str, Any]) -> None:
    """The function's route has the id as an option, for the list."""
    operation = jobs.taken(body)
    refused = checked_answer(get_restores(call_of("DELETE", "/api/restores", {})), "listRestores")
    assert (refused.status, refused.code, refused.body["error"]["target"]) == (400, "InvalidRequest", "id")
    assert jobs.state(operation.id).status == "NotStarted"


@pytest.mark.parametrize("status", ["Succeeded", "Failed"])
def test_a_cancel_that_came_too_late_has_an_end(jobs: Jobs, body: dict[str, Any], status: str) -> None:
    """A caller that asks again must learn that it was not canceled."""
    operation = jobs.taken(body)
    jobs.store.change(operation, status=status, is_canceled=True)
    refused = jobs.cancel(operation.id)
    assert (refused.status, refused.code) == (409, "OperationEnded")
    assert all(word in refused.body["error"]["message"] for word in (operation.id, status))


def test_the_log_tells_how_an_operation_ended(
    jobs: Jobs, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each line names it: who reads the log at night has only the id."""
    caplog.set_level("INFO", logger="restore_chunk")
    with monkeypatch.context() as away:
        away.setenv("PGPORT", str(free_port()))
        taken = jobs.post(body, **ASYNC, Operation_Id="night")
        jobs.work()
    jobs.cancel("night")
    lines = [line for line in caplog.messages if line.startswith("operation=night ")]
    assert lines[0] == f"operation=night request_id={taken.headers['x-ms-request-id']} was taken: NotStarted"
    assert re.fullmatch(r"operation=night attempt=1 request_id=\S+ begins", lines[1])
    assert lines[2:] == [
        "operation=night attempt=1 waits for 5 s: DatabaseUnreachable",
        "operation=night is to be canceled: Canceled",
    ]


def test_the_log_says_why_an_operation_failed(
    jobs: Jobs, app: App, body: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """An alert on warnings sees it, and the line itself says what to look at."""
    jobs.taken(body)
    jobs.work()
    jobs.taken(body, Operation_Id="again")
    jobs.work()
    (line,) = (one for one in caplog.records if one.getMessage().startswith("operation=again ended: "))
    said = f"operation=again ended: Failed; WindowNotEmpty target={app.database.schema}.t day=2025-01-01 request_id="
    assert line.levelname == "WARNING"
    assert line.getMessage().startswith(said)


def test_the_line_of_a_call_is_not_taken_for_that_of_a_restore(jobs: Jobs, caplog: pytest.LogCaptureFixture) -> None:
    """Alerts count lines that begin with `restore request_id=`."""
    assert jobs.listed(status="x").status == 400
    assert jobs.monitor("unknown").status == 404
    assert jobs.post({"adls_url": 1}).status == 400
    assert get_days(call_of("GET", "/api/days", {})).status == 400
    lines = [line.partition(" request_id=")[0] for line in caplog.messages]
    assert lines == ["call", "call", "restore", "call"]


def test_an_operation_that_nobody_knows(jobs: Jobs) -> None:
    for answer in (jobs.monitor("nobody"), jobs.cancel("nobody")):
        assert (answer.status, answer.code) == (404, "OperationNotFound")


@pytest.mark.parametrize(
    ("text", "is_blob"),
    [
        ("x" * 30_000, False),
        ("x" * 30_001, True),
        ("\N{GRINNING FACE}" * 15_000, False),
        ("\N{GRINNING FACE}" * 15_001, True),
    ],
    ids=["ascii", "longer", "two units each", "longer of two units"],
)
def test_a_text_that_no_property_holds_is_in_a_blob(jobs: Jobs, body: dict[str, Any], text: str, is_blob: bool) -> None:
    """A property holds 64 KiB of UTF-16. Names of tables and columns may be of any characters."""
    operation = jobs.store.change(jobs.taken(body), answer=text, error=json.dumps(text))
    entity = jobs.storage.table.get_entity("restore", operation.row_key)
    assert str(entity["answer"]).startswith("blob:restore/") is is_blob
    assert (jobs.state(operation.id).answer, json.loads(jobs.state(operation.id).error)) == (text, text)


# --- listed --------------------------------------------------------------------------------------------------------


def test_operations_are_listed_newest_first(jobs: Jobs, app: App, body: dict[str, Any]) -> None:
    other = app.archive("u", CSV, day="2025-01-02")
    ids: list[str] = []
    for number in range(5):
        ids.insert(0, jobs.taken(body if number % 2 else {"adls_url": other}, Operation_Id=f"op{number}").id)
    jobs.work()
    assert [one["id"] for one in jobs.listed().body["value"]] == ids
    assert all("result" not in one for one in jobs.listed().body["value"])
    assert jobs.listed().body["nextLink"] is None

    def ids_of(**query: str) -> list[str]:
        return [one["id"] for one in jobs.listed(**query).body["value"]]

    schema = app.database.schema
    assert ids_of(table=f"{schema}.t") == ["op3", "op1"]
    assert ids_of(day="2025-01-02") == ["op4", "op2", "op0"]
    assert ids_of(status="NotStarted", database=app.database.name) == [one for one in ids if one != "op0"]
    assert ids_of(database="another") == []
    # Page by page, by the links alone.
    seen, page = [], jobs.listed(top="2", day="2025-01-02")
    while True:
        seen += [one["id"] for one in page.body["value"]]
        link = page.body["nextLink"]
        if link is None:
            break
        query = dict(part.split("=", 1) for part in link.split("?")[1].split("&"))
        assert query["day"] == "2025-01-02"
        page = jobs.listed(**{name: value.replace("%7E", "~") for name, value in query.items()})
    assert seen == ["op4", "op2", "op0"]


@pytest.mark.parametrize(
    "query",
    [
        {"top": "0"},
        {"top": "1001"},
        {"top": "x"},
        {"top": "5,6"},
        {"status": "Done"},
        {"status": "running"},
        {"day": "tomorrow"},
        {"day": "20250101"},
        {"day": "2025-W01-1"},
        {"after": "x"},
        {"after": "op~/"},
        {"after": "op~" + "x" * 1000},
        # A service refuses a query of that length, which is not the service's fault.
        {"table": "x" * 40_000},
        {"database": "x" * 40_000},
        {"staus": "Failed"},
        {"x" * 40_000: "1"},
    ],
)
def test_a_list_that_cannot_be(jobs: Jobs, query: dict[str, str]) -> None:
    refused = jobs.listed(**query)
    assert (refused.status, refused.code) == (400, "InvalidRequest")
    (name,) = query
    assert refused.body["error"]["target"] == name[:63]


def test_a_list_of_the_most_and_the_fewest(jobs: Jobs, body: dict[str, Any]) -> None:
    jobs.taken(body)
    for query in ({"top": "1"}, {"top": "1000"}, {"status": "", "day": "", "code": "key"}):
        assert len(jobs.listed(**query).body["value"]) == 1


def test_an_operation_notes_its_day(jobs: Jobs, app: App, body: dict[str, Any]) -> None:
    operation = jobs.taken(body)
    jobs.work()
    table = partition_of(app.database.name, f"{app.database.schema}.t")
    (note,) = read_days(load_settings(), table, date(2025, 1, 1), date(2025, 1, 1)).values()
    assert (note.outcome, note.operation_id, note.restored_rows) == ("ok", operation.id, 2)
