"""The recipe that this project was asked to better, as a program of its own.

    python -m benchmarks.recipe STORAGE-VARIABLE FILESYSTEM PATH

It downloads the archive to a temporary file, unpacks that to a second one, copies it to an unlogged table with all of
the target's indexes, and inserts from there what is not in conflict. PostgreSQL is libpq's default, by its variables.
"""

from __future__ import annotations

import gzip
import os
import shutil
import sys
import tempfile
from contextlib import closing

import psycopg2
from azure.storage.blob import BlobServiceClient

_STAGING = "CREATE UNLOGGED TABLE silver.staging (LIKE silver.telemetry INCLUDING ALL)"
_COPY = "COPY silver.staging FROM STDIN WITH (FORMAT csv, HEADER)"
_INSERT = "INSERT INTO silver.telemetry SELECT * FROM silver.staging ON CONFLICT DO NOTHING"
_DROP = "DROP TABLE silver.staging"


def main(storage: str, filesystem: str, path: str) -> None:
    """Put the day back.

    Args:
        storage: connection string of the storage account.
        filesystem: name of the file system.
        path: of the archive in it.
    """
    with tempfile.NamedTemporaryFile(suffix=".csv.gz") as packed, tempfile.NamedTemporaryFile(suffix=".csv") as plain:
        with BlobServiceClient.from_connection_string(storage) as service:
            service.get_blob_client(filesystem, path).download_blob().readinto(packed)
        packed.seek(0)
        with gzip.open(packed) as unpacked:
            shutil.copyfileobj(unpacked, plain)
        plain.seek(0)
        with closing(psycopg2.connect("")) as connection, connection, connection.cursor() as cursor:
            cursor.execute(_STAGING)
            cursor.copy_expert(_COPY, plain)
            cursor.execute(_INSERT)
            cursor.execute(_DROP)


if __name__ == "__main__":
    main(os.environ[sys.argv[1]], *sys.argv[2:])
