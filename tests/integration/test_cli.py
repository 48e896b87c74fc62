"""restorectl, run as a process against the local host: what it prints, asks and ends with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from shared.model.calendar import DayState
from shared.model.monitor import STATUSES
from tests.fix_contract import check_answer
from tests.integration.fix_attempts import record_three_attempts
from tests.integration.fix_cli import DAYS, PROGRAM, Cli
from tools.config import LOOPBACK, REPOSITORY
from tools.local_server import free_port
from tools.process import wait_until

pytestmark = pytest.mark.any_server

WAYS = [(output, way) for output in ("table", "json") for way in ((), ("--sync",))]


def check_quiet(stderr: str) -> None:
    assert "\x1b" not in stderr
    assert "\r" not in stderr


def test_a_day_is_restored_and_shown(cli: Cli) -> None:
    cli.store(DAYS[0])
    done = cli.run("restore", cli.path())
    assert done.status == 0, done.stderr
    assert cli.rows() == 2
    facts = done.facts
    assert (facts["status"], facts["result"], facts["rows loaded"]) == ("Succeeded", "ok", "2")
    assert (facts["day"], facts["table"]) == (DAYS[0], f"{cli.app.database.schema}.t")
    lines = done.stderr.splitlines()
    assert lines[0] == f"{DAYS[0]}: NotStarted"
    assert lines[-1].startswith(f"{DAYS[0]}: Succeeded")
    check_quiet(done.stderr)


def test_json_is_the_monitor_or_the_answer_of_the_call(cli: Cli) -> None:
    cli.store(*DAYS[:2])
    done = cli.run("restore", cli.path(), "--output", "json")
    assert (done.status, done.data["status"], done.data["result"]["rows_loaded"]) == (0, "Succeeded", 2)
    check_quiet(done.stderr)
    done = cli.run("restore", cli.path(DAYS[1]), "--sync", "--output", "json")
    check_answer(200, {"x-ms-request-id": done.data["request_id"]}, done.data)
    assert (done.status, done.data["rows_loaded"], done.stderr) == (0, 2, "")


@pytest.mark.parametrize(("output", "way"), WAYS)
def test_a_failure_has_one_exit_code_and_says_how_to_go_on(cli: Cli, output: str, way: tuple[str, ...]) -> None:
    cli.store(DAYS[0])
    cli.app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 12:00Z', 9)")
    done = cli.run("restore", cli.path(), *way, "--output", output)
    assert done.status == 1
    assert "error: WindowNotEmpty: " in done.stderr
    assert "  hint: " in done.stderr
    assert "--existing skip" in done.stderr
    if output == "json":
        assert done.data["error"]["code"] == "WindowNotEmpty"


@pytest.mark.parametrize(("output", "way"), WAYS)
def test_what_is_not_allowed_has_a_code_of_its_own(cli: Cli, output: str, way: tuple[str, ...]) -> None:
    cli.store(DAYS[0])
    role = cli.app.database.role()
    # No password may go into the queue, and the app's own is not for this role.
    fields = ("user", "password") if way else ("user",)
    request = json.dumps({"pg": {name: role[name] for name in fields}})
    done = cli.run("restore", cli.path(), *way, "--output", output, "--request", "-", stdin=request)
    assert done.status == 4, done.stderr
    assert "error: Database" in done.stderr


@pytest.mark.parametrize(("existing", "rows"), [("skip", 1), ("append", 3)])
def test_a_day_that_has_rows_is_treated_as_asked(cli: Cli, existing: str, rows: int) -> None:
    cli.store(DAYS[0])
    cli.app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 12:00Z', 9)")
    assert cli.run("restore", cli.path(), "--existing", existing).status == 0
    assert cli.rows() == rows


def test_replacing_needs_a_yes(cli: Cli, tmp_path: Path) -> None:
    cli.store(DAYS[0])
    cli.app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 12:00Z', 9)")
    request = tmp_path / "request.json"
    request.write_text('{"destination": {"on_existing": "replace"}}')
    for options in (("--existing", "replace"), ("--request", str(request))):
        done = cli.run("restore", cli.path(), *options)
        assert (done.status, done.stdout, cli.rows()) == (2, "", 1)
        assert "add --yes" in done.stderr
    done = cli.run("restore", cli.path(), "--request", str(request), "--yes")
    assert (done.status, done.facts["rows removed"], cli.rows()) == (0, "1", 2)


@pytest.mark.parametrize(("answer", "status", "rows"), [("y\n", 0, 2), ("n\n", 5, 1), ("\n", 5, 1), ("\x03", 130, 1)])
def test_on_a_terminal_it_asks(cli: Cli, answer: str, status: int, rows: int) -> None:
    cli.store(DAYS[0])
    cli.app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 12:00Z', 9)")
    with cli.terminal("restore", cli.path(), "--existing", "replace") as terminal:
        terminal.wait_for("[y/N]")
        terminal.type(answer)
        assert (terminal.end(), cli.rows()) == (status, rows), terminal.text


def test_a_secret_needs_the_call_that_waits(cli: Cli) -> None:
    cli.store(DAYS[0])
    request = json.dumps({"pg": cli.app.database.pg | {"password": "only-for-tests"}})
    done = cli.run("restore", cli.path(), "--request", "-", stdin=request)
    assert done.status == 1
    assert "SecretInAsyncRequest" in done.stderr
    assert "next: --sync" in done.stderr
    request = json.dumps({"pg": cli.app.database.pg})
    done = cli.run("restore", cli.path(), "--sync", "--request", "-", stdin=request)
    assert (done.status, done.facts["rows loaded"]) == (0, "2")


def test_an_id_of_ones_own_restores_once(cli: Cli) -> None:
    cli.store(DAYS[0])
    own = f"nightly-{cli.app.database.schema}"
    for _ in range(2):
        done = cli.run("restore", cli.path(), "--id", own)
        assert (done.status, done.facts["id"], done.facts["rows loaded"]) == (0, own, "2")
    assert cli.rows() == 2
    done = cli.run("restore", cli.path(DAYS[1]), "--id", own)
    assert done.status == 1
    assert "OperationIdReused" in done.stderr


@pytest.mark.parametrize("output", ["table", "json"])
def test_an_end_of_earlier_is_not_shown_as_one_of_now(cli: Cli, output: str) -> None:
    cli.store(DAYS[0])
    own = f"nightly-{cli.app.database.schema}"
    command = ("restore", cli.path(), "--id", own, "--output", output)
    with cli.locked():
        assert cli.run(*command, "--no-wait").stderr.startswith("it runs on")
        cli.wait_for_status(own, "Running")
        done = cli.run(*command, "--timeout", "0.1")
        assert f"known: {own} is the restore that was taken at 20" in done.stderr
        assert "it runs, and is not started once more" in done.stderr
    assert "known:" not in cli.run("watch", own).stderr
    cli.app.database.execute("DELETE FROM {s}.t")
    done = cli.run(*command)
    assert (done.status, cli.rows()) == (0, 0)
    ended = cli.run("status", own).facts["ended"]
    assert f"and ended at {ended}: nothing was done now" in done.stderr
    # An id that restorectl chose is new.
    assert "known:" not in cli.run("restore", cli.path(), "--output", output).stderr


def test_without_a_wait_the_id_alone_is_printed(cli: Cli) -> None:
    cli.store(DAYS[0])
    with cli.locked():
        done = cli.run("restore", cli.path(), "--no-wait")
        operation_id = done.stdout.strip()
        assert (done.status, done.stdout) == (0, f"{operation_id}\n")
        assert f"`restorectl watch {operation_id}`" in done.stderr
        done = cli.run("cancel", operation_id, "--no-wait")
        assert (done.status, done.stdout) == (0, f"{operation_id}\n")
    assert cli.run("watch", operation_id).status == 5


def test_a_dry_run_writes_nothing_and_fails_where_the_restore_would(cli: Cli) -> None:
    cli.store(DAYS[0])
    for options in ((), ("--full",), ("--sync",)):
        done = cli.run("dry-run", cli.path(), *options)
        assert (done.status, done.facts["result"], done.facts["problems"]) == (0, "dry_run", "none"), done.stderr
        assert (done.facts["rows in archive"], cli.rows()) == ("2", 0)
    cli.app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 12:00Z', 9)")
    for output in ("table", "json"):
        done = cli.run("dry-run", cli.path(), "--output", output)
        assert done.status == 1
        assert "problem WindowNotEmpty: " in done.stderr
    assert cli.run("dry-run", cli.path(), "--existing", "skip").status == 0


def test_it_is_left_seen_and_canceled(cli: Cli) -> None:
    cli.store(DAYS[0])
    with cli.locked():
        operation_id = cli.submitted()
        state = cli.wait_for_status(operation_id, "Running")
        assert state["day"] == DAYS[0]
        done = cli.run("list", "--status", "Running", "--table", f"{cli.app.database.schema}.t")
        assert [row[:3] for row in done.rows] == [[operation_id, "Running", DAYS[0]]]
        done = cli.run("watch", operation_id, "--timeout", "0.1")
        assert done.status == 3
        assert f"restorectl cancel {operation_id}" in done.stderr
        done = cli.run("cancel", operation_id)
        assert (done.status, done.facts["status"]) == (0, "Canceled"), done.stderr
        assert "  next: if the day is still wanted, send it again under another id, or without one" in done.stderr
    for output in ("table", "json"):
        assert cli.run("watch", operation_id, "--output", output).status == 5
    assert cli.run("status", operation_id).status == 0
    assert cli.rows() == 0


def test_status_lists_the_attempts_that_failed_before_the_last_one(cli: Cli) -> None:
    record_three_attempts("thrice", cli.path().replace(DAYS[0], "{date}"), "weavix", "silver.telemetry")
    facts = cli.run("status", "thrice").facts
    assert facts["attempt"] == "3"
    earlier = {name: facts[name] for name in facts if name.startswith("attempt ")}
    assert list(earlier) == ["attempt 1", "attempt 2"]
    assert earlier["attempt 1"].startswith("DatabaseUnreachable in connect, 20")
    assert earlier["attempt 2"].startswith("its worker was lost in copy, 20")


def test_what_has_ended_cannot_be_canceled(cli: Cli) -> None:
    cli.store(DAYS[0])
    operation_id = cli.submitted()
    assert cli.run("watch", operation_id).status == 0
    done = cli.run("cancel", operation_id)
    assert done.status == 1
    assert "OperationEnded" in done.stderr
    assert cli.rows() == 2


def test_the_wait_runs_out_and_the_restore_runs_on(cli: Cli) -> None:
    cli.store(DAYS[0])
    with cli.locked():
        done = cli.run("restore", cli.path(), "--timeout", "1", "--output", "json")
        assert (done.status, done.stdout) == (3, "")
        (operation_id,) = {word.strip("`,") for word in done.stderr.split() if len(word.strip("`,")) == 16}
    assert cli.run("watch", operation_id).status == 0
    assert cli.rows() == 2


@pytest.mark.parametrize("output", ["table", "json"])
def test_ctrl_c_leaves_it_running_and_says_how_to_look_again(cli: Cli, output: str) -> None:
    cli.store(DAYS[0])
    with cli.locked(), cli.terminal("restore", cli.path(), "--output", output) as terminal:
        terminal.wait_for("inspect")
        terminal.type("\x03")
        assert terminal.end() == 130, terminal.text
        # The cursor that the bars had hidden is back.
        assert terminal.written.rindex("\x1b[?25h") > terminal.written.rindex("\x1b[?25l")
        text = " ".join(terminal.text.split())
        assert "interrupted; it runs on: see it with `restorectl watch " in text
        operation_id = text.partition("restorectl watch ")[2].partition("`")[0]
    assert cli.run("watch", operation_id).status == 0
    assert cli.rows() == 2


def test_sigterm_gives_the_cursor_back(cli: Cli) -> None:
    cli.store(DAYS[0])
    with cli.locked(), cli.terminal("restore", cli.path()) as terminal:
        terminal.wait_for("inspect")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.end() == 143, terminal.text
        assert terminal.written.rindex("\x1b[?25h") > terminal.written.rindex("\x1b[?25l")
    assert wait_until(lambda: cli.rows() == 2, 60)


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_bar_fits_the_terminal(cli: Cli, columns: int) -> None:
    cli.store(DAYS[0])
    with cli.locked(), cli.terminal("restore", cli.path(), columns=columns) as terminal:
        terminal.wait_for("inspect")
        # The archive was read, and nothing of it was loaded.
        terminal.wait_for(" 0 %")
        terminal.type("\x03")
        terminal.end()
    # The terminal itself writes what was typed.
    written = terminal.text.replace("^C", "").replace("\r", "\n")
    bars = [line for line in written.splitlines() if " 0 %" in line]
    assert all(line.startswith("2025-01-01 inspect ") and "━━━" in line for line in bars), bars
    assert {len(line) for line in bars} == {columns}


def test_colours_are_for_terminals_that_want_them(cli: Cli) -> None:
    cli.store()
    red = "\x1b[1;31merror:"
    with cli.terminal("restore", cli.path()) as terminal:
        assert terminal.end() == 1
        assert red in terminal.written
    with cli.terminal("restore", cli.path(), NO_COLOR="1") as terminal:
        assert terminal.end() == 1
        assert red not in terminal.written
        assert "error:" in terminal.written
    with cli.terminal("restore", cli.path(), TERM="dumb") as terminal:
        assert terminal.end() == 1


def test_the_days_of_a_table(cli: Cli) -> None:
    cli.store(*DAYS[:2])
    assert cli.run("restore", cli.path()).status == 0
    pattern = cli.path("{date}")
    done = cli.run("days", pattern, "--from", DAYS[0], "--to", DAYS[2])
    assert done.status == 0, done.stderr
    assert [row[:2] for row in done.rows] == [[DAYS[0], "restored"], [DAYS[1], "archived"], [DAYS[2], "missing"]]
    assert done.stderr == "3 days: 1 restored, 1 archived, 1 missing\n"
    done = cli.run("days", pattern, "--from", DAYS[0], "--to", DAYS[2], "--state", "MISSING", "--output", "json")
    assert [day["day"] for day in done.data["value"]] == [DAYS[2]]
    # Of more days than one page holds.
    done = cli.run("days", pattern, "--from", "2023-01-01", "--to", "2024-12-31", "--output", "json")
    assert len(done.data["value"]) == 731
    done = cli.run("days", pattern, "--from", DAYS[0], "--counts", "--output", "json")
    assert [day["table"]["count"] for day in done.data["value"]] == [2]


def test_a_list_goes_on_over_its_pages(cli: Cli) -> None:
    cli.store(DAYS[0])
    ids = [cli.submitted("--id", f"{cli.app.database.schema}-{number}") for number in range(3)]
    table = ("--table", f"{cli.app.database.schema}.t")
    done = cli.run("list", *table, "--output", "json")
    assert [one["id"] for one in done.data["value"]] == ids[::-1]
    done = cli.run("list", *table, "--top", "2", "--output", "json")
    assert [one["id"] for one in done.data["value"]] == ids[:0:-1]
    for each in ids:
        cli.wait_for_status(each, "Succeeded", "Failed")
    done = cli.run("list", *table, "--status", "Canceled")
    assert (done.status, done.stdout, done.stderr) == (0, "", "no restores found\n")


def test_where_the_page_is(cli: Cli) -> None:
    done = cli.run("open")
    assert (done.status, done.stdout) == (0, f"{cli.url}/ui\n")


@pytest.mark.parametrize("hidden", ["\x1b[2J\x1b]0;owned\x07", "[bold red]x[/]", "\x9b2J", "\u202egnp.exe", "a\r\nb"])
def test_texts_of_others_are_harmless(cli: Cli, hidden: str) -> None:
    """A name in a path is anybody's; it comes back in errors, monitors and lists."""
    table = f"{cli.app.database.schema}.{hidden}"
    for output in ("table", "json"):
        done = cli.run("restore", cli.path(), "--table", table, "--output", output)
        assert done.status == 1
        text = (done.stdout + done.stderr).replace("\n", "")
        assert all(one.isprintable() for one in text), repr(text)
        if output == "json":
            assert done.data.get("target_table", table) == table
    with cli.terminal("restore", cli.path(), "--table", table, columns=200) as terminal:
        assert terminal.end() == 1
        for sign in ("\x1b[2J", "\x1b]", "\x9b", "\u202e", "\x07"):
            assert sign not in terminal.written
    if hidden.startswith("["):
        assert hidden in done.stderr + cli.run("list", "--top", "1000").stdout


