"""Figures of a benchmark that nobody ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.probe import Observed
from benchmarks.results import Result, Run, Series
from benchmarks.targets import MIB


def series(
    *seconds: float,
    memory: float | None = None,
    disk: float | None = None,
    cpu: float | None = None,
    ready: float | None = None,
    busy: float | None = None,
    copying: float | None = None,
    cores: float | None = None,
    waited: float | None = None,
) -> Series:
    """Runs of so many seconds; memory and disk are MiB, `waited` is the answer's, the rest as in `Observed`."""
    observed = Observed(
        memory_bytes=None if memory is None else int(memory * MIB),
        disk_bytes=None if disk is None else int(disk * MIB),
        server_seconds=cpu,
        backend_ready=ready,
        backend_busy=busy,
        copy_seconds=copying,
        process_busy=cores,
    )
    answer = {} if waited is None else {"copy": {"transfer": "stream", "waited_seconds": waited}}
    return Series([Run(one, observed, answer) for one in seconds])


def result(
    ways: Mapping[str, Series | Sequence[float] | str],
    *,
    case: str = "key",
    rows: int = 1_000_000,
    version: str = "2.31.0",
    server: str = "forky",
) -> Result:
    """A result; a way is its series, its seconds, or why it was not timed."""

    def as_series(way: Series | Sequence[float] | str) -> Series:
        if isinstance(way, Series):
            return way
        return Series([], way) if isinstance(way, str) else series(*way)

    return Result(
        server=server,
        title=f"PostgreSQL 18 / TimescaleDB {version} apache",
        version=version,
        settings={"shared_buffers": "512MB"},
        cores=2,
        case=case,
        rows=rows,
        csv_bytes=88 * rows,
        gzip_bytes=24 * rows,
        when="2026-01-02T03:04:05+00:00",
        commit="abc",
        ways={name: as_series(way) for name, way in ways.items()},
    )
