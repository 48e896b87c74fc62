"""The local host, run as a program and asked over HTTP."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.fix_app import App
from tests.integration.fix_host import Host, running_host, start
from tests.integration.fix_threads import Call
from tools.config import LOOPBACK, REPOSITORY
from tools.local_server import free_port
from tools.process import wait_until

pytestmark = pytest.mark.any_server

ECHO = """
import json
import logging
import os

import azure.functions as func

logging.getLogger("azure.core").info("chatter of an SDK")
logging.getLogger("mine").info("loaded")


def main(req: func.HttpRequest) -> func.HttpResponse:
    if req.params.get("fail"):
        raise RuntimeError("deliberate failure")
    if req.params.get("none"):
        return None
    if req.params.get("text"):
        return "plain text"
    body = {
        "method": req.method,
        "url": req.url,
        "params": dict(req.params),
        "route_params": dict(req.route_params),
        "x": req.headers.get("X-Custom-Header"),
        "body": req.get_body().decode(),
        "settings": [os.environ.get("FROM_FILE"), os.environ.get("FROM_BOTH")],
    }
    status = int(req.params.get("status", 200))
    headers = {"X-Answer": "42"}
    return func.HttpResponse(json.dumps(body), status_code=status, headers=headers, mimetype="application/json")
"""


# It says that it runs, and waits for leave to go on.
HELD = """
import os
import tempfile
import time
from pathlib import Path

import azure.functions as func


def main(req: func.HttpRequest) -> str:
    folder = Path(os.environ["HELD_IN"])
    tempfile.mkstemp(".begun", dir=folder)
    while not (folder / "go").exists():
        time.sleep(0.02)
    return "done"
