"""A chunk's indexes come back as they were: nothing in the catalogue tells which way the day was loaded."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from dataclasses import replace

import psycopg2.errors
import pytest

from shared.errors import InternalError
from shared.process import MIB
from shared.timescale.indexes.deferred import Build, DeferredIndexes
from tests.integration.catalogue import rolled_back, snapshot
from tests.integration.fix_chunk import ONE_ROW, THE_REST, Day, plain_name

FIVE_DAYS = "INSERT INTO {s}.t SELECT '2025-01-0' || i, i, i FROM generate_series(1, 5) i"


def compare(day: Day, *, after: str = "", emptied: bool = False) -> Counter[str]:
    """Load the day both ways and hold the catalogues, and the rows as an index gives them, side by side."""
    seen = []
    for deferred in (False, True):
        with rolled_back(day.cursor):
            assert day.load(deferred=deferred, emptied=emptied) <= {"TimescaleDBVersion"}
            # Otherwise both would be plain, and the same for that.
            assert [bool(plan.deferred) for plan in day.plans] == (
                [day.database.version >= (2, 22)] if deferred else []
            )
            if after:
                day.execute(after.replace("{chunk}", day.chunk))
            day.execute("SET LOCAL enable_seqscan = off; SELECT * FROM {s}.t ORDER BY 1, 2")
            seen.append((day.cursor.fetchall(), snapshot(day.cursor, day.chunk)))
    (plain_rows, plain), (rows, fast) = seen
    assert (after, plain - fast, fast - plain) == (after, {}, {})
    assert (after, rows) == (after, plain_rows)
    return fast


def test_every_kind_of_index_comes_back(full: Day) -> None:
    assert len(compare(full)) > 100


def test_what_each_version_allows(full: Day) -> None:
    """Its table of the chunk's indexes went with 2.22, its hold on the chunk's constraints with 2.28."""
    with full.transaction():
        full.execute(ONE_ROW)
        plan = full.plan()
    version = full.database.version
    constraints = {"pk", "un"}
    everything = {plain_name(index.name) for index in plan.shape.indexes}
    allowed = everything if version >= (2, 28) else everything - constraints if version >= (2, 22) else set()
    assert len(everything) >= 12
    assert {plain_name(index.name) for index in plan.deferred} == allowed
    assert {one.code for one in plan.kept} == ({"TimescaleDBVersion"} if allowed != everything else set())


AFTERWARDS = [
    "DROP INDEX {s}.u",
    "DROP INDEX {s}.other_twin",
    "DROP INDEX {s}.e",
    "ALTER INDEX {s}.e RENAME TO renamed",
    "ALTER INDEX {s}.pk RENAME TO renamed",
    "ALTER TABLE {s}.t RENAME CONSTRAINT un TO renamed",
    "ALTER TABLE {s}.t DROP CONSTRAINT un",
    "ALTER TABLE {s}.t DROP CONSTRAINT pk; ALTER TABLE {s}.t ADD PRIMARY KEY (v, time)",
    "ALTER TABLE {s}.t ADD CONSTRAINT late UNIQUE (w, time, n)",
    "CREATE INDEX late ON {s}.t (w)",
    "ALTER TABLE {s}.t RENAME w TO z",
    "ALTER TABLE {s}.t DROP COLUMN w",
    "ALTER TABLE {s}.t ALTER w TYPE varchar(20)",
    "ALTER TABLE {s}.t REPLICA IDENTITY USING INDEX u",
    "ALTER TABLE {s}.t CLUSTER ON u",
    "INSERT INTO {s}.t VALUES ('2025-01-01', 1) ON CONFLICT DO NOTHING",
    "INSERT INTO {s}.t VALUES ('2025-01-01', 1) ON CONFLICT (time, v) DO UPDATE SET n = 3",
    "INSERT INTO {s}.t VALUES ('2025-01-01', 9, 9, 'a') ON CONFLICT (w, time) DO UPDATE SET n = 4",
    "INSERT INTO {s}.t (time, v, w) SELECT time, v, 'other' FROM {s}.t ON CONFLICT (v, time) DO NOTHING",
    "DELETE FROM {s}.t WHERE n = 2; " + THE_REST,
    "REINDEX TABLE {chunk}",
    "CREATE TABLE {s}.x (LIKE {chunk} INCLUDING ALL)",
    "SELECT public.drop_chunks('{s}.t', '2026-01-01'::timestamptz); " + ONE_ROW,
]


@pytest.mark.parametrize("statement", AFTERWARDS)
def test_what_is_done_afterwards_has_the_same_effect(full: Day, statement: str) -> None:
    if full.database.version < (2, 22):
        pytest.skip("indexes are not deferred before TimescaleDB 2.22")
    compare(full, after=statement)


@pytest.mark.community
@pytest.mark.parametrize("full", ["community_database"], indirect=True)
def test_compression_afterwards_has_the_same_effect(full: Day) -> None:
    full.execute("ALTER TABLE {s}.t SET (timescaledb.compress, timescaledb.compress_segmentby = 'v')")
    compare(full, after="SELECT public.compress_chunk('{chunk}')")
    compare(full, after="SELECT public.decompress_chunk(public.compress_chunk('{chunk}'))")


def test_an_emptied_chunk_keeps_what_its_indexes_were_given(full: Day) -> None:
    with full.transaction("COMMIT"):
        full.load(deferred=False)
        e, u, pk = (full.name_of(name) for name in ("e", "u", "pk"))
        full.execute(
            f"COMMENT ON INDEX {full.schema}.{e} IS 'it''s %s; {{{{x}}}}'; COMMENT ON INDEX {full.schema}.{pk} IS 'key'"
        )
        full.execute(f"COMMENT ON CONSTRAINT {pk} ON {full.chunk} IS 'constraint'")
        full.execute(f"ALTER INDEX {full.schema}.{e} ALTER COLUMN 1 SET STATISTICS 0")
        full.execute(f"ALTER INDEX {full.schema}.{e} ALTER COLUMN 2 SET STATISTICS 321")
        full.execute(f"ALTER TABLE {full.chunk} CLUSTER ON {u}")
        full.execute(f"ALTER INDEX {full.schema}.{pk} SET (fillfactor = 65, deduplicate_items = off)")
        full.execute(f"CREATE INDEX of_the_chunk ON {full.chunk} (v)")
    seen = "\n".join(compare(full, emptied=True))
    assert all(
        text in seen for text in ("it's %s; {x}", '"constraint"', "321", '"indisclustered": true', "of_the_chunk")
    )


def test_each_index_comes_back_to_its_tablespace(full: Day) -> None:
    """Whatever the session's default_tablespace is, and wherever the WHERE of a definition stands."""
    name = f"restore_{full.database.schema}"
    full.execute("SET allow_in_place_tablespaces = on")
    full.execute(f"CREATE TABLESPACE {name} LOCATION ''")
    try:
        with full.transaction("COMMIT"):
            full.load(deferred=False)
            for index in ("pk", "u", "e"):
                full.execute(f"ALTER INDEX {full.schema}.{full.name_of(index)} SET TABLESPACE {name}")
        full.execute(f"SET default_tablespace = {name}")
        compare(full, emptied=True)
        full.execute("RESET default_tablespace")
        compare(full, emptied=True)
    finally:
        full.execute("DROP TABLE {s}.t CASCADE")
        full.execute(f"DROP TABLESPACE {name}")


