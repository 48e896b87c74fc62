"""`make demo`: one archived day, restored over HTTP, shown to a person and checked."""

from __future__ import annotations

import json
import shlex
import subprocess

from tools.config import ToolError, load_config, run_tool
from tools.sample_day import ROWS
from tools.sample_target import count_rows, first_rows
from tools.serve import Prepared, curl_command, prepare, running_host


def main() -> None:
    """Run the demo.

    Raises:
        ToolError: the answer is not "ok", or the hypertable does not hold every row of the day.
    """
    config = load_config()
    prepared = prepare(config)
    before = count_rows(prepared.demo_dsn)
    print(f"   silver.telemetry holds {before} rows of that day")
    command = curl_command(config, prepared.body)
    print(f"-- the function over HTTP\n{shlex.join(command)}", flush=True)
    with running_host(config, prepared.environ, log_to_screen=False):
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, env=dict(prepared.environ))
    if done.returncode != 0:
        raise ToolError(f"curl ended with {done.returncode}; .work/logs/host.log says more")
    _check(prepared, done.stdout)


def _check(prepared: Prepared, body: bytes) -> None:
    try:
        answer = json.loads(body)
    except ValueError as exc:
        raise ToolError(f"the answer is not JSON: {body[:500]!r}") from exc
    print(json.dumps(answer, indent=2, ensure_ascii=False))
    print(f"-- {first_rows(prepared.demo_dsn)}")
    counted = count_rows(prepared.demo_dsn)
    print(f"-- {counted:,} rows of that day in the hypertable, {ROWS:,} in the archive")
    if answer.get("status") != "ok" or answer.get("rows_loaded") != ROWS or counted != ROWS:
        raise ToolError("the day was not restored as it should have been; .work/logs/host.log says more")


if __name__ == "__main__":
    run_tool(main)