"""


def make_app(root: Path, *, prefix: str | None = None) -> None:
    extensions = {} if prefix is None else {"extensions": {"http": {"routePrefix": prefix}}}
    (root / "host.json").write_text(json.dumps({"version": "2.0", **extensions}))
    values = {"FROM_FILE": "file", "FROM_BOTH": "file"}
    (root / "local.settings.json").write_text(json.dumps({"Values": values}))
    add_function(root, "Echo", route="days/{day}/{part:int?}", methods=["post", "put"])
    add_function(root, "Plain")


def add_function(root: Path, name: str, **trigger: object) -> None:
    folder = root / name
    folder.mkdir()
    (folder / "__init__.py").write_text(ECHO)
    bindings = [{"type": "httpTrigger", "direction": "in", "name": "req", **trigger}]
    (folder / "function.json").write_text(json.dumps({"scriptFile": "__init__.py", "bindings": bindings}))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    root = tmp_path_factory.mktemp("app")
    make_app(root)
    with running_host(root, root / "host.log", os.environ | {"FROM_BOTH": "environment"}) as running:
        yield running


def test_request_and_answer_pass_through_whole(host: Host) -> None:
    reply = host.ask("PUT", "/api/days/2025-01-01/7?a=1&a=2&b=%C3%BC&status=418", b"body", {"X-Custom-Header": "yes"})
    assert reply.status == 418
    assert reply.headers["x-answer"] == "42"
    assert reply.headers["content-type"] == "application/json"
    assert json.loads(reply.body) == {
        "method": "PUT",
        "url": f"http://{LOOPBACK}:{host.port}/api/days/2025-01-01/7?a=1&a=2&b=%C3%BC&status=418",
        "params": {"a": "1,2", "b": "ü", "status": "418"},
        "route_params": {"day": "2025-01-01", "part": "7"},
        "x": "yes",
        "body": "body",
        "settings": ["file", "environment"],
    }


def test_a_chunked_body_reaches_the_function_empty_as_in_the_real_worker(host: Host) -> None:
    assert json.loads(host.ask("POST", "/api/days/x", iter([b"first,", b"second"])).body)["body"] == ""
    assert json.loads(host.ask("POST", "/api/days/x", b"whole").body)["body"] == "whole"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:7071"}, 200),
        ({"Host": "[::1]:7071"}, 200),
        ({"Host": "LOCALHOST", "Origin": "http://localhost:7071"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "localhost.evil.example:7071"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
        ({"Origin": "http://localhost@evil.example"}, 403),
        ({"Origin": "file://"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403),
    ],
)
def test_a_web_page_of_another_site_reaches_no_function(host: Host, headers: dict[str, str], status: int) -> None:
    reply = host.ask("POST", "/api/days/x", b"{}", headers)
    assert (reply.status, bool(reply.body)) == (status, status == 200)


@pytest.mark.parametrize(("mode", "status"), [("navigate", 200), ("no-cors", 403), ("cors", 403)])
def test_a_link_from_another_site_may_be_followed_and_an_image_is_not_sent(host: Host, mode: str, status: int) -> None:
    """An image brings no Origin."""
    reply = host.ask("GET", "/api/plain", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode})
    assert reply.status == status


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/days/2025-01-01"),
        ("HEAD", "/api/days/2025-01-01"),
        ("POST", "/api/days"),
        ("POST", "/api/days/2025-01-01/seven"),
        ("POST", "/days/2025-01-01"),
        ("POST", "/"),
    ],
)
def test_wrong_method_and_unknown_route_are_404_without_a_body(host: Host, method: str, path: str) -> None:
    reply = host.ask(method, path)
    assert (reply.status, reply.body) == (404, b"")


def test_a_function_without_route_is_called_by_its_name_with_any_method(host: Host) -> None:
    replies = [host.ask(method, path) for method in ("GET", "DELETE") for path in ("/api/Plain", "/API/plain/")]
    assert [reply.status for reply in replies] == [200] * 4


def test_an_exception_is_500_without_a_body_and_a_traceback_in_the_log(host: Host) -> None:
    reply = host.ask("GET", "/api/Plain?fail=1")
    assert (reply.status, reply.body) == (500, b"")
    assert wait_until(lambda: "RuntimeError: deliberate failure" in host.log.read_text(), 10)
    assert host.ask("GET", "/api/Plain").status == 200


def test_none_and_text_are_answers_too(host: Host) -> None:
    nothing, text = host.ask("GET", "/api/Plain?none=1"), host.ask("GET", "/api/Plain?text=1")
    assert (nothing.status, nothing.body) == (204, b"")
    assert (text.status, text.body) == (200, b"plain text")


def test_the_log_keeps_info_but_not_the_sdks(host: Host) -> None:
    log = host.log.read_text()
    assert "INFO mine: loaded" in log
    assert "chatter of an SDK" not in log


def test_no_more_functions_run_at_once_than_the_worker_has_threads(tmp_path: Path) -> None:
    """Those of HTTP, of queues and of timers share the threads."""
    make_app(tmp_path)
    add_function(tmp_path, "Held")
    (tmp_path / "Held" / "__init__.py").write_text(HELD)
    environ = os.environ | {"PYTHON_THREADPOOL_THREAD_COUNT": "2", "HELD_IN": str(tmp_path)}
    with running_host(tmp_path, tmp_path / "host.log", environ) as host:
        calls = [Call(lambda: host.ask("GET", "/api/Held").status) for _ in range(3)]

        def begun() -> int:
            return len(list(tmp_path.glob("*.begun")))

        assert wait_until(lambda: begun() == 2, 20)
        # Neither another function nor the third call gets a thread.
        answered: list[int] = []
        other = Call(lambda: answered.append(host.ask("GET", "/api/Plain").status))
        assert not wait_until(lambda: begun() > 2 or bool(answered), 1)
        (tmp_path / "go").touch()
        assert [call.result() for call in calls] == [200] * 3
        other.result()
        assert answered == [200]


def test_route_prefix_may_be_empty(tmp_path: Path) -> None:
    make_app(tmp_path, prefix="")
    with running_host(tmp_path, tmp_path / "host.log", os.environ) as host:
        assert host.ask("POST", "/days/2025-01-01").status == 200
        assert host.ask("POST", "/api/days/2025-01-01").status == 404


def test_a_taken_port_is_named_with_the_variable_that_changes_it(tmp_path: Path) -> None:
    make_app(tmp_path)
    log = tmp_path / "host.log"
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        port = int(other.getsockname()[1])
        assert start(tmp_path, port, log, os.environ).wait(timeout=60) == 1
    assert re.search(rf"^error: port {port} on 127\.0\.0\.1 is taken.* HOST_PORT=", log.read_text(), re.MULTILINE)


def test_a_broken_function_is_named(tmp_path: Path) -> None:
    make_app(tmp_path)
    (tmp_path / "Plain" / "__init__.py").write_text("import no_such_module")
    log = tmp_path / "host.log"
    assert start(tmp_path, free_port(), log, os.environ).wait(timeout=60) == 1
    assert "error: Plain cannot be loaded: No module named 'no_such_module'" in log.read_text()


def test_a_route_that_is_not_understood_is_named(tmp_path: Path) -> None:
    make_app(tmp_path)
    add_function(tmp_path, "Odd", route="days/{day:regex}")
    log = tmp_path / "host.log"
    assert start(tmp_path, free_port(), log, os.environ).wait(timeout=60) == 1
    assert "error: the route api/days/{day:regex} has the constraint regex" in log.read_text()


def test_a_day_is_restored_over_http(app: App, tmp_path: Path) -> None:
    app.database.hypertable("telemetry", "time timestamptz NOT NULL, value int")
    url = app.archive("telemetry", b"time,value\n2025-01-01 01:00Z,1\n2025-01-01 02:00Z,2\n")
    # `app` has put the connection string of the storage account into the environment.
    with running_host(REPOSITORY, tmp_path / "host.log", os.environ) as host:
        body = json.dumps({"adls_url": url, "pg": app.database.pg}).encode()
        json_type = {"Content-Type": "application/json"}
        restored = host.ask("POST", "/api/restore", body, json_type)
        refused = host.ask("POST", "/api/restore", b"{}", json_type)
    answer = json.loads(restored.body)
    assert (restored.status, answer["status"], answer["rows_loaded"]) == (200, "ok", 2), restored.body
    assert app.database.value("SELECT sum(value) FROM {s}.telemetry") == 3
    assert (refused.status, refused.headers["x-ms-error-code"]) == (400, "InvalidRequest")
