"""Chunks that are compressed in the transaction that made them, on a community edition of TimescaleDB."""

from __future__ import annotations

import re
from contextlib import closing

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class, whatever psycopg2 calls it

from shared.names import QualifiedName
from shared.timescale import compression
from shared.timescale.chunks import Chunk, all_chunks
from shared.timescale.compression import compress_new_chunks
from shared.timescale.table import find_table
from tests.integration.fix_compressing_load import NAME, ROWS, CompressingLoad, T

pytestmark = pytest.mark.community

KEY = 'CREATE UNIQUE INDEX u ON {t} ("Dev 50%", time)'
COMPRESSED = (
    "(SELECT oid FROM pg_class WHERE relname LIKE '%compress%' AND relkind = 'r'"
    " AND relnamespace = '_timescaledb_internal'::regnamespace) c"
)


def status(compressing_load: CompressingLoad) -> object:
    return compressing_load.value(
        "SELECT c.status FROM _timescaledb_catalog.chunk c JOIN _timescaledb_catalog.hypertable h"
        " ON h.id = c.hypertable_id WHERE h.schema_name = '{s}'".replace(
            "'{s}'", f"'{compressing_load.database.schema}'"
        )
    )


def test_rows_are_packed_before_the_indexes_are_built(compressing_load: CompressingLoad) -> None:
    compressing_load.execute(KEY)
    assert compressing_load.day(ROWS) == [("compress", "done")]
    assert compressing_load.was_compressed
    assert status(compressing_load) == 1
    assert compressing_load.value("SELECT sum(v)::int FROM {t}") == 6252500
    with pytest.raises(psycopg2.errors.UniqueViolation):
        compressing_load.execute("INSERT INTO {t} SELECT * FROM {t} LIMIT 1")
    compressing_load.execute("INSERT INTO {t} SELECT * FROM {t} ON CONFLICT DO NOTHING")
    assert compressing_load.cursor.rowcount == 0


# 1000 rows make a batch: a key that stands on both sides of its end is seen as well.
@pytest.mark.parametrize("position", [1, 999, 1000, 1001, 1500, 1501, 2000, 2500])
def test_a_key_that_occurs_twice_is_postgresqls_error(compressing_load: CompressingLoad, position: int) -> None:
    compressing_load.execute(KEY)
    # `DROP SCHEMA ... CASCADE` of another test leaves some, however they were made.
    before = compressing_load.value(f"SELECT count(*) FROM {COMPRESSED}")

    def prepare() -> None:
        compressing_load.drop_indexes()
        compressing_load.execute(f"INSERT INTO {{t}} SELECT * FROM {{t}} WHERE v = {position} AND \"Dev 50%\" = 'd2'")

    with pytest.raises(psycopg2.errors.UniqueViolation):
        compressing_load.day(ROWS, prepare=prepare)
    assert compressing_load.was_compressed is False
    assert compressing_load.chunks == ()
    assert compressing_load.value(f"SELECT count(*) FROM {COMPRESSED}") == before


@pytest.mark.parametrize(
    ("key", "is_error"),
    [
        ("CREATE UNIQUE INDEX u ON {t} (w, time)", False),
        ("CREATE UNIQUE INDEX u ON {t} (w, time) NULLS NOT DISTINCT", True),
    ],
)
def test_nulls_are_as_the_index_has_them(compressing_load: CompressingLoad, key: str, *, is_error: bool) -> None:
    compressing_load.execute(key)
    nulls = "INSERT INTO {t} SELECT '2025-01-01Z', 'd1', 1, NULL FROM generate_series(1, 2)"

    def prepare() -> None:
        compressing_load.drop_indexes()
        compressing_load.execute(nulls)

    if is_error:
        with pytest.raises(psycopg2.errors.UniqueViolation):
            compressing_load.day(ROWS, prepare=prepare)
        assert compressing_load.was_compressed is False
    else:
        assert compressing_load.day(ROWS, prepare=prepare) == [("compress", "done")]
        assert compressing_load.was_compressed


@pytest.mark.parametrize(
    "key",
    [
        "CREATE UNIQUE INDEX u ON {t} (v, time) WHERE v > 3",
        'CREATE UNIQUE INDEX u ON {t} ((v / 2), "Dev 50%", w, time)',
        'CREATE UNIQUE INDEX u ON {t} ("Dev 50%" text_pattern_ops, time)',
        'CREATE UNIQUE INDEX u ON {t} ("Dev 50%" COLLATE "C", time)',
    ],
)
def test_what_no_query_can_prove_is_built_first(compressing_load: CompressingLoad, key: str) -> None:
    compressing_load.execute(key)
    one_each = ROWS.replace("(1, 2) k", "(1, 1) k")
    assert compressing_load.day(one_each) == [("compress", "done")]
    assert compressing_load.was_compressed is False
    assert status(compressing_load) == 1


