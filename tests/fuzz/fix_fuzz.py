"""What every request must be answered like, whatever it holds. Real servers stand behind it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from RestoreChunk import main
from tests.fix_call import http_request
from tests.fix_contract import check_answer
from tests.integration.fix_app import Answer, App

# A hang is caught by this; it is far above what a restore of some rows takes on a loaded machine.
HANG = timedelta(seconds=20)

# Not HYPOTHESIS's database: the examples hold names of schemas that are gone by the next run.
FUZZ = settings(
    deadline=HANG,
    database=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)


class Target:
    """The function, and what it logs."""

    def __init__(self, app: App, caplog: pytest.LogCaptureFixture) -> None:
        self.app = app
        self._caplog = caplog

    def send(self, body: bytes | dict[str, Any]) -> Answer:
        """Send a body and check what must hold of any answer."""
        self._caplog.clear()
        encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = main(http_request(encoded))
        text = response.get_body().decode("utf-8")
        answer = Answer(response.status_code, json.loads(text), dict(response.headers))
        check_answer(answer.status, answer.headers, answer.body)
        # 500 is our own bug; any other 5xx says that a server or the disk failed.
        assert answer.status != 500, (answer.body, self._caplog.text)
        assert (answer.status == 200) == (answer.body["status"] in {"ok", "ok_with_warnings", "skipped", "dry_run"})
        assert answer.headers.get("x-ms-error-code") == answer.code
        assert "Traceback" not in text
        assert "AfterCommitFailed" not in text
        lines = [record for record in self._caplog.records if record.name == "restore_chunk"]
        assert [line.getMessage().startswith("restore ") for line in lines].count(True) == 1
        for line in lines:
            assert not line.exc_info
            assert "\n" not in line.getMessage()
        return answer


@pytest.fixture
def target(app: App, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    caplog.set_level(logging.INFO)
    # A bare path finds the test's own storage. Nothing here may go beyond the loopback.
    account = app.storage.account
    monkeypatch.setenv("ADLS_ACCOUNT_URL_DEFAULT", f"https://{account}.dfs.core.windows.net")
    monkeypatch.setenv("ADLS_FILESYSTEM_DEFAULT", app.storage.filesystem)
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    monkeypatch.setenv("PGPORT", str(app.database.pg["port"]))
    monkeypatch.setenv("PG_LOCK_TIMEOUT_SECONDS", "5")
    yield Target(app, caplog)
    caplog.clear()
