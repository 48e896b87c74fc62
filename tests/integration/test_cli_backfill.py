"""restorectl with many days, run as a process against the local host."""

from __future__ import annotations

import gzip

import pytest

from tests.integration.fix_cli import DAYS, Cli

pytestmark = pytest.mark.any_server

RANGE = ("--from", DAYS[0], "--to", DAYS[2])


def store_with_a_corrupt_day(cli: Cli) -> None:
    cli.store(DAYS[0], DAYS[2])
    cli.app.stored("t", gzip.compress(b"time,v\n2025-01-02 01:00Z,1\n")[:-9], day=DAYS[1])


def mend(cli: Cli) -> None:
    cli.app.archive("t", b"time,v\n2025-01-02 01:00Z,1\n", day=DAYS[1])


def test_days_are_restored_and_the_failed_one_is_found_fixed_and_retried(cli: Cli) -> None:
    store_with_a_corrupt_day(cli)
    done = cli.run("backfill", cli.path("{date}"), *RANGE)
    assert (done.status, cli.rows()) == (6, 4), done.stderr
    assert f"{DAYS[0]} restored 2 rows" in done.stderr.splitlines()
    assert f"{DAYS[1]} failed ArchiveTruncated: " in done.stderr
    facts = done.facts
    assert (facts["status"], facts["days"], facts["restored"], facts["failed"]) == ("Failed", "3", "2", "1")
    assert f"{DAYS[1]}  failed" in done.stdout
    assert "ArchiveTruncated" in done.stdout
    operation_id = facts["id"]
    assert f"`restorectl retry {operation_id}`" in done.stderr
    assert cli.run("watch", operation_id, "--output", "json").status == 6
    assert cli.run("status", operation_id).status == 0
    failed = cli.run("list", "--backfill", operation_id, "--status", "Failed", "--output", "json").data["value"]
    done = cli.run("status", failed[0]["id"])
    assert (done.status, done.facts["backfill"]) == (0, operation_id)
    assert f"`restorectl retry {operation_id}`" in done.stderr
    mend(cli)
    done = cli.run("retry", operation_id)
    assert (done.status, cli.rows(), done.facts["restored"]) == (0, 5, "3"), done.stderr


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_backfill_of_which_nothing_is_in_has_failed(cli: Cli, output: str) -> None:
    store_with_a_corrupt_day(cli)
    done = cli.run("backfill", cli.path("{date}"), "--day", DAYS[1], "--output", output)
    assert (done.status, cli.rows()) == (1, 0), done.stderr
    assert "error: DaysFailed: " in done.stderr
    if output == "json":
        assert [day["outcome"] for day in done.data["value"]] == ["failed"]


def test_the_plan_is_shown_and_nothing_written(cli: Cli) -> None:
    cli.store(DAYS[0])
    cli.app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-03 12:00Z', 9)")
    done = cli.run("backfill", cli.path("{date}"), *RANGE, "--existing", "skip", "--dry-run")
    assert done.status == 0, done.stderr
    assert (done.facts["days to restore"], done.facts["missing"]) == ("1", f"1: {DAYS[1]}")
    assert (done.facts["skipped"], cli.rows()) == (f"1: {DAYS[2]}", 1)
    done = cli.run("backfill", cli.path("{date}"), *RANGE, "--dry-run", "--output", "json")
    assert (done.status, done.data["groups"]) == (0, [[DAYS[0]]])


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_plan_ends_as_the_backfill_would(cli: Cli, output: str) -> None:
    """Without --existing, days that hold rows fail."""
    cli.store(*DAYS)
    command = ("backfill", cli.path("{date}"), *RANGE, "--output", output)
    assert cli.run(*command, "--dry-run").status == 0
    for rows, failing, status in (
        ("('2025-01-03 12:00Z', 9)", DAYS[2:], 6),
        ("('2025-01-01 12:00Z', 9), ('2025-01-02 12:00Z', 9)", DAYS, 1),
    ):
        cli.app.database.execute(f"INSERT INTO {{s}}.t VALUES {rows}")
        done = cli.run(*command, "--dry-run")
        assert done.status == status
        assert f"problem WindowNotEmpty: {len(failing)} of 3 days would fail" in done.stderr
        assert "  next: --existing skip" in done.stderr
        if output == "table":
            assert done.facts["would fail"] == f"{len(failing)}: {', '.join(failing)}"
            assert done.facts["days to restore"] == str(3 - len(failing))
    assert cli.run(*command).status == 1
    for existing in ("skip", "replace", "stale"):
        done = cli.run(*command, "--dry-run", "--existing", existing)
        assert (done.status, done.stderr) == (0, "")


