"""`make bench-page`: how soon the page shows a thousand restores and ten years of days, and answers a key or a click.

It measures in Debian's Chromium, before a function host on this machine. A first content is counted from the start of
the navigation. An interaction is what browsers count for Interaction to Next Paint: from the input to the next frame
(https://w3c.github.io/event-timing/). What takes less than 16 ms is counted as 16.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from azure.storage.blob import BlobServiceClient
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks import many
from shared.jobs.operation import RestoreOperation
from shared.jobs.storage import job_storage
from shared.jobs.store import OperationStore
from shared.settings import load_settings
from tools import sample_target, services
from tools.azurite import Azurite, connection_string
from tools.config import LOOPBACK, ToolError, load_config, run_tool
from tools.sample_day import DAY
from tools.serve import app_environ, running_host

ROUNDS = 7
FIRST_CONTENT_MS = 1000.0
INTERACTION_MS = 100.0
_YEAR = "2020"
# The database and two storage accounts are asked for it, so it has no bound.
_YEAR_KNOWN = "days: the year is known"
# Without the last four, Chromium looks for hosts of Google's.
CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_OBSERVE = """() => {
  window.longest = 0;
  new PerformanceObserver((list) => {
    for (const one of list.getEntries()) if (one.interactionId) window.longest = Math.max(window.longest, one.duration);
  }).observe({type: "event", durationThreshold: 16, buffered: true});
}"""
_TAKE = """async () => {
  // An entry is there after the frame that it waits for.
  for (let frame = 0; frame < 3; frame += 1) await new Promise(requestAnimationFrame);
  await new Promise((resolve) => setTimeout(resolve, 100));
  const found = Math.max(window.longest, 16);
  window.longest = 0;
  return found;
}"""

Times = dict[str, list[float]]


def main() -> None:
    """Build what is looked at, measure it, and print a table.

    Raises:
        ToolError: a median is above its bound, or a server does not start.
    """
    config = load_config()
    found = services.up(config)
    sample_target.prepare_table(found.dsn)
    with _many(config.azurite_port + 10) as storage:
        found = dataclasses.replace(found, storage=storage)
        with running_host(config, app_environ(found), log_to_screen=False):
            late = _measure(f"http://{LOOPBACK}:{config.host_port}/api/ui", _pattern(storage))
    if late:
        raise ToolError(f"too slow: {', '.join(late)}")


def _measure(base: str, pattern: str) -> list[str]:
    """Look at the page several times, print how long it took, and return what is too slow."""
    first: Times = defaultdict(list)
    interactions: Times = defaultdict(list)
    with open_chromium() as browser:
        for _ in range(ROUNDS):
            _look_at_restores(browser, base, first, interactions)
            _look_at_days(browser, base, pattern, first, interactions)
    known = {_YEAR_KNOWN: first.pop(_YEAR_KNOWN)}
    return _print(first, FIRST_CONTENT_MS) + _print(known, None) + _print(interactions, INTERACTION_MS)


@contextmanager
def open_chromium() -> Iterator[Browser]:
    """Run Debian's Chromium, or the one that CHROMIUM names.

    Raises:
        ToolError: it is not installed.
    """
    program = os.environ.get("CHROMIUM", "chromium")
    paths = [Path(folder, program) for folder in os.environ["PATH"].split(os.pathsep)]
    there = [path for path in paths if path.exists()]
    if not there:
        raise ToolError(f"{program} is not installed; tools/browser installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=there[0], args=list(CHROMIUM_ARGUMENTS))
        yield browser
        browser.close()


@contextmanager
def _many(port: int) -> Iterator[str]:
    """Run an Azurite with ten years of archives and a thousand records in it, and yield its connection string.

    It is one of its own: Azurite stands still for minutes when it forgets thousands of blobs that were deleted.
    """
    azurite = Azurite(port)
    azurite.start()
    try:
        storage = connection_string(port)
        print(f"-- an archive for each day from {many.FIRST_DAY} to {many.LAST_DAY}", flush=True)
        with BlobServiceClient.from_connection_string(storage) as service:
            container = service.create_container(sample_target.FILESYSTEM)
            many.store_archives(container, sample_target.PATTERN)
        print(f"-- the records of {many.RESTORES:,} restores", flush=True)
        store = OperationStore(job_storage(load_settings({"AzureWebJobsStorage": storage})), RestoreOperation)
        many.record_restores(store, _pattern(storage), sample_target.DATABASE, "silver.telemetry")
        yield storage
    finally:
        azurite.stop()


def _pattern(storage: str) -> str:
    return sample_target.adls_url(storage).replace(f"{DAY:%Y-%m-%d}", "{date}")


def _look_at_restores(browser: Browser, base: str, first: Times, interactions: Times) -> None:
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        page = context.new_page()
        rows = page.get_by_role("table", name="Ended, newest first").locator("tbody tr")
        first["restores: the first content"].append(_open(page, base, "table tbody tr"))
        for number in range(100, many.RESTORES, 100):
            page.get_by_role("button", name="Show more").click()
            rows.nth(number).wait_for()
            interactions["restores: show a hundred more"].append(page.evaluate(_TAKE))
        for _ in range(3):
            page.keyboard.press("Tab")
            interactions["a thousand restores: the Tab key"].append(page.evaluate(_TAKE))
        page.get_by_label("Table, as schema.table").press_sequentially("silver.telemetry")
        interactions["a thousand restores: type"].append(page.evaluate(_TAKE))
        page.get_by_label("Status").select_option("Failed")
        page.get_by_role("button", name="Filter").click()
        page.wait_for_function("!document.querySelector('main').textContent.includes('done')")
        interactions["a thousand restores: filter"].append(page.evaluate(_TAKE))


def _look_at_days(browser: Browser, base: str, pattern: str, first: Times, interactions: Times) -> None:
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        page = context.new_page()
        query = urlencode({"adls_url": pattern, "year": _YEAR})
        first["days: the first content"].append(_open(page, base, "#days-form", f"#/days?{query}"))
        page.locator(".day.archived").first.wait_for()
        first[_YEAR_KNOWN].append(page.evaluate("performance.now()"))
        page.get_by_role("button", name=f"{_YEAR}-03-01: archived").click()
        interactions["days: choose one"].append(page.evaluate(_TAKE))
        for key in ("ArrowRight", "ArrowDown", "ArrowDown", "Enter"):
            page.keyboard.press(key)
            interactions["days: a key"].append(page.evaluate(_TAKE))
        page.get_by_role("link", name="2021").click()
        page.get_by_role("heading", name="Days of 2021").wait_for()
        interactions["days: another year"].append(page.evaluate(_TAKE))


def _open(page: Page, base: str, wanted: str, fragment: str = "") -> float:
    """Return after how many milliseconds there was something to read."""
    page.goto(f"{base}{fragment}", wait_until="commit")
    page.wait_for_selector(wanted)
    shown: float = page.evaluate("performance.now()")
    page.evaluate(_OBSERVE)
    return shown


def _print(times: Times, bound: float | None) -> list[str]:
    """Print a table, and return what is above the bound."""
    print("\n| what | median | worst | bound |\n|---|---|---|---|")
    for name, found in times.items():
        shown = "" if bound is None else f"{bound:.0f} ms"
        print(f"| {name} | {statistics.median(found):.0f} ms | {max(found):.0f} ms | {shown} |")
    return [name for name, found in times.items() if bound is not None and statistics.median(found) > bound]


if __name__ == "__main__":
    run_tool(main)