def test_what_takes_a_transaction_of_its_own(full: Day) -> None:
    """And every index holds every row, which PostgreSQL's own checker looks up."""
    full.execute("CREATE EXTENSION IF NOT EXISTS amcheck WITH SCHEMA public")
    with full.transaction("COMMIT"):
        full.load(deferred=True)
    for statement in ("VACUUM (FULL, ANALYZE) {s}.t", "CLUSTER {s}.t USING u", "REINDEX TABLE {s}.t", "VACUUM {s}.t"):
        check_trees(full)
        full.execute(statement)
    check_trees(full)
    assert full.value("SELECT count(*) FROM {s}.t") == 501
    full.execute("DROP INDEX {s}.u; ALTER TABLE {s}.t DROP CONSTRAINT pk")
    assert not {"pk", "u"} & set(full.indexes)
    full.execute("SELECT public.drop_chunks('{s}.t', '2026-01-01'::timestamptz)")
    assert full.chunks == ()


def check_trees(day: Day) -> None:
    day.execute(
        "SELECT public.bt_index_parent_check(i.indexrelid, true), i.indexrelid FROM pg_index i JOIN pg_class c"
        f" ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam WHERE indrelid = '{day.chunk}'::regclass"
        " AND amname = 'btree'"
    )
    assert day.cursor.rowcount >= 9


