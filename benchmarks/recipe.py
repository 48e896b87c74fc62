"""The recipe that this project was asked to better, as a program of its own.

    python -m benchmarks.recipe FILESYSTEM PATH

It downloads the archive to a temporary file, decompresses that into a second one, copies it to an unlogged table with
all of the target's indexes, and inserts from there what does not conflict. `ADLS_CONNECTION_STRING` names the storage
account, and libpq's variables name the database.
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

with tempfile.NamedTemporaryFile(suffix=".csv.gz") as packed, tempfile.NamedTemporaryFile(suffix=".csv") as plain:
    with BlobServiceClient.from_connection_string(os.environ["ADLS_CONNECTION_STRING"]) as service:
        service.get_blob_client(sys.argv[1], sys.argv[2]).download_blob().readinto(packed)
    packed.seek(0)
    with gzip.open(packed) as unpacked:
        shutil.copyfileobj(unpacked, plain)
    plain.seek(0)
    with closing(psycopg2.connect("")) as connection, connection, connection.cursor() as cursor:
        cursor.execute("CREATE UNLOGGED TABLE silver.staging (LIKE silver.telemetry INCLUDING ALL)")
        cursor.copy_expert("COPY silver.staging FROM STDIN WITH (FORMAT csv, HEADER)", plain)
        cursor.execute("INSERT INTO silver.telemetry SELECT * FROM silver.staging ON CONFLICT DO NOTHING")
        cursor.execute("DROP TABLE silver.staging")
