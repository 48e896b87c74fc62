"""Made-up figures of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.probe import Fact
from benchmarks.results import Result, Run, Series
from shared.process import MIB


def series(
    *seconds: float,
    memory: float | None = None,
    disk: float | None = None,
    cpu: float | None = None,
    ready: float | None = None,
    idle: float | None = None,
    cores: float | None = None,
) -> Series:
    """Runs of so many seconds; memory and disk are MiB, the rest is as in `Fact`."""
    facts: dict[Fact, float | None] = {
        "memory_bytes": None if memory is None else memory * MIB,
        "disk_bytes": None if disk is None else disk * MIB,
        "server_seconds": cpu,
        "backend_ready": ready,
        "backend_idle": idle,
        "process_busy": cores,
    }
    return Series([Run(one, {fact: value for fact, value in facts.items() if value is not None}) for one in seconds])


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
        conditions="2 cores: shared_buffers 512MB",
        case=case,
        rows=rows,
        when="2026-01-02T03:04:05+00:00",
        commit="abc",
        ways={name: as_series(way) for name, way in ways.items()},
    )
