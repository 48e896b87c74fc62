"""Canary secrets, and a watch over all that the function says."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from azure.storage.blob import BlobSasPermissions, generate_blob_sas

from RestoreChunk import main
from shared.api.call import HttpCall
from shared.api.handle import HttpAnswer
from shared.api.parse import parse_request
from shared.errors import RestoreError
from shared.settings import load_settings
from tests.fix_call import http_request
from tests.integration.fix_app import App
from tests.integration.fix_telemetry import Telemetry

CANARIES = {
    "password": "canary-password-Zq8",
    "uri": "canary-uri-pass%40Zq8",
    "query": "canary-query-Zq8",
    "host": "canary-host-Zq8",
    "field": "canary-field-Zq8",
    "userinfo": "canary-userinfo-Zq8",
    "fragment": "canary-fragment-Zq8",
    "signature": "canary%2Bsignature%3DZq8",
    "own_password": "canary-own-password-Zq8",
    "token": "canary-token-Zq8",
    "key": "Y2FuYXJ5LWtleS1acTg=",
    "setting": "canary-setting-Zq8",
    "row": "canary-row-Zq8",
}
# What gives one of them away, however it is written.
TRACES = ("zq8", CANARIES["key"].lower(), "y2fuyxj5")

HEADER = b"time,v,n\n"
GOOD = HEADER + b"2025-01-01 00:00:00+00,a,1\n"
TABLE = "time timestamptz NOT NULL, v text, n int CHECK (n > 0), UNIQUE (time, v)"


@dataclass
class Watch:
    """Sends requests, and looks at all that is said meanwhile."""

    app: App
    monkeypatch: pytest.MonkeyPatch
    caplog: pytest.LogCaptureFixture
    capfd: pytest.CaptureFixture[str]
    telemetry: Telemetry
    codes: set[str] = field(default_factory=set)
    answer: str = ""

    def send(self, body: Any, content_type: str = "application/json", **settings: str) -> str:
        """Send one request under more settings; return the error's code or the answer's status."""
        encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
        with self.monkeypatch.context() as environment:
            for name, value in settings.items():
                environment.setenv(name, value)
            response = main(http_request(encoded, content_type))
            return self._searched(response.get_body(), dict(response.headers), *_reprs(encoded))

    def ask(self, function: Callable[[HttpCall], HttpAnswer], call: HttpCall, **settings: str) -> str:
        """Call another function under more settings; return the error's code or the answer's status."""
        with self.monkeypatch.context() as environment:
            for name, value in settings.items():
                environment.setenv(name, value)
            answer = function(call)
            return self._searched(answer.body.encode(), answer.headers)

    def is_silent(self, name: str) -> None:
        """Search what was said by a function without an answer."""
        self._searched(json.dumps({"status": name}).encode(), {})

    def _searched(self, body: bytes, headers: dict[str, str], *more: str) -> str:
        self.answer = body.decode()
        said = [self.answer, repr(headers), self.caplog.text, *more]
        said += [record.getMessage() for record in self.caplog.records]
        said += [*self.capfd.readouterr(), self.telemetry.said()]
        # No line of the log is forged by a name with a line break: escaped where records leave.
        lines = [record.getMessage() for record in self.caplog.records if not record.exc_info]
        assert not [line for line in lines if any(sign < " " for sign in line)]
        self.caplog.clear()
        self.telemetry.clear()
        answer = json.loads(body)
        code = str(answer.get("error", {}).get("code") or answer.get("status") or "listed")
        self.codes.add(code)
        for text in said:
            found = next((trace for trace in TRACES if trace in text.lower()), None)
            assert found is None, f"{code}: {found} in {text[max(text.lower().find(str(found)) - 200, 0) :][:400]}"
        return code

    def table(self, name: str, definition: str = TABLE) -> None:
        self.app.database.hypertable(name, definition)


def _reprs(body: bytes) -> Iterator[str]:
    """What the objects say of themselves, in a debugger or in somebody's f-string."""
    try:
        settings = load_settings()
        request = parse_request(body, default_account_url=settings.adls_account_url_default, default_filesystem="fs1")
    except RestoreError as error:
        yield f"{error!r} {error} {error.details!r}"
    else:
        yield f"{settings!r} {settings.libpq!r} {request!r} {request} {request.archive!r} {request.pg.model_dump()!r}"
        yield request.model_dump_json(exclude={"archive"})


@pytest.fixture
def watching(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    telemetry: Telemetry,
) -> Callable[[App], Watch]:
    """Watches an app whose own password is a canary."""

    def begin(app: App) -> Watch:
        for name in ("azure", "azure.core", "azure.identity", "msal", "urllib3", "restore_chunk"):
            monkeypatch.setattr(logging.getLogger(name), "level", logging.DEBUG)
            logging.getLogger(name).manager._clear_cache()  # type: ignore[attr-defined]
        caplog.set_level("DEBUG")
        monkeypatch.setenv("PGPASSWORD", CANARIES["own_password"])
        monkeypatch.setenv("PGHOST", "settings.invalid")
        monkeypatch.setenv("PG_ALLOWED_HOSTS", f"settings.invalid,db.example,{app.database.pg['host']}")
        monkeypatch.setenv("PGUSER", "somebody")
        return Watch(app, monkeypatch, caplog, capfd, telemetry)

    return begin


@pytest.fixture
def watch(app: App, watching: Callable[[App], Watch]) -> Watch:
    return watching(app)


@pytest.fixture
def community_watch(community_app: App, watching: Callable[[App], Watch]) -> Watch:
    return watching(community_app)


def make_role(app: App) -> dict[str, Any]:
    """A role whose password is a canary, by its parts."""
    pg = app.database.role("GRANT USAGE, CREATE ON SCHEMA {s}", "GRANT pg_read_all_data, pg_write_all_data")
    app.database.execute(f"ALTER ROLE {pg['user']} PASSWORD '{CANARIES['password']}'")
    return pg | {"password": CANARIES["password"]}


def signed(app: App, url: str, **changes: Any) -> str:
    """Put a real SAS behind a URL; its signature is the canary."""
    path = url.partition(".net/")[2]
    named = dict(part.split("=", 1) for part in app.storage.connection_string.split(";") if part)
    terms: dict[str, Any] = {
        "permission": BlobSasPermissions(read=True),
        "expiry": dt.datetime.now(dt.timezone.utc) + dt.timedelta(hours=1),
    } | changes
    token = generate_blob_sas(
        app.storage.account, app.storage.filesystem, path, account_key=named["AccountKey"], **terms
    )
    return f"{url}?{token}"


def day_of(app: App, role: dict[str, Any], table: str, csv: bytes, **request: Any) -> dict[str, Any]:
    """The request for a day of a table, with a SAS."""
    return {"adls_url": signed(app, app.archive(table, csv)), "pg": role} | request
