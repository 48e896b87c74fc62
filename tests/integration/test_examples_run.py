"""The runbook scripts in examples/, run against the host, with a real lake and a real server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.fix_http_fault import Fault, FaultyStorage
from tests.fix_contract import check_answer
from tests.integration.fix_runbook import DAYS, ENVIRONMENT, KEY, SCRIPTS, Runbook
from tools.config import LOOPBACK
from tools.local_server import free_port
from tools.process import wait_until

pytestmark = pytest.mark.any_server


def test_a_range_of_days_is_restored_and_each_archive_is_read_once(runbook: Runbook) -> None:
    runbook.store(*DAYS)
    done = runbook.run("--from", DAYS[0], "--to", DAYS[2])
    assert done.status == 0, done.said
    assert runbook.rows() == [(day, 2) for day in DAYS]
    assert done.lines == [
        "2025-01-01: 1 of 3",
        "2025-01-01: ok, 2 rows",
        "2025-01-02: 2 of 3",
        "2025-01-02: ok, 2 rows",
        "2025-01-03: 3 of 3",
        "2025-01-03: ok, 2 rows",
        "restored: 3 of 3 days, 6 rows; 0 skipped, 0 missing, 0 with warnings",
    ]
    if runbook.script == "bash":
        assert [answer["status"] for answer in done.answers] == ["ok"] * 3
    for answer in done.answers:
        check_answer(200, {"x-ms-request-id": answer["request_id"]}, answer)


def test_another_placeholder(runbook: Runbook) -> None:
    runbook.store(DAYS[0])
    done = replace(runbook, placeholder="{day}").run("--from", DAYS[0])
    assert done.status == 0, done.said
    assert runbook.rows() == [(DAYS[0], 2)]


def test_a_dry_run_of_all_comes_first_where_it_is_asked_for(runbook: Runbook) -> None:
    runbook.store(*DAYS)
    done = runbook.run("--from", DAYS[0], "--to", DAYS[2], "--dry-run-first")
    assert done.status == 0, done.said
    assert runbook.rows() == [(day, 2) for day in DAYS]
    assert "2025-01-03: dry run, 2 rows in the archive" in done.lines
    assert done.lines[-1] == "restored: 3 of 3 days, 6 rows; 0 skipped, 0 missing, 0 with warnings"
    if runbook.script == "bash":
        assert [answer["status"] for answer in done.answers] == ["dry_run"] * 3 + ["ok"] * 3


def test_a_dry_run_alone_writes_nothing(runbook: Runbook) -> None:
    runbook.store(DAYS[0])
    done = runbook.run("--from", DAYS[0], "--dry-run-only")
    assert done.status == 0, done.said
    assert runbook.rows() == []
    assert done.lines[-1] == (
        "dry run: 1 of 1 days, 2 rows in their archives; 0 with problems, 0 missing; nothing was restored"
    )


def test_the_rows_of_days_with_problems_are_counted_too(runbook: Runbook) -> None:
    runbook.store(*DAYS[:2])
    runbook.app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 12:00Z', 9)")
    done = runbook.run("--from", DAYS[0], "--to", DAYS[2], "--dry-run-only")
    assert done.status == 1, done.said
    assert "2025-01-01: dry run, 2 rows in the archive" in done.lines
    assert done.lines[-1] == (
        "dry run: 3 of 3 days, 4 rows in their archives; 2 with problems, 0 missing; nothing was restored"
    )


@pytest.mark.parametrize("end", ["", "/", "/api", "/api/", "/api/restore", "/api/restore/"])
def test_the_address_is_taken_as_restorectl_takes_it(runbook: Runbook, end: str) -> None:
    runbook.store(DAYS[0])
    runbook.url = runbook.url.removesuffix("/api/restore") + end
    done = runbook.run("--from", DAYS[0], "--dry-run-only")
    assert done.status == 0, done.said


def test_a_dry_run_in_full_finds_the_bad_value(runbook: Runbook) -> None:
    runbook.store(DAYS[0])
    runbook.app.archive("t", b"time,v\n2025-01-02 00:00Z,x\n", day=DAYS[1])
    done = runbook.run("--from", DAYS[0], "--to", DAYS[1], "--dry-run-only")
    assert (done.status, runbook.rows()) == (0, [])
    assert "2025-01-01: not looked at, or not wholly: values, window, duplicates" in done.lines
    done = runbook.run("--from", DAYS[0], "--to", DAYS[1], "--dry-run-first", "--full")
    assert (done.status, runbook.rows()) == (1, [])
    assert "2025-01-02: would end with DataRejected: line 2, column v: invalid text representation" in done.lines
    assert not any(line.startswith("2025-01-01: not looked at") for line in done.lines)


def test_a_day_that_is_missing_stops_a_dry_run_before_anything_is_written(runbook: Runbook) -> None:
    runbook.store(DAYS[0], DAYS[2])
    done = runbook.run("--from", DAYS[0], "--to", DAYS[2], "--dry-run-first")
    assert done.status == 1, done.said
    assert "2025-01-02: error ArchiveNotFound (HTTP 404): " in done.said
    assert f"    hint: the account has the file system {runbook.app.storage.filesystem}: " in done.said
    assert done.lines[-1].startswith("dry run: 3 of 3 days, 4 rows in their archives; 1 with problems, 0 missing")
    assert runbook.rows() == []


def test_it_stops_at_the_day_that_fails_and_says_what_is_left(runbook: Runbook) -> None:
    runbook.store(DAYS[0], DAYS[2])
    done = runbook.run("--from", DAYS[0], "--to", DAYS[2])
    assert done.status == 1, done.said
    assert runbook.rows() == [(DAYS[0], 2)]
    dash = "-From {} -To {}" if runbook.script == "pwsh" else "--from {} --to {}"
    assert done.lines[-3:] == [
        "stopped at 2025-01-02",
        "restored: 1 of 3 days, 2 rows; 0 skipped, 0 missing, 0 with warnings",
        f"left: 2 of 3 days; go on with {dash.format(DAYS[1], DAYS[2])}",
    ]
    # As it says.
    runbook.app.archive("t", b"time,v\n2025-01-02 01:00Z,1\n", day=DAYS[1])
    assert runbook.run("--from", DAYS[1], "--to", DAYS[2]).status == 0
    assert runbook.rows() == [(DAYS[0], 2), (DAYS[1], 1), (DAYS[2], 2)]


@pytest.mark.parametrize("first", [(), ("--dry-run-first",)])
def test_a_day_without_an_archive_is_passed_over_where_that_is_asked_for(
    runbook: Runbook, first: tuple[str, ...]
) -> None:
    runbook.store(DAYS[0], DAYS[2])
    done = runbook.run("--from", DAYS[0], "--to", DAYS[2], "--missing", "skip", *first)
    assert done.status == 0, done.said
    assert runbook.rows() == [(DAYS[0], 2), (DAYS[2], 2)]
    assert done.said.count("2025-01-02: no archive") == 1
    assert done.lines[-2:] == [
        "missing: 2025-01-02",
        "restored: 2 of 3 days, 4 rows; 0 skipped, 1 missing, 0 with warnings",
    ]


@pytest.mark.parametrize("mode", [(), ("--dry-run-only",)])
def test_days_that_are_all_missing_are_not_a_success(runbook: Runbook, mode: tuple[str, ...]) -> None:
    runbook.store()
    done = runbook.run("--from", DAYS[0], "--to", DAYS[2], "--missing", "skip", *mode)
    assert done.status == 1, done.said
    assert "no day has an archive: check " in done.said
    assert "missing: 2025-01-01 2025-01-02 2025-01-03" in done.lines


def test_a_missing_file_system_is_not_a_missing_day(runbook: Runbook) -> None:
    runbook.store(DAYS[0])
    storage = runbook.app.storage
    pattern = f"abfss://nosuchfs@{storage.account}.dfs.core.windows.net/{runbook.app.path('t', '{day}')}"
    done = runbook.run("--from", DAYS[0], "--to", DAYS[2], "--missing", "skip", "--archive", pattern)
    assert done.status == 1, done.said
    assert "has no file system nosuchfs" in done.said
    assert "stopped at 2025-01-01" in done.lines


def test_a_day_that_has_rows_is_found_by_the_dry_run(runbook: Runbook) -> None:
    runbook.store(DAYS[0])
    runbook.app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 12:00Z', 9)")
    done = runbook.run("--from", DAYS[0], "--dry-run-first")
    assert done.status == 1, done.said
    assert "2025-01-01: would end with WindowNotEmpty: " in done.said
    assert "nothing was restored" in done.said
    assert runbook.rows() == [(DAYS[0], 1)]


@pytest.mark.parametrize(
    ("existing", "first", "rows", "said"),
    [
        ("skip", 1, "restored: 2 of 3 days, 4 rows; 1 skipped, 0 missing, 0 with warnings", "skipped, it has rows"),
        ("replace", 2, "restored: 3 of 3 days, 6 rows; 0 skipped, 0 missing, 0 with warnings", "ok, 2 rows"),
    ],
)
def test_a_day_that_has_rows_is_treated_as_asked(
    runbook: Runbook, existing: str, first: int, rows: str, said: str
) -> None:
    """What else the request says of its destination stays."""
    runbook.store(*DAYS)
    runbook.app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 12:00Z', 9)")
    request = {"destination": {"mode": "staging", "on_existing": "error"}}
    done = runbook.run("--from", DAYS[0], "--to", DAYS[2], "--existing", existing, request=request)
    assert done.status == 0, done.said
    assert runbook.rows() == [(DAYS[0], first), (DAYS[1], 2), (DAYS[2], 2)]
    assert f"2025-01-01: {said}" in done.lines
    assert done.lines[-1] == rows
    if runbook.script == "bash":
        assert [answer["mode"] for answer in done.answers] == ["staging"] * 3


def test_without_that_a_day_that_has_rows_ends_it(runbook: Runbook) -> None:
    runbook.store(*DAYS)
    runbook.app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-02 12:00Z', 9)")
    done = runbook.run("--from", DAYS[0], "--to", DAYS[2])
    assert done.status == 1, done.said
    assert "error WindowNotEmpty (HTTP 409)" in done.said
    assert runbook.rows() == [(DAYS[0], 2), (DAYS[1], 1)]


def test_days_with_warnings_are_counted(runbook: Runbook) -> None:
    runbook.store(DAYS[0])
    runbook.app.archive("t", b"time,v,more\n2025-01-02 01:00Z,1,x\n", day=DAYS[1])
    request = {"destination": {"mode": "staging"}}
    done = runbook.run("--from", DAYS[0], "--to", DAYS[1], request=request)
    assert done.status == 0, done.said
    assert done.lines[-1] == "restored: 2 of 2 days, 3 rows; 0 skipped, 0 missing, 1 with warnings"


def test_an_error_that_may_pass_is_tried_again_and_told_apart(runbook: Runbook) -> None:
    runbook.store(DAYS[0])
    done = runbook.run("--from", DAYS[0], "--retries", "2", port=free_port())
    assert done.status == 75, done.said
    assert done.said.count("2025-01-01: error DatabaseUnreachable (HTTP 503)") == 3
    assert done.said.count("again in 0 s") == 2


def test_an_unreachable_host_may_come_back(runbook: Runbook) -> None:
    runbook.store(DAYS[0])
    runbook.url = f"http://{LOOPBACK}:{free_port()}/api/restore"
    done = runbook.run("--from", DAYS[0], "--retries", "1")
    assert (done.status, done.said.count("cannot be reached")) == (75, 2), done.said


def test_a_wrong_path_is_not_a_function(runbook: Runbook) -> None:
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
            runbook.command("--from", DAYS[0]),
            env=os.environ | ENVIRONMENT,
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
    assert "not known: 2025-01-01; the restore may run on" in said


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_with_a_summary(
    faulty_runbook: Runbook, faulty_storage: FaultyStorage, tmp_path: Path, which: signal.Signals
) -> None:
    """In the middle of the second day. Neither curl nor a file is left."""
    runbook = faulty_runbook
    runbook.store(*DAYS)
    faulty_storage.faults[f"t.{DAYS[1]}.csv.gz"] = Fault("stall")
    said = tmp_path / "said"
    (tmp_path / "tmp").mkdir()
    with said.open("wb") as output:
        script = subprocess.Popen(
            runbook.command("--from", DAYS[0], "--to", DAYS[2]),
            env=os.environ | ENVIRONMENT | {"TMPDIR": str(tmp_path / "tmp")},
            stdout=subprocess.DEVNULL,
            stderr=output,
            start_new_session=True,
        )
        try:
            assert wait_until(lambda: faulty_storage.faults[f"t.{DAYS[1]}.csv.gz"].hits > 0, 60), said.read_text()
            assert "curl" in commands_of_group(script.pid)
            assert list((tmp_path / "tmp").iterdir())
            # To the script alone, as a service manager does it.
            script.send_signal(which)
            assert script.wait(timeout=30) == 128 + which
            assert wait_until(lambda: not commands_of_group(script.pid), 10)
        finally:
            if script.poll() is None:
                os.killpg(script.pid, signal.SIGKILL)
                script.wait()
    assert list((tmp_path / "tmp").iterdir()) == []
    lines = said.read_text().splitlines()
    assert lines[:3] == ["2025-01-01: 1 of 3", "2025-01-01: ok, 2 rows", "2025-01-02: 2 of 3"]
    assert lines[3].startswith("restored: 1 of 3 days, 2 rows; 0 skipped, 0 missing, 0 with warnings; ")
    assert lines[4:] == [
        "not known: 2025-01-02; the restore may run on: look into the function's log before it is sent again",
        "left: 1 of 3 days; go on with --from 2025-01-03 --to 2025-01-03",
    ]


def test_a_signal_ends_the_wait_before_another_try(runbook: Runbook, tmp_path: Path) -> None:
    """Of the day before, all is known."""
    if runbook.script != "bash":
        pytest.skip("PowerShell has signals of its own")
    runbook.store(DAYS[0])
    said = tmp_path / "said"
    with said.open("wb") as output:
        script = subprocess.Popen(
            runbook.command("--from", DAYS[0], "--wait", "3600", port=free_port()),
            env=os.environ | ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=output,
            start_new_session=True,
        )
        try:
            assert wait_until(lambda: "again in 3600 s" in said.read_text(), 60), said.read_text()
            script.terminate()
            assert script.wait(timeout=30) == 128 + signal.SIGTERM
            assert wait_until(lambda: not commands_of_group(script.pid), 10)
        finally:
            if script.poll() is None:
                os.killpg(script.pid, signal.SIGKILL)
                script.wait()
    assert "not known" not in said.read_text()
    assert "left: 1 of 1 days; go on with --from 2025-01-01 --to 2025-01-01" in said.read_text()


def test_an_answer_that_nobody_reads_is_still_counted(runbook: Runbook) -> None:
    """Standard output that is closed, as by `| head`."""
    if runbook.script != "bash":
        pytest.skip("PowerShell has a pipeline of its own")
    runbook.store(*DAYS)
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        runbook.command("--from", DAYS[0], "--to", DAYS[2]),
        check=False,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        env=os.environ | ENVIRONMENT,
    )
    os.close(writing)
    assert done.returncode != 0
    assert runbook.rows() == [(DAYS[0], 2)]
    assert "restored: 1 of 3 days, 2 rows; 0 skipped, 0 missing, 0 with warnings; " in done.stderr
    assert "left: 2 of 3 days; go on with --from 2025-01-02 --to 2025-01-03" in done.stderr


def test_a_request_that_would_not_restore_is_refused(runbook: Runbook) -> None:
    runbook.store(DAYS[0])
    for request in ({"dry_run": True}, {"async": True}, {"destination": "t"}):
        done = runbook.run("--from", DAYS[0], "--existing", "skip", request=request)
        assert (done.status, done.answers) == (2, []), done.said
    assert runbook.rows() == []


GOOD = {"--url": "http://127.0.0.1:9/api/restore", "--archive": "a/b/s.t.{date}.csv.gz", "--from": "2025-01-01"}


@pytest.mark.parametrize(
    ("options", "key", "said"),
    [
        ({"--url": "http://restore.example/api/restore"}, "", "must begin with https://"),
        ({"--url": "http://127.0.0.1.example/api/restore"}, "", "must begin with https://"),
        ({"--url": "https://restore.example/api/restore?code=secret"}, "", "put the key into RESTORE_KEY"),
        ({"--archive": "a/b/s.t.2025-01-01.csv.gz"}, "", "must hold {date}"),
        ({"--from": "2025-02-30"}, "", "must be days"),
        ({"--from": "01/02/2025"}, "", "must be days"),
        ({"--to": "2024-12-31"}, "", "--to is before --from"),
        ({"--from": ""}, "", "--from needs a value"),
        ({"--retries": "many"}, "", "whole numbers"),
        ({"--existing": "append"}, "", "skip or replace"),
        ({"--missing": "error"}, "", "--missing takes skip"),
        ({"--request": "/dev/null"}, "", "is not a JSON object"),
        ({"--nix": "1"}, "", "unknown option --nix"),
        ({}, 'key"\nurl = "http://evil.example', "no function key has"),
    ],
)
def test_wrong_usage_sends_nothing(options: dict[str, str], key: str, said: str) -> None:
    command = [*SCRIPTS["bash"], *(part for pair in (GOOD | options).items() for part in pair)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ | {"RESTORE_KEY": key})
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_full_without_a_dry_run_sends_nothing() -> None:
    command = [*SCRIPTS["bash"], *(part for pair in GOOD.items() for part in pair), "--full"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "add --dry-run-first or --dry-run-only" in done.stderr
