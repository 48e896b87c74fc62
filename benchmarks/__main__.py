"""`make bench`: measure and print the report. `make bench-docs`: put the last report into the docs.

    python -m benchmarks run | report | docs

docs/performance.md has its variables, which begin with BENCH_.
"""

from __future__ import annotations

import os
import sys

from benchmarks.archive import Lake, open_lake
from benchmarks.config import BENCH, BenchConfig, load_bench_config
from benchmarks.day import make_day
from benchmarks.page import write_docs, write_report
from benchmarks.race import Race, chosen, ways_of
from benchmarks.results import Result, load, save
from benchmarks.server import Server, running_server
from benchmarks.table import bench_database
from tools.config import Config, ToolError, load_config, run_tool


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
    elif command == "docs":
        write_docs(load())
    else:
        raise ToolError("the commands are run, report and docs")


def measure() -> None:
    """Measure what the variables ask for, keep it, and print the report over all that was kept."""
    config, tools = load_bench_config(), load_config()
    failures: list[str] = []
    results: list[Result] = []
    with open_lake(tools, os.environ) as lake:
        for rows in config.sizes:
            print(f"-- a day of {rows:,} rows", flush=True)
            lake.upload(make_day(BENCH, rows))
        for name in config.servers:
            with running_server(config, name) as server:
                results += _on_server(config, tools, server, lake, failures)
    # A part of the ways has nothing to be compared with, and would take the place of the whole.
    write_report(results if config.ways else load())
    if failures:
        raise ToolError("\n".join(["some ways failed:", *failures]))


def _on_server(config: BenchConfig, tools: Config, server: Server, lake: Lake, failures: list[str]) -> list[Result]:
    results = []
    with bench_database(server) as bench:
        print(f"-- {bench.facts.title}", flush=True)
        for rows in config.sizes:
            day = make_day(BENCH, rows)
            for number, case in enumerate(chosen(config, bench.facts.edition)):
                ways = ways_of(case, config, rows)
                race = Race(server, bench, lake, case, day, config.root, tools.host_port, failures)
                if rows == config.sizes[0] and number == 0:
                    # The server's first load makes files that the later ones use again. It does not count.
                    race.run(ways[:1], 1)
                if ways:
                    results.append(race.run(ways, config.runs))
                    if not config.ways:
                        save(results[-1])
    return results


if __name__ == "__main__":
    run_tool(main)
