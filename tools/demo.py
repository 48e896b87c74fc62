"""`make demo`: one archived day, restored over HTTP, shown to a person and checked."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

from tools import sample_target
from tools.config import LOGS, LOOPBACK, REPOSITORY, Config, ToolError, load_config, run_tool
from tools.sample_day import DAY, ROWS
from tools.serve import Prepared, curl_command, prepare, running_host, short_answer

_ANSWER = LOGS / "demo-answer.json"


def main() -> None:
    """Run the demo.

    Raises:
        ToolError: the answer is not "ok", or the hypertable does not hold every row of the day.
    """
    config = load_config()
    prepared = prepare(config)
    before = sample_target.count_rows(prepared.demo_dsn)
    print(f"-- POST http://{LOOPBACK}:{config.host_port}/api/restore", flush=True)
    answer, seconds = _restore(config, prepared)
    after = sample_target.count_rows(prepared.demo_dsn)
    if answer.get("status") != "ok" or answer.get("rows_loaded") != ROWS or after != ROWS:
        raise ToolError(
            f"the day was not restored: {after:,} rows of {ROWS:,} are there\n{json.dumps(answer, indent=2)}\n"
            f"{LOGS / 'host.log'} says more"
        )
    print(short_answer(answer))
    print(f"-- {sample_target.first_rows(prepared.demo_dsn)}")
    archive = f"{sample_target.FILESYSTEM}/{sample_target.BLOB}"
    print(
        f"-- what happened\n"
        f"   1. TimescaleDB held {before:,} rows of {DAY:%Y-%m-%d} in silver.telemetry.\n"
        f"   2. The archive {archive} ({prepared.archive_bytes:,} bytes) was uploaded.\n"
        f'   3. The function answered "{answer["status"]}" after {seconds:.1f} s: it loaded and counted '
        f"{answer['rows_loaded']:,} rows.\n"
        f"   4. TimescaleDB holds {after:,} rows of that day, as many as the archive.\n"
        f"-- next\n"
        f"   the whole answer: {_ANSWER.relative_to(REPOSITORY)}\n"
        f"   make serve        leaves the function running, with a page to look at and a curl line to paste\n"
        f"   make down         stops TimescaleDB and Azurite"
    )


def _restore(config: Config, prepared: Prepared) -> tuple[dict[str, Any], float]:
    """Return the answer, and how many seconds it took."""
    with running_host(config, prepared.environ, log_to_screen=False):
        started = time.monotonic()
        command = curl_command(config, prepared.body)
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, env=dict(prepared.environ))
        seconds = time.monotonic() - started
    if done.returncode != 0:
        raise ToolError(f"curl ended with {done.returncode}; {LOGS / 'host.log'} says more")
    try:
        answer = json.loads(done.stdout)
    except ValueError as exc:
        raise ToolError(f"the answer is not JSON: {done.stdout[:500]!r}") from exc
    _ANSWER.write_bytes(done.stdout)
    return dict(answer), seconds


if __name__ == "__main__":
    run_tool(main)
