"""The functions have the form that Microsoft's worker takes."""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import os
import re
import subprocess
import sys
import threading
import typing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure.functions as func
import pytest

from shared.functions.entry import half_of_function_timeout, sealed, set_up
from shared.jobs.operation import STALE_SECONDS
from shared.process import started

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = sorted(path.parent for path in ROOT.glob("*/function.json"))


@pytest.mark.parametrize("folder", FUNCTIONS, ids=lambda folder: folder.name)
def test_every_parameter_is_a_binding_or_the_context(folder: Path) -> None:
    """Otherwise the worker raises FunctionLoadError (azure_functions_runtime_v1 1.2, functions.py)."""
    settings = json.loads((folder / "function.json").read_text())
    bindings = {one["name"] for one in settings["bindings"]}
    main = getattr(importlib.import_module(folder.name), settings["entryPoint"])
    extra = set(inspect.signature(main).parameters) - bindings
    assert extra <= {"context"}
    if extra:
        assert typing.get_type_hints(main)["context"] is func.Context


@pytest.mark.parametrize("folder", FUNCTIONS, ids=lambda folder: folder.name)
def test_the_folder_of_a_function_holds_a_few_lines(folder: Path) -> None:
    """What it does is below shared/."""
    (script,) = folder.glob("*.py")
    assert len(script.read_text().splitlines()) <= 12


# What takes long to import, and what a restore alone needs. The storage SDK brings requests and urllib3.
HEAVY = (
    *("azure.core", "azure.data", "azure.identity", "azure.storage", "opentelemetry", "pgpq", "pyarrow", "requests"),
    *("shared.archive", "shared.backfills", "shared.binary", "shared.jobs", "shared.load", "shared.restore"),
)
# What a probe of an app without settings does not need either. With them, it asks the app's own storage.
HEAVY_BESIDE_HEALTH = tuple(name for name in HEAVY if name not in ("shared.jobs", "shared.restore"))
LOADED = """
import importlib, json, sys
import azure.functions as func
for name in sys.argv[1:]:
    module = importlib.import_module(name)
def loaded(names):
    return sorted(name for name in sys.modules if name.startswith(tuple(names)))
at_start = loaded(HEAVY)
answer = module.main(func.HttpRequest("GET", "http://localhost/api/health", body=b""))
print(json.dumps([at_start, answer.status_code, loaded(HEAVY_BESIDE_HEALTH)]))
"""


def test_what_is_heavy_is_not_loaded_before_it_is_used() -> None:
    names = [folder.name for folder in FUNCTIONS if folder.name != "RestoreHealth"]
    program = f"HEAVY, HEAVY_BESIDE_HEALTH = {HEAVY!r}, {HEAVY_BESIDE_HEALTH!r}\n{LOADED}"
    environ = {"PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", program, *names, "RestoreHealth"]
    done = subprocess.run(command, cwd=ROOT, env=environ, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == [[], 200, []]


def test_restores_of_the_queue_leave_threads_to_monitors() -> None:
    """The worker has min(32, cores + 4) threads: 5 on the smallest instance."""
    queues = json.loads((ROOT / "host.json").read_text())["extensions"]["queues"]
    assert queues["batchSize"] + queues["newBatchThreshold"] <= 5 - 2


def test_the_queue_settings_are_those_of_the_page() -> None:
    """docs/operations.md says why each is as it is."""
    queues = json.loads((ROOT / "host.json").read_text())["extensions"]["queues"]
    page = (ROOT / "docs/operations.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (\w+(?: s)?) \|", page[page.index("## The queue") :], re.MULTILINE))
    assert rows.pop("functionTimeout", None) is None
    assert {name: str(value) for name, value in queues.items()} == {
        name: f"00:00:{int(value.split()[0]):02}" if value.endswith(" s") else value for name, value in rows.items()
    }


