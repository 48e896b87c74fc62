"""The benchmark's server, and its database there: recreated before each run, and checked after it.

Debian's servers are started with settings of their own; others are those that a DSN names.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class, whatever psycopg2 calls it
from psycopg2.extensions import make_dsn

from benchmarks.cases import Case, Way
from benchmarks.day import DATABASE, DAY, Day
from benchmarks.plan import FOREIGN_SERVERS
from tools.config import ToolError
from tools.local_server import free_port
from tools.postgres import Postgres
from tools.rootfs import RootFs

# The same for every way. No checkpoint and no autovacuum starts during a run; the benchmark makes a checkpoint before
# each. Without TLS, which would cost each way the same.
_SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "min_wal_size": "2GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "ssl": "off",
}

_TABLE = sql.SQL("""
    CREATE TABLE silver.telemetry (
        time timestamptz NOT NULL, device_id integer NOT NULL, counter bigint, temperature double precision,
        humidity double precision, pressure double precision, status integer, message text
    )
""")
_HYPERTABLE = sql.SQL("""
    SELECT create_hypertable(
        'silver.telemetry', by_range('time', make_interval(days => %(days)s)), create_default_indexes => false
    )
""")
_COLUMNSTORE = sql.SQL("""
    ALTER TABLE silver.telemetry SET (
        timescaledb.compress, timescaledb.compress_segmentby = 'device_id', timescaledb.compress_orderby = 'time'
    )
""")
# Of devices that the archive does not have, and with sums of zero.
_OTHER_ROWS = sql.SQL("""
    INSERT INTO silver.telemetry
    SELECT %(day)s::timestamptz + n * interval '24 hours' / (%(rows)s + 1), 1000000 + n %% 100,
        0, 0, n %% 1000, 1000, 0, 'row number ' || n
    FROM generate_series(1, %(rows)s) n
""")
_LOOK = sql.SQL("""
    SELECT count(*), coalesce(sum(counter), 0)::text, coalesce(sum(round(temperature * 1000)), 0)::text,
        -- Of the day's chunk, or of a table that has none.
        (SELECT count(*) FROM pg_index WHERE indisvalid AND indrelid = coalesce(
            (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'silver.telemetry'::regclass),
            'silver.telemetry'::regclass))
    FROM silver.telemetry
""")
_BY_DAY = sql.SQL("""
    SELECT (time AT TIME ZONE 'UTC')::date::text, count(*), coalesce(sum(counter), 0)::text
    FROM silver.telemetry GROUP BY 1 ORDER BY 1
""")
# Bit 1: compressed; bit 8: also holds uncompressed rows (chunk.h of TimescaleDB).
_UNCOMPRESSED = sql.SQL("""
    SELECT count(*) FROM _timescaledb_catalog.chunk c JOIN _timescaledb_catalog.hypertable h ON h.id = c.hypertable_id
    WHERE h.table_name = 'telemetry' AND c.status <> 1
""")
_ABOUT = sql.SQL("""
    SELECT extversion, current_setting('timescaledb.license') = 'timescale',
        (SELECT string_agg(name || ' ' || current_setting(name), ', ' ORDER BY name) FROM pg_settings
         WHERE name = ANY(%(shown)s))
    FROM pg_extension WHERE extname = 'timescaledb'
""")


class WrongDataError(ToolError):
    """A run left other data than the archive's, so its time is worth nothing."""


