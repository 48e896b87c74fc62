"""The runbook scripts of examples/, against the host on a real lake and a real server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.fix_http_fault import FaultyStorage
from tests.integration.fix_app import App, app_environment
from tests.integration.fix_host import Host, running_host
from tests.integration.fix_storage import Storage
from tools.config import LOOPBACK, REPOSITORY

DAYS = ("2025-01-01", "2025-01-02", "2025-01-03")
KEY = "Zm9yLXRlc3RzLW9ubHk="
SCRIPTS = {
    "bash": (str(REPOSITORY / "examples" / "restore.sh"),),
    "pwsh": ("pwsh", "-NoProfile", "-File", str(REPOSITORY / "examples" / "restore.ps1")),
}
ENVIRONMENT = {"RESTORE_KEY": KEY, "NO_PROXY": LOOPBACK, "no_proxy": LOOPBACK}
# The same option in PowerShell's words.
_POWERSHELL = {
    "--full": "-Full",
    "--dry-run-only": "-DryRunOnly",
    "--dry-run-first": "-DryRunFirst",
    "--wait": "-WaitSeconds",
}


@dataclass(frozen=True)
class Done:
    status: int
    answers: list[dict[str, Any]]
    said: str

    @property
    def lines(self) -> list[str]:
        """What was said, without the seconds that it took."""
        return [line.rpartition("; ")[0] if line.endswith(" s") else line for line in self.said.splitlines()]


@dataclass
class Runbook:
    """A script, and what it restores. `placeholder` stands for the day in the address of the archives."""

    script: str
    app: App
    work: Path
    url: str
    placeholder: str = "{date}"

    def command(self, *options: str, request: dict[str, Any] | None = None, **pg: Any) -> list[str]:
        """The command line; `request` is what its file says beside `pg`."""
        file = self.work / "more.json"
        file.write_text(json.dumps({"pg": self.app.database.pg | pg} | (request or {})))
        url = self.app.storage.url(self.app.path("t", DAYS[0]))
        pattern = url.replace(DAYS[0], self.placeholder)
        given = ("--url", self.url, "--archive", pattern, "--request", str(file), "--wait", "0", *options)
        if self.script == "pwsh":
            given = tuple(_POWERSHELL.get(one, one.replace("--", "-")) for one in given)
        return [*SCRIPTS[self.script], *given]

    def run(self, *options: str, request: dict[str, Any] | None = None, **pg: Any) -> Done:
        done = subprocess.run(
            self.command(*options, request=request, **pg),
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            env=os.environ | ENVIRONMENT,
        )
        answers = [json.loads(line) for line in done.stdout.splitlines()] if self.script == "bash" else []
        return Done(done.returncode, answers, done.stderr)

    def store(self, *days: str) -> None:
        """Make the table, and an archive of two rows for each of the days."""
        self.app.database.hypertable("t", "time timestamptz NOT NULL, v int")
        for day in days:
            self.app.archive("t", f"time,v\n{day} 01:00Z,1\n{day} 02:00Z,2\n".encode(), day=day)

    def rows(self) -> list[tuple[str, int]]:
        return self.app.database.fetch(
            "SELECT (time AT TIME ZONE 'UTC')::date::text, count(*) FROM {s}.t GROUP BY 1 ORDER BY 1"
        )


@pytest.fixture(scope="module")
def shared_host(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One host for all tests of a file: a start takes seconds."""
    log = tmp_path_factory.mktemp("host") / "host.log"
    with running_host(REPOSITORY, log, app_environment(storage)) as host:
        yield host


# Debian has no package of PowerShell, so most machines lack it.
@pytest.fixture(params=[name for name in SCRIPTS if name == "bash" or shutil.which(name)])
def runbook(request: pytest.FixtureRequest, app: App, shared_host: Host, tmp_path: Path) -> Runbook:
    """A script before the shared host."""
    return Runbook(request.param, app, tmp_path, f"http://{LOOPBACK}:{shared_host.port}/api/restore")


@pytest.fixture
def faulty_runbook(faulty_storage: FaultyStorage, app: App, tmp_path: Path) -> Iterator[Runbook]:
    """The bash script, over storage that fails where a test asks it to."""
    assert faulty_storage.faults == {}
    with running_host(REPOSITORY, tmp_path / "host.log", os.environ) as host:
        yield Runbook("bash", app, tmp_path, f"http://{LOOPBACK}:{host.port}/api/restore")
        faulty_storage.released.set()
