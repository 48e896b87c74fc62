"""A server of a test's own, beside the one that all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from tools.config import load_config
from tools.local_server import free_port
from tools.postgres import Postgres
from tools.rootfs import RootFs


@pytest.fixture
def server() -> Iterator[Postgres]:
    root = RootFs(load_config().suite)
    if not root.path.exists():
        pytest.skip("TimescaleDB is not that of a root file system here")
    server = Postgres(root, f"test-{os.getpid()}", free_port(), settings={"max_connections": "11"})
    server.start()
    yield server
    server.remove()


def value(server: Postgres, statement: str) -> object:
    with closing(psycopg2.connect(server.dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()[0][0] if cursor.description else None


def test_what_was_committed_survives_a_crash(server: Postgres) -> None:
    value(server, "CREATE EXTENSION timescaledb")
    value(server, "CREATE TABLE kept AS SELECT 7 AS n")
    first = server.pid
    server.kill()
    assert not server.is_running()
    assert not server.is_ready()
    server.start()
    assert server.pid != first
    assert value(server, "SELECT n FROM kept") == 7


def test_any_object_finds_the_running_server(server: Postgres) -> None:
    same = Postgres(server.root, server.name, server.port)
    assert same.pid == server.pid is not None
    same.start()
    assert same.pid == server.pid
    same.stop()
    assert not server.is_running()


def test_it_is_set_up_like_a_server_in_use(server: Postgres) -> None:
    assert value(server, "SHOW fsync") == "on"
    assert value(server, "SHOW max_connections") == "11"
    assert value(server, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") is True
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(server.dsn.replace("restore-chunk", "wrong"))
