"""`make demo-jobs`: restores a large day behind the queue and follows it; then starts it again, and cancels it."""

from __future__ import annotations

import http.client
import json
import sys
import time
from typing import Any
from urllib.parse import urlsplit

from tools import sample_target, services
from tools.ask import ask
from tools.config import LOGS, LOOPBACK, Config, ToolError, check_port_free, load_config, run_tool
from tools.sample_day import DAY
from tools.serve import app_environ, running_host, short_answer

# 2,016,000 rows.
_DEVICES = 1400
_ENDED = ("Succeeded", "Failed", "Canceled")
_POLL_SECONDS = 0.5
_MOST_SECONDS = 600


def main() -> None:
    """Run the demo.

    Raises:
        ToolError: the day is missing after the first restore, or rows of it are there after the second.
    """
    config = load_config()
    check_port_free(config.host_port, "HOST_PORT", "the function host")
    print("-- TimescaleDB and Azurite", flush=True)
    found = services.up(config)
    rows = _DEVICES * 24 * 60
    print(f"-- a day of {rows:,} rows; the first time it is generated, which takes a while", flush=True)
    size = sample_target.upload_sample_day(found.storage, _DEVICES)
    demo_dsn = sample_target.prepare_table(found.dsn)
    body = {"adls_url": sample_target.adls_url(found.storage)}
    with running_host(config, app_environ(found), log_to_screen=False):
        print(f"-- POST http://{LOOPBACK}:{config.host_port}/api/restore with Prefer: respond-async")
        taken = _post(config, body)
        print(f"   202: {taken['Operation-Location']}")
        state = _follow(config, taken["Operation-Location"])
        answer = _result(config, taken["Location"])
        if state["status"] != "Succeeded" or sample_target.count_rows(demo_dsn) != rows:
            raise ToolError(f"the day was not restored\n{json.dumps(state, indent=2)}\n{LOGS / 'host.log'} says more")
        print(
            f"{short_answer(answer)}\n-- the table emptied; the same day again, and canceled in the middle", flush=True
        )
        sample_target.prepare_table(found.dsn)
        taken = _post(config, body)
        state = _follow(config, taken["Operation-Location"], cancel=True)
        left = sample_target.count_rows(demo_dsn)
        if state["status"] != "Canceled" or left:
            raise ToolError(f"the restore was not canceled: {left:,} rows are there\n{json.dumps(state, indent=2)}")
    print(
        f"-- what happened\n"
        f"   1. The archive of {DAY:%Y-%m-%d} ({size:,} bytes, {rows:,} rows) was restored while nobody waited.\n"
        f"   2. The demo removed these rows from the table, so that the day could be restored again.\n"
        f"   3. The second restore was canceled, and left the table as it was before: with {left} rows of the day.\n"
        f"-- next\n"
        f"   docs/jobs.md      says more\n"
        f"   make down         stops TimescaleDB and Azurite"
    )


def _post(config: Config, body: dict[str, Any]) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "Prefer": "respond-async"}
    status, found, answer = ask(config, "POST", "/api/restore", body, headers)
    if status != http.HTTPStatus.ACCEPTED:
        raise ToolError(f"the restore was not taken: {status}\n{json.dumps(answer, indent=2)}")
    return found


def _follow(config: Config, monitor: str, *, cancel: bool = False) -> dict[str, Any]:
    """Show how far a restore is until it has ended; cancel it as soon as rows are being read, if asked to."""
    deadline = time.monotonic() + _MOST_SECONDS
    path = urlsplit(monitor).path
    canceled = False
    while time.monotonic() < deadline:
        _, _, state = ask(config, "GET", path)
        _show(state)
        if state["status"] in _ENDED:
            print()
            return state
        if cancel and not canceled and state["progress"]["rows"]:
            status, _, _ = ask(config, "DELETE", path)
            canceled = status == http.HTTPStatus.ACCEPTED
        time.sleep(_POLL_SECONDS)
    raise ToolError(f"the restore has not ended after {_MOST_SECONDS} s; {LOGS / 'host.log'} says more")


def _show(state: dict[str, Any]) -> None:
    """Write one line over the last one; where the output is not a terminal, write nothing before the end."""
    progress = state["progress"]
    percent = "" if progress["percent"] is None else f"{progress['percent']:.0f} % of the archive"
    line = f"   {state['status']:<10} {progress['stage'] or '':<10} {percent:<24} {progress['rows']:>12,} rows"
    line += f"  {progress['seconds']:.0f} s"
    if sys.stdout.isatty():
        print(f"\r\x1b[2K{line}", end="", flush=True)
    elif state["status"] in _ENDED:
        print(line, end="")


def _result(config: Config, location: str) -> dict[str, Any]:
    parts = urlsplit(location)
    _, _, answer = ask(config, "GET", f"{parts.path}?{parts.query}")
    return answer


if __name__ == "__main__":
    run_tool(main)
