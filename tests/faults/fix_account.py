"""Proxies in front of the app's own storage account: its queue, tables and blobs fail where a test asks them to."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, urlsplit

import pytest

from shared.jobs import storage
from shared.jobs.storage import forget_job_storage
from tests.faults.fix_http_fault import QuietServer, Relay
from tests.integration.fix_app import App, job_storage_string

Service = Literal["blob", "queue", "table"]
SERVICES: tuple[Service, ...] = ("blob", "queue", "table")
Kind = Literal["away", "slow", "late", "busy", "refused"]

# So that a test need not wait as long as the function does.
_READ_SECONDS = 0.6
_SLOW_SECONDS = 0.2


@dataclass
class _Trouble:
    kind: Kind
    at: re.Pattern[bytes]
    seconds: float
    ends: float | None = None


class Account:
    """The proxies.

    Attributes:
        requests: all that came: the service, the method and the path.
        began: is set when the trouble has begun.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[Service, str, str]] = []
        self.began = threading.Event()
        self._troubles: dict[Service, _Trouble] = {}

    def trouble(self, service: Service, kind: Kind, *, at: bytes = b"", seconds: float = 3600) -> None:
        """Let a service fail.

        Args:
            service: which one.
            kind: `away`: its connections break. `slow`: its answers take a while. `late`: it does what it is asked,
                and the answer comes when nobody waits any more. `busy`: it answers 503. `refused`: it answers 412.
            at: a regular expression. The trouble begins with the first request, to any of the services, in whose path
                and body it is found.
            seconds: how long it lasts from then on.
        """
        self._troubles[service] = _Trouble(kind, re.compile(at, re.DOTALL), seconds)

    def mend(self) -> None:
        """End all troubles."""
        self._troubles.clear()

    def kind_for(self, service: Service, method: str, path: str, body: bytes) -> Kind | None:
        """Note a request, and return how it fails."""
        self.requests.append((service, method, path))
        for trouble in list(self._troubles.values()):
            if trouble.ends is None and trouble.at.search(path.encode() + b"\n" + body):
                trouble.ends = time.monotonic() + trouble.seconds
                self.began.set()
        mine = self._troubles.get(service)
        return mine.kind if mine is not None and mine.ends is not None and time.monotonic() < mine.ends else None


class _Server(QuietServer):
    def __init__(self, account: Account, service: Service, endpoint: SplitResult) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.account, self.service, self.endpoint = account, service, endpoint


class _Handler(Relay):
    server: _Server

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.server.account.kind_for(self.server.service, self.command, self.path, body)
        if kind == "away":
            self.reset()
        elif kind == "busy":
            self.answer(503, [("x-ms-error-code", "ServerBusy")], b"", 0)
        elif kind == "refused":
            self.answer(412, [("x-ms-error-code", "UpdateConditionNotSatisfied")], b"", 0)
        else:
            if kind == "slow":
                time.sleep(_SLOW_SECONDS)
            status, headers, answer = self.pass_on(self.server.endpoint, body)
            if kind == "late":
                time.sleep(1.5 * _READ_SECONDS)
            self.answer(status, headers, answer, len(answer))

    do_GET = do_PUT = do_POST = do_PATCH = do_MERGE = do_DELETE = do_HEAD = _any  # noqa: N815 - the base class names them


@pytest.fixture
def account(app: App, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """Put the proxies between the function and its own account, and let the function be less patient with it."""
    for name, value in {
        "read_timeout": _READ_SECONDS,
        "retry_total": 1,
        "retry_backoff_factor": 0.05,
        "initial_backoff": 0.05,
        "increment_base": 1.1,
    }.items():
        monkeypatch.setitem(storage.OPTIONS, name, value)
    setting = job_storage_string(app.storage)
    account = Account()
    with ExitStack() as stack:
        for service in SERVICES:
            found = re.search(rf"{service.capitalize()}Endpoint=([^;]+)", setting)
            if found is None or not found[1].startswith("http://"):
                pytest.skip("only a storage emulator is reached over plain HTTP, which the proxies speak")
            endpoint = urlsplit(found[1])
            server = stack.enter_context(_Server(account, service, endpoint))
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            setting = setting.replace(found[1], f"http://127.0.0.1:{server.server_port}{endpoint.path}")
        monkeypatch.setenv("AzureWebJobsStorage", setting)
        forget_job_storage()
        yield account
        account.mend()
        forget_job_storage()
