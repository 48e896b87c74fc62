"""The functions have the form that Microsoft's worker takes."""

from __future__ import annotations

import importlib
import inspect
import json
import threading
import typing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure.functions as func
import pytest

from shared.functions.entry import half_of_function_timeout, sealed
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


def test_restores_of_the_queue_leave_threads_to_monitors() -> None:
    """The worker has min(32, cores + 4) threads: 5 on the smallest instance."""
    queues = json.loads((ROOT / "host.json").read_text())["extensions"]["queues"]
    assert queues["batchSize"] + queues["newBatchThreshold"] <= 5 - 2


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
