"""A PostgreSQL whose certificate a private authority signed, for `localhost` and for nobody else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest
import trustme

from tests.integration.fix_app import App, app_of
from tests.integration.fix_database import Database
from tests.integration.fix_storage import Storage
from tools.config import load_config
from tools.local_server import free_port
from tools.postgres import Postgres
from tools.rootfs import RootFs

TABLE = "time timestamptz NOT NULL, v int"
CSV = b"time,v\n2025-01-01 00:00:00+00,1\n2025-01-01 00:00:01+00,2\n"


@dataclass(frozen=True)
class TlsApp(App):
    """A function app whose database has a real certificate. `authority` is the file that knows its signer."""

    authority: Path

    @property
    def pg(self) -> dict[str, object]:
        """The `pg` of a request that names the host as the certificate does."""
        return self.database.pg | {"host": "localhost"}

    def day(self) -> str:
        """Make the table anew, and store a day of it; return its `adls_url`."""
        self.database.execute("DROP TABLE IF EXISTS {s}.t")
        self.database.hypertable("t", TABLE)
        return self.archive("t", CSV)


@pytest.fixture(scope="session")
def tls_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Postgres, Path]]:
    root = RootFs(load_config().suite)
    if not root.path.exists():
        pytest.skip("TimescaleDB is not that of a root file system here")
    server = Postgres(root, f"tls-{os.getpid()}", free_port(), settings={"shared_buffers": "64MB"})
    server.create()
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    (server.data / "server.key").write_bytes(certificate.private_key_pem.bytes())
    (server.data / "server.crt").write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    known = tmp_path_factory.mktemp("tls") / "authority.pem"
    authority.cert_pem.write_to_path(str(known))
    server.start()
    yield server, known
    server.remove()


@pytest.fixture
def tls_app(monkeypatch: pytest.MonkeyPatch, storage: Storage, tls_postgres: tuple[Postgres, Path]) -> Iterator[TlsApp]:
    server, authority = tls_postgres
    with closing(psycopg2.connect(server.dsn, options="-c client_min_messages=error")) as connection:
        connection.autocommit = True
        database = Database(connection, "postgres", "s")
        database.execute("CREATE EXTENSION IF NOT EXISTS timescaledb; CREATE SCHEMA IF NOT EXISTS {s}")
        app = app_of(monkeypatch, storage, database)
        yield TlsApp(app.storage, app.database, authority)
        for role in database.roles:
            database.execute(f"DROP OWNED BY {role}")
            database.execute(f"DROP ROLE {role}")