@pytest.mark.parametrize("key", ["(time, d)", "(d, time) WHERE d > 0", "(lower(w), time)"])
def test_a_duplicate_shows_as_it_does_plainly(bare: Day, key: str) -> None:
    bare.execute(f"ALTER TABLE {{s}}.t DROP CONSTRAINT t_pkey; CREATE UNIQUE INDEX u ON {{s}}.t {key}")
    duplicate = "INSERT INTO {s}.t SELECT '2025-01-01', 7, i, 'x' FROM generate_series(1, 2) i"
    for deferred in (False, True):
        with pytest.raises(psycopg2.errors.UniqueViolation), bare.transaction("COMMIT"):
            bare.load(deferred=deferred, statements=(ONE_ROW_OF_BARE, duplicate))
        assert bare.chunks == ()


def test_a_duplicate_of_the_primary_key(bare: Day) -> None:
    with pytest.raises(psycopg2.errors.UniqueViolation), bare.transaction("COMMIT"):
        bare.load(deferred=True, statements=(ONE_ROW_OF_BARE, ONE_ROW_OF_BARE))


def test_a_key_without_a_value_is_refused_meanwhile(bare: Day) -> None:
    no_key = "INSERT INTO {s}.t VALUES ('2025-01-01', NULL)"
    with pytest.raises(psycopg2.errors.NotNullViolation), bare.transaction("COMMIT"):
        bare.load(deferred=True, statements=(ONE_ROW_OF_BARE, no_key))


@pytest.mark.parametrize("chunk_interval", ["6 hours", "1 day", "7 days"])
def test_several_chunks(bare: Day, chunk_interval: str) -> None:
    """Those that are handed over in time, those that come with the last rows, and those that were here before."""
    bare.execute(f"SELECT public.set_chunk_time_interval('{{s}}.t', interval '{chunk_interval}')")
    bare.execute("INSERT INTO {s}.t VALUES ('2025-01-01 03:00', 0)")
    rows = [
        f"INSERT INTO {{s}}.t SELECT timestamptz '2025-01-01' + i * interval '1 minute', 1, i"
        f" FROM generate_series({first}, {last}) i"
        for first, last in ((0, 800), (801, 1500), (1501, 2999))
    ]
    seen = []
    for deferred in (False, True):
        with rolled_back(bare.cursor):
            assert bare.load(deferred=deferred, statements=rows) <= {"TimescaleDBVersion"}
            lines: Counter[str] = Counter()
            for chunk in bare.chunks:
                lines += snapshot(bare.cursor, f'"{chunk.schema}"."{chunk.name}"')
            seen.append((len(bare.chunks), bare.value("SELECT count(*) FROM {s}.t"), lines))
    assert seen[0] == seen[1]
    assert seen[0][:2] == ({"6 hours": 9, "1 day": 3, "7 days": 2}[chunk_interval], 3001)


ONE_ROW_OF_BARE = "INSERT INTO {s}.t VALUES ('2025-01-01', 1, 1, 'a')"


