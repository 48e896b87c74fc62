"""`make demo-backfill`: restores a month with two missing days and a corrupt archive; then that day from a good one."""

from __future__ import annotations

import http
import json
import sys
import time
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit

from tools import sample_target, services
from tools.ask import ask
from tools.config import LOGS, LOOPBACK, WORK, Config, ToolError, check_port_free, load_config, run_tool
from tools.sample_day import write_sample_day
from tools.serve import app_environ, running_host

# Not the month of `make demo`, whose archive is another one.
FIRST = datetime(2025, 2, 1, tzinfo=timezone.utc)
DAYS = 28
MISSING = (10, 11)
CORRUPT = 20
_DEVICES = 7
_ROWS = _DEVICES * 24 * 60
_ENDED = ("Succeeded", "Failed", "Canceled")
_POLL_SECONDS = 0.5
_MOST_SECONDS = 600
_JSON = {"Content-Type": "application/json"}


def main() -> None:
    """Run the demo.

    Raises:
        ToolError: the table does not end up with exactly the days that are archived.
    """
    config = load_config()
    check_port_free(config.host_port, "HOST_PORT", "the function host")
    print("-- TimescaleDB and Azurite", flush=True)
    found = services.up(config)
    print(f"-- {DAYS - len(MISSING)} archives of {_ROWS:,} rows; that of day {CORRUPT} is cut short", flush=True)
    for number in range(1, DAYS + 1):
        if number not in MISSING:
            _upload(found.storage, number, cut=number == CORRUPT)
    demo_dsn = sample_target.prepare_table(found.dsn)
    sample_target.empty_days(demo_dsn, FIRST, DAYS)
    last = FIRST + timedelta(days=DAYS - 1)
    body = {
        "adls_url": sample_target.adls_url(found.storage, sample_target.PATTERN).replace("%7Bdate%7D", "{date}"),
        "dates": {"from": f"{FIRST:%Y-%m-%d}", "to": f"{last:%Y-%m-%d}"},
    }
    with running_host(config, app_environ(found), log_to_screen=False):
        print(f"-- POST http://{LOOPBACK}:{config.host_port}/api/backfills")
        monitor = _take(config, "/api/backfills", body)
        first = _follow(config, monitor)
        for day in first["value"]:
            if "error" in day:
                print(f"   {day['day']}: {day['error']['code']}: {day['error']['message']}")
        print("-- the archive is replaced by a good one; POST .../retry", flush=True)
        _upload(found.storage, CORRUPT, cut=False)
        _take(config, f"{monitor}/retry", None)
        second = _follow(config, monitor)
    rows = sample_target.count_rows(demo_dsn, FIRST, DAYS)
    expected = (DAYS - len(MISSING)) * _ROWS
    if first["days"]["failed"] != 1 or second["status"] != "Succeeded" or rows != expected:
        raise ToolError(
            f"{rows:,} rows of {expected:,} are there\n{json.dumps(second, indent=2)}\n{LOGS / 'host.log'} says more"
        )
    print(
        f"-- what happened\n"
        f"   1. Of {DAYS} days, {first['days']['restored']} were restored, {len(MISSING)} had no archive, one failed.\n"
        f"   2. The retry restored that day alone; TimescaleDB holds {rows:,} rows of the month.\n"
        f"-- next\n"
        f"   docs/backfills.md says more\n"
        f"   make down         stops TimescaleDB and Azurite"
    )


def _upload(storage: str, number: int, *, cut: bool) -> None:
    day = FIRST + timedelta(days=number - 1)
    path = WORK / "sample" / "month" / f"{day:%Y-%m-%d}.csv.gz"
    if not path.exists():
        write_sample_day(path, day, _DEVICES)
    if cut:
        whole, path = path, path.with_suffix(".cut")
        path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    sample_target.upload(storage, path, sample_target.PATTERN.replace("{date}", f"{day:%Y-%m-%d}"))


def _take(config: Config, path: str, body: Any) -> str:
    """Send a request that is taken for the queue, and return the path of its monitor."""
    status, headers, answer = ask(config, "POST", path, body, _JSON)
    if status != http.HTTPStatus.ACCEPTED:
        raise ToolError(f"{path} was not taken: {status}\n{json.dumps(answer, indent=2)}")
    return urlsplit(headers["Operation-Location"]).path


def _follow(config: Config, monitor: str) -> dict[str, Any]:
    """Show how far a backfill is until it has ended."""
    deadline = time.monotonic() + _MOST_SECONDS
    while time.monotonic() < deadline:
        _, _, state = ask(config, "GET", monitor)
        _show(state)
        if state["status"] in _ENDED:
            print()
            return state
        time.sleep(_POLL_SECONDS)
    raise ToolError(f"the backfill has not ended after {_MOST_SECONDS} s; {LOGS / 'host.log'} says more")


def _show(state: dict[str, Any]) -> None:
    """Write one line over the last one; where the output is not a terminal, write nothing before the end."""
    days = state["days"]
    counts = ", ".join(f"{count} {word}" for word, count in days.items() if count and word != "total")
    line = f"   {state['status']:<10} {counts}; {state['progress']['rows']:,} rows"
    if sys.stdout.isatty():
        print(f"\r\x1b[2K{line}", end="", flush=True)
    elif state["status"] in _ENDED:
        print(line, end="")


if __name__ == "__main__":
    run_tool(main)
