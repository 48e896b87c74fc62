"""Whether the app says that it is well when it is, and what is wrong when it is not."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from shared.health import http as health_http
from shared.health.checks import LastResult
from shared.health.http import get_details, get_health
from tests.integration.fix_app import App
from tests.integration.fix_calendar import set_server
from tests.integration.fix_threads import Call, at_once
from tools.config import LOOPBACK
from tools.local_server import free_port
from tools.process import wait_until


@pytest.fixture
def server(app: App, monkeypatch: pytest.MonkeyPatch) -> App:
    set_server(app, monkeypatch)
    monkeypatch.setenv("PG_ALLOWED_DATABASES", app.database.name)
    monkeypatch.setattr(health_http, "last_result", LastResult())
    return app


def details() -> tuple[int, str, dict[str, Any]]:
    answer = get_details()
    body = json.loads(answer.body)
    return answer.status, body["status"], {check.pop("name"): check for check in body["checks"]}


def test_all_is_well(server: App) -> None:
    status, word, checks = details()
    assert (status, word) == (200, "ok")
    assert {name: check["status"] for name, check in checks.items()} == {
        "settings": "ok",
        "rules": "skipped",
        "queue": "ok",
        "tables": "ok",
        "blobs": "ok",
        "database": "ok",
    }
    database = checks["database"]
    assert (database["user"], database["database"]) == (server.database.pg["user"], server.database.name)
    assert database["edition"] in {"apache", "community"}
    assert database["timescaledb"]
    assert (get_health().status, json.loads(get_health().body)) == (200, {"status": "ok"})


def test_a_server_that_lets_nobody_in_any_more_is_noticed_at_once(server: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while sessions of a restore are open."""
    role = server.database.role()
    for name in ("user", "password"):
        monkeypatch.setenv(f"PG{name.upper()}", role[name])
    assert details()[0] == 200
    server.database.execute(f"ALTER ROLE {role['user']} PASSWORD 'another'")
    status, _, checks = details()
    assert (status, checks["database"]["error"]["code"]) == (503, "DatabaseAccessDenied")


@pytest.mark.parametrize(
    ("setting", "value", "check", "code"),
    [
        ("PG_LOCK_TIMEOUT_SECONDS", "soon", "settings", "InvalidConfiguration"),
        ("RESTORE_RULES", "[{}]", "rules", "InvalidConfiguration"),
        ("PGPORT", "{free}", "database", "DatabaseUnreachable"),
        ("PGPASSWORD", "hunter2", "database", "DatabaseAccessDenied"),
        ("PG_ALLOWED_DATABASES", "no_such_database", "database", "DatabaseNotFound"),
        ("AzureWebJobsStorage", "AccountKey=hunter2", "queue", "InvalidConfiguration"),
    ],
)
@pytest.mark.usefixtures("server")
def test_what_is_wrong_is_named(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: str, check: str, code: str
) -> None:
    monkeypatch.setenv(setting, value.replace("{free}", str(free_port())))
    status, word, checks = details()
    assert (status, word) == (503, "failed")
    assert checks[check]["error"]["code"] == code
    assert "hunter2" not in json.dumps(checks)
    answer = get_health()
    assert (answer.status, json.loads(answer.body)) == (503, {"status": "failed"})


@pytest.mark.usefixtures("app")
def test_what_the_settings_do_not_name_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AzureWebJobsStorage")
    status, _, checks = details()
    assert status == 200
    assert {check["status"] for name, check in checks.items() if name != "settings"} == {"skipped"}


@pytest.mark.usefixtures("server")
def test_a_result_is_kept_for_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    assert get_health().status == 200
    monkeypatch.setenv("PGPORT", str(free_port()))
    assert get_health().status == 200
    monkeypatch.setattr("shared.health.checks.KEPT_SECONDS", 0)
    assert get_health().status == 503


@pytest.fixture
def silent(server: App, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:  # noqa: ARG001 - it sets the rest
    """After a first look, name a server that takes connections and never answers. Returns how many it has had."""
    assert get_health().status == 200
    monkeypatch.setenv("PG_CONNECT_TIMEOUT_SECONDS", "2")
    connections = []
    with ExitStack() as opened, socket.create_server((LOOPBACK, 0), backlog=50) as listener:
        listener.settimeout(0)
        monkeypatch.setenv("PGPORT", str(listener.getsockname()[1]))

        def count() -> int:
            with suppress(BlockingIOError):
                while True:
                    connections.append(opened.enter_context(listener.accept()[0]))
            return len(connections)

        yield count


def test_a_look_that_takes_long_is_made_once(silent: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each call of anybody would keep a thread of the host for as long."""
    monkeypatch.setattr(health_http, "last_result", LastResult())
    monkeypatch.setattr("shared.health.checks.KEPT_SECONDS", 2)
    details()
    of_one_look = silent()
    assert [answer.status for answer in at_once(3, get_health)] == [503] * 3
    assert silent() == 2 * of_one_look


def test_nobody_waits_for_a_look_of_another_caller(silent: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.health.checks.KEPT_SECONDS", 0)
    looking = Call(get_health)
    assert wait_until(lambda: silent() == 1, 10)
    assert get_health().status == 200
    assert looking.result().status == 503
