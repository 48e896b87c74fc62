"""What keeps an index where it is, each reason by a table that has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import psycopg2
import pytest

from shared.timescale.indexes.eligibility import table_rule
from tests.integration.fix_chunk import Day, plain_name

ROW = "INSERT INTO {s}.t VALUES ('2025-01-01', 1, 1, 'a')"


def kept(day: Day) -> dict[str | None, str]:
    """The code for each index that is kept, by its name on the hypertable; None is all of them."""
    plan = day.plan()
    codes = {one.index and plain_name(one.index): one.code for one in plan.kept}
    names = {plain_name(index.name) for index in plan.shape.indexes}
    deferred = {plain_name(index.name) for index in plan.deferred}
    assert deferred == (set() if None in codes else names - codes.keys())
    return codes


def of_version(day: Day, expected: dict[str | None, str], *constraints: str) -> dict[str | None, str]:
    """What is expected where the version allows all, as the version of this server has it."""
    if day.database.version < (2, 22) and None not in expected:
        return dict.fromkeys([plain_name(index.name) for index in day.plan().shape.indexes], "TimescaleDBVersion")
    if day.database.version < (2, 28) and None not in expected:
        return expected | dict.fromkeys(constraints, "TimescaleDBVersion")
    return expected


def test_nothing_is_kept_without_a_reason(bare: Day) -> None:
    with bare.transaction():
        bare.execute(ROW)
        assert kept(bare) == of_version(bare, {}, "t_pkey")


def test_a_chunk_that_others_can_see(bare: Day) -> None:
    bare.execute(ROW)
    with bare.transaction():
        assert kept(bare) == {None: "NotOwnChunk"}
        bare.execute(ROW.replace("1, 1", "2, 1"))
        assert kept(bare) == {None: "NotOwnChunk"}
        bare.execute(f"TRUNCATE {bare.chunk}")
        assert kept(bare) == of_version(bare, {}, "t_pkey")


def test_a_chunk_that_was_not_emptied(bare: Day) -> None:
    """Whatever locked it: the rows that a DELETE leaves take the time of each build."""
    bare.execute("INSERT INTO {s}.t SELECT '2025-01-01', i, i, repeat('x', 200) FROM generate_series(1, 20000) i")
    with bare.transaction():
        bare.execute(f"LOCK {bare.chunk}; DELETE FROM {{s}}.t")
        assert kept(bare) == {None: "ChunkNotEmpty"}
        bare.execute(f"TRUNCATE {bare.chunk}")
        assert kept(bare) == of_version(bare, {}, "t_pkey")


@pytest.mark.community
@pytest.mark.parametrize("bare", ["community_database"], indirect=True)
def test_a_compressed_chunk(bare: Day) -> None:
    bare.execute("ALTER TABLE {s}.t SET (timescaledb.compress, timescaledb.compress_segmentby = 'd')")
    with bare.transaction():
        bare.execute(ROW)
        bare.execute(f"SELECT public.compress_chunk('{bare.chunk}')")
        assert kept(bare) == {None: "ChunkCompressed"}


@contextmanager
def as_role(day: Day, role: str) -> Iterator[Day]:
    """Do as a role that is not a superuser."""
    pg = day.database.pg | {"user": role, "password": "only-for-tests", "dbname": day.database.name}
    with closing(psycopg2.connect(**pg)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield Day(day.database, cursor)


def test_what_the_role_must_be_allowed(bare: Day) -> None:
    """PostgreSQL asks for CREATE on the schema in which an index is made, of the table's owner as well."""
    writer, owner = (str(bare.database.role("GRANT USAGE ON SCHEMA {s}")["user"]) for _ in range(2))
    bare.execute(f"GRANT SELECT, INSERT ON {{s}}.t TO {writer}; ALTER TABLE {{s}}.t OWNER TO {owner}")
    for role, expected in ((writer, "MissingOwnership"), (owner, "MissingCreate")):
        with as_role(bare, role) as day, day.transaction():
            day.execute(ROW)
            assert kept(day) == {None: expected}
            day.load(deferred=True, statements=[])
    bare.execute(f"GRANT CREATE ON SCHEMA _timescaledb_internal TO {owner}")
    with as_role(bare, owner) as day, day.transaction("COMMIT"):
        day.load(deferred=True, statements=[ROW, ROW.replace("1, 1", "2, 1")])
        assert kept(day) == of_version(day, {}, "t_pkey")
    assert bare.value("SELECT count(*) FROM {s}.t") == 2


