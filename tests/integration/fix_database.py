"""Real PostgreSQL servers for the tests, named by RESTORE_TEST_DSN and RESTORE_TEST_COMMUNITY_DSN (superusers)."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class, whatever psycopg2 calls it

from shared.postgres.connect import APPLICATION_NAME
from shared.postgres.kept import IDLE_NAME
from tools.process import wait_until

# Long enough for a loaded machine; nothing waits so long when all is well.
PATIENCE_SECONDS = 20


@dataclass(frozen=True)
class Database:
    """A fresh database with TimescaleDB, and a fresh schema in it. `connection` is a superuser's, in autocommit."""

    connection: Connection
    name: str
    schema: str
    roles: list[str] = field(default_factory=list)

    @property
    def pg(self) -> dict[str, Any]:
        """Return the `pg` of a request."""
        info = self.connection.info
        return {
            "host": info.host,
            "port": info.port,
            "user": info.user,
            "password": info.password,
            "sslmode": "prefer",
        }

    def execute(self, statement: str, *values: Any) -> None:
        """Run SQL; `{s}` in it is the schema."""
        with self.connection.cursor() as cursor:
            cursor.execute(self._in_schema(statement), values or None)

    def fetch(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a query; `{s}` in it is the schema."""
        with self.connection.cursor() as cursor:
            cursor.execute(self._in_schema(statement), values or None)
            return cursor.fetchall()

    def value(self, statement: str, *values: Any) -> Any:
        """Run a query of one value."""
        return self.fetch(statement, *values)[0][0]

    def session(self, *, autocommit: bool = True) -> Connection:
        """Open another session of the superuser's."""
        pg = self.pg
        connection = psycopg2.connect(
            host=pg["host"], port=pg["port"], user=pg["user"], password=pg["password"], dbname=self.name
        )
        connection.autocommit = autocommit
        return connection

    def has_session(self, condition: str) -> bool:
        """Say whether another session of this database meets a condition on pg_stat_activity."""
        return bool(
            self.value(
                "SELECT count(*) FROM pg_stat_activity"
                f" WHERE datname = current_database() AND pid <> pg_backend_pid() AND {condition}"
            )
        )

    def wait_for_session(self, condition: str) -> None:
        """Return when another session of this database meets a condition on pg_stat_activity."""
        assert wait_until(lambda: self.has_session(condition), PATIENCE_SECONDS), condition

    def wait_for_no_restore(self) -> None:
        """Return when no session is in use by a restore: the server notices a lost client a little later."""
        own = f"starts_with(application_name, '{APPLICATION_NAME}') AND application_name <> '{IDLE_NAME}'"
        assert wait_until(lambda: not self.has_session(own), PATIENCE_SECONDS)

    def _in_schema(self, statement: str) -> sql.Composed:
        return sql.SQL(statement).format(s=sql.Identifier(self.schema))

    def hypertable(self, name: str, columns: str, *, time: str = "time", interval: str = "interval '1 day'") -> None:
        """Create a hypertable; the name is SQL, quoted where it has to be."""
        self.execute(f"CREATE TABLE {{s}}.{name} ({columns})")
        self.execute(
            f"SELECT public.create_hypertable('{{s}}.{name}', '{time}', chunk_time_interval => {interval})",
        )

    def role(self, *rights: str) -> dict[str, Any]:
        """Create a role that is not a superuser, with the rights given as SQL, and return its `pg`."""
        name = f"restore_{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'only-for-tests'")
        self.roles.append(name)
        for right in rights:
            self.execute(f"{right} TO {name}")
        return self.pg | {"user": name, "password": "only-for-tests"}

    @property
    def version(self) -> tuple[int, int]:
        """TimescaleDB's version, as far as tests tell versions apart."""
        text = self.value("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
        major, minor = text.split(".")[:2]
        return int(major), int(minor)


@contextmanager
def new_database(variable: str) -> Iterator[Connection]:
    dsn = os.environ.get(variable)
    if not dsn:
        pytest.skip(f"{variable} is not set")
    name = f"restore_test_{uuid.uuid4().hex[:12]}"
    with closing(psycopg2.connect(dsn, connect_timeout=10)) as admin:
        admin.autocommit = True
        with admin.cursor() as cursor:
            # TimescaleDB's launcher looks into template1 now and then, and nobody may while it is copied.
            cursor.execute(f"CREATE DATABASE {name} TEMPLATE template0")
            try:
                # The password is not in the DSN that libpq would give back, so it is taken from the given one.
                with closing(psycopg2.connect(dsn, dbname=name, options="-c client_min_messages=error")) as connection:
                    connection.autocommit = True
                    with connection.cursor() as setup:
                        setup.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
                    yield connection
            finally:
                cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def server_connection() -> Iterator[Connection]:
    with new_database("RESTORE_TEST_DSN") as connection:
        yield connection


@pytest.fixture(scope="session")
def community_connection() -> Iterator[Connection]:
    with new_database("RESTORE_TEST_COMMUNITY_DSN") as connection:
        yield connection


@contextmanager
def _fresh_schema(connection: Connection) -> Iterator[Database]:
    database = Database(connection, connection.info.dbname, f"s{uuid.uuid4().hex[:8]}")
    database.execute("CREATE SCHEMA {s}")
    try:
        yield database
    finally:
        database.execute("DROP SCHEMA {s} CASCADE")
        for role in database.roles:
            # What was granted to it elsewhere would keep it.
            database.execute(f"DROP OWNED BY {role}")
            database.execute(f"DROP ROLE {role}")


@pytest.fixture
def database(server_connection: Connection) -> Iterator[Database]:
    with _fresh_schema(server_connection) as found:
        yield found


@pytest.fixture
def community_database(community_connection: Connection) -> Iterator[Database]:
    with _fresh_schema(community_connection) as found:
        yield found
