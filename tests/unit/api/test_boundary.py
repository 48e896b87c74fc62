"""What fails anywhere in a function: no text of it leaves, and the caller gets JSON wherever one can be made."""

from __future__ import annotations

import importlib
import json
import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import azure.functions as func
import psycopg2
import pytest

from RestoreChunk import main
from shared.errors import Fault, InternalError, InvalidRequest
from shared.model.report import Report
from shared.model.request import RestoreRequest
from shared.settings import Settings
from tests.fix_call import http_request

RESTORE = "shared.restore.restore.restore"
CANARY = "canary-row-Zq8"
BODY = b'{"adls_url": "abfss://lake@account.dfs.core.windows.net/d/s.t.2025-01-01.csv.gz", "pg": {"host": "h"}}'


class OddError(BaseException):
    """No `Exception`, and none that Python knows."""


def raising(kind: type[BaseException]) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise kind(CANARY) from psycopg2.DataError(f"DETAIL: {CANARY}")

    return fail


def committed(_request: RestoreRequest, _settings: Settings, report: Report, *_: Any) -> None:
    report.progress.is_committed = True


def nothing(*_: Any) -> None:
    """A restore of which an answer is made."""


def send() -> dict[str, Any]:
    response = main(http_request(BODY))
    body: dict[str, Any] = json.loads(response.get_body())
    assert response.status_code == 500
    assert response.headers["x-ms-error-code"] == body["error"]["code"] == "InternalError"
    assert response.headers["x-ms-request-id"] == body["request_id"]
    assert CANARY not in str(body)
    return body


@pytest.fixture(autouse=True)
def nothing_said(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level("DEBUG")
    yield
    assert CANARY not in "".join(capfd.readouterr()) + caplog.text


@pytest.mark.parametrize("kind", [RuntimeError, MemoryError, RecursionError, psycopg2.OperationalError])
@pytest.mark.parametrize(
    "place", [RESTORE, *(f"shared.api.handle.{name}" for name in ("load_settings", "parse_for", "success_answer"))]
)
def test_an_exception_is_an_answer(monkeypatch: pytest.MonkeyPatch, place: str, kind: type[Exception]) -> None:
    monkeypatch.setattr(RESTORE, nothing)
    monkeypatch.setattr(place, raising(kind))
    assert send()["error"]["message"] == "an internal error; the log holds it under the request_id"


@pytest.mark.parametrize("place", ["error_answer", "log_line", "start_line"])
def test_an_error_that_cannot_be_told(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setattr(RESTORE, raising(RuntimeError))
    monkeypatch.setattr(f"shared.api.handle.{place}", raising(ValueError))
    send()


def test_facts_that_are_not_json(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise InvalidRequest("x", details=[Fault("InvalidValue", "x", info=(("rows", object()),))])

    monkeypatch.setattr(RESTORE, refuse)
    send()


def test_an_answer_that_fails_after_the_commit_says_that_the_rows_are_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RESTORE, committed)
    monkeypatch.setattr("shared.api.handle.success_answer", raising(RuntimeError))
    error = send()["error"]
    assert "the rows were committed" in error["message"]
    assert "do not send the request again" in error["hint"]
    assert error["retryable"] is False


class Failing(logging.Handler):
    """A handler whose stream is gone: what it says of its own failure must not be printed either."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            raising(OSError)()
        except OSError:
            self.handleError(record)


def test_a_handler_of_the_log_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RESTORE, raising(RuntimeError))
    handler = Failing()
    logging.getLogger().addHandler(handler)
    try:
        send()
    finally:
        logging.getLogger().removeHandler(handler)


@pytest.mark.parametrize("kind", [OddError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_is_not_an_exception_leaves_as_internal_error(
    monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    monkeypatch.setattr(RESTORE, raising(kind))
    check_raises(http_request(BODY))


def test_a_request_that_cannot_be_read_and_a_log_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(func.HttpRequest):
        def get_body(self) -> bytes:
            raise RuntimeError(CANARY) from ValueError(CANARY)

    request = Broken(method="POST", url="/api/restore", body=b"")
    check_raises(request)
    monkeypatch.setattr(logging.Logger, "exception", raising(OddError))
    check_raises(request)


def check_raises(request: func.HttpRequest) -> None:
    with pytest.raises(InternalError) as caught:
        main(request)
    error = caught.value
    assert (error.__cause__, error.__context__) == (None, None)
    # What the host writes of it.
    assert CANARY not in "".join(traceback.format_exception(error))


FUNCTIONS = sorted(path.parent.name for path in Path(__file__).resolve().parents[3].glob("*/function.json"))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_sealed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whatever it is called with, here nothing that it can use. The threads that it starts join its invocation."""
    module, context = importlib.import_module(name), object()
    seen: list[tuple[str, object]] = []

    def record(function: str, context: object, body: Callable[[], Any]) -> None:
        assert callable(body)
        seen.append((function, context))

    monkeypatch.setattr("shared.functions.entry.sealed", record)
    module.main(object(), context)
    assert seen == [(name, context)]