def test_a_tablespace_that_the_role_may_not_use(bare: Day) -> None:
    name = f"restore_{bare.database.schema}"
    owner = bare.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT CREATE ON SCHEMA _timescaledb_internal")["user"]
    bare.execute("SET allow_in_place_tablespaces = on")
    bare.execute(f"CREATE TABLESPACE {name} LOCATION ''")
    try:
        bare.execute(f"CREATE INDEX apart ON {{s}}.t (v) TABLESPACE {name}; ALTER TABLE {{s}}.t OWNER TO {owner}")
        with as_role(bare, str(owner)) as day, day.transaction():
            day.execute(ROW)
            assert kept(day) == of_version(day, {"apart": "MissingCreate"}, "t_pkey")
    finally:
        bare.execute("DROP TABLE {s}.t CASCADE")
        bare.execute(f"DROP TABLESPACE {name}")


def test_event_triggers(bare: Day) -> None:
    name = bare.database.schema
    bare.execute(
        "CREATE FUNCTION {s}.note() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        f" CREATE EVENT TRIGGER {name} ON ddl_command_end EXECUTE FUNCTION {{s}}.note()"
    )
    with bare.transaction():
        bare.execute(ROW)
        assert kept(bare) == {None: "EventTrigger"}
        # TimescaleDB's own are not a reason; those of an extension that nobody knows are.
        bare.execute(f"CREATE EXTENSION IF NOT EXISTS bloom; ALTER EXTENSION bloom ADD EVENT TRIGGER {name}")
        assert kept(bare) == {None: "EventTrigger"}
        bare.execute(f"ALTER EVENT TRIGGER {name} DISABLE")
        assert kept(bare) == of_version(bare, {}, "t_pkey")


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        ("own BEFORE INSERT ON {s}.t FOR EACH ROW", {None: "Trigger"}),
        ("own AFTER INSERT OR UPDATE ON {s}.t FOR EACH STATEMENT", {None: "Trigger"}),
        ("own AFTER UPDATE OR DELETE ON {s}.t FOR EACH ROW", {}),
        # Called as one of TimescaleDB's own.
        ("ts_cagg_invalidation_trigger AFTER INSERT ON {s}.t FOR EACH ROW", {None: "Trigger"}),
    ],
)
def test_triggers(bare: Day, trigger: str, expected: dict[str | None, str]) -> None:
    bare.execute("CREATE FUNCTION {s}.pass() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'")
    bare.execute(f"CREATE TRIGGER {trigger} EXECUTE FUNCTION {{s}}.pass()")
    with bare.transaction():
        bare.execute(ROW)
        assert kept(bare) == of_version(bare, expected, "t_pkey")


@pytest.mark.parametrize(("when", "expected"), [("DEFERRED", {None: "DeferredConstraint"}), ("IMMEDIATE", {})])
def test_foreign_keys_of_the_table(bare: Day, when: str, expected: dict[str | None, str]) -> None:
    bare.execute(
        "CREATE TABLE {s}.devices (d int PRIMARY KEY); INSERT INTO {s}.devices VALUES (1); ALTER TABLE {s}.t"
        f" ADD FOREIGN KEY (d) REFERENCES {{s}}.devices DEFERRABLE INITIALLY {when}"
    )
    with bare.transaction("COMMIT"):
        bare.load(deferred=True, statements=[ROW])
        assert kept(bare) == of_version(bare, expected, "t_pkey")


