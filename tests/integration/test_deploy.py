"""deploy/deploy.sh against a stand-in for the Azure CLI, and its smoke test against a local host that is well."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.package import PACKAGES
from tests.integration.fix_app import App
from tests.integration.fix_calendar import set_server
from tests.integration.fix_host import Host, running_host
from tools.config import REPOSITORY
from tools.installed import PYTHON

pytestmark = pytest.mark.any_server

STATE = "/subscriptions/s/resourceGroups/restore-rg/providers/Microsoft.Storage/storageAccounts/restorestate"


@dataclass
class Deployment:
    """A machine on which `az` is the stand-in, and `curl` reaches the local host in Azure's place."""

    folder: Path
    host: Host

    def run(
        self, plan: str, *, has_app: bool, key: str = "c2VjcmV0LWtleQ==", **settings: str | Path
    ) -> subprocess.CompletedProcess[str]:
        example = (REPOSITORY / "deploy/settings.example").read_text()
        more = "".join(
            f"{name}='{value}'\n"
            for name, value in ({"PLAN": plan, "PACKAGE": self.folder / "made.zip"} | settings).items()
        )
        (self.folder / "settings").write_text(example + more)
        (self.folder / "made.zip").write_bytes(b"a zip that was made before")
        show = {"defaultHostName": f"127.0.0.1:{self.host.port}", "id": STATE}
        answers: dict[str, Any] = {
            "storage account show": STATE,
            "functionapp show": show if has_app else None,
            "functionapp identity assign": "11111111-2222-3333-4444-555555555555",
            "functionapp keys list": key,
        }
        return subprocess.run(
            [REPOSITORY / "deploy/deploy.sh", self.folder / "settings"],
            env={name: value for name, value in os.environ.items() if name.startswith("PIP_")}
            | {
                "PATH": os.pathsep.join(
                    map(str, (self.folder / "bin", Path(sys.executable).parent, os.environ["PATH"]))
                ),
                "AZ_CALLS": str(self.folder / "calls"),
                "AZ_ANSWERS": json.dumps(answers),
                "WAIT_SECONDS": "0",
                "NO_PROXY": "127.0.0.1",
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]

    def call(self, *words: str) -> list[str]:
        (one,) = [call for call in self.calls() if tuple(call[: len(words)]) == words]
        return one


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def deployment(app: App, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Deployment]:
    set_server(app, monkeypatch)
    monkeypatch.setenv("PG_ALLOWED_DATABASES", app.database.name)
    (tmp_path / "bin").mkdir()
    stand_in = Path(__file__).with_name("stand_in_az.py")
    # What would be sent to Azure is kept.
    keep = f'for word; do [ "$last" != --src ] || cp "$word" {tmp_path}/app.zip; last=$word; done'
    program(tmp_path / "bin/az", f'#!/bin/bash\nlast=\n{keep}\nexec {sys.executable} {stand_in} "$@"\n')
    program(tmp_path / "bin/curl", '#!/bin/bash\nexec /usr/bin/curl "${@/https:\\/\\/127/http://127}"\n')
    with running_host(REPOSITORY, tmp_path / "host.log", os.environ) as host:
        yield Deployment(tmp_path, host)


@pytest.mark.parametrize("plan", ["flex", "premium"])
def test_everything_is_created_and_the_app_is_well(deployment: Deployment, app: App, plan: str) -> None:
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    archive = app.archive("t", b"time,v\n2025-01-01 01:00Z,1\n")
    done = deployment.run(plan, has_app=False, SMOKE_ARCHIVE=archive)
    # The app is not there when it is looked for, so its address cannot be told either.
    assert done.returncode != 0
    created = deployment.call("functionapp", "create")
    assert ("--flexconsumption-location" in created) is (plan == "flex")
    assert ("--plan" in created) is (plan == "premium")
    again = deployment.run(plan, has_app=True, SMOKE_ARCHIVE=archive)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "database: ok" in again.stdout
    assert '"status": "dry_run"' in again.stdout
    assert len([call for call in deployment.calls() if call[:2] == ["functionapp", "create"]]) == 1
    assert "c2VjcmV0LWtleQ==" not in again.stdout + again.stderr + (deployment.folder / "calls").read_text()


def test_the_identity_gets_no_more_than_it_needs(deployment: Deployment) -> None:
    assert deployment.run("flex", has_app=True).returncode == 0
    grants = {
        (call[call.index("--role") + 1], call[call.index("--scope") + 1].removeprefix(STATE))
        for call in deployment.calls()
        if call[:3] == ["role", "assignment", "create"]
    }
    assert grants == {
        ("Storage Blob Data Owner", ""),
        ("Storage Queue Data Contributor", ""),
        ("Storage Table Data Contributor", ""),
        ("Storage Blob Data Reader", "/blobServices/default/containers/archive"),
    }


def test_the_key_of_those_who_call_stays(deployment: Deployment) -> None:
    """To set it again would give it another value."""
    assert deployment.run("flex", has_app=True).returncode == 0
    assert not [call for call in deployment.calls() if call[:3] == ["functionapp", "keys", "set"]]
    deployment.run("flex", has_app=True, key="")
    assert deployment.call("functionapp", "keys", "set")


def test_no_key_of_an_account_is_in_the_settings(deployment: Deployment) -> None:
    deployment.run("flex", has_app=False)
    created = deployment.call("functionapp", "create")
    assert created[created.index("--deployment-storage-auth-type") + 1] == "SystemAssignedIdentity"
    settings = deployment.call("functionapp", "config", "appsettings", "set")
    assert "AzureWebJobsStorage__accountName=restorestate" in settings
    assert not [word for word in settings if word.startswith("AzureWebJobsStorage=") or "AccountKey" in word]
    assert "AzureWebJobsStorage" in deployment.call("functionapp", "config", "appsettings", "delete")


TIMEOUTS = ("AzureFunctionsJobHost__functionTimeout", "PG_STATEMENT_TIMEOUT_SECONDS")


@pytest.mark.parametrize(("plan", "name"), [("flex", "Flex Consumption"), ("premium", "Premium")])
def test_a_statement_ends_before_the_worker_does(deployment: Deployment, plan: str, name: str) -> None:
    """By the figures that docs/operations.md advises for the plan."""
    page = (REPOSITORY / "docs/operations.md").read_text(encoding="utf-8")
    header = "| plan | " + " | ".join(f"`{setting}`" for setting in TIMEOUTS)
    (table,) = [part for part in page.split("\n\n") if part.startswith(header)]
    (row,) = [line for line in table.splitlines() if line.startswith(f"| {name} |")]
    advised = [cell.strip(" `") for cell in row.split("|")[2:4]]
    assert deployment.run(plan, has_app=True).returncode == 0
    settings = dict(
        word.split("=", 1) for word in deployment.call("functionapp", "config", "appsettings", "set") if "=" in word
    )
    assert [settings[setting] for setting in TIMEOUTS] == advised
    hours, minutes, seconds = map(int, advised[0].split(":"))
    assert int(advised[1]) < hours * 3600 + minutes * 60 + seconds


def test_the_lakes_events_go_to_the_queue_that_is_read(deployment: Deployment) -> None:
    assert deployment.run("flex", has_app=True).returncode == 0
    (binding,) = json.loads((REPOSITORY / "ArchiveArrived/function.json").read_text())["bindings"]
    subscription = deployment.call("eventgrid", "event-subscription", "create")
    endpoint = subscription[subscription.index("--endpoint") + 1]
    assert endpoint == f"{STATE}/queueservices/default/queues/{binding['queueName']}"
    created = deployment.call("storage", "queue", "create")
    assert created[created.index("--name") + 1] == binding["queueName"]


def test_the_script_is_clean() -> None:
    done = subprocess.run(
        [
            Path(sys.executable).with_name("shellcheck"),
            "--external-sources",
            "deploy/deploy.sh",
            "deploy/settings.example",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("plan", ["flex", "premium"])
def test_nothing_is_built_in_azure(deployment: Deployment, plan: str) -> None:
    assert deployment.run(plan, has_app=True).returncode == 0
    deployed = deployment.call("functionapp", "deployment", "source", "config-zip")
    assert deployed[deployed.index("--build-remote") + 1] == "false"
    assert (deployment.folder / "app.zip").read_bytes() == (deployment.folder / "made.zip").read_bytes()
    # On Flex Consumption it is not to be set.
    settings = deployment.call("functionapp", "config", "appsettings", "set")
    assert ("WEBSITE_RUN_FROM_PACKAGE=1" in settings) is (plan == "premium")


def test_what_is_deployed(deployment: Deployment) -> None:
    """The functions, what they import, their packages, and nothing that stays at home."""
    done = deployment.run("flex", has_app=True, PACKAGE="", TEXT_ONLY="yes", PYTHON_VERSION=PYTHON)
    if "pip failed" in done.stderr:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    assert f"checked by Python {PYTHON}" in done.stdout
    with zipfile.ZipFile(deployment.folder / "app.zip") as packed:
        names = set(packed.namelist())
    assert {"host.json", "RestoreChunk/function.json", "shared/errors.py", "shared/page/page.js"} <= names
    assert f"{PACKAGES}/azure/functions/__init__.py" in names
    assert not [name for name in names if name.startswith(("tests", "tools", "deploy", "docs", ".git", "local."))]


def test_an_app_that_is_not_well_is_an_error(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORE_RULES", "[{}]")
    with running_host(REPOSITORY, deployment.folder / "other.log", os.environ) as ill:
        done = Deployment(deployment.folder, ill).run("premium", has_app=True)
    assert done.returncode == 1
    assert "rules: failed" in done.stdout
    assert "not well" in done.stderr


def test_an_app_that_never_answers_is_an_error(deployment: Deployment) -> None:
    program(deployment.folder / "bin/curl", "#!/bin/bash\nexit 7\n")
    done = deployment.run("flex", has_app=True)
    assert done.returncode == 1
    assert "not well" in done.stderr


@pytest.mark.parametrize("plan", ["", "consumption"])
def test_an_unknown_plan_creates_nothing(deployment: Deployment, plan: str) -> None:
    done = deployment.run(plan, has_app=True)
    assert done.returncode != 0
    assert not (deployment.folder / "calls").exists()