def test_the_timer_comes_every_minute_and_before_a_worker_is_taken_for_dead() -> None:
    (timer,) = bindings("RestoreSweep")
    assert timer["schedule"] == "0 * * * * *"
    assert STALE_SECONDS > 60


def bindings(folder: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((ROOT / folder / "function.json").read_text())["bindings"]
    return [one for one in found if one["type"].endswith("Trigger")]


def test_who_needs_a_key() -> None:
    """Without one: probes, the page, which holds no data, and results, each of which has a token of its own."""
    triggers = [(folder.name, one) for folder in FUNCTIONS for one in bindings(folder.name)]
    levels = {name: one["authLevel"] for name, one in triggers if one["type"] == "httpTrigger"}
    free = {name for name, level in levels.items() if level == "anonymous"}
    assert free == {"RestoreHealth", "RestorePage", "RestoreResult", "RestoreBackfillResult"}
    assert {level for name, level in levels.items() if name not in free} == {"function"}


@pytest.mark.parametrize("contract", ["openapi.json", "openapi-2.0.json"])
def test_the_contract_says_who_needs_a_key(contract: str) -> None:
    document = json.loads((ROOT / "docs" / contract).read_text())
    by_route = {
        (f"/{re.sub(r'/{id[?]}', end, one['route'])}", method): one["authLevel"]
        for folder in FUNCTIONS
        for one in bindings(folder.name)
        if one["type"] == "httpTrigger"
        for method in one["methods"]
        for end in ("/{id}", "")
    }
    said = {
        (path, method): bool(operation.get("security", document["security"]))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method in ("get", "post", "delete")
    }
    assert said
    assert said == {route: by_route[route] == "function" for route in said}


def test_sdks_log_no_requests_and_the_hosts_own_log_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("azure.core", "azure.storage", "azure.data", "azure.identity", "azure", "azure.functions")
    for name in names:
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
    monkeypatch.setattr(logging.root, "level", logging.INFO)
    set_up()
    parts = {
        "azure.core.pipeline.policies.http_logging_policy": logging.WARNING,
        "azure.storage.blob": logging.WARNING,
        "azure.data.tables": logging.WARNING,
        "azure.identity._internal.decorators": logging.ERROR,
        "azure.functions": logging.INFO,
        "azure": logging.INFO,
    }
    assert {name: logging.getLogger(name).getEffectiveLevel() for name in parts} == parts


def test_threads_that_a_function_starts_join_its_invocation() -> None:
    """The host drops the log lines of the others. Before and after it they belong to none."""
    context: Any = SimpleNamespace(thread_local_storage=threading.local(), invocation_id="the-invocation")

    def ask() -> object:
        of_thread = started(lambda: getattr(context.thread_local_storage, "invocation_id", None), name="ask")
        return of_thread.result(10)

    assert ask() is None
    assert sealed("RestoreDays", context, ask) == "the-invocation"
    assert ask() is None


@pytest.mark.parametrize(
    ("rules", "logged"), [('[{"name": "a rule"}]', "the setting RESTORE_RULES rule a rule: name"), ("[]", None)]
)
def test_a_wrong_rule_is_logged_when_the_app_starts(
    rules: str, logged: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # The first import looks at the rules as well.
    function = importlib.import_module("ArchiveArrived")
    monkeypatch.setenv("RESTORE_RULES", rules)
    caplog.clear()
    importlib.reload(function)
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    if logged is None:
        assert not errors
    else:
        (error,) = errors
        assert error.startswith("InvalidConfiguration: ")
        assert logged in error


@pytest.mark.parametrize(
    ("setting", "seconds"),
    [("", 300), ("00:30:00", 900), ("04:00:00", 7200), ("1.00:00:00", 43_200), ("-1", None), ("10 minutes", None)],
)
def test_an_app_setting_overrides_the_timeout_of_host_json(
    setting: str, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AzureFunctionsJobHost__functionTimeout", setting)
    half_of_function_timeout.cache_clear()
    assert half_of_function_timeout() == seconds
    half_of_function_timeout.cache_clear()
