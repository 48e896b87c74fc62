"""docs/operations.md: its queries against lines that real restores have logged, and the commands of its runbook."""

from __future__ import annotations

import json
import logging
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.arrivals.arrive import archive_arrived
from shared.backfills.worker import dispatch_message
from shared.jobs.sweep import end_poisoned
from tests.faults.fix_jobs import Jobs
from tests.integration.fix_app import App
from tests.integration.fix_cli import KEY, Cli, put_into_path
from tools.config import REPOSITORY
from tools.local_server import free_port

pytestmark = pytest.mark.any_server

LOGGER = "restore_chunk"
PAGE = (REPOSITORY / "docs" / "operations.md").read_text()
RUNBOOK = PAGE[PAGE.index("\n## Runbook\n") : PAGE.index("\n## Health\n")]
CSV = b"time,v\n2025-01-01 01:00Z,1\n2025-01-01 02:00Z,2\n"
# What a query says of the lines that it takes, and what stands for each.
FILTERS = {
    r'message startswith "([^"]+)"': str.startswith,
    r'message endswith "([^"]+)"': str.endswith,
    r'message contains "([^"]+)"': str.__contains__,
}
STANDS_FOR = "silver.telemetry.2025-01-01.csv.gz"


def code_blocks(language: str, text: str = PAGE) -> list[str]:
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [re.sub(r"^   ", "", block, flags=re.MULTILINE) if block.startswith("   ") else block for block in found]


QUERIES = [block for block in code_blocks("kusto") if not block.startswith("let ")]


@dataclass(frozen=True)
class Line:
    message: str
    level: int


