"""`make bench`: measure, and print the report. `python -m benchmarks --help` lists the arguments."""

from __future__ import annotations

import os

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
    """Measure what the arguments ask for, keep each race, and print the report over everything kept.

    Raises:
        ToolError: a way failed or left wrong data.
    """
    config = load_bench_config()
    if config.prints_only:
        write_report(load())
        return
    failures: list[str] = []
    results: list[Result] = []
    with open_lake(load_config(), os.environ) as lake:
        for name in config.servers:
            if not config.steps_on(name):
                print(f"-- the plan has nothing for the server {name}", flush=True)
                continue
            with running_server(name) as server, bench_database(server) as bench:
                print(f"-- {bench.title}", flush=True)
                results += _on_server(config, server, bench, lake, failures)
    write_report(load() if config.is_kept else results)
    if failures:
        raise ToolError("\n".join(["some ways failed:", *failures]))


def _on_server(config: BenchConfig, server: Server, bench: Bench, lake: Lake, failures: list[str]) -> list[Result]:
    results: list[Result] = []
    for step in config.steps_on(server.name):
        for rows in step.sizes:
            day = make_day(BENCH, rows)
            lake.upload(day)
            for case in step.cases_on(is_community=bench.is_community):
                ways = step.ways_of(case)
                if not ways:
                    continue
                race = Race(server, bench, lake, case, day, config.root, failures)
                if not results:
                    # The server's first load creates files that the later ones reuse. It does not count.
                    race.run(ways[:1], 1)
                results.append(race.run(ways, step.runs))
                if config.is_kept:
                    save(results[-1])
    return results


if __name__ == "__main__":
    run_tool(main)