def test_a_plan_for_days_that_no_column_tells_calls_none_a_failure(cli: Cli) -> None:
    cli.store(DAYS[0])
    cli.app.database.execute("CREATE TABLE {s}.n (v int, w int)")
    cli.app.archive("n", b"v,w\n1,2\n", day=DAYS[0])
    command = ("backfill", cli.path("{date}", "n"), "--day", DAYS[0])
    done = cli.run(*command, "--dry-run")
    assert (done.status, done.facts["days to restore"]) == (0, "1"), done.stderr
    assert "would fail" not in done.facts
    assert cli.run(*command).status == 0


def test_what_to_do_after_days_that_hold_rows(cli: Cli) -> None:
    cli.store(*DAYS[:2])
    cli.app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 12:00Z', 9)")
    done = cli.run("backfill", cli.path("{date}"), *RANGE)
    assert done.status == 6
    assert "  next: a retry is the same request, by which days that hold rows fail again" in done.stderr
    assert "send a new backfill with --existing skip" in done.stderr
    assert "`restorectl retry" not in done.stderr
    # As it says.
    assert cli.run("retry", done.facts["id"]).status == 6
    assert cli.run("backfill", cli.path("{date}"), *RANGE, "--existing", "skip").status == 0


def test_what_to_do_after_a_path_that_is_wrong(cli: Cli) -> None:
    cli.store()
    done = cli.run("backfill", cli.path("{date}"), *RANGE)
    assert done.status == 1
    assert "error: ArchiveNotFound: " in done.stderr
    assert "it is the same request: send a new backfill if the path, the table or an option was wrong" in done.stderr


def test_replacing_many_days_needs_a_yes(cli: Cli) -> None:
    cli.store(*DAYS)
    assert cli.run("backfill", cli.path("{date}"), *RANGE).status == 0
    command = ("backfill", cli.path("{date}"), *RANGE, "--existing", "replace")
    assert cli.run(*command).status == 2
    with cli.terminal(*command, columns=200) as terminal:
        terminal.wait_for("[y/N]")
        assert "3 days would be restored into " in terminal.text
        assert "3 of them hold rows" in terminal.text
        terminal.type("n\n")
        assert terminal.end() == 5
    done = cli.run(*command, "--yes")
    assert (done.status, done.facts["restored"], cli.rows()) == (0, "3", 6)


def test_it_is_left_listed_and_canceled(cli: Cli) -> None:
    cli.store(*DAYS)
    own = f"{cli.app.database.schema}-many"
    with cli.locked():
        done = cli.run("backfill", cli.path("{date}"), *RANGE, "--id", own, "--no-wait")
        assert (done.status, done.stdout) == (0, f"{own}\n")
        assert f"restorectl watch {own}" in done.stderr
        listed = cli.run("list", "--kind", "backfills", "--output", "json").data["value"]
        assert own in [one["id"] for one in listed]
        done = cli.run("watch", own, "--timeout", "0.1")
        assert done.status == 3
        done = cli.run("cancel", own, "--running")
        assert (done.status, done.facts["status"]) == (0, "Canceled"), done.stderr
        assert done.stderr.count("  next: ") == 1
        assert f"  next: `restorectl retry {own}` restores the days that are not in" in done.stderr
    assert cli.run("watch", own).status == 5
    assert cli.rows() == 0
    done = cli.run("retry", own)
    assert (done.status, cli.rows()) == (0, 6), done.stderr
    assert cli.run("cancel", own).status == 1


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_restore_is_not_retried_and_is_not_called_unknown(cli: Cli, output: str) -> None:
    cli.store(DAYS[0])
    operation_id = cli.submitted()
    cli.wait_for_status(operation_id, "Succeeded")
    done = cli.run("retry", operation_id, "--output", output)
    assert (done.status, done.stdout) == (2, "")
    assert f"{operation_id} is a restore" in done.stderr
    done = cli.run("retry", "unknown-to-all", "--output", output)
    assert done.status == 1
    assert "OperationNotFound" in done.stderr


@pytest.mark.parametrize("columns", [60, 120])
def test_a_bar_for_the_whole_and_one_for_each_day_that_runs(cli: Cli, columns: int) -> None:
    cli.store(*DAYS)
    with cli.locked(), cli.terminal("backfill", cli.path("{date}"), *RANGE, columns=columns) as terminal:
        terminal.wait_for(f"{DAYS[0]} inspect")
        terminal.wait_for(f"{DAYS[1]} inspect")
        terminal.type("\x03")
        assert terminal.end() == 130
        assert "0 of 3 days restore" in terminal.text
        operation_id = " ".join(terminal.text.split()).partition("restorectl watch ")[2].partition("`")[0]
    done = cli.run("watch", operation_id)
    assert (done.status, cli.rows()) == (0, 6), done.stderr
