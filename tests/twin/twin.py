"""The target and its twin on a server: how they are made, and what they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class, whatever psycopg2 calls it

from tests.twin.tables import Column, Server, Table, literal, quoted

TARGET, TWIN = "t", "twin"
# Of an identity column of type integer.
LAST_NUMBER = 2_147_483_647
# Deferred constraints stay deferred.
CHECK_ALL = "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED"

# What any table may refer to.
BASE = (
    "CREATE TYPE @s@.mood AS ENUM ('sad', 'ok', 'very ok')",
    "CREATE DOMAIN @s@.positive AS int CHECK (VALUE > 0)",
    "CREATE TABLE @s@.lookup (id int PRIMARY KEY)",
    "INSERT INTO @s@.lookup SELECT generate_series(-3, 100)",
    "CREATE TABLE @s@.log (of text, what text, row text)",
    (
        "CREATE FUNCTION @s@.half_a_day_before(x timestamptz) RETURNS timestamp LANGUAGE sql IMMUTABLE AS"
        " $$ SELECT x AT TIME ZONE 'UTC' - interval '12 hours' $$"
    ),
)


class NotMadeError(Exception):
    """The server does not make such a table, or its two sides differ before anything is restored."""


@dataclass(frozen=True)
class State:
    """All rows of one of the two tables, as text, and how often each is there.

    Attributes:
        rows: of the table.
        log: what its trigger "logs" wrote.
        child: of the table that refers to it.
    """

    rows: Counter[str]
    log: Counter[str]
    child: Counter[str]


class Twin:
    """Both tables of a case.

    Args:
        session: a superuser's, in autocommit. A restore does not truncate while it has a transaction open.
        schema: the schema of both, which is made anew.
        table: what both are.
    """

    def __init__(self, session: Connection, schema: str, table: Table) -> None:
        self.table = table
        self._schema = schema
        self._cursor = session.cursor()
        self.affected = 0
        self.found: list[tuple[Any, ...]] = []

    @staticmethod
    def server_of(session: Connection) -> Server:
        """Return the server, as far as tables and requests depend on it."""
        with session.cursor() as cursor:
            cursor.execute(
                "SELECT extversion, current_setting('timescaledb.license') FROM pg_extension"
                " WHERE extname = 'timescaledb'"
            )
            ((version, license_),) = cursor.fetchall()
        major, minor, *_ = version.split(".")
        return Server(session.server_version, (int(major), int(minor)), license_ == "timescale")

    def run(self, statement: str, table: str = TWIN) -> None:
        """Run SQL of the table's, on the twin or on the target."""
        # A sql.SQL keeps psycopg2 from looking for parameters in it.
        self._cursor.execute(sql.SQL(statement.replace("@s@", quoted(self._schema)).replace("@t@", table)))
        self.affected = self._cursor.rowcount
        self.found = self._cursor.fetchall() if self._cursor.description else []

    def value(self, query: str, table: str = TWIN) -> Any:
        """Run a query of one value."""
        self.run(query, table)
        ((value,),) = self.found
        return value

    def attempt(self, statement: str, table: str = TWIN) -> psycopg2.Error | None:
        """Run SQL in a savepoint of the open transaction, and return the error at which it was rolled back."""
        self._cursor.execute("SAVEPOINT attempt")
        try:
            self.run(statement, table)
        except psycopg2.Error as exc:
            self._cursor.execute("ROLLBACK TO attempt")
            return exc
        self._cursor.execute("RELEASE attempt")
        return None

    def attempt_copy(self, statement: str, file: Any, *, then: str) -> psycopg2.Error | None:
        """COPY a file in a savepoint, and return the error at which it was rolled back."""
        self._cursor.execute("SAVEPOINT attempt")
        try:
            self._cursor.copy_expert(sql.SQL(statement.replace("@s@", quoted(self._schema))), file)
            self.affected = self._cursor.rowcount
            self._cursor.execute(then)
        except psycopg2.Error as exc:
            self._cursor.execute("ROLLBACK TO attempt")
            return exc
        self._cursor.execute("RELEASE attempt")
        return None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Open a transaction. It is rolled back, except what `commit` keeps."""
        self._cursor.execute("BEGIN")
        try:
            yield
        finally:
            self._cursor.execute("ROLLBACK")

    def commit(self) -> None:
        """Keep what was done in the transaction."""
        self._cursor.execute("COMMIT AND CHAIN")

    def make(self) -> None:
        """Make both tables and fill them.

        Raises:
            NotMadeError: the server refused.
        """
        schema = quoted(self._schema)
        for statement in (f"DROP SCHEMA IF EXISTS {schema} CASCADE", f"CREATE SCHEMA {schema}", *BASE):
            self.run(statement)
        try:
            self._make_both()
        except psycopg2.Error as exc:
            raise NotMadeError(str(exc.pgcode)) from exc
        if self.state(TWIN, self.table.names) != self.state(TARGET, self.table.names):
            raise NotMadeError("the two differ")

    def _make_both(self) -> None:
        table = self.table
        self._run_on_both(table.create, *table.partitions)
        for statement in table.split:
            self.run(statement, TARGET)
        for row in table.rows:
            with self.transaction():
                if self.attempt(row) is None:
                    self.commit()
        self.run(_copy_rows(table.at_first, "true"))
        self._run_on_both(*table.changes)
        for statement in table.later:
            self.run(statement, TARGET)
        for row in table.late_rows:
            self._add_late(row)
        for statement in table.jobs:
            self.run(statement, TARGET)
        self._run_on_both(*table.child, *table.triggers)
        self.run(table.like)

    def _run_on_both(self, *statements: str) -> None:
        for name in (TWIN, TARGET):
            for statement in statements:
                self.run(statement, name)

    def _add_late(self, row: str) -> None:
        with self.transaction():
            if self.attempt(f"{row} RETURNING ctid") is None:
                ((place,),) = self.found
                if self.attempt(_copy_rows(self.table.writable, f"ctid = '{place}'")) is None:
                    self.commit()

    def next_numbers(self) -> dict[str, int]:
        """Return what the sequence of each column of the target gives next."""
        return {
            column.name: int(self.value(f"SELECT last_value + is_called::int FROM {self._sequence(column, TARGET)}"))
            for column in self.table.columns
            if column.is_numbered
        }

    def give_same_numbers(self, numbers: dict[str, int]) -> None:
        """Let the twin's sequences give what the target's give next."""
        for column in self.table.columns:
            if column.is_numbered:
                # A sequence at its end gives none.
                number, name = numbers[column.name], literal(self._sequence(column, TWIN))
                self.run(f"SELECT setval({name}, {min(number, LAST_NUMBER)}, {number > LAST_NUMBER})")

    def _sequence(self, column: Column, table: str) -> str:
        return str(self.value(f"SELECT pg_get_serial_sequence('@s@.@t@',{literal(column.name)})", table))

    def compressed(self) -> dict[int, bool]:
        """Return the target's compressed chunks, and whether each has rows that are not compressed as well."""
        if not self.table.is_hypertable:
            return {}
        # 1: it is compressed; 8: it has further rows (read: chunk.h of 2.29).
        self.run(
            "SELECT c.id, c.status & 8 <> 0 FROM _timescaledb_catalog.chunk c JOIN _timescaledb_catalog.hypertable h"
            f" ON h.id = c.hypertable_id WHERE h.schema_name ={literal(self._schema)} AND h.table_name = '@t@'"
            " AND c.status & 1 <> 0",
            TARGET,
        )
        return dict(self.found)

    def buckets(self) -> tuple[list[Any], list[Any]]:
        """Return the day's buckets of the target's aggregate, and those that a query of its rows makes."""
        hours, column = self.table.bucket_hours, quoted(self.table.time_name)
        # The session's time zone is UTC.
        day = f"bucket > timestamp '2025-01-05' - interval '{hours} hours' AND bucket < timestamp '2025-01-06'"
        bucket = f"public.time_bucket(interval '{hours} hours', {column}) AS bucket"
        queries = ("SELECT * FROM @s@.aggregate", f"SELECT {bucket}, count(*) AS n FROM @s@.@t@ GROUP BY 1")
        found = []
        for query in queries:
            self.run(f"SELECT bucket, n FROM ({query}) AS buckets WHERE {day} ORDER BY 1", TARGET)
            found.append(self.found)
        return found[0], found[1]

    def state(self, table: str, columns: Sequence[str]) -> State:
        """Return the state of the twin or of the target."""
        child = "SELECT c::text FROM @s@.@t@_child AS c" if self.table.child else "SELECT '' WHERE false"
        return State(
            self._count(f"SELECT row({', '.join(map(quoted, columns))})::text FROM @s@.@t@", table),
            self._count(f"SELECT what || row FROM @s@.log WHERE of ={literal(table)}", table),
            self._count(child, table),
        )

    def damages(self) -> list[str]:
        """List rows of the target outside its chunks, and indexes that a chunk lacks or that are not valid."""
        if not self.table.is_hypertable:
            return []
        # A new chunk gets one index where the hypertable has two alike.
        definition = "substring(pg_get_indexdef(indexrelid) from ' USING .*')"
        own = f"SELECT count(DISTINCT {definition}) FROM pg_index WHERE indisvalid AND indisready"
        indexes = f"({own} AND indrelid = {{}}::regclass)"
        lacks = f"{indexes.format('c')} <> {indexes.format(literal('@s@.@t@'))}"
        query = (
            "SELECT 'a row outside of all chunks' FROM ONLY @s@.@t@ UNION ALL"
            f" SELECT c || ' lacks an index' FROM public.show_chunks('@s@.@t@') AS c WHERE {lacks}"
        )
        return sorted(self._count(query, TARGET))

    def _count(self, query: str, table: str) -> Counter[str]:
        self.run(query, table)
        return Counter(text for (text,) in self.found)


def _copy_rows(columns: Sequence[str], where: str) -> str:
    """Write the INSERT of the twin's rows into the target. Numbers of a sequence stay the same."""
    names = ", ".join(map(quoted, columns))
    return f"INSERT INTO @s@.{TARGET} ({names}) OVERRIDING SYSTEM VALUE SELECT {names} FROM @s@.{TWIN} WHERE {where}"
