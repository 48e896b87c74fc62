"""What OpenTelemetry hears of a restore: spans, figures, and no secret. Off unless the process has an SDK."""

from __future__ import annotations

import contextvars
import gzip
import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import azure.functions as func
import psycopg2
import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags

from RestoreChunk import main
from shared.api.handle import new_report
from shared.backfills.worker import dispatch_message
from shared.errors import ArchiveNotFound
from shared.telemetry.trace import Origin, restoring
from tests.faults.fix_backfills import Backfills
from tests.faults.fix_jobs import Jobs
from tests.integration.fix_app import App
from tests.integration.fix_telemetry import Telemetry, attributes_of
from tools.config import REPOSITORY

pytestmark = pytest.mark.any_server

CSV = b"time,v\n2025-01-01 01:00Z,1\n2025-01-01 02:00Z,2\n"
BAD = b"time,v\n2025-01-01 01:00Z,canary-row\n"
TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACE = f"00-{TRACE_ID}-{SPAN_ID}-01"
OTHER = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(1))


@pytest.fixture
def url(app: App) -> str:
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    return app.archive("t", CSV)


def target(app: App) -> dict[str, Any]:
    return {
        "db.system.name": "postgresql",
        "db.namespace": app.database.name,
        "db.collection.name": f"{app.database.schema}.t",
    }


def parent_of(span: ReadableSpan) -> tuple[str, str]:
    assert span.parent is not None
    return f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}"


def ids_of(span: ReadableSpan) -> tuple[str, str]:
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


class Invocation(func.Context):
    """An invocation as the worker hands it over."""

    thread_local_storage: Any = type("Local", (), {})()
    invocation_id = "the-invocation"
    function_name = "RestoreChunk"
    function_directory = ""
    retry_context: Any = None
    trace_context: Any = SimpleNamespace(trace_parent=TRACE, trace_state="", attributes={})


def test_a_restore_is_a_span_with_a_child_for_each_stage(app: App, url: str, telemetry: Telemetry) -> None:
    answer = app.restore(url)
    span = telemetry.one("restore")
    assert (span.name, span.kind, span.parent) == (f"restore {app.database.schema}.t", SpanKind.INTERNAL, None)
    assert span.status.status_code is StatusCode.UNSET
    attributes = attributes_of(span)
    expected = target(app) | {
        "restore.request_id": answer.body["request_id"],
        "restore.archive": url,
        "restore.day": "2025-01-01",
        "file.name": url.rpartition("/")[2],
        "restore.outcome": "ok",
        "restore.mode": "direct",
        "restore.transfer": "spool",
        "restore.format": "text",
        "restore.csv_bytes": len(CSV),
        "restore.rows_read": 2,
        "restore.rows_loaded": 2,
        "restore.rows_skipped": 0,
        "restore.loads": 1,
    }
    assert {name: attributes.get(name) for name in expected} == expected
    assert attributes["file.size"] == len(gzip.compress(CSV))
    stages = telemetry.children(span)
    assert len(stages) + 1 == len(telemetry.spans)
    assert {attributes_of(stage)["restore.stage"] for stage in stages} == set(answer.body["timings"]) - {"total"}
    for stage in stages:
        attributes = attributes_of(stage)
        assert stage.name == f"stage {attributes['restore.stage']}"
        assert {name: attributes[name] for name in target(app)} == target(app)
        assert (span.start_time or 0) <= (stage.start_time or 0) <= (stage.end_time or 0) <= (span.end_time or 0)
    copied = [attributes_of(stage).get("restore.csv_bytes") for stage in stages if stage.name == "stage copy"]
    # The first row of a file may have a COPY of its own.
    assert copied[-1] == len(CSV)
    download = next(stage for stage in stages if stage.name == "stage download")
    assert attributes_of(download)["restore.rows_read"] == 2


def test_a_restore_that_fails_says_its_code_and_where(app: App, url: str, telemetry: Telemetry) -> None:
    app.database.execute("ALTER TABLE {s}.t ADD CHECK (v < 2)")
    assert app.restore(url).code == "DataRejected"
    span = telemetry.one("restore")
    attributes = attributes_of(span)
    assert (attributes["restore.outcome"], attributes["error.type"]) == ("DataRejected", "DataRejected")
    assert (attributes["restore.failed_in"], span.status.description) == ("copy", "DataRejected")
    assert span.status.status_code is StatusCode.ERROR
    assert "restore.rows_loaded" not in attributes
    failed = [stage for stage in telemetry.children(span) if stage.status.status_code is StatusCode.ERROR]
    assert failed[-1].name == "stage copy"
    assert attributes_of(failed[-1])["db.response.status_code"] == "23514"
    assert not [event for one in telemetry.spans for event in one.events]