def test_the_compressed_part_is_the_same_as_by_hand(compressing_load: CompressingLoad) -> None:
    """Its filters follow the indexes of the hypertable, although the chunk has none."""
    compressing_load.execute("CREATE INDEX i ON {t} (v)")
    shape = (
        "SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)"
        f" FROM pg_attribute a WHERE a.attnum > 0 AND a.attrelid = (SELECT max(oid) FROM {COMPRESSED})"
    )
    indexes = "SELECT string_agg(pg_get_indexdef(indexrelid), ', ' ORDER BY 1) FROM pg_index WHERE indrelid = "
    found = []
    for deferred in (True, False):
        compressing_load.execute("TRUNCATE {t}")
        compressing_load.definitions.clear()
        if deferred:
            compressing_load.day(ROWS)
        else:
            compressing_load.execute(ROWS)
            compressing_load.execute("SELECT public.compress_chunk(c) FROM public.show_chunks('{t}') c")
        (chunk,) = compressing_load.chunks
        indexes_of_chunk = f"{indexes}'{chunk.schema}.{chunk.name}'::regclass"
        built = re.sub(r"_hyper_\d+_\d+", "_hyper", str(compressing_load.value(indexes_of_chunk)))
        found.append((compressing_load.value(shape), built, status(compressing_load)))
    assert found[0] == found[1]
    assert "bloom" in str(found[0][0]), found


def test_a_chunk_that_another_transaction_made_is_left_alone(compressing_load: CompressingLoad) -> None:
    other = "INSERT INTO {t} SELECT '2025-01-01 05:00Z', 'other', i, i FROM generate_series(1, 60) i"
    # Its DSN shows the password as xxx.
    first = compressing_load.database.connection
    with (
        closing(psycopg2.connect(first.dsn, password=first.info.password)) as second,
        compressing_load.transaction("COMMIT"),
    ):
        compressing_load.execute("SELECT count(*) FROM {t}")
        _run(second, compressing_load, other)
        compressing_load.execute(ROWS)
        assert compressing_load.chunks == ()
        load_of_all = _chunks_of(second, compressing_load)
        table = compressing_load.table
        assert table.timescaledb is not None
        steps = compress_new_chunks(
            compressing_load.cursor, table.timescaledb, table, load_of_all, compressing_load.rebuild
        )
        assert [(step.action, step.outcome) for step in steps] == [("compress", "not available")]
    assert status(compressing_load) == 0
    assert compressing_load.value("SELECT count(*) FROM {t}") == 5060


def _run(connection: Connection, compressing_load: CompressingLoad, statement: str) -> None:
    with connection, connection.cursor() as cursor:
        cursor.execute(compressing_load.database._in_schema(statement.replace("{t}", T)))


def _chunks_of(connection: Connection, compressing_load: CompressingLoad) -> tuple[Chunk, ...]:
    with connection, connection.cursor() as cursor:
        return all_chunks(cursor, find_table(cursor, QualifiedName(schema=compressing_load.database.schema, name=NAME)))


def test_a_chunk_that_was_there_before_is_left_alone(compressing_load: CompressingLoad) -> None:
    compressing_load.execute(ROWS)
    assert compressing_load.day(prepare=lambda: None) == [("compress", "not available")]
    assert status(compressing_load) == 0


def test_the_sort_leaves_the_settings_of_the_indexes_alone(compressing_load: CompressingLoad) -> None:
    with compressing_load.transaction("COMMIT"):
        compressing_load.execute("SET LOCAL maintenance_work_mem = '77MB'")
        compressing_load.execute(ROWS)
        compressing_load.compress()
        assert compressing_load.value("SELECT current_setting('maintenance_work_mem')") == "77MB"
    assert status(compressing_load) == 1


def test_chunks_that_would_be_merged_are_left_alone(compressing_load: CompressingLoad) -> None:
    compressing_load.execute("ALTER TABLE {t} SET (timescaledb.compress_chunk_time_interval = '2 days')")
    assert compressing_load.day(ROWS) == [("compress", "not available")]
    assert status(compressing_load) == 0
    assert compressing_load.was_compressed is False


def test_rows_that_compression_loses_are_not_lost(
    compressing_load: CompressingLoad, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No TimescaleDB is known that does so. What counts the rows is made to see it."""
    counts = iter([5000, 4999])
    monkeypatch.setattr(compression, "count_rows", lambda *_: next(counts))
    compressing_load.execute(KEY)
    assert compressing_load.day(ROWS) == [("compress", "failed")]
    assert compressing_load.was_compressed is False
    assert compressing_load.value("SELECT count(*) FROM {t}") == 5000


def test_what_the_server_refuses_does_not_end_the_load(compressing_load: CompressingLoad) -> None:
    role = compressing_load.database.role("GRANT USAGE ON SCHEMA {s}", f"GRANT SELECT, INSERT ON {T}")
    with closing(
        psycopg2.connect(compressing_load.database.connection.dsn, user=role["user"], password=role["password"])
    ) as own:
        own.autocommit = True
        with closing(own.cursor()) as cursor:
            limited = CompressingLoad(compressing_load.database, cursor)
            with limited.transaction("COMMIT"):
                limited.execute(ROWS)
                (step,) = limited.compress()
    assert (step.action, step.outcome) == ("compress", "failed")
    assert step.error is not None
    assert step.error.code == "DatabasePermissionDenied"
    assert compressing_load.value("SELECT count(*) FROM {t}") == 5000
    assert status(compressing_load) == 0