@dataclass(frozen=True)
class Bench:
    """The benchmark's database.

    Attributes:
        name: of the server, in `--servers`.
        connection: in autocommit, and in no transaction while a way runs.
        dsn: of the database.
        title: the server, for a person.
        version: TimescaleDB's.
        is_community: its edition.
        conditions: the machine's cores, and the server's settings that affect speed.
    """

    name: str
    connection: Connection
    dsn: str
    title: str
    version: str
    is_community: bool
    conditions: str

    def prepare(self, case: Case, way: Way, day: Day) -> None:
        """Recreate the table in the state that the case starts from, and write all of it to disk."""
        self.make_table(chunk_days=None if way.program == "floor" else 1, is_compressed=case.is_compressed)
        if case.state == "other rows":
            self.insert_other_rows(other_rows(day))
        elif case.state == "the day":
            with gzip.open(day.path) as plain, self.connection.cursor() as cursor:
                cursor.copy_expert("COPY silver.telemetry FROM STDIN WITH (FORMAT csv, HEADER)", plain, 1 << 20)
        self.finish_table(() if way.program == "floor" else case.indexes, is_compressed=case.is_compressed)

    def make_table(self, *, chunk_days: int | None, is_compressed: bool = False) -> None:
        """Recreate the empty table, without indexes; a hypertable with chunks of so many days, unless that is None."""
        _run(self.connection, sql.SQL("DROP SCHEMA IF EXISTS silver CASCADE"), sql.SQL("CREATE SCHEMA silver"), _TABLE)
        if chunk_days is not None:
            _run(self.connection, _HYPERTABLE, days=chunk_days)
        if is_compressed:
            _run(self.connection, _COLUMNSTORE)

    def insert_other_rows(self, rows: int, day: str = DAY) -> None:
        """Insert rows of other devices into a day."""
        _run(self.connection, _OTHER_ROWS, rows=rows, day=f"{day} 00:00Z")

    def finish_table(self, indexes: Sequence[sql.SQL], *, is_compressed: bool = False) -> None:
        """Give the table its indexes, compress what it holds, and write all of it to disk."""
        _run(self.connection, *indexes)
        if is_compressed:
            _run(self.connection, sql.SQL("SELECT compress_chunk(c) FROM show_chunks('silver.telemetry') c"))
        _run(self.connection, sql.SQL("CHECKPOINT"))

    def counters_by_day(self) -> dict[str, tuple[int, int]]:
        """Return how many rows each UTC day has, and the sum of their counters."""
        with self.connection.cursor() as cursor:
            cursor.execute(_BY_DAY)
            return {day: (rows, int(counters)) for day, rows, counters in cursor.fetchall()}

    def is_compressed(self) -> bool:
        """Whether no chunk holds an uncompressed row."""
        return _run(self.connection, _UNCOMPRESSED) == (0,)

    def check(self, case: Case, way: Way, day: Day) -> bool:
        """Say whether the day ended compressed if the case demands it, once its data has been found right.

        Raises:
            WrongDataError: the rows, their sums or the indexes are not what they must be.
        """
        rows = day.rows + (other_rows(day) if case.state == "other rows" else 0)
        found = tuple(map(int, _run(self.connection, _LOOK)))
        expected = (rows, day.counters, day.millidegrees, len(case.indexes))
        if found != expected:
            raise WrongDataError(f"{case.name}, {way.name}: rows, sums and indexes are {found} instead of {expected}")
        return not case.is_compressed or self.is_compressed()


def other_rows(day: Day) -> int:
    """Return how many rows of other devices a non-empty chunk holds: a tenth of the day's."""
    return max(1, day.rows // 10)


@contextmanager
def open_bench(name: str) -> Iterator[Bench]:
    """Create the benchmark's database on a server of `--servers`, and drop it at the end.

    Raises:
        ToolError: the server does not start, or refuses the connection.
    """
    database = sql.Identifier(DATABASE)
    with _running_server(name) as server_dsn, _connected(server_dsn, name) as admin:
        # A run that was killed may have left it. No user's database has this name.
        _run(admin, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))
        # Not from template1: TimescaleDB's launcher connects to it now and then, and CREATE DATABASE then fails.
        _run(admin, sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(database))
        try:
            dsn = make_dsn(server_dsn, dbname=DATABASE)
            with _connected(dsn, name) as connection:
                _run(connection, sql.SQL("CREATE EXTENSION IF NOT EXISTS timescaledb"))
                shown = [*_SETTINGS, "maintenance_work_mem", "max_parallel_maintenance_workers", "fsync", "wal_level"]
                version, is_community, settings = _run(connection, _ABOUT, shown=shown)
                edition = "community" if is_community else "apache"
                title = f"PostgreSQL {connection.server_version // 10000} / TimescaleDB {version} {edition}"
                conditions = f"{os.cpu_count()} cores: {settings}"
                yield Bench(name, connection, dsn, title, version, is_community, conditions)
        finally:
            _run(admin, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))


@contextmanager
def _running_server(name: str) -> Iterator[str]:
    """Yield a superuser's DSN of a server that runs already, or of Debian's, which is removed at the end."""
    if name in FOREIGN_SERVERS:
        yield os.environ[FOREIGN_SERVERS[name]]
        return
    root = RootFs(name)
    root.build()
    postgres = Postgres(root, "bench", free_port(), settings=_SETTINGS)
    # A run that was killed may have left one, on another port or with other settings.
    postgres.remove()
    try:
        postgres.start()
        yield postgres.dsn
    finally:
        postgres.remove()


@contextmanager
def _connected(dsn: str, server: str) -> Iterator[Connection]:
    try:
        connection = psycopg2.connect(dsn, connect_timeout=10, options="-c client_min_messages=error")
    except psycopg2.OperationalError as exc:
        # libpq's message names host, port and user, and never the password.
        raise ToolError(f"the server {server} refuses the connection: {exc}") from exc
    with closing(connection):
        connection.autocommit = True
        yield connection


def _run(connection: Connection, *statements: sql.Composable, **values: Any) -> tuple[Any, ...]:
    """Run statements, and return the last one's first row."""
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement, values or None)
        return (cursor.fetchone() or ()) if statements and cursor.description else ()