def test_a_reader_that_goes_away_causes_no_traceback(cli: Cli) -> None:
    cli.store(DAYS[0])
    environ = cli.environment
    done = subprocess.run(
        [
            "bash",
            "-c",
            'set -o pipefail; "$@" | true; echo "${PIPESTATUS[0]}"',
            "bash",
            *PROGRAM,
            "restore",
            cli.path(),
        ],
        cwd=REPOSITORY,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout == "0\n", done.stderr
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr
    # Nor is one of what it says, and the restore is waited for all the same.
    command = 'set -o pipefail; "$@" 2>&1 >/dev/null | true; echo "${PIPESTATUS[0]}"'
    done = subprocess.run(
        ["bash", "-c", command, "bash", *PROGRAM, "restore", cli.path(), "--existing", "replace", "--yes"],
        cwd=REPOSITORY,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout == "0\n", done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("restore",),
        ("restore", "a/s.t.{date}.csv.gz"),
        ("restore", "x", "--existing", "stale"),
        ("restore", "x", "--sync", "--no-wait"),
        ("restore", "x", "--id", "a b"),
        ("restore", "x", "--request", "/nonexistent"),
        ("restore", "x", "--key", "abc"),
        ("status", ".."),
        ("watch", "../days"),
        ("list", "--status", "Ended"),
        ("days", "x", "--from", DAYS[0], "--state", "mising"),
        ("days", "x", "--from", DAYS[0], "--state", "missing", "--state", ""),
        ("days", "x"),
        ("backfill", "x"),
        ("backfill", "x", "--from", DAYS[0], "--day", DAYS[1]),
        ("backfill", "x", "--day", DAYS[0], "--to", DAYS[1]),
        ("backfill", "x", "--day", DAYS[0], "--existing", "apend"),
        ("backfill", "x", "--day", DAYS[0], "--existing", "stale"),
        ("retry", ".."),
        ("list", "--kind", "backfills", "--day", DAYS[0]),
        ("nothing",),
        (),
    ],
)
@pytest.mark.parametrize("output", ["table", "json"])
def test_wrong_usage_sends_nothing(tmp_path: Path, arguments: tuple[str, ...], output: str) -> None:
    form = ("--output", output) if arguments else ()
    done = subprocess.run(
        [*PROGRAM, *arguments, *form],
        # An answer from there would be noticed.
        env={"PATH": os.environ["PATH"], "RESTORE_URL": f"http://{LOOPBACK}:1/api", "PYTHONPATH": str(REPOSITORY)},
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert "cannot be reached" not in done.stderr
    assert arguments == () or done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("days", "x", "--from", DAYS[0], "--state", "mising"),
            f"'mising' is not one of {', '.join(get_args(DayState))}",
        ),
        (("list", "--status", "\x1b[2J"), f"is not one of {', '.join(STATUSES)}"),
        (("list", "--output", "xml"), "'xml' is not one of table, json"),
    ],
)
def test_a_word_that_is_refused_is_told_the_known_ones(arguments: tuple[str, ...], said: str) -> None:
    done = subprocess.run(
        [*PROGRAM, *arguments], cwd=REPOSITORY, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Value error" not in done.stderr
    assert "\x1b" not in done.stderr


def test_a_word_is_taken_in_upper_and_lower_case(cli: Cli) -> None:
    cli.store(DAYS[0])
    table = ("--table", f"{cli.app.database.schema}.t")
    assert cli.run("restore", cli.path(), "--existing", "SKIP", "--output", "JSON").data["status"] == "Succeeded"
    assert cli.run("list", *table, "--status", "failed").stderr == "no restores found\n"
    assert len(cli.run("list", *table, "--status", "succeeded").rows) == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "RESTORE_URL is not set"),
        ("http://example.com/api", "https://"),
        ("https://host/api?code=abc", "put the key into RESTORE_KEY"),
        ("https://user:abc@host/api", "put the key into RESTORE_KEY"),
        ("ftp://host/api", "must look like"),
        ("host.example", "must look like"),
    ],
)
def test_an_address_that_cannot_be_meant(url: str, said: str) -> None:
    done = subprocess.run(
        [*PROGRAM, "list"],
        env={"PATH": os.environ["PATH"], "RESTORE_URL": url},
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "abc" not in done.stderr


def test_nobody_there(cli: Cli) -> None:
    cli.url = f"http://{LOOPBACK}:{free_port()}"
    done = cli.run("list", "--retry-for", "2")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.splitlines()[0].endswith("; again in 1 s")
    assert "error: " in done.stderr
    assert "next: check RESTORE_URL" in done.stderr
