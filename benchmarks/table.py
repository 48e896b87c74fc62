"""The database of the benchmark: recreated before each run, and checked after it."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class, whatever psycopg2 calls it

from benchmarks.cases import PLAIN, TARGET, Case, Way
from benchmarks.day import Day
from benchmarks.server import SETTINGS, Facts, Server, describe
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


class WrongDataError(ToolError):
    """A run left other data than the archive's, so its time is worth nothing."""


@dataclass(frozen=True)
class Bench:
    """The benchmark's database. `connection` is in autocommit, and in no transaction while a way runs."""

    connection: Connection
    dsn: str
    facts: Facts

    def prepare(self, case: Case, day: Day) -> None:
        """Recreate the tables in the state that the case starts from, and write all of it to disk."""
        self._run(sql.SQL("DROP SCHEMA IF EXISTS silver CASCADE"))
        self._run(sql.SQL("CREATE SCHEMA silver"))
        for name in (TARGET, PLAIN):
            self._run(_TABLE.format(table=sql.Identifier(*name)))
        self._run(_HYPERTABLE)
        if case.is_compressed:
            self._run(_COLUMNSTORE)
        if case.state == "other rows":
            self._run(_OTHER_ROWS, {"rows": other_rows(day)})
        elif case.state == "the day":
            with gzip.open(day.path) as plain, self.connection.cursor() as cursor:
                cursor.copy_expert("COPY silver.telemetry FROM STDIN WITH (FORMAT csv, HEADER)", plain, 1 << 20)
        for statement in case.indexes:
            self._run(statement.format(table=sql.Identifier(*TARGET)))
        if case.is_compressed:
            self._run(sql.SQL("SELECT compress_chunk(c) FROM show_chunks('silver.telemetry') c"))
        self._run(sql.SQL("CHECKPOINT"))

    def index_statements(self, case: Case) -> list[str]:
        """Return the SQL that gives `silver.plain` the indexes of the case."""
        return [statement.format(table=sql.Identifier(*PLAIN)).as_string(self.connection) for statement in case.indexes]

    def check(self, case: Case, way: Way, day: Day) -> bool:
        """Say whether the day ended compressed if the case demands it, once its data has been found right.

        Raises:
            WrongDataError: the rows, their sums or the indexes are not what they must be.
        """
        table = PLAIN if way.builds_indexes else TARGET
        rows = day.rows + (other_rows(day) if case.state == "other rows" else 0)
        found = self._fetch(_LOOK.format(table=sql.Identifier(*table)))
        expected = (rows, day.counters, day.millidegrees)
        if tuple(map(int, found)) != expected:
            raise WrongDataError(f"{case.name}, {way.name}: rows and sums are {found}, the archive has {expected}")
        indexes = int(self._fetch(_PLAIN_INDEXES if way.builds_indexes else _CHUNK_INDEXES)[0])
        if indexes != len(case.indexes):
            raise WrongDataError(f"{case.name}, {way.name}: {indexes} indexes, not {len(case.indexes)}")
        return not case.is_compressed or self._fetch(_UNCOMPRESSED)[0] == 0

    def _run(self, statement: sql.Composable, values: dict[str, Any] | None = None) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values)

    def _fetch(self, statement: sql.Composable) -> tuple[Any, ...]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone() or ()


def other_rows(day: Day) -> int:
    """Return how many rows of other devices a non-empty chunk holds: a tenth of the day's."""
    return max(1, day.rows // 10)


@contextmanager
def bench_database(server: Server) -> Iterator[Bench]:
    """Create the benchmark's database, and drop it at the end.

    Raises:
        ToolError: the server refuses the connection.
    """
    name = sql.Identifier(DATABASE)
    dsn = server.database_dsn(DATABASE)
    try:
        admin = psycopg2.connect(server.dsn, connect_timeout=10)
    except psycopg2.OperationalError as exc:
        # libpq's message names host, port and user, and never the password.
        raise ToolError(f"the server {server.name} refuses the connection: {exc}") from exc
    with closing(admin):
        admin.autocommit = True
        with admin.cursor() as cursor:
            # A run that was killed may have left it. No user's database has this name.
            cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
            # Not from template1: TimescaleDB's launcher connects to it now and then, and CREATE DATABASE then fails.
            cursor.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(name))
            try:
                # A server that a DSN names keeps its other settings. This one decides how fast indexes are built.
                memory = sql.Literal(SETTINGS["maintenance_work_mem"])
                cursor.execute(sql.SQL("ALTER DATABASE {} SET maintenance_work_mem = {}").format(name, memory))
                with closing(psycopg2.connect(dsn, options="-c client_min_messages=error")) as connection:
                    connection.autocommit = True
                    with connection.cursor() as setup:
                        setup.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
                    yield Bench(connection, dsn, describe(connection))
            finally:
                cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
