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
from benchmarks.race import Race, chosen, unfinished, ways_of
from benchmarks.results import Result, kept, load, save
from benchmarks.server import Server, running_server
from benchmarks.table import Bench, bench_database
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
    """Measure what the variables ask for, keep each run, and print the report over all that was kept."""
    config, tools = load_bench_config(), load_config()
    failures: list[str] = []
    results: list[Result] = []
    with open_lake(tools, os.environ) as lake:
        for name in config.servers:
            if not config.steps_on(name):
                print(f"-- the plan has nothing for the server {name}", flush=True)
                continue
            with running_server(config, name) as server, bench_database(server) as bench:
                print(f"-- {bench.facts.title}", flush=True)
                results += _on_server(config, tools, server, bench, lake, failures)
    write_report(load() if config.is_kept else results)
    if failures:
        raise ToolError("\n".join(["some ways failed:", *failures]))


def _on_server(
    config: BenchConfig, tools: Config, server: Server, bench: Bench, lake: Lake, failures: list[str]
) -> list[Result]:
    results = []
    is_warm = False
    for step in config.steps_on(server.name):
        for rows in step.sizes:
            for case in chosen(step, bench.facts.edition):
                ways = ways_of(case, step, rows)
                if not ways:
                    continue
                day = make_day(BENCH, rows)
                lake.upload(day)
                race = Race(server, bench, lake, case, day, config.root, tools.host_port, failures)
                known = None if config.is_fresh or not config.is_kept else kept(server.name, case.name, rows)
                if known is not None and not known.goes_on(race.begin()):
                    known = None
                if not is_warm and unfinished(ways, step.runs, known):
                    # The server's first load makes files that the later ones use again. It does not count.
                    race.run(ways[:1], 1)
                    is_warm = True
                results.append(race.run(ways, step.runs, known, save if config.is_kept else None))
    return results


if __name__ == "__main__":
    run_tool(main)
