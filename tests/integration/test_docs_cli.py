"""The commands of docs/cli.md, run by a shell from top to bottom."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.integration.fix_cli import KEY, Cli, put_into_path
from tools.config import REPOSITORY

pytestmark = pytest.mark.any_server

PAGE = (REPOSITORY / "docs" / "cli.md").read_text()
# What comes before names a machine and an Azure of the reader's own.
SCRIPT = "\n".join(re.findall(r"^```sh\n(.*?)^```$", PAGE[PAGE.index("## Restore a day") :], re.MULTILINE | re.DOTALL))


def test_the_commands_of_the_page(cli: Cli, tmp_path: Path) -> None:
    database = cli.app.database
    database.hypertable("telemetry", "time timestamptz NOT NULL, v int")
    days = sorted(set(re.findall(r"telemetry\.(\d{4}-\d\d-\d\d)", SCRIPT)))
    for day in days:
        cli.app.archive("telemetry", f"time,v\n{day} 01:00Z,1\n".encode(), day=day)
    script = SCRIPT.replace("weavix/", f"{database.name}/").replace("silver.", f"{database.schema}.")
    script = script.replace("nightly-", f"{database.schema}-").replace("january", f"{database.schema}-january")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=cli.environment | {"PATH": put_into_path(tmp_path)},
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert KEY not in done.stdout + done.stderr
    there = {row[0] for row in database.fetch("SELECT (time AT TIME ZONE 'UTC')::date::text FROM {s}.telemetry")}
    # One of them is canceled on its way, or is not.
    assert there | {"2025-01-04"} == set(days)
    # The last one, which the backfill has restored before.
    assert re.search(r"^0$", done.stdout, re.MULTILINE), done.stdout
