"""A PostgreSQL of the tests' own, that can be killed, and restarted, and run out of disk."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import psycopg2
import pytest

from tests.faults.fix_proxy import Proxy
from tests.integration.fix_app import App, app_of
from tests.integration.fix_database import Database
from tests.integration.fix_storage import Storage
from tools.config import load_config
from tools.local_server import free_port
from tools.postgres import Postgres
from tools.rootfs import RootFs

# What is not flushed on demand stays unwritten for ten seconds: a crash shows at once what nobody waited for.
_SETTINGS = {"wal_writer_delay": "10s", "shared_buffers": "64MB", "autovacuum": "off", "max_wal_size": "256MB"}


@dataclass
class OwnServer:
    """The server and one database of it. `app` is recreated when the server was killed."""

    server: Postgres
    storage: Storage
    name: str
    app: App

    def restart(self) -> App:
        """Start the server after it was killed; it recovers."""
        self.app.database.connection.close()
        self.server.start()
        self.app = App(self.storage, _connect(self.server, self.name, self.app.database.schema))
        return self.app

    def proxy(self) -> Proxy:
        return Proxy(self.app.database.connection.info.host, self.server.port)


def _connect(server: Postgres, name: str, schema: str) -> Database:
    connection = psycopg2.connect(server.dsn, dbname=name, options="-c client_min_messages=error")
    connection.autocommit = True
    return Database(connection, name, schema)


@pytest.fixture(scope="session")
def own_postgres() -> Iterator[Postgres]:
    root = RootFs(load_config().suite)
    if not root.path.exists():
        pytest.skip("TimescaleDB is not that of a root file system here")
    server = Postgres(root, f"faults-{os.getpid()}", free_port(), settings=_SETTINGS)
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def own_database(own_postgres: Postgres) -> str:
    """Make a database in it, and return its name; each test has a schema of its own."""
    name = f"restore_test_{uuid.uuid4().hex[:12]}"
    with closing(psycopg2.connect(own_postgres.dsn)) as admin:
        admin.autocommit = True
        with admin.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
    with closing(_connect(own_postgres, name, "public").connection) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    return name


@pytest.fixture
def own_server(
    monkeypatch: pytest.MonkeyPatch, storage: Storage, own_postgres: Postgres, own_database: str
) -> Iterator[OwnServer]:
    """Run the server, with a fresh schema in its database."""
    own_postgres.start()
    database = _connect(own_postgres, own_database, f"s{uuid.uuid4().hex[:8]}")
    database.execute("CREATE SCHEMA {s}")
    own = OwnServer(own_postgres, storage, own_database, app_of(monkeypatch, storage, database))
    yield own
    # A test that failed may have left it killed.
    own.restart().database.execute("DROP SCHEMA IF EXISTS {s} CASCADE")
    own.app.database.connection.close()
