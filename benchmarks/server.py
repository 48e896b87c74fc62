"""The servers of the benchmark: Debian's, started with settings of their own, and those that a DSN names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class, whatever psycopg2 calls it
from psycopg2.extensions import make_dsn, parse_dsn

from benchmarks.config import FOREIGN_SERVERS, BenchConfig
from tools.config import SUITES, ToolError
from tools.postgres import Postgres
from tools.rootfs import RootFs

# The same for every way. No checkpoint and no autovacuum starts during a run; the benchmark makes a checkpoint before
# each. Without TLS, which would cost each way the same.
SETTINGS = {
    "shared_buffers": "512MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "8GB",
    "min_wal_size": "2GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "ssl": "off",
}
_SHOWN = (*SETTINGS, "max_parallel_maintenance_workers", "fsync", "wal_level")


@dataclass(frozen=True)
class Server:
    """A running server of `BENCH_SERVERS`, a superuser's connection string, and the command that starts psql."""

    name: str
    dsn: str
    psql: tuple[str, ...]

    def database_dsn(self, database: str) -> str:
        """Return the connection string of another database of the server."""
        return make_dsn(self.dsn, dbname=database)


@dataclass(frozen=True)
class Facts:
    """What a server is: for a person, TimescaleDB's version and edition, and the settings that affect speed."""

    title: str
    timescaledb: str
    edition: str
    settings: Mapping[str, str]


@contextmanager
def running_server(config: BenchConfig, name: str) -> Iterator[Server]:
    """Start a server of Debian's and remove it at the end, or use one that a DSN names.

    Raises:
        ToolError: a program is missing, a port is taken, or the server does not start.
    """
    if name in FOREIGN_SERVERS:
        yield Server(name, os.environ[FOREIGN_SERVERS[name]], _any_psql())
        return
    root = RootFs(name)
    root.build()
    postgres = Postgres(root, "bench", config.pg_port, port_variable="BENCH_PG_PORT", settings=SETTINGS)
    # A run that was killed may have left one, on another port or with other settings.
    postgres.remove()
    try:
        postgres.start()
        yield Server(name, postgres.dsn, _psql_of(root))
    finally:
        postgres.remove()


def describe(connection: Connection) -> Facts:
    """Ask a server what it is, in a database that has TimescaleDB: it knows its licence only there."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('timescaledb.license')")
        (licence,) = cursor.fetchone() or ("",)
        cursor.execute("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
        (timescaledb,) = cursor.fetchone() or ("",)
        cursor.execute("SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s)", (list(_SHOWN),))
        settings = dict(cursor.fetchall())
    edition = "community" if licence == "timescale" else "apache"
    title = f"PostgreSQL {connection.server_version // 10000} / TimescaleDB {timescaledb} {edition}"
    return Facts(title, timescaledb, edition, settings)


def psql_environment(dsn: str) -> dict[str, str]:
    """Return the environment in which psql and its like reach a database, with nothing else of the caller's."""
    parts = {"database": "dbname"} | {name: name for name in ("host", "port", "user", "password", "sslmode")}
    known = parse_dsn(dsn)
    given = {f"PG{name.upper()}": str(known[part]) for name, part in parts.items() if part in known}
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **given}


def _psql_of(root: RootFs) -> tuple[str, ...]:
    return tuple(root.command(f"{root.bin}/psql"))


def _any_psql() -> tuple[str, ...]:
    found = shutil.which("psql")
    if found:
        return (found,)
    for suite in SUITES:
        if RootFs(suite).path.exists():
            return _psql_of(RootFs(suite))
    raise ToolError("psql is not installed; apt install postgresql-client, or run make up once")