def test_nothing_counts_as_a_restore_before_its_request_can_be_read(app: App, telemetry: Telemetry) -> None:
    assert app.post(b"{").status == 400
    assert not telemetry.spans


def test_the_callers_trace_goes_on(jobs: Jobs, url: str, telemetry: Telemetry) -> None:
    assert jobs.post({"adls_url": url}, traceparent=TRACE).status == 200
    span = telemetry.one("restore")
    assert parent_of(span) == (TRACE_ID, SPAN_ID)
    assert {one.context.trace_id for one in telemetry.spans} == {span.context.trace_id}


def test_the_hosts_trace_goes_before_the_callers_header(app: App, url: str, telemetry: Telemetry) -> None:
    """The host's own span is a child of the caller's."""
    body = json.dumps({"adls_url": url, "pg": app.database.pg}).encode()
    headers = {"Content-Type": "application/json", "traceparent": TRACE.replace(SPAN_ID, "1" * 16)}
    request = func.HttpRequest("POST", "/api/restore", headers=headers, body=body)
    assert main(request, Invocation()).status_code == 200
    assert parent_of(telemetry.one("restore")) == (TRACE_ID, SPAN_ID)


def test_a_trace_that_cannot_be_read_is_left_out(jobs: Jobs, url: str, telemetry: Telemetry) -> None:
    assert jobs.post({"adls_url": url}, traceparent="00-zz").status == 200
    assert telemetry.one("restore").parent is None


def test_the_span_of_the_worker_is_a_child_of_the_callers(jobs: Jobs, app: App, url: str, telemetry: Telemetry) -> None:
    operation = jobs.taken({"adls_url": url}, traceparent=TRACE)
    sent = telemetry.one("send")
    assert (sent.name, sent.kind, parent_of(sent)) == (
        "send restore-requests",
        SpanKind.PRODUCER,
        (TRACE_ID, SPAN_ID),
    )
    queue = {
        "messaging.system": "azure_storage_queue",
        "messaging.destination.name": "restore-requests",
        "messaging.message.conversation_id": operation.id,
    }
    of_send = {"messaging.operation.name": "send", "messaging.operation.type": "send"}
    assert attributes_of(sent) == queue | of_send
    (message,) = jobs.storage.queue.peek_messages()
    assert json.loads(message.content)["traceparent"] == f"00-{TRACE_ID}-{ids_of(sent)[1]}-01"
    # As the worker of Microsoft does: the span of the host's invocation is the current one.
    token = context.attach(trace.set_span_in_context(NonRecordingSpan(OTHER)))
    try:
        jobs.work()
    finally:
        context.detach(token)
    worked = telemetry.one("restore")
    assert (worked.name, worked.kind) == (f"restore {app.database.schema}.t", SpanKind.CONSUMER)
    assert parent_of(worked) == ids_of(sent)
    assert [link.context.span_id for link in worked.links] == [sent.context.span_id, OTHER.span_id]
    attributes = attributes_of(worked)
    of_process = {"messaging.operation.name": "process", "messaging.operation.type": "process"}
    expected = queue | of_process | target(app) | {"restore.attempt": 1, "restore.outcome": "ok"}
    assert {name: attributes.get(name) for name in expected} == expected
    assert attributes["restore.queued_seconds"] > 0
    assert "stage commit" in {stage.name for stage in telemetry.children(worked)}
    assert {one.context.trace_id for one in telemetry.spans} == {sent.context.trace_id}