@pytest.mark.parametrize(
    ("statement", "code", "constraint"),
    [
        ("ALTER TABLE {s}.t ADD CONSTRAINT x EXCLUDE USING btree (time WITH =, v WITH =)", "ExclusionConstraint", True),
        ("ALTER TABLE {s}.t ADD CONSTRAINT x UNIQUE (time, v) DEFERRABLE", "DeferrableConstraint", True),
        (
            "CREATE EXTENSION IF NOT EXISTS bloom SCHEMA public; CREATE INDEX x ON {s}.t USING bloom (d)",
            "AccessMethod",
            0,
        ),
        (
            "CREATE UNIQUE INDEX x ON {s}.t (d, time); ALTER TABLE {s}.t REPLICA IDENTITY USING INDEX x",
            "ReplicaIdentity",
            False,
        ),
    ],
)
def test_indexes_of_the_table(bare: Day, statement: str, code: str, constraint: bool) -> None:
    bare.execute(statement)
    with bare.transaction():
        bare.execute(ROW)
        assert kept(bare) == of_version(bare, {"x": code}, "t_pkey", *(["x"] if constraint else []))


@pytest.mark.parametrize(
    ("statement", "name", "code"),
    [
        ("UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{time}'::regclass", "t_time_idx", "InvalidIndex"),
        ("ALTER INDEX {time} DEPENDS ON EXTENSION timescaledb", "t_time_idx", "Dependency"),
        ("CREATE VIEW {s}.v AS SELECT time, d, v FROM {chunk} GROUP BY time, d", "t_pkey", "DependedOn"),
        ("CREATE TABLE {s}.o (x timestamptz, y int, FOREIGN KEY (x, y) REFERENCES {chunk})", "t_pkey", "DependedOn"),
        ("CREATE TABLE {s}.o (x timestamptz, y int, FOREIGN KEY (x, y) REFERENCES {s}.t)", "t_pkey", "DependedOn"),
    ],
)
def test_indexes_of_the_chunk(bare: Day, statement: str, name: str, code: str) -> None:
    with bare.transaction():
        bare.execute(ROW)
        time = f"{bare.schema}.{bare.name_of('t_time_idx')}"
        bare.execute(statement.replace("{time}", time).replace("{chunk}", bare.chunk))
        assert kept(bare) == of_version(bare, {name: code}, "t_pkey")


def test_statistics_of_an_expression(bare: Day) -> None:
    bare.execute("CREATE INDEX x ON {s}.t ((v * 2)); CREATE INDEX y ON {s}.t (v)")
    bare.execute(ROW)
    bare.execute("ANALYZE {s}.t")
    with bare.transaction():
        bare.execute(f"TRUNCATE {bare.chunk}")
        assert kept(bare) == of_version(bare, {"x": "Statistics"}, "t_pkey")


def test_an_index_that_could_not_be_built_again(bare: Day) -> None:
    """It alone is kept, and two that are equal are not taken for such."""
    bare.execute(ROW)
    bare.execute("""
        CREATE FUNCTION {s}.fails(float8) RETURNS float8 IMMUTABLE LANGUAGE plpgsql SET search_path = '' AS $$ BEGIN
            IF current_setting('test.fails', true) = 'on' THEN RAISE 'on purpose'; END IF; RETURN $1; END $$;
        CREATE INDEX x ON {s}.t ({s}.fails(v)); CREATE INDEX y ON {s}.t (w); CREATE INDEX z ON {s}.t (w)
    """)
    with bare.transaction():
        bare.execute(f"TRUNCATE {bare.chunk}; {ROW}; SET LOCAL test.fails = on")
        assert kept(bare) == of_version(bare, {"x": "NotRepeatable"}, "t_pkey")


_BY_PATH = "LANGUAGE plpgsql AS 'BEGIN RETURN {body}; END'"


