"""A dry run in full: the rows go into temporary tables, PostgreSQL judges them, and nothing stays."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.fix_app import App
from tests.integration.fix_dry_run import codes, same_words

HEAD = b"time,v,note\n"
GOOD = HEAD + b"2025-01-01 00:00Z,1,a\n2025-01-01 23:59:59Z,2,\n"
BAD = HEAD + b"2025-01-01 00:00Z,1,a\n2025-01-01 01:00Z,x,b\n"
OTHER_DAY = HEAD + b"2025-01-01 00:00Z,1,a\n2025-01-02 05:00Z,2,b\n"
TWICE = HEAD + b"2025-01-01 00:00Z,1,a\n2025-01-01 05:00Z,2,b\n2025-01-01 00:00Z,3,c\n"
TABLE = "time timestamptz NOT NULL, v int CHECK (v < 100), note varchar(3), PRIMARY KEY (time)"


def full(app: App, csv: bytes = GOOD, table: str = "t", **request: Any) -> dict[str, Any]:
    answer = app.restore(app.archive(table, csv), dry_run="full", **request)
    assert (answer.status, answer.body["status"]) == (200, "dry_run"), answer.body
    found: dict[str, Any] = answer.body["dry_run"] | {"warnings": answer.body["warnings"]}
    return found


@pytest.fixture(autouse=True)
def table(app: App) -> Iterator[None]:
    app.database.hypertable("t", TABLE)
    yield
    assert app.database.value("SELECT count(*) FROM pg_class WHERE relname LIKE '%restore\\_%'") == 0
    assert not app.database.has_session("application_name LIKE 'restore-chunk%' AND state <> 'idle'")


@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize("transfer", ["spool", "stream"])
def test_nothing_is_wrong(app: App, mode: str, transfer: str) -> None:
    found = full(app, destination={"mode": mode}, copy={"transfer": transfer})
    assert (found["problems"], found["not_checked"], found["warnings"]) == ([], [], [])
    assert (found["min_time"], found["max_time"]) == ("2025-01-01T00:00:00Z", "2025-01-01T23:59:59Z")
    assert found["rows_in_archive"] == 2
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0
    assert app.restore(app.archive("t", GOOD), destination={"mode": mode}).status == 200


@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize(
    ("csv", "codes"),
    [
        (BAD, ["DataRejected"]),
        (HEAD + b"2025-01-01 00:00Z,100,a\n", ["DataRejected"]),
        (HEAD + b"2025-01-01 00:00Z,1,abcd\n", ["DataRejected"]),
        (HEAD + b"2025-01-01 00:00Z,1\n", ["DataRejected"]),
        (OTHER_DAY, ["RowsOutsideWindow"]),
    ],
)
def test_a_row_that_the_restore_refuses(app: App, mode: str, csv: bytes, codes: list[str]) -> None:
    assert same_words(app, csv, dry_run="full", destination={"mode": mode}) == codes


def test_a_null_in_the_time_column(app: App) -> None:
    found = full(app, HEAD + b"2025-01-01 00:00Z,1,a\n,1,a\n")
    assert found["problems"][0]["message"].startswith("line 3, column time: null value")
    assert found["not_checked"] == ["window", "duplicates"]


def test_a_key_twice_in_the_file(app: App) -> None:
    """Direct mode names the line; beside it, the rows of another day show too. Staging skips such rows."""
    found = full(app, TWICE + b"2025-01-03 00:00Z,3,c\n")
    assert [problem["message"] for problem in found["problems"]] == [
        'line 4: duplicate key value violates unique constraint "t_pkey"',
        "the archive holds 1 row, from 2025-01-03T00:00:00Z to 2025-01-03T00:00:00Z, outside 2025-01-01",
    ]
    assert found["not_checked"] == []
    assert same_words(app, TWICE, dry_run="full") == ["DataRejected"]
    assert codes(full(app, TWICE, destination={"mode": "staging"})) == []


def test_a_key_that_is_in_the_table(app: App) -> None:
    """Only where rows stay: not where they are replaced, and not where staging skips them."""
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 00:00Z', 9), ('2025-01-01 02:00Z', 9)")
    found = full(app, destination={"on_existing": "append"})
    assert [problem["message"] for problem in found["problems"]] == [
        f'1 rows of the archive have a key that {app.database.schema}.t holds already (unique index "t_pkey")'
    ]
    assert app.restore(app.archive("t", GOOD), destination={"on_existing": "append"}).code == "DataRejected"
    assert codes(full(app, destination={"on_existing": "replace"})) == []
    assert codes(full(app, destination={"mode": "staging"})) == []


def test_a_key_that_another_day_holds(app: App) -> None:
    """With `verify` false, rows of other days come in beside those that are there."""
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 00:00Z', 9), ('2025-01-02 00:00Z', 9)")
    csv = b"time,v\n2025-01-01 00:00Z,1\n2025-01-02 00:00Z,2\n"
    options: dict[str, Any] = {"destination": {"on_existing": "replace"}, "verify": False}
    assert codes(full(app, csv, **options)) == ["DataRejected"]
    assert app.restore(app.archive("t", csv), **options).code == "DataRejected"


def test_a_key_of_a_plain_table_without_the_time(app: App) -> None:
    """Replacing a day leaves the others' keys."""
    app.database.execute("CREATE TABLE {s}.p (ts timestamptz NOT NULL, id int UNIQUE, v int, UNIQUE (v, id))")
    app.database.execute("INSERT INTO {s}.p VALUES ('2025-01-01Z', 1, 1), ('2025-01-02Z', 2, NULL)")
    csv = b"ts,id,v\n2025-01-01Z,1,1\n2025-01-01Z,2,5\n2025-01-01Z,3,5\n"
    found = full(app, csv, "p", destination={"on_existing": "replace"})
    assert [problem["message"].split("(")[1] for problem in found["problems"]] == ['unique index "p_id_key")']
    assert found["not_checked"] == []
    assert app.restore(app.archive("p", csv), destination={"on_existing": "replace"}).code == "DataRejected"


