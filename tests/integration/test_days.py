"""`GET /api/days`: the word for each day, on a real lake, server and record."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import date, timedelta
from typing import Any

import pytest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from shared.api.call import HttpCall
from shared.api.parse import parse_for
from shared.archive.listing import list_archives
from shared.backfills.http import backfills
from shared.calendar import look
from shared.calendar.look import Question, look_at_days
from shared.calendar.pattern import read_pattern
from shared.errors import RestoreCanceled
from shared.jobs import day_notes
from shared.jobs.http import post_restore
from shared.model.report import Report
from shared.restore.target_table import table_to_read
from shared.settings import load_settings
from tests.faults.fix_backfills import Backfills
from tests.faults.fix_jobs import Jobs
from tests.integration.fix_app import Answer, App
from tests.integration.fix_calendar import Calendar
from tools.process import wait_until

FIRST, LAST = "2025-01-01", "2025-01-08"


def csv(day: str, rows: int = 2) -> bytes:
    return ("time,v\n" + "".join(f"{day} 0{hour}:00Z,{hour}\n" for hour in range(rows))).encode()


def put_back(calendar: Calendar, day: str, data: bytes, **request: object) -> None:
    """Restore a day by a call that waits, and wait until it is noted: nobody waits for the note."""
    app = calendar.app
    answer = app.restore(app.archive("t", data, day=day), **request)
    assert wait_until(
        lambda: (calendar.days(day, day)[day]["last_restore"] or {}).get("request_id") == answer.body["request_id"], 20
    )


def wait_for_notes() -> None:
    """Wait until the thread that writes them has written those that wait."""
    day_notes._waiting().join()


def test_a_word_for_each_day(calendar: Calendar) -> None:
    app = calendar.app
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    put_back(calendar, "2025-01-01", csv("2025-01-01"))
    app.archive("t", csv("2025-01-02"), day="2025-01-02")
    put_back(calendar, "2025-01-03", csv("2025-01-03"))
    app.archive("t", csv("2025-01-03", 3), day="2025-01-03")
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-05 12:00Z', 1), ('2025-01-06 12:00Z', 1)")
    app.archive("t", csv("2025-01-06"), day="2025-01-06")
    put_back(calendar, "2025-01-07", b"time,v\n2025-01-07,x\n")
    put_back(calendar, "2025-01-08", b"time,v\n", destination={"min_rows_ratio": 0})
    assert calendar.states(FIRST, LAST) == {
        "2025-01-01": "restored",
        "2025-01-02": "archived",
        "2025-01-03": "stale",
        "2025-01-04": "missing",
        "2025-01-05": "present",
        "2025-01-06": "present",
        "2025-01-07": "failed",
        "2025-01-08": "restored",
    }


def test_what_is_known_of_a_day(calendar: Calendar) -> None:
    app = calendar.app
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    put_back(calendar, FIRST, csv(FIRST))
    put_back(calendar, FIRST, csv(FIRST))
    day = calendar.days(FIRST, FIRST, counts="true")[FIRST]
    assert day["table"] == {"rows": "yes", "count": 2}
    assert (day["last_restore"]["outcome"], day["last_restore"]["code"]) == ("failed", "WindowNotEmpty")
    assert (day["state"], day["last_restore"]["restored_rows"]) == ("stale", 2)
    assert day["archive"]["bytes"] > 20
    # Storage wrote the same bytes again: another version all the same.
    assert day["archive"]["etag"] != day["last_restore"]["restored_etag"]


def test_rows_that_are_gone_again(calendar: Calendar) -> None:
    app = calendar.app
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    put_back(calendar, FIRST, csv(FIRST))
    app.database.execute("DELETE FROM {s}.t")
    assert calendar.states(FIRST, FIRST) == {FIRST: "archived"}


def test_a_day_of_which_chunks_are_gone(calendar: Calendar) -> None:
    app = calendar.app
    app.database.hypertable("t", "time timestamptz NOT NULL, v int", interval="interval '1 hour'")
    put_back(calendar, FIRST, csv(FIRST))
    # Hours without rows have no chunk.
    assert calendar.days(FIRST, FIRST)[FIRST]["table"] == {"rows": "partly", "count": 2}
    assert calendar.states(FIRST, FIRST) == {FIRST: "restored"}
    app.database.execute("SELECT public.drop_chunks('{s}.t', older_than => timestamptz '2025-01-01 01:00Z')")
    assert calendar.states(FIRST, FIRST) == {FIRST: "unknown"}


@pytest.mark.parametrize("column", ["timestamp", "date", "bigint"])
def test_other_time_columns(calendar: Calendar, column: str) -> None:
    app = calendar.app
    interval = "86400000" if column == "bigint" else "interval '1 day'"
    app.database.hypertable("t", f"time {column} NOT NULL, v int", interval=interval)
    value = "1735732800000" if column == "bigint" else "'2025-01-01'"
    app.database.execute(f"INSERT INTO {{s}}.t VALUES ({value}, 1)")
    assert calendar.states("2024-12-31", "2025-01-02") == {
        "2024-12-31": "missing",
        "2025-01-01": "present",
        "2025-01-02": "missing",
    }


def test_a_plain_table_whose_time_is_named_or_is_not(calendar: Calendar) -> None:
    calendar.app.database.execute("CREATE TABLE {s}.t (a timestamptz, b timestamptz)")
    calendar.app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01', '2025-01-02')")
    assert calendar.states(FIRST, "2025-01-02") == {FIRST: "unknown", "2025-01-02": "unknown"}
    assert calendar.states(FIRST, "2025-01-02", time_column="b") == {FIRST: "missing", "2025-01-02": "present"}


@pytest.mark.parametrize("asked", ["the days", "the plan of a backfill"])
def test_a_table_that_another_session_has_locked(
    calendar: Calendar, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    """A look waits for a lock as long as a restore does, not as long as a statement may take."""
    monkeypatch.setenv("PG_LOCK_TIMEOUT_SECONDS", "1")
    monkeypatch.setenv("PG_STATEMENT_TIMEOUT_SECONDS", "10")
    app = calendar.app
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    app.archive("t", csv(FIRST), day=FIRST)
    with closing(app.database.session()) as other, other.cursor() as cursor:
        cursor.execute(f'BEGIN; LOCK TABLE "{app.database.schema}".t IN ACCESS EXCLUSIVE MODE')
        if asked == "the days":
            answer = calendar.ask(FIRST, FIRST)
        else:
            body = {"adls_url": calendar.pattern, "dates": {"from": FIRST, "to": FIRST}, "dry_run": True}
            in_json = {"Content-Type": "application/json"}
            url = "http://localhost:7071/api/backfills"
            found = backfills(HttpCall("POST", url, in_json, {}, {}, json.dumps(body).encode()))
            answer = Answer(found.status, json.loads(found.body), found.headers)
    assert (answer.status, answer.body["error"]["code"]) == (503, "TargetLocked")


def test_another_table_and_pages(calendar: Calendar) -> None:
    app = calendar.app
    app.database.hypertable("other", "time timestamptz NOT NULL, v int")
    app.database.execute("INSERT INTO {s}.other VALUES ('2025-01-04', 1)")
    target = f"{app.database.schema}.other"
    pages, query = [], {"target_table": target, "top": "3"}
    first = FIRST
    while first:
        answer = calendar.ask(first, LAST, **query)
        pages.append({day["day"]: day["state"] for day in answer.body["value"]})
        link = answer.body["nextLink"]
        assert link is None or (f"target_table={target}" in link and "code" not in link)
        first = "" if link is None else link.partition("from=")[2][:10]
    assert [len(page) for page in pages] == [3, 3, 2]
    assert [day for page in pages for day, state in page.items() if state == "present"] == ["2025-01-04"]


def test_ten_years_in_one_listing(calendar: Calendar) -> None:
    """Files of other tables and other names do not count."""
    app = calendar.app
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    for day in ("2016-02-29", "2024-12-31"):
        app.archive("t", csv(day), day=day)
    app.archive("tt", csv("2020-01-01"), day="2020-01-01")
    app.storage.put(app.path("t", "2020-01-02") + ".bak", b"x")
    states: dict[str, str] = {}
    for year in range(2015, 2025):
        states |= calendar.states(f"{year}-01-01", f"{year}-12-31")
    assert {day for day, state in states.items() if state != "missing"} == {"2016-02-29", "2024-12-31"}
    assert len(states) == (date(2025, 1, 1) - date(2015, 1, 1)) // timedelta(days=1)


@pytest.mark.parametrize(
    ("query", "code", "named"),
    [
        ({"adls_url": ""}, "InvalidArchiveUrl", "{date}"),
        ({"adls_url": "backups/db/s.t.2025-01-01.csv.gz"}, "InvalidArchiveUrl", "{date}"),
        ({"adls_url": "backups/{date}/s.t.2025-01-01.csv.gz"}, "InvalidArchiveUrl", "{date}"),
        ({"adls_url": "backups/db/s{date}.t.{date}.csv.gz"}, "InvalidArchiveUrl", "schema"),
        ({"adls_url": "backups/db/s.t.{date}.csv.gz?sv=2024-11-04&sp=r&sig=hunter2"}, "InvalidArchiveUrl", "SAS"),
        ({"from": "2025-01-32"}, "InvalidRequest", "from"),
        ({"from": "20250101"}, "InvalidRequest", "from"),
        ({"to": "2024-12-31"}, "InvalidRequest", "to"),
        ({"to": "2099-01-01"}, "InvalidRequest", "3700"),
        ({"top": "0"}, "InvalidRequest", "top"),
        ({"counts": "yes"}, "InvalidRequest", "counts"),
        ({"form": "2025-01-01"}, "InvalidRequest", "form"),
        ({"target_table": "no_schema."}, "InvalidRequest", "target_table"),
    ],
)
def test_a_query_that_is_wrong(
    calendar: Calendar, monkeypatch: pytest.MonkeyPatch, query: dict[str, str], code: str, named: str
) -> None:
    monkeypatch.setenv("ADLS_ACCOUNT_URL_DEFAULT", "https://devstoreaccount1.dfs.core.windows.net")
    monkeypatch.setenv("ADLS_FILESYSTEM_DEFAULT", "archive")
    answer = calendar.ask(**({"first": FIRST, "last": LAST} | query))
    assert (answer.status, answer.code) == (400, code)
    assert named in json.dumps(answer.body)
    assert "hunter2" not in json.dumps(answer.body)


def test_who_may_not_look(calendar: Calendar, monkeypatch: pytest.MonkeyPatch) -> None:
    calendar.app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    monkeypatch.setenv("ALLOWED_TARGETS", "other.*")
    assert calendar.ask(FIRST, LAST).code == "TargetNotAllowed"
    monkeypatch.delenv("ALLOWED_TARGETS")
    pg = calendar.app.database.role()
    for name in ("user", "password"):
        monkeypatch.setenv(f"PG{name.upper()}", pg[name])
    assert (calendar.ask(FIRST, LAST).status, calendar.ask(FIRST, LAST).code) == (403, "DatabasePermissionDenied")


def test_without_the_right_to_list(calendar: Calendar, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SAS for reading files alone."""
    calendar.app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    calendar.app.archive("t", csv(FIRST))
    storage = calendar.app.storage
    signature = generate_container_sas(
        storage.account,
        storage.filesystem,
        account_key=storage.parts["AccountKey"],
        permission=ContainerSasPermissions(read=True),
        expiry="2099-01-01T00:00:00Z",
    )
    endpoint = storage.parts["BlobEndpoint"]
    monkeypatch.setenv(
        "ADLS_CONNECTION_STRING",
        f"AccountName={storage.account};SharedAccessSignature={signature};BlobEndpoint={endpoint}",
    )
    answer = calendar.ask(FIRST, LAST)
    assert (answer.status, answer.code) == (403, "StorageAccessDenied")
    # A restore lists nothing.
    restored = calendar.app.restore(storage.url(calendar.app.path("t", FIRST)))
    assert restored.status == 200, restored.body


