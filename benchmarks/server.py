"""The servers of the benchmark: Debian's, started with settings of their own, and those that a DSN names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg2.extensions import parse_dsn

from benchmarks.config import FOREIGN_SERVERS
from tools.config import SUITES, ToolError
from tools.local_server import free_port
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


@dataclass(frozen=True)
class Server:
    """A running server of `--servers`, a superuser's connection string, and the command that starts psql."""

    name: str
    dsn: str
    psql: tuple[str, ...]


@contextmanager
def running_server(name: str) -> Iterator[Server]:
    """Start a server of Debian's and remove it at the end, or use one that a DSN names.

    Raises:
        ToolError: a program is missing, or the server does not start.
    """
    if name in FOREIGN_SERVERS:
        yield Server(name, os.environ[FOREIGN_SERVERS[name]], _any_psql())
        return
    root = RootFs(name)
    root.build()
    postgres = Postgres(root, "bench", free_port(), settings=SETTINGS)
    # A run that was killed may have left one, on another port or with other settings.
    postgres.remove()
    try:
        postgres.start()
        yield Server(name, postgres.dsn, _psql_of(root))
    finally:
        postgres.remove()


def psql_environment(dsn: str) -> dict[str, str]:
    """Return the environment in which psql and its like reach a database, with nothing else of the caller's."""
    parts = {"database": "dbname"} | {name: name for name in ("host", "port", "user", "password", "sslmode")}
    known = parse_dsn(dsn)
    given = {f"PG{name.upper()}": str(known[part]) for name, part in parts.items() if part in known}
    # Inside a root file system, PATH is another one.
    return {"PATH": f"{os.environ['PATH']}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", **given}


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
