"""`make bench`: measure, and print the report. `python -m benchmarks --help` lists the arguments."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.database import Bench, open_bench
from benchmarks.day import Lake, make_day, open_lake
from benchmarks.plan import BENCH, BenchConfig, load_bench_config
from benchmarks.race import FAILED, Race
from benchmarks.report import write_report
from benchmarks.results import Result, load, save
from tools.config import ToolError, run_tool


def main() -> None:
    """Measure what the arguments ask for, keep each race, and print the report over everything kept.

    Raises:
        ToolError: a way failed or left wrong data.
    """
    config = load_bench_config()
    results = [] if config.prints_only else list(_measure(config))
    write_report(load() if config.is_kept or config.prints_only else results)
    ways = ((found, name) for found in results for name, series in found.ways.items() if series.missing == FAILED)
    failed = [f"{found.server}, {found.case}, {found.rows} rows: {name}" for found, name in ways]
    if failed:
        raise ToolError("\n".join(["some ways failed, and said why when they did:", *failed]))


def _measure(config: BenchConfig) -> Iterator[Result]:
    with open_lake() as lake:
        for name in config.servers:
            if not config.steps_on(name):
                print(f"-- the plan has nothing for the server {name}", flush=True)
                continue
            with open_bench(name) as bench:
                print(f"-- {bench.title}", flush=True)
                yield from _on_server(config, bench, lake)


def _on_server(config: BenchConfig, bench: Bench, lake: Lake) -> Iterator[Result]:
    is_first = True
    for step in config.steps_on(bench.name):
        for rows in step.sizes:
            day = make_day(BENCH, rows)
            lake.upload(day)
            for case, ways in step.races(is_community=bench.is_community):
                race = Race(bench, lake, case, day, config.root)
                if is_first:
                    # The server's first load creates files that the later ones reuse. It does not count.
                    race.run(ways[:1], 1)
                    is_first = False
                result = race.run(ways, step.runs)
                if config.is_kept:
                    save(result)
                yield result


if __name__ == "__main__":
    run_tool(main)