def test_a_record_that_cannot_be_reached(calendar: Calendar, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a storage account of the app's own nothing is recorded."""
    app = calendar.app
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01', 1)")
    monkeypatch.delenv("AzureWebJobsStorage")
    assert calendar.states(FIRST, FIRST) == {FIRST: "present"}
    assert isinstance(app, App)


def test_the_archives_are_listed_beside_the_look_at_the_table(
    calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waits for the other to have begun."""
    app = calendar.app
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    app.archive("t", csv(FIRST))
    both = threading.Barrier(2)

    def meeting(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            both.wait(20)
            return real(*args, **kwargs)

        return call

    for name in ("list_archives", "find_days"):
        monkeypatch.setattr(look, name, meeting(getattr(look, name)))
    assert calendar.states(FIRST, "2025-01-02") == {FIRST: "archived", "2025-01-02": "missing"}


def test_a_listing_that_fails_is_the_answer(calendar: Calendar, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the look at the table fails first. Rows are not counted for it."""
    table_is_read = threading.Event()

    def late(*args: Any) -> Any:
        assert table_is_read.wait(20)
        return list_archives(*args)

    def read(*args: Any) -> Any:
        table_is_read.set()
        return table_to_read(*args)

    monkeypatch.setattr(look, "list_archives", late)
    monkeypatch.setattr(look, "table_to_read", read)
    assert calendar.ask(FIRST, LAST).code == "TableNotFound"
    table_is_read.clear()
    pattern = calendar.pattern.replace(calendar.app.storage.filesystem, "no-such-file-system")
    assert calendar.ask(FIRST, LAST, adls_url=pattern).code == "ArchiveNotFound"
    monkeypatch.setattr(look, "list_archives", list_archives)
    table_is_read.clear()
    assert calendar.ask(FIRST, LAST, adls_url=pattern, counts="true").code == "ArchiveNotFound"
    assert not table_is_read.is_set()


def test_a_canceled_look_does_not_wait_for_a_listing(calendar: Calendar, monkeypatch: pytest.MonkeyPatch) -> None:
    calendar.app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    report, ended = Report("request"), threading.Event()

    def hanging(*_: object) -> None:
        report.progress.cancel()
        ended.wait(60)

    monkeypatch.setattr(look, "list_archives", hanging)
    settings = load_settings()
    pattern = read_pattern(calendar.pattern, settings)
    body = json.dumps({"adls_url": pattern.url(date.fromisoformat(FIRST))}).encode()
    question = Question(pattern, parse_for(body, settings), [date.fromisoformat(FIRST)])
    begin = time.monotonic()
    with pytest.raises(RestoreCanceled):
        look_at_days(question, settings, report)
    assert time.monotonic() - begin < 30
    report.progress.end()
    ended.set()


@pytest.mark.community
def test_days_of_a_compressed_chunk(community_calendar: Calendar) -> None:
    calendar, database = community_calendar, community_calendar.app.database
    database.hypertable("t", "time timestamptz NOT NULL, v int", interval="interval '7 days'")
    database.execute("ALTER TABLE {s}.t SET (timescaledb.compress)")
    put_back(calendar, "2025-01-03", csv("2025-01-03"))
    database.execute("SELECT public.compress_chunk(c) FROM public.show_chunks('{s}.t') c")
    days = calendar.days("2025-01-02", "2025-01-04", counts="true")
    assert [(day["state"], day["table"]["count"]) for day in days.values()] == [
        ("missing", 0),
        ("restored", 2),
        ("missing", 0),
    ]


def test_a_day_that_waits_in_the_queue(calendar: Calendar) -> None:
    app = calendar.app
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    body = json.dumps({"adls_url": app.archive("t", csv(FIRST)), "async": True}).encode()
    call = HttpCall("POST", "http://localhost/api/restore", {"Content-Type": "application/json"}, {}, {}, body)
    assert post_restore(call).status == 202
    assert calendar.states(FIRST, FIRST) == {FIRST: "running"}


@pytest.mark.parametrize("dry_run", [False, True, "full"])
def test_a_day_whose_restore_was_canceled_in_the_queue(calendar: Calendar, jobs: Jobs, dry_run: bool | str) -> None:
    """The note says what became of the restore, as it does for one that was canceled while it ran."""
    app = calendar.app
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    operation = jobs.taken({"adls_url": app.archive("t", csv(FIRST)), "dry_run": dry_run})
    assert jobs.cancel(operation.id).body["status"] == "Canceled"
    wait_for_notes()
    day = calendar.days(FIRST, FIRST)[FIRST]
    if dry_run:
        assert (day["state"], day["last_restore"]) == ("archived", None)
        return
    last = day["last_restore"]
    assert (day["state"], last["outcome"], last["code"]) == ("failed", "failed", "RestoreCanceled")
    assert (last["operation_id"], last["at"]) == (operation.id, jobs.state(operation.id).ended)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_dry_run_that_fails_says_nothing_of_the_day(calendar: Calendar, jobs: Jobs, is_async: bool) -> None:
    """A day that `failed` is not for the timer."""
    app = calendar.app
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    url = app.stored("t", gzip.compress(csv(FIRST))[:-9], day=FIRST)
    answer = jobs.post({"adls_url": url, "dry_run": "full", "async": is_async})
    if is_async:
        jobs.work()
        assert jobs.monitor(answer.body["id"]).body["error"]["code"] == "ArchiveTruncated"
    else:
        assert answer.code == "ArchiveTruncated"
    wait_for_notes()
    day = calendar.days(FIRST, FIRST)[FIRST]
    assert (day["state"], day["last_restore"]) == ("archived", None)


def test_a_day_that_a_stopped_backfill_had_not_begun(calendar: Calendar, jobs: Jobs) -> None:
    """It keeps the note of the restore before: that one says more of the day."""
    app, many = calendar.app, Backfills(jobs)
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    put_back(calendar, FIRST, csv(FIRST))
    before = calendar.days(FIRST, FIRST)[FIRST]["last_restore"]
    backfill_id = many.taken(0, 0, existing="replace")
    many.work()
    assert many.stop(backfill_id).status == 202
    assert many.finish(backfill_id)["status"] == "Canceled"
    assert calendar.days(FIRST, FIRST)[FIRST]["last_restore"] == before


def test_an_error_names_the_parameters_of_the_query(calendar: Calendar) -> None:
    """The fields of a request are refused here: `pg.database is unknown`."""
    calendar.app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    for parameter, value, code in (
        ("database", "restore_test_nowhere", "DatabaseNotFound"),
        ("target_table", "no.such", "TableNotFound"),
        ("time_column", "no_such", "UnknownColumn"),
    ):
        answer = calendar.ask(FIRST, LAST, **{parameter: value})
        assert (answer.code, answer.body["error"]["target"]) == (code, parameter), answer.body
        said = json.dumps(answer.body["error"])
        assert "pg." not in said
        assert "destination." not in said
