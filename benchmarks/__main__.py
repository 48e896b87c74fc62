"""`make bench`: measure, and print the report.

    python -m benchmarks run | report

docs/performance.md lists the variables, which begin with BENCH_.
"""

from __future__ import annotations

import os
import sys

from benchmarks.archive import Lake, open_lake
from benchmarks.config import BENCH, BenchConfig, load_bench_config
from benchmarks.day import make_day
from benchmarks.race import Race
from benchmarks.report import write_report
from benchmarks.results import Result, load, save
from benchmarks.server import Server, running_server
from benchmarks.table import Bench, bench_database
from tools.config import ToolError, load_config, run_tool


def main() -> None:
    """Run one of the commands in the module's docstring.

    Raises:
        ToolError: the command is not known, or a way failed or left wrong data.
    """
    command = " ".join(sys.argv[1:]) or "run"
    if command == "run":
        measure()
    elif command == "report":
        write_report(load())
    else:
        raise ToolError("the commands are run and report")


def measure() -> None:
    """Measure what the variables ask for, keep each race, and print the report over everything kept."""
    config = load_bench_config()
    failures: list[str] = []
    results: list[Result] = []
    with open_lake(load_config(), os.environ) as lake:
        for name in config.servers:
            if not config.steps_on(name):
                print(f"-- the plan has nothing for the server {name}", flush=True)
                continue
            with running_server(config, name) as server, bench_database(server) as bench:
                print(f"-- {bench.facts.title}", flush=True)
                results += _on_server(config, server, bench, lake, failures)
    write_report(load() if config.is_kept else results)
    if failures:
        raise ToolError("\n".join(["some ways failed:", *failures]))


def _on_server(config: BenchConfig, server: Server, bench: Bench, lake: Lake, failures: list[str]) -> list[Result]:
    results: list[Result] = []
    host_port = load_config().host_port
    for step in config.steps_on(server.name):
        for rows in step.sizes:
            for case in step.cases_on(bench.facts.edition):
                ways = step.ways_of(case, rows)
                if not ways:
                    continue
                day = make_day(BENCH, rows)
                lake.upload(day)
                race = Race(server, bench, lake, case, day, config.root, host_port, failures)
                if not results:
                    # The server's first load creates files that the later ones reuse. It does not count.
                    race.run(ways[:1], 1)
                results.append(race.run(ways, step.runs))
                if config.is_kept:
                    save(results[-1])
    return results


if __name__ == "__main__":
    run_tool(main)