def test_the_settings_of_the_transaction_stay(bare: Day) -> None:
    settings = {
        "search_path": "public, pg_temp",
        "datestyle": "German",
        "intervalstyle": "sql_standard",
        "extra_float_digits": "-5",
        "maintenance_work_mem": "'33MB'",
        "max_parallel_maintenance_workers": "1",
        "quote_all_identifiers": "on",
        "default_tablespace": "pg_default",
    }
    bare.execute("CREATE INDEX p ON {s}.t (w) WHERE time > '2025-01-01 12:34:56.789' AND v > 1.23456789012345678")
    with bare.transaction("COMMIT"):
        for name, value in settings.items():
            bare.execute(f"SET LOCAL {name} = {value}")
        before = [bare.value(f"SHOW {name}") for name in settings]
        assert bare.load(deferred=True, statements=[ONE_ROW_OF_BARE], build=Build(64 * MIB, 0)) <= {
            "TimescaleDBVersion"
        }
        assert [bare.value(f"SHOW {name}") for name in settings] == before
        p = f"{bare.schema}.{bare.name_of('p')}"
    predicate = bare.value(f"SELECT pg_get_expr(indpred, indrelid) FROM pg_index WHERE indexrelid = '{p}'::regclass")
    assert "12:34:56.789" in str(predicate)
    assert "1.2345678901234567" in str(predicate)


def test_the_builds_have_the_memory_and_the_workers_that_they_were_given(bare: Day) -> None:
    if bare.database.version < (2, 22):
        pytest.skip("no index is deferred before 2.22")
    bare.execute("""
        CREATE FUNCTION {s}.look(text) RETURNS text IMMUTABLE LANGUAGE plpgsql SET search_path = '' AS $$ BEGIN
            IF current_setting('test.looks', true) = 'on' AND (current_setting('maintenance_work_mem') <> '77MB'
                OR current_setting('max_parallel_maintenance_workers') <> '0') THEN RAISE 'not as given'; END IF;
            RETURN $1; END $$; CREATE INDEX ON {s}.t ({s}.look(w))
    """)
    for build, raises in (
        (Build(77 * MIB, 0), nullcontext()),
        (Build(), pytest.raises(psycopg2.errors.RaiseException)),
    ):
        with raises, bare.transaction():
            bare.load(deferred=True, statements=[ONE_ROW_OF_BARE, "SET LOCAL test.looks = on"], build=build)


def test_others_may_write_to_the_table_meanwhile(bare: Day) -> None:
    """What is done to the chunk's indexes takes no lock on the hypertable that an INSERT does not take."""
    held = []
    for deferred in (False, True):
        with bare.transaction():
            assert bare.load(deferred=deferred, statements=[ONE_ROW_OF_BARE]) <= {"TimescaleDBVersion"}
            bare.execute(
                "SELECT relation::regclass::text, mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation IN"
                " (SELECT '{s}.t'::regclass UNION SELECT indexrelid FROM pg_index WHERE indrelid = '{s}.t'::regclass)"
            )
            held.append({lock for lock in bare.cursor.fetchall() if lock[1] != "AccessShareLock"})
    assert held[0] == held[1] != set()


def test_twins_come_back_in_their_order(bare: Day) -> None:
    bare.execute(ONE_ROW_OF_BARE)
    bare.execute("CREATE INDEX y ON {s}.t (v); CREATE INDEX x ON {s}.t (v)")
    before = bare.indexes
    assert before[-2:] == ["y", "x"]
    with bare.transaction():
        bare.execute(f"TRUNCATE {bare.chunk}")
        shape = bare.plan().shape
        *rest, y, x = shape.indexes
        assert not replace(shape, indexes=(*rest, x, y)).equals(shape)
        assert bare.load(deferred=True, statements=[ONE_ROW_OF_BARE], emptied=True) <= {"TimescaleDBVersion"}
        assert bare.indexes[-2:] == ["y", "x"]


def test_a_chunk_that_changed_meanwhile_is_noticed(bare: Day) -> None:
    if bare.database.version < (2, 22):
        pytest.skip("no index is deferred before 2.22")
    with bare.transaction():
        indexes = DeferredIndexes(bare.cursor, bare.table)
        bare.execute(ONE_ROW_OF_BARE)
        indexes.drop(bare.chunks)
        indexes.drop(bare.chunks)
        assert len(indexes.plans) == 1
        bare.execute(f"ALTER TABLE {bare.chunk} SET (autovacuum_enabled = off)")
        with pytest.raises(InternalError):
            indexes.rebuild()
