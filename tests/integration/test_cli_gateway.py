"""restorectl before a gateway, as in Azure: the key, repeated requests, answers that are not the function's."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.integration.fix_cli import DAYS, KEY, Cli
from tests.integration.fix_gateway import BAD_GATEWAY, Failure, Gateway
from tools.config import LOOPBACK

pytestmark = pytest.mark.any_server

HTML = Failure(502, (("Content-Type", "text/html; charset=utf-8"),), BAD_GATEWAY)
BUSY = Failure(503, (("Retry-After", "1"),))


def test_the_key_goes_into_a_header_alone(cli: Cli, gateway: Gateway) -> None:
    cli.store(DAYS[0])
    done = cli.run("restore", cli.path())
    assert done.status == 0, done.stderr
    assert {one.key for one in gateway.seen} == {KEY}
    assert not any(KEY in one.path for one in gateway.seen)
    assert KEY not in done.stdout + done.stderr


def test_where_the_key_comes_from(cli: Cli, gateway: Gateway, tmp_path: Path) -> None:
    file, program = tmp_path / "key", tmp_path / "print key"
    file.write_text(f"{KEY}\n")
    program.write_text(f"#!/bin/sh\necho logging in >&2\ntest \"$1\" = 'a b' && echo {KEY}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    none = {"RESTORE_KEY": ""}
    assert cli.run("list", **none).status == 4
    assert cli.run("list", "--key-file", str(file), **none).status == 0
    assert cli.run("list", RESTORE_KEY_FILE=str(file), **none).status == 0
    done = cli.run("list", "--key-command", f"'{program}' 'a b'", RESTORE_KEY="wrong")
    assert done.status == 0
    assert "logging in" in done.stderr
    before = len(gateway.seen)
    for options in (
        ("--key-command", f"'{program}' other"),
        ("--key-command", "/nonexistent"),
        ("--key-command", "'"),
        ("--key-command", "true"),
        ("--key-file", "/nonexistent"),
        ("--key-file", str(program)),
        ("--key-file", str(file), "--key-command", "true"),
    ):
        done = cli.run("list", *options, **none)
        assert (done.status, done.stdout) == (2, ""), options
        assert KEY not in done.stderr
    done = cli.run("list", RESTORE_KEY=f"{KEY}\r\nx: y")
    assert done.status == 2
    assert KEY not in done.stderr
    assert len(gateway.seen) == before


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_wrong_key_is_not_allowed(cli: Cli, gateway: Gateway, output: str) -> None:
    for command in (("list",), ("status", "x"), ("open-is-no-call",), ("restore", cli.path())):
        if command[0].startswith("open"):
            continue
        done = cli.run(*command, "--output", output, RESTORE_KEY="d3Jvbmc=")
        assert (done.status, done.stdout) == (4, "")
        assert "the key is missing or wrong (HTTP 401, no content)" in done.stderr
        assert "d3Jvbmc" not in done.stderr
    # It is not sent again.
    assert len(gateway.seen) == 3


def test_the_platform_keeps_this_machine_out(cli: Cli, gateway: Gateway) -> None:
    gateway.failures = [Failure(403, (("Content-Type", "text/html"),), b"<h1>Ip Forbidden</h1>")]
    assert cli.run("list").status == 4


def test_a_function_that_is_not_there(cli: Cli, gateway: Gateway) -> None:
    cli.url = f"{gateway.url}/elsewhere"
    done = cli.run("list")
    assert done.status == 1
    assert "there is no such function at " in done.stderr


@pytest.mark.parametrize("failure", [HTML, BUSY, Failure(cut=True)])
def test_a_request_that_got_no_answer_is_sent_again(cli: Cli, gateway: Gateway, failure: Failure) -> None:
    """And the restore is one."""
    cli.store(DAYS[0])
    gateway.failures = [failure]
    done = cli.run("restore", cli.path())
    assert done.status == 0, done.stderr
    assert "; again in 1 s" in done.stderr
    assert "\x1b" not in done.stderr
    posts = [one.operation_id for one in gateway.seen if one.method == "POST"]
    assert len(posts) == 2
    assert posts[0] == posts[1] == done.facts["id"]
    assert cli.rows() == 2
    listed = cli.run("list", "--table", f"{cli.app.database.schema}.t", "--output", "json").data["value"]
    assert [one["id"] for one in listed] == posts[:1]


def test_an_answer_of_a_gateway_is_said_clearly(cli: Cli, gateway: Gateway) -> None:
    gateway.failures = [HTML]
    done = cli.run("list", "--retry-for", "0")
    assert (done.status, done.stdout) == (1, "")
    assert (
        "the answer is not the function's (HTTP 502, text/html): a gateway or a proxy on the way answered"
        in done.stderr
    )
    gateway.failures = [Failure(200, (("Content-Type", "application/json"),), b"[1]")]
    assert "the answer is not the function's (HTTP 200, application/json)" in cli.run("list").stderr


def test_a_wait_outlasts_a_gateway(cli: Cli, gateway: Gateway) -> None:
    cli.store(DAYS[0])
    with cli.locked():
        operation_id = cli.submitted()
        gateway.failures = [HTML, BUSY, Failure(cut=True)]
        done = cli.run("watch", operation_id, "--timeout", "8")
        assert done.status == 3
        assert not gateway.failures
        # It gives up where nobody may wait so long, and does not know how the restore ends.
        cli.wait_for_status(operation_id, "Running")
        first = json.loads(cli.run("status", operation_id, "--output", "json").stdout)
        assert first["status"] == "Running"
    assert cli.run("watch", operation_id).status == 0


def test_a_call_that_waits_is_not_sent_again(cli: Cli, gateway: Gateway) -> None:
    cli.store(DAYS[0])
    for failure in (Failure(cut=True), HTML):
        gateway.failures = [failure]
        gateway.seen.clear()
        done = cli.run("restore", cli.path(), "--sync")
        assert (done.status, done.stdout) == (3, ""), done.stderr
        assert "the restore may run on" in done.stderr
        assert [one.method for one in gateway.seen] == ["POST"]
    assert cli.rows() == 2


def test_a_redirect_is_not_followed(cli: Cli, gateway: Gateway) -> None:
    elsewhere = f"http://{LOOPBACK}:{gateway.host_port}/api/restores"
    gateway.failures = [Failure(307, (("Location", elsewhere),))]
    done = cli.run("list")
    assert done.status == 1
    assert f"sends the request on to {LOOPBACK} (HTTP 307" in done.stderr
    assert len(gateway.seen) == 1


def test_the_next_page_of_another_origin_is_not_asked_for(cli: Cli, gateway: Gateway) -> None:
    cli.store(DAYS[0])
    for number in range(2):
        cli.submitted("--id", f"{cli.app.database.schema}-{number}")
    own, other = f"//{LOOPBACK}:{gateway.port}/".encode(), f"//localhost:{gateway.port}/".encode()
    gateway.rewrite = lambda body: body.replace(own, other)
    gateway.seen.clear()
    pattern = cli.path("{date}")
    done = cli.run("days", pattern, "--from", "2023-01-01", "--to", "2025-01-01")
    assert (done.status, done.stdout) == (1, "")
    assert "the key is not sent there" in done.stderr
    assert "PUBLIC_BASE_URL" in done.stderr
    assert len(gateway.seen) == 1


def test_the_next_page_of_no_address_is_not_asked_for(cli: Cli, gateway: Gateway) -> None:
    gateway.rewrite = lambda body: body.replace(b'"nextLink": null', b'"nextLink": "http://["')
    done = cli.run("list")
    assert done.status == 1
    assert "no valid address" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(gateway.seen) == 1


def test_a_list_that_goes_round_in_a_circle_ends(cli: Cli, gateway: Gateway) -> None:
    page = json.dumps({"value": [], "nextLink": f"{gateway.url}/restores?after=x"}).encode()
    gateway.failures = [Failure(200, (), page)] * 9
    done = cli.run("list")
    assert (done.status, done.stdout) == (1, "")
    assert "without an end" in done.stderr
    assert len(gateway.seen) == 2


def test_a_redirect_without_an_address_causes_no_traceback(cli: Cli, gateway: Gateway) -> None:
    gateway.failures = [Failure(307, (("Location", "https://[:::::]/api"),))]
    done = cli.run("list")
    assert done.status == 1
    assert "something that is not an address" in done.stderr


STRANGE: list[dict[str, Any]] = [
    {"status": "x"},
    {"status": "Succeeded"},
    {"value": [1]},
    {"value": [{}]},
    {"value": [{"status": "Running", "state": [], "day": {}, "progress": "x", "error": "y"}]},
    {"status": "Running", "id": "x", "progress": 1, "days": [1], "value": [2], "next_attempt": 3, "error": 4},
    {"status": "Succeeded", "id": "x", "result": [1], "days": "x", "progress": {"percent": "x", "rows": "y"}},
    {"status": "Failed", "id": ["x"], "error": "y", "kind": "backfill", "value": [[]]},
    {"status": "dry_run", "id": "x", "days": "x", "groups": 1, "bytes": "y", "missing": 1, "dry_run": [1]},
    {"status": "ok", "warnings": [1], "timings": {"total": "x"}, "date_window": 1},
    {"status": "Succeeded", "id": "x", "progress": {"seconds": 1e300, "compressed_bytes_total": "x"}},
]


@pytest.mark.parametrize("body", STRANGE, ids=str)
def test_an_answer_of_a_strange_shape_is_said_clearly(cli: Cli, gateway: Gateway, body: dict[str, Any]) -> None:
    range_ = ("--from", DAYS[0], "--to", DAYS[1])
    commands = [
        ("list",),
        ("days", cli.path("{date}"), *range_),
        ("status", "x"),
        ("watch", "x", "--timeout", "1"),
        ("cancel", "x", "--timeout", "1"),
        ("retry", "x", "--timeout", "1"),
        ("restore", cli.path(), "--timeout", "1"),
        ("restore", cli.path(), "--sync"),
        ("dry-run", cli.path(), "--sync"),
        ("backfill", cli.path("{date}"), *range_, "--dry-run"),
        ("backfill", cli.path("{date}"), *range_, "--no-wait"),
    ]
    clear = 0
    for number, command in enumerate(commands):
        gateway.failures = [Failure(200, (), json.dumps(body).encode())] * 20
        done = cli.run(*command, *(("--output", "json") if number % 2 else ()))
        assert "Traceback" not in done.stderr, (command, done.stderr)
        assert done.status in range(7), (command, done)
        clear += "restorectl" in done.stderr
    assert clear


def test_a_proxy_of_the_environment_is_not_for_this_machine(cli: Cli, gateway: Gateway) -> None:
    proxy = f"http://{LOOPBACK}:1"
    assert cli.run("list", HTTP_PROXY=proxy, http_proxy=proxy, ALL_PROXY=proxy, NO_PROXY="", no_proxy="").status == 0
    assert gateway.seen


def test_no_list_of_processes_shows_the_key(cli: Cli, gateway: Gateway) -> None:
    cli.store(DAYS[0])
    with cli.locked(), cli.terminal("restore", cli.path()) as terminal:
        terminal.wait_for("inspect")
        shown = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)]
        assert any(b"restorectl" in one for one in shown)
        assert not any(KEY.encode() in one for one in shown)
        terminal.type("\x03")
        terminal.end()
    assert gateway.seen
