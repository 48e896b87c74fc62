"""Tables that hold rows of a hypertable or belong to an extension are not targets, whatever their schema and name."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from psycopg2 import sql

from tests.integration.fix_app import Answer, App

DAY = "2025-01-01"
COLUMNS = "time timestamptz NOT NULL, d text, v int"
ROWS = 1000
# Where TimescaleDB's catalogue says what holds the compressed rows of a chunk.
COMPRESSED = (
    "SELECT n.nspname, c.relname FROM _timescaledb_catalog.compression_settings s"
    " JOIN pg_class c ON c.oid = s.compress_relid JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE s.relid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = '{s}.t'::regclass)"
)


@dataclass(frozen=True)
class Scene:
    """A hypertable `t` whose chunks lie in a schema of their own, and a role that may write to the hypertable."""

    app: App
    parts: str
    role: dict[str, Any]

    def chunk(self) -> str:
        name: str = self.app.database.value(
            "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace"
            " AND oid IN (SELECT inhrelid FROM pg_inherits)",
            self.parts,
        )
        return name

    def forged(self, schema: str, name: str) -> tuple[Answer, Answer]:
        """Replace a table's rows by copies of them: in a dry run, and in a restore."""
        database = self.app.database
        buffer = io.BytesIO()
        with database.connection.cursor() as cursor:
            table = sql.Identifier(schema, name)
            cursor.copy_expert(
                sql.SQL("COPY {} TO STDOUT (FORMAT csv, HEADER)").format(table).as_string(cursor), buffer
            )
            cursor.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = format('%%I.%%I', %s::text, %s::text)::regclass"
                " AND attnum > 0 AND NOT attisdropped AND atttypid = 'timestamptz'::regtype ORDER BY attnum LIMIT 1",
                (schema, name),
            )
            ((time,),) = cursor.fetchall()
        url = self.app.archive("t", buffer.getvalue(), day=DAY)
        destination = {
            "target_table": f"{schema}.{name}",
            "on_existing": "replace",
            "time_column": time,
            "min_rows_ratio": 0,
        }
        dry, real = (
            self.app.restore(url, destination=destination, pg=self.role, dry_run=dry_run) for dry_run in (True, False)
        )
        return dry, real


@pytest.fixture
def scene(app: App) -> Iterator[Scene]:
    yield from _scene(app)


@pytest.fixture
def community_scene(community_app: App) -> Iterator[Scene]:
    yield from _scene(community_app)


def _scene(app: App) -> Iterator[Scene]:
    database, parts = app.database, f"p{uuid.uuid4().hex[:8]}"
    database.execute(f"CREATE SCHEMA {parts}")
    database.execute(f"CREATE TABLE {{s}}.t ({COLUMNS})")
    role = database.role(
        "GRANT USAGE ON SCHEMA {s}", f"GRANT USAGE ON SCHEMA {parts}", "GRANT INSERT, SELECT, DELETE ON {s}.t"
    )
    database.execute(
        "SELECT public.create_hypertable('{s}.t', 'time', chunk_time_interval => interval '1 day',"
        f" associated_schema_name => '{parts}')"
    )
    database.execute(
        f"INSERT INTO {{s}}.t SELECT '{DAY}'::timestamptz + n * interval '1 minute', 'a', n"
        f" FROM generate_series(1, {ROWS}) n"
    )
    try:
        yield Scene(app, parts, role)
    finally:
        database.execute("DROP TABLE IF EXISTS {s}.t CASCADE")
        database.execute(f"DROP SCHEMA {parts} CASCADE")


def compressed(scene: Scene) -> tuple[str, str]:
    """Compress the chunk, and return the schema and name of the table with the compressed rows."""
    database = scene.app.database
    database.execute("ALTER TABLE {s}.t SET (timescaledb.compress, timescaledb.compress_segmentby = 'd')")
    database.execute("SELECT public.compress_chunk(c) FROM public.show_chunks('{s}.t') c")
    ((schema, name),) = database.fetch(COMPRESSED)
    return schema, name


def refused(answers: tuple[Answer, Answer], end: str) -> None:
    for answer in answers:
        assert (answer.status, answer.code) == (422, "TargetNotATable"), answer.body
        assert answer.body["error"]["message"].endswith(end)


def rows(scene: Scene) -> tuple[int, int]:
    return scene.app.database.fetch("SELECT count(*), sum(v) FROM {s}.t")[0]


def test_a_chunk_in_a_schema_of_its_own(scene: Scene) -> None:
    before = rows(scene)
    refused(scene.forged(scene.parts, scene.chunk()), f" is a chunk of {scene.app.database.schema}.t")
    assert rows(scene) == before