@pytest.fixture
def lines(jobs: Jobs, app: App, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> list[Line]:
    """What the product logs of restores that succeed, fail, wait in the queue, are given up, and of an event."""
    caplog.set_level(logging.INFO, LOGGER)
    monkeypatch.setenv("LOG_PROGRESS_SECONDS", "1")
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    app.database.execute(
        "CREATE FUNCTION {s}.sleep() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN PERFORM pg_sleep(1.3); RETURN NEW; END$$"
    )
    app.database.execute("CREATE TRIGGER slow BEFORE INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.sleep()")
    url = app.archive("t", CSV)
    assert app.restore(url).status == 200
    for _ in range(2):
        assert app.restore(url).code == "WindowNotEmpty"
    assert app.restore(url, destination={"on_existing": "skip"}).status == 200
    with monkeypatch.context() as away:
        away.setenv("PGPORT", str(free_port()))
        # An error of ours: the severity is 3 and more.
        assert jobs.post({"adls_url": url}).status == 503
    operation = jobs.taken({"adls_url": url, "destination": {"on_existing": "replace"}}, Operation_Id="night")
    message = jobs.receive()
    end_poisoned(message.content.encode())
    assert jobs.state(operation.id).status == "Failed"
    jobs.storage.queue.delete_message(message)
    jobs.taken({"adls_url": url, "destination": {"on_existing": "replace"}})
    message = jobs.receive()
    dispatch_message(message.content.encode())
    event = {"eventType": "Microsoft.Storage.BlobCreated", "data": {"api": "PutBlob", "url": "https://x.example/a.csv"}}
    archive_arrived(json.dumps(event).encode())
    return [Line(record.getMessage(), record.levelno) for record in caplog.records if record.name == LOGGER]


def parts_of(query: str) -> Iterator[str]:
    """The parts of a query that begin with a table: a join has two."""
    yield from re.split(r"\bjoin kind=\w+ \(", query)


def taken_by(part: str, lines: list[Line]) -> list[str]:
    """The lines that the first `where` of a part takes."""
    (where,) = re.findall(r"^ *\| where (.*)$", part, re.MULTILINE)[:1]
    filters = [
        (test, text.replace(STANDS_FOR, ".csv.gz"))
        for pattern, test in FILTERS.items()
        for text in re.findall(pattern, where)
    ]
    assert filters, where
    combine = any if " or message " in where else all
    least = logging.ERROR if "severityLevel >= 3" in where else 0
    found = [line.message for line in lines if line.level >= least]
    return [message for message in found if combine(test(message, text) for test, text in filters)]


def words_of(pattern: str) -> set[str]:
    """The words of the lists that the queries compare with."""
    found = [words for query in QUERIES for words in re.findall(pattern, query)]
    return {word.strip('"') for words in found for word in words.split(", ")}


def pattern_of(parse: str) -> str:
    """The regular expression that a `parse` operator stands for."""
    kinds = {"int": r"(-?\d+)", "real": r"(-?[\d.]+)", "": r"(.*?)"}
    pieces = re.findall(r'"([^"]*)"|(\w+)(?::(\w+))?', parse)
    return "".join(re.escape(text) if not name else kinds[kind] for text, name, kind in pieces) + "$"


@pytest.mark.usefixtures("jobs")
def test_each_query_finds_lines_and_reads_each_field(lines: list[Line]) -> None:
    assert len(QUERIES) > 10
    for query in QUERIES:
        for part in parts_of(query):
            found = taken_by(part, lines)
            assert found, f"no line for\n{part}"
            for pattern in re.findall(r'extract(?:_all)?\(@"((?:[^"]|"")+)"', part):
                read = [re.search(pattern.replace('""', '"'), line) for line in found]
                assert any(read), f"{pattern} reads none of\n{found}"
                # Each of them says which restore it is.
                assert "request_id" not in pattern or all(read)
            for parse in re.findall(r"^ *\| parse message with (.*)$", part, re.MULTILINE):
                assert any(re.match(pattern_of(parse), line) for line in found), f"{parse} reads none of\n{found}"


def test_each_outcome_of_a_query_is_one(lines: list[Line]) -> None:
    """A word that is written wrongly would let all lines through, or none."""
    outcomes = {match[1] for line in lines if (match := re.search(r"^restore .*?outcome=(\w+)", line.message))}
    assert {"ok", "skipped", "WindowNotEmpty", "DatabaseUnreachable", "TooManyAttempts"} <= outcomes
    assert words_of(r"outcome !?in \(([^)]+)\)") == {"ok", "ok_with_warnings", "skipped", "dry_run"}
    keys = set(re.findall(r" (\w+)_s=", "\n".join(line.message for line in lines)))
    assert words_of(r"stage !in \(([^)]+)\)") < keys


def test_a_part_that_reads_no_line_is_found(lines: list[Line]) -> None:
    """The check above must be able to fail."""
    assert not taken_by('traces\n| where message startswith "restored request_id="\n', lines)
    assert not any(re.match(pattern_of('"operation=" operation " tries=" tries:int'), line.message) for line in lines)


def test_the_commands_of_the_runbook(cli: Cli, tmp_path: Path) -> None:
    """Run by a shell from top to bottom, where a restore and a backfill are there that they can name."""
    database = cli.app.database
    database.hypertable("telemetry", "time timestamptz NOT NULL, v int")

    def archive(day: str, value: str) -> None:
        cli.app.archive("telemetry", f"time,v\n{day} 01:00Z,{value}\n".encode(), day=day)

    for number in range(1, 6):
        archive(f"2025-01-0{number}", "1" if number != MENDED else "one")
    before = f"""
        restorectl restore backups/weavix/silver.telemetry.2025-01-03.csv.gz --id nightly-2025-01-03
        restorectl backfill '{PATTERN}' --from 2025-01-01 --to 2025-01-02 --id january || test $? = 6
    """
    done = run(cli, before, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    archive(f"2025-01-0{MENDED}", "1")
    commands = [block for block in code_blocks("sh", RUNBOOK) if not block.startswith("az ")]
    done = run(cli, "".join(commands), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert KEY not in done.stdout + done.stderr
    assert database.value("SELECT count(*) FROM {s}.telemetry") == 5


PATTERN = "backups/weavix/silver.telemetry.{date}.csv.gz"
MENDED = 2


def run(cli: Cli, script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run commands of the page by a shell, with the names of this test's database."""
    database = cli.app.database
    script = script.replace("weavix/", f"{database.name}/").replace("silver.", f"{database.schema}.")
    for name in ("nightly-", "january", "catch-up"):
        script = script.replace(name, f"{database.schema}-{name}")
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=cli.environment | {"PATH": put_into_path(folder)},
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_the_sql_of_the_page(app: App) -> None:
    app.database.hypertable("telemetry", "time timestamptz NOT NULL, v int")
    app.database.execute("INSERT INTO {s}.telemetry VALUES ('2025-01-03 12:00Z', 1)")
    found = code_blocks("sql")
    assert len(found) > 5
    with app.database.connection.cursor() as cursor:
        for block in found:
            cursor.execute(block.replace("silver.", f"{app.database.schema}."))
    # The one that removes a day ends with ROLLBACK.
    assert app.database.value("SELECT count(*) FROM {s}.telemetry") == 1
