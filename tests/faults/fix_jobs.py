"""Restores behind the queue, with the test as the host: it hands messages over, in this process or in one to kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.core.exceptions import AzureError
from azure.storage.queue import QueueMessage

from shared.api.call import HttpCall
from shared.backfills.worker import dispatch_message
from shared.errors import JobStorageUnreachable
from shared.jobs import http as jobs_http
from shared.jobs.http import get_restores, get_result
from shared.jobs.operation import RestoreOperation
from shared.jobs.storage import JobStorage, forget_job_storage, job_storage
from shared.jobs.store import OperationStore
from shared.jobs.sweep import sweep
from shared.settings import load_settings
from tests.fix_contract import OPERATIONS, check_answer
from tests.integration.fix_app import Answer, App
from tests.integration.fix_calendar import set_server
from tests.integration.fix_job_storage import empty_job_storage
from tools.config import REPOSITORY
from tools.process import wait_until

# A worker is taken for dead after that long without a heartbeat.
STALE_SECONDS = 5
# A sweep asks the account a dozen times, which keeps a core busy if nothing pauses; what it waits for is seconds away.
SWEEP_PAUSE = 0.5

# It may be killed when a stage begins, or sweep.
_WORKER = f"""
import os, signal, sys
from contextlib import contextmanager
import shared.jobs.claim, shared.jobs.operation
from shared.jobs.sweep import sweep
from shared.progress.progress import Progress
shared.jobs.claim.HEARTBEAT_SECONDS = 0.5
shared.jobs.operation.STALE_SECONDS = {STALE_SECONDS}
stage_of = Progress.stage

@contextmanager
def stage(progress, name):
    with stage_of(progress, name):
        if name == os.environ.get("TEST_KILLED_AT"):
            os.kill(os.getpid(), signal.SIGKILL)
        yield

Progress.stage = stage
from RestoreQueue import main
import azure.functions as func
text = sys.stdin.buffer.read()
main(func.QueueMessage(body=text)) if text else sweep()
"""


@dataclass
class Jobs:
    """An app with a queue that only the test serves. `join` is what a thread of a restore calls first."""

    app: App
    join: Callable[[], None] = lambda: None

    @property
    def storage(self) -> JobStorage:
        return job_storage(load_settings())

    @property
    def store(self) -> OperationStore[RestoreOperation]:
        return OperationStore(self.storage, RestoreOperation)

    def post(self, body: dict[str, Any], **headers: str) -> Answer:
        """Send a request; names of headers are written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        call = call_of("POST", "/api/restore", named, body=json.dumps(body).encode())
        return checked_answer(jobs_http.post_restore(call, join=self.join), "restoreDay")

    def taken(self, body: dict[str, Any], **headers: str) -> RestoreOperation:
        """Send a request that is taken, and return its record."""
        answer = self.post(body, Prefer="respond-async", **headers)
        assert answer.status == 202, answer.body
        return self.state(answer.body["id"])

    def state(self, operation_id: str) -> RestoreOperation:
        return self.store.get(operation_id)

    def monitor(self, operation_id: str, method: str = "GET") -> Answer:
        call = call_of(method, f"/api/restores/{operation_id}", {}, route={"id": operation_id})
        return checked_answer(get_restores(call), "getRestore" if method == "GET" else "cancelRestore")

    def cancel(self, operation_id: str) -> Answer:
        return self.monitor(operation_id, "DELETE")

    def listed(self, **query: str) -> Answer:
        return checked_answer(get_restores(call_of("GET", "/api/restores", {}, query=query)), "listRestores")

    def result(self, location: str) -> Answer:
        """Ask for the result by the address of the header `Location`."""
        parts = urlsplit(location)
        token = parse_qs(parts.query).get("token", [""])[0]
        operation_id = parts.path.split("/")[-2]
        call = call_of("GET", parts.path, {}, query={"token": token}, route={"id": operation_id})
        return checked_answer(get_result(call), "getRestoreResult")

    def receive(self, *, patience_seconds: float = 10) -> QueueMessage:
        """Take a message from the queue, unseen for a second."""
        found: list[QueueMessage] = []

        def look() -> bool:
            found.extend(self.storage.queue.receive_messages(max_messages=1, visibility_timeout=30))
            return bool(found)

        assert wait_until(look, patience_seconds), "the queue is empty"
        return found[0]

    def work(self, *, patience_seconds: float = 10, **options: Any) -> None:
        """Work on one message, as the host does. The options are those of `dispatch_message`."""
        message = self.receive(patience_seconds=patience_seconds)
        dispatch_message(message.content.encode(), **options)
        self.storage.queue.delete_message(message)

    def serve_once(self, *, hidden_seconds: int = 1, **options: Any) -> bool:
        """Work on one message, if there is one, and say so; after a failure it is seen again, as it is in the host."""
        for message in self.storage.queue.receive_messages(max_messages=1, visibility_timeout=hidden_seconds):
            dispatch_message(message.content.encode(), **options)
            self.storage.queue.delete_message(message)
            return True
        return False

    def serve_until_ended(self, operation_id: str, *, seconds: float = 40) -> None:
        """Sweep, and work on messages, until an operation has ended. The storage account may be away meanwhile."""

        def look() -> bool:
            with suppress(JobStorageUnreachable, AzureError):
                sweep()
                while self.serve_once():
                    if self.state(operation_id).has_ended:
                        return True
                return self.state(operation_id).has_ended
            return False

        assert wait_until(look, seconds, pause=SWEEP_PAUSE)

    def sweep_until_queued(self, operation_id: str) -> None:
        """Sweep until an operation whose worker is gone has a message again."""

        def look() -> bool:
            sweep()
            return self.state(operation_id).status == "NotStarted"

        assert wait_until(look, 30, pause=SWEEP_PAUSE)

    @contextmanager
    def worker(self, text: str, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
        """Hand a message to another process, or let it sweep. It is killed at the end, if it has not ended by then.

        Args:
            text: of the message; empty: none.
            environ: more variables. `TEST_KILLED_AT` names a stage.
        """
        process = subprocess.Popen(
            [sys.executable, "-c", _WORKER], cwd=REPOSITORY, env=os.environ | environ, stdin=subprocess.PIPE
        )
        with process:
            assert process.stdin is not None
            process.stdin.write(text.encode())
            process.stdin.close()
            try:
                yield process
            finally:
                process.kill()


def call_of(
    method: str,
    path: str,
    headers: dict[str, str],
    *,
    query: dict[str, str] | None = None,
    route: dict[str, str] | None = None,
    body: bytes = b"",
) -> HttpCall:
    """Return a request as the host hands it over."""
    url = f"http://localhost:7071{path}"
    return HttpCall(method, url, {"Content-Type": "application/json"} | headers, query or {}, route or {}, body)


def checked_answer(answer: Any, operation: str) -> Answer:
    """Return an answer that the contract allows for an operation."""
    body = json.loads(answer.body)
    check_answer(answer.status, answer.headers, body, OPERATIONS[operation])
    return Answer(answer.status, body, answer.headers)


@pytest.fixture
def jobs(app: App, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    with empty_queue(app, monkeypatch) as found:
        yield found


@contextmanager
def empty_queue(app: App, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    """Give an app an empty queue, empty records, and a server that the settings name."""
    set_server(app, monkeypatch)
    monkeypatch.setattr("shared.jobs.claim.HEARTBEAT_SECONDS", 0.5)
    monkeypatch.setattr("shared.jobs.operation.STALE_SECONDS", STALE_SECONDS)
    empty_job_storage()
    yield Jobs(app)
    forget_job_storage()