def test_a_key_that_only_its_index_can_compare(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.p (ts timestamptz NOT NULL, name text)")
    app.database.execute("CREATE UNIQUE INDEX by_name ON {s}.p (lower(name)) WHERE name <> ''")
    app.database.execute("INSERT INTO {s}.p VALUES ('2025-01-02Z', 'A')")
    found = full(app, b"ts,name\n2025-01-01Z,a\n2025-01-01Z,b\n2025-01-01Z,\n", "p")
    assert (found["problems"], found["not_checked"]) == ([], ["duplicates"])
    assert [warning["code"] for warning in found["warnings"]] == ["NotChecked"]
    assert '"by_name"' in found["warnings"][0]["message"]
    assert codes(full(app, b"ts,name\n2025-01-01Z,a\n2025-01-01Z,A\n", "p")) == ["DataRejected"]


def test_rows_of_other_days_that_are_allowed(app: App) -> None:
    allowed = {"rows_outside_window": "allow"}
    assert codes(full(app, OTHER_DAY, destination=allowed)) == []
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-02 05:00Z', 9)")
    csv = OTHER_DAY
    found = full(app, csv, destination=allowed)
    assert codes(found) == ["DataRejected", "WindowNotEmpty"]
    staged = allowed | {"mode": "staging", "on_existing": "error"}
    found = full(app, csv, destination=staged)
    assert (found["problems"], found["not_checked"]) == ([], ["window"])
    assert app.restore(app.archive("t", csv), destination=staged).body["rows_skipped"] == 1
    app.database.execute("DELETE FROM {s}.t WHERE v <> 9; ALTER TABLE {s}.t DROP CONSTRAINT t_pkey")
    assert same_words(app, csv, dry_run="full", destination=staged) == ["WindowNotEmpty"]
    # A request that verifies nothing refuses no row for its time.
    assert codes(full(app, OTHER_DAY.replace(b"05:00", b"06:00"), verify=False)) == []


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_replacement_is_measured_by_what_comes_into_the_day(app: App, mode: str) -> None:
    """Rows of another day and, in staging, rows that are skipped do not count."""
    app.database.execute(
        "INSERT INTO {s}.t SELECT '2025-01-01 01:00Z'::timestamptz + i * interval '1 s', 1 FROM generate_series(1, 6) i"
    )
    replace = {"mode": mode, "on_existing": "replace"}
    csv = HEAD + b"2025-01-01 00:00Z,1,a\n" * 3
    if mode == "direct":
        csv = HEAD + b"".join(b"2025-01-0%d 00:00Z,1,a\n" % day for day in (1, 2, 3))
    found = full(app, csv, destination=replace)
    assert codes(found)[-1] == "ReplacementTooSmall"
    assert "and 1 would replace them" in found["problems"][-1]["message"]
    assert app.restore(app.archive("t", csv), destination=replace, verify=False).code == "ReplacementTooSmall"


# A trace that stays: a number that a sequence has given out, whatever became of the transaction.
TRACE = """
    CREATE SEQUENCE {s}.calls;
    CREATE FUNCTION {s}.trace(v anyelement) RETURNS anyelement LANGUAGE plpgsql IMMUTABLE AS
        $$ BEGIN PERFORM nextval('{s}.calls'); RETURN v; END $$;
    CREATE FUNCTION {s}.trace() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM nextval('{s}.calls'); RETURN NEW; END $$;
"""
WAYS_OUT = {
    "a default": ("v int DEFAULT {s}.trace(5)", "ts\n2025-01-01Z\n", {"values"}),
    "a sequence": ("v bigserial, UNIQUE (ts, v)", "ts\n2025-01-01Z\n", set()),
    "an identity": ("v bigint GENERATED ALWAYS AS IDENTITY, PRIMARY KEY (ts, v)", "ts\n2025-01-01Z\n", set()),
    "a constraint": ("v int CHECK ({s}.trace(v) > 0)", "ts,v\n2025-01-01Z,1\n", {"values"}),
    "a generated column": (
        "v int, w int GENERATED ALWAYS AS ({s}.trace(v)) STORED",
        "ts,v\n2025-01-01Z,1\n",
        {"values"},
    ),
    "a domain": ("v {s}.traced", "ts,v\n2025-01-01Z,1\n", {"values"}),
    "an array of a domain": ("v {s}.traced[]", "ts,v\n2025-01-01Z,{1}\n", {"values"}),
    "a domain's default": ("v {s}.numbered", "ts\n2025-01-01Z\n", set()),
    "an index": ("v int, EXCLUDE USING btree (({s}.trace(v)) WITH =)", "ts,v\n2025-01-01Z,1\n", {"duplicates"}),
    "a trigger": ("v int", "ts,v\n2025-01-01Z,1\n", {"values"}),
    "a foreign key": ("v int REFERENCES {s}.other", "ts,v\n2025-01-01Z,1\n", {"values"}),
}


@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize("way", WAYS_OUT)
def test_nothing_reaches_out_of_the_transaction(app: App, way: str, mode: str) -> None:
    """What runs code of the user's is left out, and named."""
    columns, csv, not_checked = WAYS_OUT[way]
    app.database.execute(TRACE)
    app.database.execute("CREATE DOMAIN {s}.traced AS int CHECK ({s}.trace(VALUE) > 0)")
    app.database.execute("CREATE DOMAIN {s}.numbered AS int DEFAULT nextval('{s}.calls')")
    app.database.execute("CREATE TABLE {s}.other (id int PRIMARY KEY); INSERT INTO {s}.other VALUES (1)")
    app.database.execute(f"CREATE TABLE {{s}}.p (ts timestamptz NOT NULL, {columns})")
    if way == "a trigger":
        app.database.execute("CREATE TRIGGER trace BEFORE INSERT ON {s}.p FOR EACH ROW EXECUTE FUNCTION {s}.trace()")
    used = sequences(app)
    found = full(app, csv.encode(), "p", destination={"mode": mode})
    assert sequences(app) == used
    assert (found["problems"], set(found["not_checked"])) == ([], not_checked)
    assert {warning["message"].split(":")[0] for warning in found["warnings"]} == not_checked
    # The restore itself runs all of it.
    assert app.restore(app.archive("p", csv.encode()), destination={"mode": mode}).status == 200
    assert sequences(app) != used or way == "a foreign key"


def sequences(app: App) -> list[tuple[Any, ...]]:
    return app.database.fetch(
        "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = %s ORDER BY 1", app.database.schema
    )


def test_an_event_trigger_sees_no_temporary_table(app: App) -> None:
    app.database.execute(TRACE)
    app.database.execute(
        "CREATE FUNCTION {s}.seen() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM 1 / 0; END $$"
    )
    app.database.execute("CREATE EVENT TRIGGER seen_by_test ON ddl_command_start EXECUTE FUNCTION {s}.seen()")
    try:
        found = full(app)
    finally:
        app.database.execute("DROP EVENT TRIGGER seen_by_test")
    assert (found["problems"], found["not_checked"]) == ([], ["values", "window", "duplicates"])
    assert "event trigger" in found["warnings"][0]["message"]


def test_a_role_that_may_make_no_temporary_table(app: App) -> None:
    """The restore itself needs no such right."""
    database = app.database
    role = database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.t")
    database.execute(f"REVOKE TEMPORARY ON DATABASE {database.name} FROM PUBLIC")
    try:
        found = full(app, BAD, pg=role)
    finally:
        database.execute(f"GRANT TEMPORARY ON DATABASE {database.name} TO PUBLIC")
    assert found["permissions_missing"] == [{"right": "TEMPORARY", "on": "the database", "needed": False}]
    assert (found["problems"], found["not_checked"]) == ([], ["values", "window", "duplicates"])
    assert codes(full(app, BAD, pg=role)) == ["DataRejected"]


def test_a_role_that_may_read_the_time_alone(app: App) -> None:
    role = app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT (time), INSERT ON {s}.t")
    found = full(app, BAD, pg=role)
    assert [(right["right"], right["needed"]) for right in found["permissions_missing"]] == [("SELECT", False)]
    assert found["not_checked"] == ["values", "window", "duplicates"]
    assert app.restore(app.archive("t", GOOD), pg=role).status == 200


def test_a_staging_table_of_other_types(app: App) -> None:
    """The text is read by the one table's types, and the values go by assignment into the other's."""
    app.database.execute("CREATE TABLE {s}.raw (time text, v numeric, note text, other int NOT NULL DEFAULT 1)")
    like = {"mode": "staging", "create_staging_like": f"{app.database.schema}.raw"}
    assert same_words(app, GOOD, dry_run="full", destination=like) == ["StagingTypeMismatch"]
    app.database.execute("ALTER TABLE {s}.raw ALTER COLUMN time TYPE timestamptz USING now()")
    found = full(app, destination=like)
    assert (found["problems"], found["not_checked"]) == ([], [])
    assert codes(full(app, GOOD.replace(b",2,", b",99999999999,"), destination=like)) == ["DataRejected"]
    assert codes(full(app, OTHER_DAY, destination=like)) == ["RowsOutsideWindow"]
    app.database.execute("ALTER TABLE {s}.raw ALTER COLUMN v TYPE jsonb USING NULL")
    assert same_words(app, GOOD, dry_run="full", destination=like) == ["StagingTypeMismatch"]


def test_a_cast_of_the_users(app: App) -> None:
    app.database.execute(TRACE)
    app.database.execute("CREATE TYPE {s}.colour AS ENUM ('red')")
    app.database.execute(
        "CREATE FUNCTION {s}.number(c {s}.colour) RETURNS int LANGUAGE sql AS $$ SELECT nextval('{s}.calls')::int $$"
    )
    app.database.execute("CREATE CAST ({s}.colour AS int) WITH FUNCTION {s}.number AS ASSIGNMENT")
    app.database.execute("CREATE TABLE {s}.raw (time timestamptz, v {s}.colour, note text)")
    like = {"mode": "staging", "create_staging_like": f"{app.database.schema}.raw"}
    csv = HEAD + b"2025-01-01 00:00Z,red,\n"
    used = sequences(app)
    found = full(app, csv, destination=like)
    assert (found["problems"], found["not_checked"]) == ([], ["values", "window", "duplicates"])
    assert sequences(app) == used
    assert codes(full(app, csv.replace(b"red", b"blue"), destination=like)) == ["DataRejected"]
    assert app.restore(app.archive("t", csv), destination=like).status == 200


def test_columns_that_are_left_out(app: App) -> None:
    csv = b"time,x,v\n2025-01-01 00:00Z,what,1\n2025-01-01 01:00Z,ever,2\n"
    request: dict[str, Any] = {"copy": {"column_map": {"x": None}}}
    assert full(app, csv, **request)["problems"] == []
    twice = csv + b"2025-01-01 00:00Z,x,3\n"
    assert codes(full(app, twice, **request)) == ["DataRejected"]
    assert same_words(app, csv.replace(b",2\n", b",200\n"), dry_run="full", **request) == ["DataRejected"]
    staged: dict[str, Any] = {"destination": {"mode": "staging"}}
    assert full(app, csv, **staged)["problems"] == []


def test_the_marker_of_a_default(app: App) -> None:
    if app.database.connection.server_version < 160000:
        pytest.skip("PostgreSQL 16 brought the option")
    app.database.execute(TRACE)
    app.database.execute("CREATE TABLE {s}.p (ts timestamptz NOT NULL, a int NOT NULL DEFAULT 7 CHECK (a > 5))")
    app.database.execute("ALTER TABLE {s}.p ADD b int NOT NULL DEFAULT {s}.trace(1)")
    csv, options = b"ts,a,b\n2025-01-01Z,*,*\n", {"copy": {"csv_options": {"DEFAULT": "*"}}}
    used = sequences(app)
    found = full(app, csv, "p", **options)
    assert (found["problems"], found["not_checked"], sequences(app)) == ([], ["values"], used)
    found = full(app, csv.replace(b"*,*", b"5,*"), "p", **options)
    assert codes(found) == ["DataRejected"]


def test_rows_that_may_be_left_out(app: App) -> None:
    if app.database.connection.server_version < 170000:
        pytest.skip("PostgreSQL 17 leaves rows out")
    csv = BAD + BAD.removeprefix(HEAD)
    request: dict[str, Any] = {"destination": {"mode": "staging"}, "copy": {"on_error": "skip", "max_rejected_rows": 2}}
    found = full(app, csv, **request)
    assert (found["problems"], found["not_checked"]) == ([], [])
    request["copy"]["max_rejected_rows"] = 1
    assert same_words(app, csv, dry_run="full", **request) == ["TooManyRejectedRows"]


def test_a_day_that_is_left_as_it_is(app: App) -> None:
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01Z', 1)")
    found = full(app, BAD, destination={"on_existing": "skip"})
    assert found["problems"] == []
    assert "values" in found["not_checked"]


def test_integer_times(app: App) -> None:
    app.database.hypertable("i", "at bigint NOT NULL, v int", time="at", interval="86400000")
    found = full(app, b"at,v\n1735689600000,1\n1735775999999,2\n", "i")
    assert (found["min_time"], found["max_time"], found["problems"]) == (1735689600000, 1735775999999, [])
    assert codes(full(app, b"at,v\n1735689600000,1\n1735776000000,2\n", "i")) == ["RowsOutsideWindow"]


def test_an_archive_that_is_not_whole(app: App) -> None:
    """Streamed, that shows only at its end."""
    whole = gzip.compress(GOOD + b"".join(b"2025-01-01 00:00:00.%06dZ,1,a\n" % i for i in range(1, 30000)))
    url = app.stored("t", whole[:-20])
    for transfer in ("spool", "stream"):
        assert app.restore(url, dry_run="full", copy={"transfer": transfer}).code == "ArchiveTruncated"
