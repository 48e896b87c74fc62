"""The database of the benchmark: recreated before each run, and checked after it."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class, whatever psycopg2 calls it
from psycopg2.extensions import make_dsn

from benchmarks.cases import PLAIN, TARGET, Case, Way
from benchmarks.day import Day
from benchmarks.server import SETTINGS, Server
from tools.config import ToolError

DATABASE = "restore_chunk_bench"

_TABLE = sql.SQL("""
    CREATE TABLE {table} (
        time timestamptz NOT NULL, device_id integer NOT NULL, counter bigint, temperature double precision,
        humidity double precision, pressure double precision, status integer, message text
    )
""")
_HYPERTABLE = sql.SQL("""
    SELECT create_hypertable(
        'silver.telemetry', by_range('time', interval '1 day'), create_default_indexes => false
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
    SELECT timestamptz '2025-01-01 00:00Z' + n * interval '24 hours' / (%(rows)s + 1), 1000000 + n %% 100,
        0, 0, n %% 1000, 1000, 0, 'row number ' || n
    FROM generate_series(1, %(rows)s) n
""")
_LOOK = sql.SQL(
    "SELECT count(*), coalesce(sum(counter), 0)::text, coalesce(sum(round(temperature * 1000)), 0)::text FROM {table}"
)
_PLAIN_INDEXES = sql.SQL("SELECT count(*) FROM pg_index WHERE indisvalid AND indrelid = 'silver.plain'::regclass")
_CHUNK_INDEXES = sql.SQL("""
    SELECT count(*) FROM pg_index WHERE indisvalid AND indrelid IN (SELECT c FROM show_chunks('silver.telemetry') c)
""")
# Bit 1: compressed; bit 8: also holds uncompressed rows (chunk.h of TimescaleDB).
_UNCOMPRESSED = sql.SQL("""
    SELECT count(*) FROM _timescaledb_catalog.chunk c JOIN _timescaledb_catalog.hypertable h ON h.id = c.hypertable_id
    WHERE h.table_name = 'telemetry' AND c.status <> 1
""")
_VERSIONS = sql.SQL("""
    SELECT extversion, current_setting('timescaledb.license') FROM pg_extension WHERE extname = 'timescaledb'
""")
_SETTINGS = sql.SQL("""
    SELECT string_agg(name || ' ' || current_setting(name), ', ' ORDER BY name) FROM pg_settings
    WHERE name = ANY(%(shown)s)
""")


class WrongDataError(ToolError):
    """A run left other data than the archive's, so its time is worth nothing."""


@dataclass(frozen=True)
class Bench:
    """The benchmark's database.

    Attributes:
        connection: in autocommit, and in no transaction while a way runs.
        dsn: of the database.
        title: the server, for a person.
        version: TimescaleDB's.
        is_community: its edition.
        conditions: the machine's cores, and the server's settings that affect speed.
    """

    connection: Connection
    dsn: str
    title: str
    version: str
    is_community: bool
    conditions: str

    def prepare(self, case: Case, day: Day) -> None:
        """Recreate the tables in the state that the case starts from, and write all of it to disk."""
        _run(self.connection, sql.SQL("DROP SCHEMA IF EXISTS silver CASCADE"), sql.SQL("CREATE SCHEMA silver"))
        _run(self.connection, *(_TABLE.format(table=sql.Identifier(*name)) for name in (TARGET, PLAIN)), _HYPERTABLE)
        if case.is_compressed:
            _run(self.connection, _COLUMNSTORE)
        if case.state == "other rows":
            _run(self.connection, _OTHER_ROWS, rows=other_rows(day))
        elif case.state == "the day":
            with gzip.open(day.path) as plain, self.connection.cursor() as cursor:
                cursor.copy_expert("COPY silver.telemetry FROM STDIN WITH (FORMAT csv, HEADER)", plain, 1 << 20)
        _run(self.connection, *(statement.format(table=sql.Identifier(*TARGET)) for statement in case.indexes))
        if case.is_compressed:
            _run(self.connection, sql.SQL("SELECT compress_chunk(c) FROM show_chunks('silver.telemetry') c"))
        _run(self.connection, sql.SQL("CHECKPOINT"))

    def index_statements(self, case: Case) -> list[str]:
        """Return the SQL that gives `silver.plain` the indexes of the case."""
        return [statement.format(table=sql.Identifier(*PLAIN)).as_string(self.connection) for statement in case.indexes]

    def check(self, case: Case, way: Way, day: Day) -> bool:
        """Say whether the day ended compressed if the case demands it, once its data has been found right.

        Raises:
            WrongDataError: the rows, their sums or the indexes are not what they must be.
        """
        is_plain = way.program == "floor"
        rows = day.rows + (other_rows(day) if case.state == "other rows" else 0)
        found = _run(self.connection, _LOOK.format(table=sql.Identifier(*(PLAIN if is_plain else TARGET))))
        expected = (rows, day.counters, day.millidegrees)
        if tuple(map(int, found)) != expected:
            raise WrongDataError(f"{case.name}, {way.name}: rows and sums are {found}, the archive has {expected}")
        (indexes,) = _run(self.connection, _PLAIN_INDEXES if is_plain else _CHUNK_INDEXES)
        if indexes != len(case.indexes):
            raise WrongDataError(f"{case.name}, {way.name}: {indexes} indexes, not {len(case.indexes)}")
        return not case.is_compressed or _run(self.connection, _UNCOMPRESSED) == (0,)


def other_rows(day: Day) -> int:
    """Return how many rows of other devices a non-empty chunk holds: a tenth of the day's."""
    return max(1, day.rows // 10)


@contextmanager
def bench_database(server: Server) -> Iterator[Bench]:
    """Create the benchmark's database, and drop it at the end.

    Raises:
        ToolError: the server refuses the connection.
    """
    name, dsn = sql.Identifier(DATABASE), make_dsn(server.dsn, dbname=DATABASE)
    try:
        admin = psycopg2.connect(server.dsn, connect_timeout=10)
    except psycopg2.OperationalError as exc:
        # libpq's message names host, port and user, and never the password.
        raise ToolError(f"the server {server.name} refuses the connection: {exc}") from exc
    with closing(admin):
        admin.autocommit = True
        # A run that was killed may have left it. No user's database has this name.
        _run(admin, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        # Not from template1: TimescaleDB's launcher connects to it now and then, and CREATE DATABASE then fails.
        _run(admin, sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(name))
        try:
            # A server that a DSN names keeps its other settings. This one decides how fast indexes are built.
            memory = sql.Literal(SETTINGS["maintenance_work_mem"])
            _run(admin, sql.SQL("ALTER DATABASE {} SET maintenance_work_mem = {}").format(name, memory))
            with closing(psycopg2.connect(dsn, options="-c client_min_messages=error")) as connection:
                connection.autocommit = True
                _run(connection, sql.SQL("CREATE EXTENSION IF NOT EXISTS timescaledb"))
                version, licence = _run(connection, _VERSIONS)
                shown = [*SETTINGS, "max_parallel_maintenance_workers", "fsync", "wal_level"]
                (settings,) = _run(connection, _SETTINGS, shown=shown)
                conditions = f"{os.cpu_count()} cores: {settings}"
                edition = "community" if licence == "timescale" else "apache"
                title = f"PostgreSQL {connection.server_version // 10000} / TimescaleDB {version} {edition}"
                yield Bench(connection, dsn, title, version, edition == "community", conditions)
        finally:
            _run(admin, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def _run(connection: Connection, *statements: sql.Composable, **values: Any) -> tuple[Any, ...]:
    """Run statements, and return the last one's first row."""
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement, values or None)
        return (cursor.fetchone() or ()) if statements and cursor.description else ()
