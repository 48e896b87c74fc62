"""A function app, its storage and its database, as a caller sees them."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any

import pytest
from azure.core.exceptions import AzureError
from azure.storage.blob import BlobServiceClient

from RestoreChunk import main
from shared.postgres.kept import SESSIONS
from tests.fix_call import http_request
from tests.fix_contract import check_answer, request_faults
from tests.integration.fix_database import Database
from tests.integration.fix_storage import Storage
from tools.azurite import JOB_ACCOUNTS
from tools.config import DAILY_SCHEDULE

DAY = "2025-01-01"


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def code(self) -> str | None:
        error = self.body.get("error")
        return None if error is None else error["code"]


@dataclass(frozen=True)
class App:
    storage: Storage
    database: Database

    def path(self, table: str, day: str = DAY) -> str:
        """The path of a day of a table of the test's schema."""
        return f"backups/{self.database.name}/{self.database.schema}.{table}.{day}.csv.gz"

    def archive(self, table: str, csv: bytes, *, day: str = DAY) -> str:
        """Store a day of a table of the test's schema, and return its `adls_url`."""
        return self.stored(table, gzip.compress(csv), day=day)

    def stored(self, table: str, data: bytes, *, day: str = DAY, content_encoding: str | None = None) -> str:
        return self.storage.put(self.path(table, day), data, content_encoding=content_encoding)

    def restore(self, adls_url: str, **request: Any) -> Answer:
        """Send a request; what it leaves out of `pg` is the test server's superuser."""
        return self.post({"adls_url": adls_url, "pg": self.database.pg} | request)

    def post(self, body: Any) -> Answer:
        encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = main(http_request(encoded))
        assert response.mimetype == "application/json"
        answer = Answer(response.status_code, json.loads(response.get_body()), dict(response.headers))
        check_answer(answer.status, answer.headers, answer.body)
        # What is restored was a request that the document allows; bytes are a test of the JSON itself.
        assert answer.status != HTTPStatus.OK or isinstance(body, bytes) or not request_faults(body)
        return answer


@cache
def job_storage_string(storage: Storage) -> str:
    """Return the app's own storage account: one for each process of the tests, where Azurite has them."""
    # pytest-xdist names its processes gw0, gw1 and so on. A run without it may be beside one with it, and has the last.
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw-1").removeprefix("gw"))
    own = storage.connection_string.replace(storage.account, JOB_ACCOUNTS[number % len(JOB_ACCOUNTS)])
    with BlobServiceClient.from_connection_string(own, retry_total=0) as service:
        try:
            next(iter(service.list_containers()), None)
        except AzureError:
            # The user's own account, which cannot be shared by tests that run at once.
            return storage.connection_string
    return own


def app_environment(storage: Storage) -> dict[str, str]:
    """The process's own environment, with the settings of an app on this storage and no others."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "ADLS_"))}
    # A function app does not start without AzureWebJobsStorage, nor without the schedule of a timer.
    own = {"ADLS_CONNECTION_STRING": storage.connection_string, "AzureWebJobsStorage": job_storage_string(storage)}
    # The days of the tests are small, and take the way of large ones. `test_small_days` takes their own.
    return environ | own | {"RESTORE_DAILY_SCHEDULE": DAILY_SCHEDULE, "PG_INDEX_DEFER_MIN_BYTES": "0"}


def app_of(monkeypatch: pytest.MonkeyPatch, storage: Storage, database: Database) -> App:
    environ = app_environment(storage)
    for name in set(os.environ) - set(environ):
        monkeypatch.delenv(name)
    for name, value in environ.items():
        if os.environ.get(name) != value:
            monkeypatch.setenv(name, value)
    return App(storage, database)


@pytest.fixture(autouse=True)
def no_idle_sessions() -> Iterator[None]:
    """Close what a test has left idle: the next one may look for sessions, or make roles of the same name."""
    yield
    SESSIONS.close_idle()


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, storage: Storage, database: Database) -> App:
    return app_of(monkeypatch, storage, database)


@pytest.fixture
def community_app(monkeypatch: pytest.MonkeyPatch, storage: Storage, community_database: Database) -> App:
    return app_of(monkeypatch, storage, community_database)
