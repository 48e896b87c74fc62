"""The runbook scripts in examples/, run against the host, with a real lake and a real server."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fix_contract import check_answer
from tests.integration.fix_app import App
from tests.integration.fix_host import running_host
from tools.config import LOOPBACK, REPOSITORY
from tools.local_server import free_port

pytestmark = pytest.mark.any_server

DAYS = ("2025-01-01", "2025-01-02", "2025-01-03")
KEY = "Zm9yLXRlc3RzLW9ubHk="
SCRIPTS = {
    "bash": (str(REPOSITORY / "examples" / "restore.sh"),),
    "pwsh": ("pwsh", "-NoProfile", "-File", str(REPOSITORY / "examples" / "restore.ps1")),
}
# The same option in PowerShell's words.
POWERSHELL = {"--dry-run-only": "-DryRunOnly", "--no-dry-run": "-NoDryRun", "--wait": "-WaitSeconds"}


@dataclass(frozen=True)
class Done:
    status: int
    answers: list[dict[str, Any]]
    said: str


@dataclass
class Runbook:
    """A script, and what it restores."""

    script: str
    app: App
    work: Path
    url: str

    def command(self, *options: str, **pg: Any) -> list[str]:
        request = self.work / "more.json"
        request.write_text(json.dumps({"pg": self.app.database.pg | pg}))
        pattern = self.app.archive("t", b"time,v\n", day="{day}").replace("%7Bday%7D", "{day}")
        given = ("--url", self.url, "--archive", pattern, "--request", str(request), "--wait", "0", *options)
        if self.script == "pwsh":
            given = tuple(POWERSHELL.get(one, one.replace("--", "-")) for one in given)
        return [*SCRIPTS[self.script], *given]

    def run(self, *options: str, **pg: Any) -> Done:
        done = subprocess.run(
            self.command(*options, **pg),
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            env=os.environ | {"RESTORE_KEY": KEY, "NO_PROXY": LOOPBACK, "no_proxy": LOOPBACK},
        )
        answers = [json.loads(line) for line in done.stdout.splitlines()] if self.script == "bash" else []
        return Done(done.returncode, answers, done.stderr)

    def store(self, *days: str) -> None:
        self.app.database.hypertable("t", "time timestamptz NOT NULL, v int")
        for day in days:
            self.app.archive("t", f"time,v\n{day} 01:00Z,1\n{day} 02:00Z,2\n".encode(), day=day)

    def rows(self) -> list[tuple[str, int]]:
        return self.app.database.fetch(
            "SELECT (time AT TIME ZONE 'UTC')::date::text, count(*) FROM {s}.t GROUP BY 1 ORDER BY 1"
        )


# Debian has no package of PowerShell, so most machines lack it.
@pytest.fixture(params=[name for name in SCRIPTS if name == "bash" or shutil.which(name)])
def runbook(request: pytest.FixtureRequest, app: App, tmp_path: Path) -> Iterator[Runbook]:
    with running_host(REPOSITORY, tmp_path / "host.log", os.environ) as host:
        yield Runbook(request.param, app, tmp_path, f"http://{LOOPBACK}:{host.port}/api/restore")


def test_a_range_of_days_is_restored_after_a_dry_run_of_all(runbook: Runbook) -> None:
    runbook.store(*DAYS)
    done = runbook.run("--from", DAYS[0], "--to", DAYS[2])
    assert done.status == 0, done.said
    assert runbook.rows() == [(day, 2) for day in DAYS]
    assert "2025-01-03: dry run, 2 rows in the archive" in done.said
    assert "2025-01-03: ok, 2 rows" in done.said
    if runbook.script == "bash":
        assert [answer["status"] for answer in done.answers] == ["dry_run"] * 3 + ["ok"] * 3
    for answer in done.answers:
        check_answer(200, {"x-ms-request-id": answer["request_id"]}, answer)


def test_a_dry_run_alone_writes_nothing(runbook: Runbook) -> None:
    runbook.store(DAYS[0])
    assert runbook.run("--from", DAYS[0], "--dry-run-only").status == 0
    assert runbook.rows() == []


def test_a_day_that_is_missing_stops_all_before_anything_is_written(runbook: Runbook) -> None:
    runbook.store(DAYS[0], DAYS[2])
    done = runbook.run("--from", DAYS[0], "--to", DAYS[2])
    assert done.status == 1, done.said
    assert "2025-01-02: error ArchiveNotFound (HTTP 404): " in done.said
    assert "    hint: check the spelling of the path" in done.said
    assert runbook.rows() == []


def test_without_a_dry_run_it_stops_at_the_day_that_fails(runbook: Runbook) -> None:
    runbook.store(DAYS[0], DAYS[2])
    done = runbook.run("--from", DAYS[0], "--to", DAYS[2], "--no-dry-run")
    assert done.status == 1, done.said
    assert "stopped at 2025-01-02" in done.said
    assert runbook.rows() == [(DAYS[0], 2)]


def test_a_day_that_has_rows_is_found_by_the_dry_run(runbook: Runbook) -> None:
    runbook.store(DAYS[0])
    runbook.app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 12:00Z', 9)")
    done = runbook.run("--from", DAYS[0])
    assert done.status == 1, done.said
    assert "2025-01-01: would end with WindowNotEmpty: " in done.said
    assert "nothing was restored" in done.said
    assert runbook.rows() == [(DAYS[0], 1)]


def test_an_error_that_may_pass_is_tried_again_and_told_apart(runbook: Runbook) -> None:
    runbook.store(DAYS[0])
    done = runbook.run("--from", DAYS[0], "--no-dry-run", "--retries", "2", port=free_port())
    assert done.status == 75, done.said
    assert done.said.count("2025-01-01: error DatabaseUnreachable (HTTP 503)") == 3
    assert done.said.count("again in 0 s") == 2


def test_a_host_that_is_away_may_come_back(runbook: Runbook) -> None:
    runbook.store(DAYS[0])
    runbook.url = f"http://{LOOPBACK}:{free_port()}/api/restore"
    done = runbook.run("--from", DAYS[0], "--no-dry-run", "--retries", "1")
    assert (done.status, done.said.count("cannot be reached")) == (75, 2), done.said


def test_a_wrong_path_is_no_function(runbook: Runbook) -> None:
    runbook.store(DAYS[0])
    runbook.url += "s"
    done = runbook.run("--from", DAYS[0])
    assert done.status == 1, done.said
    assert "HTTP 404: there is no function at" in done.said


def commands_of_group(group: int) -> str:
    """The command lines of all processes of a group, as any user of the machine can read them."""
    lines = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getpgid(int(entry.name)) == group:
                    lines.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
    return "\n".join(lines)


def test_the_key_is_in_no_command_line_and_a_lost_answer_is_told_apart(runbook: Runbook) -> None:
    runbook.store(DAYS[0])
    with socket.create_server((LOOPBACK, 0)) as server:
        runbook.url = f"http://{LOOPBACK}:{server.getsockname()[1]}/api/restore"
        server.settimeout(60)
        script = subprocess.Popen(
            runbook.command("--from", DAYS[0], "--no-dry-run"),
            env=os.environ | {"RESTORE_KEY": KEY, "NO_PROXY": LOOPBACK, "no_proxy": LOOPBACK},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            caller, _ = server.accept()
            received = b""
            with caller:
                caller.settimeout(60)
                while not received.rstrip().endswith(b"}"):
                    part = caller.recv(65536)
                    assert part, received
                    received += part
                # The request is under way: whatever sends it is running now.
                seen = commands_of_group(script.pid)
            _, said = script.communicate(timeout=60)
        finally:
            if script.poll() is None:
                os.killpg(script.pid, signal.SIGKILL)
                script.wait()
    assert f"x-functions-key: {KEY}".lower().encode() in received.lower()
    assert runbook.url in seen
    assert KEY not in seen
    assert KEY not in said
    assert script.returncode == 3, said
    assert "no answer of the function" in said


GOOD = {"--url": "http://127.0.0.1:9/api/restore", "--archive": "a/b/s.t.{day}.csv.gz", "--from": "2025-01-01"}


@pytest.mark.parametrize(
    ("options", "key", "said"),
    [
        ({"--url": "http://restore.example/api/restore"}, "", "must begin with https://"),
        ({"--url": "http://127.0.0.1.example/api/restore"}, "", "must begin with https://"),
        ({"--url": "https://restore.example/api/restore?code=secret"}, "", "belongs into RESTORE_KEY"),
        ({"--archive": "a/b/s.t.2025-01-01.csv.gz"}, "", "must hold {day}"),
        ({"--from": "2025-02-30"}, "", "must be days"),
        ({"--from": "01/02/2025"}, "", "must be days"),
        ({"--to": "2024-12-31"}, "", "--to is before --from"),
        ({"--from": ""}, "", "--from needs a value"),
        ({"--retries": "many"}, "", "whole numbers"),
        ({"--request": "/dev/null"}, "", "is no JSON object"),
        ({"--nix": "1"}, "", "unknown option --nix"),
        ({}, 'key"\nurl = "http://evil.example', "no function key has"),
    ],
)
def test_wrong_usage_sends_nothing(options: dict[str, str], key: str, said: str) -> None:
    command = [*SCRIPTS["bash"], *(part for pair in (GOOD | options).items() for part in pair)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ | {"RESTORE_KEY": key})
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