def test_each_attempt_is_a_span_of_the_same_message(
    jobs: Jobs, app: App, url: str, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PG_LOCK_TIMEOUT_SECONDS", "1")
    operation = jobs.taken({"adls_url": url})
    with app.database.connection.cursor() as cursor:
        cursor.execute("BEGIN")
        app.database.execute("LOCK {s}.t")
        jobs.work()
        cursor.execute("ROLLBACK")
    jobs.work(patience_seconds=20)
    assert jobs.state(operation.id).status == "Succeeded"
    attempts = telemetry.children(telemetry.one("send"))
    said = [(attributes_of(span)["restore.attempt"], attributes_of(span)["restore.outcome"]) for span in attempts]
    assert said == [(1, "TargetLocked"), (2, "ok")]


def test_the_figures_of_a_restore(jobs: Jobs, app: App, url: str, telemetry: Telemetry) -> None:
    jobs.taken({"adls_url": url})
    jobs.work()
    jobs.taken({"adls_url": url})
    jobs.work()
    restores = {
        attributes["restore.outcome"]: point.value for attributes, point in telemetry.points("restore.restores")
    }
    assert restores == {"ok": 1, "WindowNotEmpty": 1}
    ((attributes, rows),) = telemetry.points("restore.rows")
    assert (attributes, rows.value) == (target(app) | {"restore.rows.state": "loaded"}, 2)
    sizes = {attributes["restore.bytes.state"]: point.value for attributes, point in telemetry.points("restore.bytes")}
    assert sizes["csv"] == 2 * len(CSV)
    stages = {attributes["restore.stage"]: point for attributes, point in telemetry.points("restore.stage.duration")}
    assert {"connect", "download", "copy", "commit", "total"} <= set(stages)
    assert (stages["total"].count, stages["copy"].count) == (2, 1)
    ((_, waited),) = telemetry.points("restore.queue.wait")
    assert waited.count == 2
    assert waited.sum > 0


def test_nothing_is_counted_as_queued_that_did_not_wait_there(app: App, url: str, telemetry: Telemetry) -> None:
    assert app.restore(url).status == 200
    assert telemetry.points("restore.queue.wait") == []
    assert len(telemetry.points("restore.restores")) == 1


@pytest.mark.parametrize(
    "broken",
    [
        "opentelemetry.trace.get_current_span",
        "opentelemetry.trace.get_tracer_provider",
        "opentelemetry.metrics.get_meter_provider",
        "opentelemetry.sdk.trace.Span.set_attributes",
        "opentelemetry.sdk.trace.Span.set_status",
        "opentelemetry.sdk.trace.Span.update_name",
        "opentelemetry.sdk.trace.Span.end",
        "opentelemetry.context.attach",
        "opentelemetry.context.detach",
    ],
)
@pytest.mark.parametrize("csv", [CSV, BAD], ids=["ok", "refused"])
@pytest.mark.usefixtures("telemetry")
def test_telemetry_that_fails_changes_nothing(
    jobs: Jobs, app: App, url: str, csv: bytes, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.archive("t", csv)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("canary")

    def restore() -> None:
        answer = jobs.post({"adls_url": url})
        assert (answer.status, answer.code) == ((200, None) if csv == CSV else (422, "DataRejected"))
        operation = jobs.taken({"adls_url": url, "destination": {"on_existing": "replace"}})
        jobs.work()
        assert jobs.state(operation.id).status == ("Succeeded" if csv == CSV else "Failed")

    monkeypatch.setattr(broken, fail)
    # What is attached and not detached must not reach the tests after this one.
    contextvars.copy_context().run(restore)


@pytest.mark.usefixtures("telemetry")
def test_what_fails_is_logged_by_its_type_alone(
    app: App, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr("opentelemetry.sdk.trace.Span.set_attributes", fail)
    assert app.restore(url).status == 200
    assert "telemetry failed: RuntimeError" in caplog.text
    assert "canary" not in caplog.text


def test_an_exception_of_the_body_leaves_the_span_as_it_is(telemetry: Telemetry) -> None:
    error = ArchiveNotFound("canary")
    with pytest.raises(ArchiveNotFound) as raised, restoring(new_report(), Origin("")):
        raise error
    assert raised.value is error
    assert "canary" not in telemetry.said()
    assert telemetry.one("restore").status.status_code is StatusCode.ERROR


def test_each_day_of_a_backfill_belongs_to_the_trace_of_its_caller(jobs: Jobs, telemetry: Telemetry) -> None:
    """By the messages of the backfill and of its groups."""
    many = Backfills(jobs)
    many.table()
    many.archive(0, 1)
    backfill_id = many.post(many.body(0, 1), traceparent=TRACE).body["id"]
    (message,) = jobs.storage.queue.peek_messages()
    (sent,) = [span for span in telemetry.spans if span.name.startswith("send")]
    assert parent_of(sent) == (TRACE_ID, SPAN_ID)
    of_backfill = f"00-{TRACE_ID}-{ids_of(sent)[1]}-01"
    assert json.loads(message.content)["traceparent"] == of_backfill
    many.work()
    assert {json.loads(one.content)["traceparent"] for one in jobs.storage.queue.peek_messages(2)} == {of_backfill}
    assert many.finish(backfill_id)["status"] == "Succeeded"
    days = [span for span in telemetry.spans if span.name.startswith("restore ")]
    assert [parent_of(day) for day in days] == [ids_of(sent)] * 2


def test_without_an_sdk_nothing_of_it_is_loaded() -> None:
    """The app is as quick to start as without OpenTelemetry. This restore ends at a server that is not listed."""
    url = "abfss://archive@account.dfs.core.windows.net/db/s.t.2025-01-01.csv.gz"
    body = json.dumps({"adls_url": url, "pg": {"host": "other.example", "user": "u", "password": "p"}}).encode()
    code = f"""
import sys, RestoreChunk, RestoreQueue
import azure.functions as func
request = func.HttpRequest("POST", "/api/restore", headers={{"Content-Type": "application/json"}}, body={body!r})
print(RestoreChunk.main(request).status_code)
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    environ = {"PG_ALLOWED_HOSTS": "db.example", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout == "403\n[]\n"


def test_a_message_without_a_trace_has_one_of_its_own(jobs: Jobs, url: str, telemetry: Telemetry) -> None:
    operation = jobs.taken({"adls_url": url})
    sent = telemetry.one("send")
    # Its flags are the SDK's own.
    assert operation.traceparent.startswith(f"00-{ids_of(sent)[0]}-{ids_of(sent)[1]}-0")
    dispatch_message(json.dumps({"version": 1, "id": operation.id}).encode())
    assert parent_of(telemetry.one("restore")) == ids_of(sent)


def test_libraries_add_no_spans_of_their_own(
    app: App, url: str, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """psycopg2's would quote rows. They ask for this value first (opentelemetry.instrumentation.utils)."""
    asked = []
    look = psycopg2.connect

    def connect(*args: Any, **kwargs: Any) -> Any:
        asked.append((trace.get_current_span().get_span_context(), context.get_value("suppress_instrumentation")))
        return look(*args, **kwargs)

    monkeypatch.setattr("psycopg2.connect", connect)
    assert app.restore(url).status == 200
    assert asked
    assert {(around.trace_id, is_quiet) for around, is_quiet in asked} == {
        (telemetry.one("restore").context.trace_id, True)
    }
    assert not context.get_value("suppress_instrumentation")


def shape_of(tree: str, table: str) -> list[str]:
    """The lines of a tree without what differs from one run to the next."""
    return [re.sub(r" (?:= .*|[\d.]+ s)$", "", line).replace(f" {table} ", " <table> ") for line in tree.splitlines()]


def test_the_page_shows_the_spans_as_they_are(jobs: Jobs, app: App, telemetry: Telemetry) -> None:
    app.database.hypertable("telemetry", "time timestamptz NOT NULL, device text, v double precision")
    app.database.execute("CREATE INDEX ON {s}.telemetry (device, time DESC)")
    rows = "".join(f"2025-01-01 {n // 60:02}:{n % 60:02}Z,device {n % 7},{n / 4}\n" for n in range(1440))
    url = app.archive("telemetry", f"time,device,v\n{rows}".encode())
    jobs.taken({"adls_url": url}, traceparent=TRACE)
    jobs.work()
    tree = telemetry.tree()
    (shown,) = re.findall(r"```text\n(.*?)```", (REPOSITORY / "docs/telemetry.md").read_text(), re.DOTALL)
    assert shape_of(shown, "silver.telemetry") == shape_of(tree, f"{app.database.schema}.telemetry"), tree


def test_the_page_names_each_attribute_and_metric(jobs: Jobs, app: App, url: str, telemetry: Telemetry) -> None:
    assert app.restore(url).status == 200
    jobs.taken({"adls_url": url, "destination": {"on_existing": "replace"}})
    jobs.work()
    assert app.restore(url).code == "WindowNotEmpty"
    page = (REPOSITORY / "docs/telemetry.md").read_text()
    named = set(re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE))
    used = {name for span in telemetry.spans for name in attributes_of(span)}
    metrics = {"restore.restores", "restore.rows", "restore.bytes", "restore.stage.duration", "restore.queue.wait"}
    assert used - named == set()
    assert metrics <= named
    assert all(telemetry.points(name) for name in metrics)
    # What these restores have no cause to say.
    rare = {"restore.rows_rejected", "restore.warnings", "db.response.status_code"}
    assert named - used - metrics - rare == set()