@pytest.mark.parametrize(
    ("kind", "index", "is_kept"),
    [
        (_BY_PATH, "({s}.f(v))", True),
        (_BY_PATH, "(v) WHERE {s}.f(v) > 1", True),
        (_BY_PATH, "((v OPERATOR({s}.<+>) 1))", True),
        (_BY_PATH, "(v {s}.own_ops)", True),
        (_BY_PATH.replace("AS", "SET search_path = {s} AS"), "({s}.f(v))", False),
        ("LANGUAGE sql RETURN {body}", "({s}.f(v))", False),
    ],
)
def test_a_function_that_finds_names_by_the_search_path(bare: Day, kind: str, index: str, is_kept: bool) -> None:
    """On PostgreSQL 17 and newer its index fails when it is built (42883), where an INSERT works.

    Not yet when it is tried: the first row has no value to call it for.
    """

    def function(signature: str, body: str) -> str:
        return f"CREATE FUNCTION {{s}}.{signature} IMMUTABLE STRICT {kind.replace('{body}', body)}"

    bare.execute(f"""
        SET search_path = {{s}};
        CREATE FUNCTION {{s}}.twice(float8) RETURNS float8 IMMUTABLE LANGUAGE sql RETURN $1 * 2;
        {function("f(float8) RETURNS float8", "twice($1)")};
        {function("g(float8, float8) RETURNS float8", "twice($1) + $2")};
        {function("cmp(float8, float8) RETURNS int", "sign(twice($1) - twice($2))::int")};
        CREATE OPERATOR {{s}}.<+> (LEFTARG = float8, RIGHTARG = float8, FUNCTION = {{s}}.g);
        CREATE OPERATOR CLASS {{s}}.own_ops FOR TYPE float8 USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =,
            OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 {{s}}.cmp(float8, float8);
        CREATE INDEX x ON {{s}}.t {index}
    """)
    try:
        with bare.transaction():
            bare.load(
                deferred=True, statements=[ROW.replace("1, 1", f"{n}, {v}") for n, v in ((1, "NULL"), (2, 2), (3, 3))]
            )
            assert kept(bare) == of_version(bare, {"x": "FunctionBySearchPath"} if is_kept else {}, "t_pkey")
    finally:
        bare.execute("RESET search_path")


def test_a_key_without_overlaps(bare: Day) -> None:
    if bare.database.connection.server_version < 180000:
        pytest.skip("PostgreSQL 18 brought it")
    bare.execute(
        "CREATE EXTENSION IF NOT EXISTS btree_gist SCHEMA public;"
        " ALTER TABLE {s}.t ADD s tstzrange DEFAULT 'empty'::tstzrange + tstzrange('2025-01-01', '2025-01-02');"
        " ALTER TABLE {s}.t ADD CONSTRAINT x UNIQUE (time, v, s WITHOUT OVERLAPS)"
    )
    with bare.transaction():
        bare.execute(ROW)
        assert kept(bare) == of_version(bare, {"x": "ExclusionConstraint"}, "t_pkey", "x")


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("SELECT", None),
        ("CREATE TRIGGER own AFTER INSERT ON {s}.t FOR EACH STATEMENT EXECUTE FUNCTION {s}.pass()", "Trigger"),
        ("ALTER TABLE {s}.t ADD UNIQUE (time, v) DEFERRABLE INITIALLY DEFERRED", "DeferredConstraint"),
    ],
)
def test_what_is_known_before_there_is_a_chunk(bare: Day, statement: str, code: str | None) -> None:
    bare.execute("CREATE FUNCTION {s}.pass() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'")
    bare.execute(statement)
    found = table_rule(bare.cursor, bare.table)
    assert (found and found.code) == ("TimescaleDBVersion" if bare.database.version < (2, 22) else code)


def test_what_is_known_of_other_tables_and_roles(bare: Day) -> None:
    writer = str(bare.database.role("GRANT USAGE ON SCHEMA {s}")["user"])
    with as_role(bare, writer) as day:
        found = table_rule(day.cursor, day.table)
        assert found is not None
        assert found.code == ("TimescaleDBVersion" if bare.database.version < (2, 22) else "MissingOwnership")
    found = table_rule(bare.cursor, replace(bare.table, hypertable_id=None))
    assert found is not None
    assert found.code == "NotAHypertable"


def test_twins_stay_together(bare: Day) -> None:
    """For TimescaleDB the first of two equal indexes is the one, so their order must not change."""
    bare.execute(ROW)
    bare.execute("CREATE UNIQUE INDEX x ON {s}.t (d, time); CREATE UNIQUE INDEX y ON {s}.t (d, time)")
    bare.execute("ALTER TABLE {s}.t REPLICA IDENTITY USING INDEX y")
    with bare.transaction():
        bare.execute(f"TRUNCATE {bare.chunk}")
        expected: dict[str | None, str] = {"x": "ReplicaIdentity", "y": "Twin"}
        assert kept(bare) == of_version(bare, expected, "t_pkey")
