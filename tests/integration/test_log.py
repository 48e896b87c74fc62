"""What the log says while a restore runs, and after it."""

from __future__ import annotations

import logging
import threading
from typing import Any

import azure.functions as func
import pytest

from RestoreChunk import main
from tests.fix_call import http_request
from tests.integration.fix_app import App

pytestmark = pytest.mark.any_server

CSV = b"time,v\n2025-01-01 00:00:00Z,1\n2025-01-01 00:00:01Z,2\n"
LOGGER = "restore_chunk"


def lines(caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith(f"{name} ")]


@pytest.fixture
def day(app: App, caplog: pytest.LogCaptureFixture) -> App:
    caplog.set_level(logging.INFO, LOGGER)
    app.database.hypertable("t", "time timestamptz NOT NULL, v int", interval="interval '7 days'")
    return app


def slow(day: App) -> None:
    day.database.execute(
        "CREATE FUNCTION {s}.sleep() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN PERFORM pg_sleep(1.3); RETURN NEW; END$$"
    )
    day.database.execute("CREATE TRIGGER slow BEFORE INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.sleep()")


def test_a_line_at_the_start_meanwhile_and_at_the_end(
    day: App, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_PROGRESS_SECONDS", "1")
    slow(day)
    answer = day.restore(day.archive("t", CSV))
    names = [record.getMessage().partition(" ")[0] for record in caplog.records if record.name == LOGGER]
    assert names[0] == "restore-start"
    assert names[-1] == "restore"
    assert set(names[1:-1]) == {"restore-progress"}
    for name in ("restore-start", "restore-progress", "restore"):
        assert f"request_id={answer.body['request_id']} " in lines(caplog, name)[0]
    # A slow machine may log one more line, from a later stage.
    copying = [line for line in lines(caplog, "restore-progress") if " stage=copy " in line]
    assert " percent=100.0 " in copying[-1]
    assert " csv_mb=" in copying[-1]


def test_no_lines_meanwhile_where_that_is_switched_off(
    day: App, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_PROGRESS_SECONDS", "0")
    slow(day)
    assert day.restore(day.archive("t", CSV)).status == 200
    assert lines(caplog, "restore-progress") == []


def test_a_restore_that_was_rolled_back_logs_no_rows(day: App, caplog: pytest.LogCaptureFixture) -> None:
    """Rows that were copied and removed before the error are neither loaded nor gone."""
    assert day.restore(day.archive("t", CSV)).status == 200
    caplog.clear()
    other_day = CSV + b"2025-01-02 00:00:00Z,3\n"
    answer = day.restore(day.archive("t", other_day), destination={"on_existing": "replace"})
    assert answer.code == "RowsOutsideWindow"
    (line,) = lines(caplog, "restore")
    assert " outcome=RowsOutsideWindow error=" in line
    assert "rows_read=" not in line
    assert "rows_loaded=" not in line
    assert "rows_removed=" not in line


class Context(func.Context):
    """An invocation as the worker hands it over (azure_functions_worker/bindings/context.py)."""

    thread_local_storage: Any = threading.local()
    invocation_id = "the-invocation"
    function_name = "RestoreChunk"
    function_directory = ""
    trace_context: Any = None
    retry_context: Any = None


def test_lines_from_other_threads_belong_to_the_invocation(
    day: App, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host drops the others (https://github.com/Azure/azure-functions-python-worker)."""
    monkeypatch.setenv("LOG_PROGRESS_SECONDS", "1")
    slow(day)
    context, seen = Context(), []
    # Threads that were there before may still be at work for the restores of other tests.
    earlier = threading.enumerate()

    class Seeing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if threading.current_thread() not in earlier:
                seen.append((record.getMessage(), getattr(context.thread_local_storage, "invocation_id", None)))

    handler = Seeing()
    logging.getLogger(LOGGER).addHandler(handler)
    try:
        body = f'{{"adls_url": "{day.archive("t", CSV)}", "pg": {day.database.pg!r}}}'.replace("'", '"').encode()
        answer = main(http_request(body), context)
    finally:
        logging.getLogger(LOGGER).removeHandler(handler)
    assert answer.status_code == 200
    assert caplog
    assert seen
    assert [line for line, invocation in seen if invocation != "the-invocation"] == []
