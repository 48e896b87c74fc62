"""Where the sample day is stored and restored: an archive in the storage account, and its hypertable."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobServiceClient
from psycopg2 import sql
from psycopg2.extensions import make_dsn

from tools.azurite import ACCOUNT
from tools.config import WORK
from tools.sample_day import DAY, DEVICES, write_sample_day

# The demo empties the day in this database, so no database of a user's own may have this name.
DATABASE = "restore_chunk_demo"
FILESYSTEM = "archive"
_BLOB = f"backups/{DATABASE}/silver.telemetry.{{}}.csv.gz"
BLOB = _BLOB.format(f"{DAY:%Y-%m-%d}")
PATTERN = _BLOB.format("{date}")

_CREATE = """
    CREATE EXTENSION IF NOT EXISTS timescaledb;
    CREATE SCHEMA IF NOT EXISTS silver;
    CREATE TABLE IF NOT EXISTS silver.telemetry (
        ts timestamptz NOT NULL,
        device_id text NOT NULL,
        temperature double precision,
        humidity double precision,
        battery double precision,
        status integer,
        message text,
        PRIMARY KEY (device_id, ts)
    );
    SELECT create_hypertable('silver.telemetry', by_range('ts', interval '1 day'), if_not_exists => true)
"""
_DELETE = "DELETE FROM silver.telemetry WHERE ts >= %(begin)s AND ts < %(end)s"
_COUNT = "SELECT count(*) FROM silver.telemetry WHERE ts >= %(begin)s AND ts < %(end)s"
_SAMPLE = """SELECT * FROM silver.telemetry
   WHERE ts >= %(begin)s AND ts < %(end)s ORDER BY ts, device_id LIMIT 5"""


def adls_url(storage: str, blob: str = BLOB, filesystem: str = FILESYSTEM) -> str:
    """Return the URL of an archive in the account of a connection string."""
    return f"abfss://{filesystem}@{account_host(storage)}/{quote(blob)}"


def account_host(storage: str) -> str:
    """Return the host that an archive's URL names for the account of a connection string."""
    named = dict(part.split("=", 1) for part in storage.split(";") if "=" in part)
    return f"{named.get('AccountName', ACCOUNT)}.dfs.core.windows.net"


def upload_sample_day(storage: str, devices: int = DEVICES) -> int:
    """Upload the sample day to the storage account; generate it first if it is missing.

    Args:
        storage: connection string of the account.
        devices: how many devices report; the day has 1,440 times as many rows.

    Returns:
        The size of the archive in bytes.
    """
    path = WORK / "sample" / str(devices) / Path(BLOB).name
    if not path.exists():
        write_sample_day(path, devices=devices)
    return upload(storage, path, BLOB)


def upload(storage: str, file: Path, blob: str, filesystem: str = FILESYSTEM) -> int:
    """Upload a file to the storage account.

    Args:
        storage: connection string of the account.
        file: what to upload.
        blob: its path in the file system.
        filesystem: made where it is missing.

    Returns:
        The size of the file in bytes.
    """
    with BlobServiceClient.from_connection_string(storage) as service:
        container = service.get_container_client(filesystem)
        with suppress(ResourceExistsError):
            container.create_container()
        with file.open("rb") as archive:
            container.upload_blob(blob, archive, overwrite=True)
    return file.stat().st_size


def prepare_table(dsn: str) -> str:
    """Create the demo's database and hypertable if they are missing, and empty the day.

    Args:
        dsn: connection string of a role that may create databases.

    Returns:
        The connection string of the demo's database.
    """
    exists, _ = _query(dsn, sql.SQL("SELECT FROM pg_database WHERE datname = %(name)s"), {"name": DATABASE})
    if not exists:
        # Not from template1: TimescaleDB's launcher connects to it now and then, and CREATE DATABASE then fails.
        _query(dsn, sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(DATABASE)))
    demo_dsn = make_dsn(dsn, dbname=DATABASE)
    _query(demo_dsn, sql.SQL(_CREATE))
    empty_days(demo_dsn)
    return demo_dsn


def empty_days(demo_dsn: str, first: datetime = DAY, days: int = 1) -> None:
    """Remove the rows of some days from the hypertable."""
    _query(demo_dsn, sql.SQL(_DELETE), _bounds(first, days))


def count_rows(demo_dsn: str, first: datetime = DAY, days: int = 1) -> int:
    """Return how many rows some days have in the hypertable."""
    rows, _ = _query(demo_dsn, sql.SQL(_COUNT), _bounds(first, days))
    return int(rows[0][0])


def first_rows(demo_dsn: str) -> str:
    """Return a SELECT as a person would write it, and its result below it."""
    bounds = _bounds(DAY, 1)
    rows, names = _query(demo_dsn, sql.SQL(_SAMPLE), bounds)
    shown = [names, *([_shown(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in shown) for column in range(len(names))]
    lines = (" | ".join(map(str.ljust, row, widths)).rstrip() for row in shown)
    return "\n   ".join([_SAMPLE % {name: f"'{value}'" for name, value in bounds.items()}, *lines])


def _bounds(first: datetime, days: int) -> dict[str, str]:
    return {"begin": f"{first:%Y-%m-%d}Z", "end": f"{first + timedelta(days=days):%Y-%m-%d}Z"}


def _shown(value: Any) -> str:
    return "NULL" if value is None else str(value).replace("\n", "\\n")


def _query(
    dsn: str, statement: sql.Composable, values: Mapping[str, str] | None = None
) -> tuple[list[tuple[Any, ...]], list[str]]:
    """Run one statement; return its rows and the names of its columns."""
    with closing(psycopg2.connect(dsn, connect_timeout=10)) as connection:
        # CREATE DATABASE refuses to run in a transaction block.
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            if cursor.description is None:
                return [], []
            return cursor.fetchall(), [column.name for column in cursor.description]