def test_a_chunk_that_was_moved_and_renamed(scene: Scene) -> None:
    database, before = scene.app.database, rows(scene)
    database.execute(f"ALTER TABLE {scene.parts}.{scene.chunk()} RENAME TO plain")
    refused(scene.forged(scene.parts, "plain"), f" is a chunk of {database.schema}.t")
    database.execute(f"ALTER TABLE {scene.parts}.plain SET SCHEMA {{s}}")
    refused(scene.forged(database.schema, "plain"), f" is a chunk of {database.schema}.t")
    assert rows(scene) == before


def test_a_table_by_the_name_that_a_chunk_had(scene: Scene) -> None:
    """Not the name makes a chunk."""
    database, chunk = scene.app.database, scene.chunk()
    database.execute("SELECT public.drop_chunks('{s}.t', older_than => '2026-01-01'::timestamptz)")
    database.execute(f"CREATE TABLE {scene.parts}.{chunk} ({COLUMNS})")
    url = scene.app.archive("t", f"time,d,v\n{DAY} 01:00Z,a,1\n".encode())
    answer = scene.app.restore(url, destination={"target_table": f"{scene.parts}.{chunk}"})
    assert (answer.status, database.value(f"SELECT count(*) FROM {scene.parts}.{chunk}")) == (200, 1), answer.body


@pytest.mark.community
def test_the_table_of_a_chunks_compressed_rows(community_scene: Scene) -> None:
    """Where TimescaleDB puts it, and where its owner may move it. It has the hypertable's rights."""
    scene, database = community_scene, community_scene.app.database
    schema, name = compressed(scene)
    before = rows(scene)
    end = f" holds compressed rows of {database.schema}.t"
    if not schema.startswith("_timescaledb_"):
        refused(scene.forged(schema, name), end)
    database.execute(f"ALTER TABLE {schema}.{name} SET SCHEMA {{s}}")
    database.execute(f"GRANT INSERT, SELECT, DELETE ON {{s}}.{name} TO {scene.role['user']}")
    refused(scene.forged(database.schema, name), end)
    database.execute(f"ALTER TABLE {{s}}.{name} RENAME TO plain")
    refused(scene.forged(database.schema, "plain"), end)
    like = {"mode": "staging", "create_staging_like": f"{database.schema}.plain"}
    url = scene.app.archive("t", f"time,d,v\n{DAY} 01:00Z,a,1\n".encode())
    answer = scene.app.restore(url, destination=like)
    refused((answer, answer), end)
    assert answer.body["error"]["target"] == "destination.create_staging_like"
    assert rows(scene) == before


@pytest.mark.community
def test_the_hypertable_of_compressed_rows(community_scene: Scene) -> None:
    """Before 2.29 there is one, without chunks that inherit from it."""
    scene, database = community_scene, community_scene.app.database
    compressed(scene)
    found = database.fetch(
        "SELECT h.schema_name, h.table_name FROM _timescaledb_catalog.hypertable h"
        " JOIN _timescaledb_catalog.hypertable o ON o.compressed_hypertable_id = h.id"
    )
    assert bool(found) == (database.version < (2, 29))
    for schema, name in found:
        database.execute(f"ALTER TABLE {schema}.{name} SET SCHEMA {{s}}")
        url = scene.app.archive("t", f"time,d,v\n{DAY} 01:00Z,a,1\n".encode())
        answer = scene.app.restore(url, destination={"target_table": f"{database.schema}.{name}"})
        refused((answer, answer), f" holds compressed rows of {database.schema}.t")


def test_a_table_of_an_extension(app: App) -> None:
    """By its dependency on the extension, wherever it is."""
    database = app.database
    database.execute("CREATE TABLE {s}.owned (time timestamptz NOT NULL, v int)")
    database.execute("ALTER EXTENSION timescaledb ADD TABLE {s}.owned")
    try:
        url = app.archive("owned", f"time,v\n{DAY} 01:00Z,1\n".encode())
        for dry_run in (True, False):
            answer = app.restore(url, dry_run=dry_run)
            refused((answer, answer), ".owned belongs to the extension timescaledb")
        database.execute("CREATE TABLE {s}.t (time timestamptz NOT NULL, v int)")
        like = {"mode": "staging", "create_staging_like": f"{database.schema}.owned"}
        answer = app.restore(app.archive("t", f"time,v\n{DAY} 01:00Z,1\n".encode()), destination=like)
        refused((answer, answer), ".owned belongs to the extension timescaledb")
        assert database.value("SELECT count(*) FROM {s}.owned") == 0
    finally:
        database.execute("ALTER EXTENSION timescaledb DROP TABLE {s}.owned")
