"""What a type, a table or a function is does not depend on how the server writes it for this session."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.fix_app import App

TWO_TIMES = b"ts,seen,v\n2025-01-01 01:00Z,2025-01-01 12:00Z,1\n"
RIGHTS = ("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT, DELETE ON {s}.t")


def role_with(app: App, setting: str, *rights: str) -> dict[str, Any]:
    """Make a role whose sessions have a setting; `{s}` in it is the schema."""
    pg = app.database.role(*rights)
    app.database.execute(f"ALTER ROLE {pg['user']} SET {setting}")
    return pg


def values(app: App) -> list[int]:
    return [row[0] for row in app.database.fetch("SELECT v FROM {s}.t ORDER BY v")]


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_two_time_columns_of_which_one_has_a_precision(app: App, mode: str) -> None:
    app.database.execute("CREATE TABLE {s}.t (ts timestamptz(3) NOT NULL, seen timestamptz NOT NULL, v int)")
    app.database.execute(
        "INSERT INTO {s}.t VALUES ('2024-12-31 01:00Z', '2025-01-01 03:00Z', 100),"
        " ('2025-01-01 01:00Z', '2025-01-03 03:00Z', 7)"
    )
    destination = {"mode": mode, "on_existing": "replace"}
    url = app.archive("t", TWO_TIMES)
    answer = app.restore(url, destination=destination)
    assert (answer.status, answer.code) == (422, "WindowUnknown")
    assert values(app) == [7, 100]
    body = app.restore(url, destination=destination | {"time_column": "ts"}).body
    assert (body["status"], body["rows_removed"]) == ("ok", 1)
    assert values(app) == [1, 100]


# Each with a column that is not of a time's type but holds the time, and another one that is.
HIDDEN_TIMES = {
    "a domain": "{s}.t (ts {s}.utc NOT NULL, seen timestamptz NOT NULL, v int)",
    "a domain of a domain": "{s}.t (ts {s}.exact NOT NULL, seen timestamptz NOT NULL, v int)",
    "a domain by range": "{s}.t (ts {s}.utc NOT NULL, seen timestamptz NOT NULL, v int) PARTITION BY RANGE (ts)",
    "a text by range": "{s}.t (ts text NOT NULL, seen timestamptz NOT NULL, v int) PARTITION BY RANGE (ts)",
    "an expression by range": (
        "{s}.t (ts text NOT NULL, seen timestamptz NOT NULL, v int) PARTITION BY RANGE (substr(ts, 1, 10))"
    ),
}


@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize("table", HIDDEN_TIMES.values(), ids=HIDDEN_TIMES.keys())
def test_a_time_column_of_another_type_beside_one_of_a_times_type(app: App, table: str, mode: str) -> None:
    app.database.execute("CREATE DOMAIN {s}.utc AS timestamptz")
    app.database.execute("CREATE DOMAIN {s}.exact AS {s}.utc CHECK (value > '2000-01-01')")
    app.database.execute(f"CREATE TABLE {table}")
    if "PARTITION" in table:
        app.database.execute("CREATE TABLE {s}.part PARTITION OF {s}.t DEFAULT")
    app.database.execute(
        "INSERT INTO {s}.t VALUES ('2024-12-31 01:00Z', '2025-01-01 03:00Z', 100),"
        " ('2025-01-01 01:00Z', '2025-01-03 03:00Z', 7)"
    )
    # A partition that is named itself is no other table.
    for name in ("t", "part") if "PARTITION" in table else ("t",):
        answer = app.restore(app.archive(name, TWO_TIMES), destination={"mode": mode, "on_existing": "replace"})
        assert (answer.status, answer.code) == (422, "WindowUnknown")
        assert values(app) == [7, 100]


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_seconds_that_cut_a_table_into_ranges(app: App, mode: str) -> None:
    app.database.execute(
        "CREATE TABLE {s}.t (ts bigint NOT NULL, seen timestamptz NOT NULL, v int) PARTITION BY RANGE (ts)"
    )
    app.database.execute("CREATE TABLE {s}.part PARTITION OF {s}.t FOR VALUES FROM (0) TO (9000000000)")
    app.database.execute(
        "INSERT INTO {s}.t VALUES (1735603200, '2025-01-01 03:00Z', 100), (1735693200, '2025-01-03 03:00Z', 7)"
    )
    url = app.archive("t", b"ts,seen,v\n1735693200,2025-01-01 12:00Z,1\n")
    destination = {"mode": mode, "on_existing": "replace"}
    answer = app.restore(url, destination=destination)
    assert (answer.status, answer.code) == (422, "WindowUnknown")
    assert values(app) == [7, 100]
    body = app.restore(url, destination=destination | {"time_column": "ts"}).body
    assert (body["status"], body["rows_removed"]) == ("ok", 1)
    assert values(app) == [1, 100]


# A time in another type, and the same second in the file.
WRITTEN_TIMES = {
    "seconds": ("bigint", "1735693200"),
    "milliseconds": ("bigint", "1735693200000"),
    "a fraction": ("numeric", "1735693200.5"),
    "a float": ("double precision", "1.7356932e9"),
    "a text": ("text", "2025-01-01T01:00:00Z"),
}


@pytest.mark.parametrize("policy", ["error", "skip", "replace"])
@pytest.mark.parametrize(("type_", "written"), WRITTEN_TIMES.values(), ids=WRITTEN_TIMES.keys())
def test_a_time_in_another_type_beside_the_only_one_of_a_times_type(
    app: App, type_: str, written: str, policy: str
) -> None:
    app.database.execute(f"CREATE TABLE {{s}}.t (ts {type_} PRIMARY KEY, seen timestamptz NOT NULL, v int)")
    # Of the day before, and seen on the day.
    app.database.execute("INSERT INTO {s}.t VALUES ('1735603200', '2025-01-01 03:00Z', 100)")
    url = app.archive("t", f"v,seen,ts\n1,2025-01-01 12:00Z,{written}\n".encode())
    answer = app.restore(url, destination={"on_existing": policy})
    assert (answer.status, answer.code) == (422, "WindowUnknown")
    assert '"ts" and "seen" hold times' in answer.body["error"]["message"]
    assert values(app) == [100]
    assert app.restore(url, destination={"on_existing": policy}, dry_run=True).code == answer.code
    # Named, it is asked for no more; nor is it where no row of the table is looked for.
    assert app.restore(url, destination={"on_existing": policy, "time_column": "seen"}).code != answer.code
    assert app.restore(url, destination={"on_existing": "append"}).code != answer.code


NO_TIMES = {
    "a number of another day": ("n bigint PRIMARY KEY, ts timestamptz NOT NULL", "1735603200"),
    "a small number": ("n bigint PRIMARY KEY, ts timestamptz NOT NULL", "20250101"),
    "a day": ("n text PRIMARY KEY, ts timestamptz NOT NULL", "2025-01-01"),
    "a key of the other": ("n bigint, ts timestamptz PRIMARY KEY", "1735693200"),
    "ranges of the other": ("n bigint, ts timestamptz NOT NULL) PARTITION BY RANGE (ts", "1735693200"),
}


@pytest.mark.parametrize(("columns", "written"), NO_TIMES.values(), ids=NO_TIMES.keys())
def test_a_number_or_text_that_is_not_taken_for_the_time(app: App, columns: str, written: str) -> None:
    app.database.execute(f"CREATE TABLE {{s}}.t ({columns})")
    if "PARTITION" in columns:
        app.database.execute("CREATE TABLE {s}.part PARTITION OF {s}.t DEFAULT")
    app.database.execute("INSERT INTO {s}.t VALUES ('7', '2025-01-01 03:00Z')")
    url = app.archive("t", f"n,ts\n{written},2025-01-01 12:00Z\n".encode())
    body = app.restore(url, destination={"on_existing": "replace"}).body
    assert (body["status"], body["rows_removed"]) == ("ok", 1)


def test_an_empty_table_has_no_row_to_be_taken_for_one_of_the_day(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.t (ts bigint, seen timestamptz)")
    url = app.archive("t", b"ts,seen\n1735693200,2025-01-01 12:00Z\n")
    assert app.restore(url).body["status"] == "ok"
    assert app.restore(url).code == "WindowUnknown"


@pytest.mark.parametrize("key", ["RANGE (ts)", "RANGE ((ts::date))", "RANGE (v, ts)", "LIST (v)", "HASH (v)"])
def test_a_partitioned_table_with_an_only_time_column(app: App, key: str) -> None:
    app.database.execute(f"CREATE TABLE {{s}}.t (ts timestamp NOT NULL, v int) PARTITION BY {key}")
    bounds = "FOR VALUES WITH (MODULUS 1, REMAINDER 0)" if "HASH" in key else "DEFAULT"
    app.database.execute(f"CREATE TABLE {{s}}.part PARTITION OF {{s}}.t {bounds}")
    app.database.execute("INSERT INTO {s}.t VALUES ('2024-12-31 01:00', 100), ('2025-01-01 01:00', 7)")
    url = app.archive("t", b"ts,v\n2025-01-01 01:00,1\n")
    body = app.restore(url, destination={"on_existing": "replace"}).body
    assert (body["status"], body["rows_removed"]) == ("ok", 1)
    assert values(app) == [1, 100]


@pytest.mark.parametrize("named", [{}, {"time_column": "ts"}], ids=["only", "named"])
@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_time_column_of_a_domain(app: App, mode: str, named: dict[str, str]) -> None:
    app.database.execute("CREATE DOMAIN {s}.utc AS timestamptz(3)")
    app.database.execute("CREATE TABLE {s}.t (ts {s}.utc NOT NULL, v int)")
    app.database.execute("INSERT INTO {s}.t VALUES ('2024-12-31 01:00Z', 100), ('2025-01-01 01:00Z', 7)")
    destination = {"mode": mode, **named}
    answer = app.restore(
        app.archive("t", b"ts,v\n2025-01-01 02:00,1\n"), destination=destination | {"on_existing": "error"}
    )
    assert answer.code == "WindowNotEmpty"
    url = app.archive("t", b"ts,v\n2025-01-01 02:00,1\n2025-01-02 00:00,2\n")
    answer = app.restore(url, destination=destination | {"on_existing": "replace"})
    assert (answer.status, answer.code) == (422, "RowsOutsideWindow")
    url = app.archive("t", b"ts,v\n2025-01-01 02:00,1\n")
    body = app.restore(url, destination=destination | {"on_existing": "replace"}).body
    assert (body["status"], body["rows_removed"]) == ("ok", 1)
    assert body["verification"]["min_time"] == "2025-01-01T02:00:00Z"
    assert values(app) == [1, 100]


@pytest.mark.parametrize("time_type", ["timestamptz(3)", "timestamp(0)", "timestamp (6) with time zone"])
def test_an_only_time_column_with_a_precision(app: App, time_type: str) -> None:
    app.database.execute(f"CREATE TABLE {{s}}.t (ts {time_type} NOT NULL, v int)")
    app.database.execute("INSERT INTO {s}.t VALUES ('2024-12-31 01:00', 100), ('2025-01-01 01:00', 7)")
    url = app.archive("t", b"ts,v\n2025-01-01 01:00,1\n")
    body = app.restore(url, destination={"on_existing": "replace"}).body
    assert (body["status"], body["rows_removed"]) == ("ok", 1)
    assert values(app) == [1, 100]


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_day_of_dates_where_every_name_is_quoted(app: App, mode: str) -> None:
    app.database.hypertable("t", "time date NOT NULL, v int", interval="interval '7 days'")
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01', 7), ('2025-01-02', 100)")
    pg = role_with(app, "quote_all_identifiers = on", *RIGHTS, "GRANT CREATE ON SCHEMA {s}")
    url = app.archive("t", b"time,v\n2025-01-01,1\n")
    body = app.restore(url, pg=pg, destination={"mode": mode, "on_existing": "replace"}).body
    assert (body["status"], body["rows_removed"]) == ("ok", 1)
    assert values(app) == [1, 100]


def test_a_domain_that_is_called_like_a_type_of_time(app: App) -> None:
    app.database.execute("CREATE DOMAIN {s}.date AS text")
    app.database.execute("CREATE TABLE {s}.t (ts timestamptz NOT NULL, day {s}.date, v int)")
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 01:00Z', 'a', 7), ('2024-12-31 01:00Z', 'b', 100)")
    pg = role_with(app, f"search_path = {app.database.schema}, pg_catalog", *RIGHTS)
    url = app.archive("t", b"ts,day,v\n2025-01-01 01:00Z,c,1\n")
    body = app.restore(url, pg=pg, destination={"on_existing": "replace"}).body
    assert (body["status"], body["rows_removed"]) == ("ok", 1)
    assert values(app) == [1, 100]


def test_rows_outside_the_day_in_chunks_whose_schema_is_on_the_search_path(app: App) -> None:
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    pg = role_with(app, "search_path = _timescaledb_internal, public", *RIGHTS)
    url = app.archive("t", b"time,v\n2025-01-01 01:00Z,1\n2025-01-03 01:00Z,2\n")
    answer = app.restore(url, pg=pg)
    assert (answer.status, answer.code) == (422, "RowsOutsideWindow")
    body = app.restore(url, pg=pg, destination={"rows_outside_window": "allow", "on_existing": "append"}).body
    assert (body["status"], body["verification"]["rows_outside_window"]) == ("ok", 1)


def test_the_right_on_a_sequence_where_every_name_is_quoted(app: App) -> None:
    app.database.hypertable("t", "time timestamptz NOT NULL, v int, id serial")
    pg = role_with(app, "quote_all_identifiers = on", *RIGHTS)
    answer = app.restore(app.archive("t", b"time,v\n2025-01-01 01:00Z,1\n"), pg=pg)
    assert (answer.status, answer.code) == (403, "DatabasePermissionDenied")
    assert f"sequence {app.database.schema}.t_id_seq" in answer.body["error"]["message"]


def test_a_table_that_is_called_like_a_chunk(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.t (time timestamptz NOT NULL, v int)")
    app.database.execute(
        "SELECT public.create_hypertable('{s}.t', 'time', associated_schema_name => %s,"
        " associated_table_prefix => 'part', chunk_time_interval => interval '1 day')",
        app.database.schema,
    )
    app.database.execute("CREATE TABLE {s}.part_77_chunk (noted int)")
    app.database.execute(
        "CREATE FUNCTION {s}.note() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO {s}.part_77_chunk VALUES (new.v); RETURN NULL; END $$"
    )
    app.database.execute("CREATE TRIGGER note AFTER INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.note()")
    url = app.archive("t", b"time,v\n2025-01-01 01:00Z,1\n2025-01-03 01:00Z,2\n")
    body = app.restore(url, destination={"rows_outside_window": "allow"}).body
    assert (body["status"], body["verification"]["rows_outside_window"]) == ("ok", 1), body
    assert app.database.value("SELECT count(*) FROM {s}.part_77_chunk") == 2


def test_a_file_goes_binary_where_every_name_is_quoted(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.t (time timestamptz(3) NOT NULL, v numeric(12,3), d date, note varchar(9))")
    pg = role_with(app, "quote_all_identifiers = on", *RIGHTS)
    url = app.archive("t", b"time,v,d,note\n2025-01-01 01:00:00+00,1.5,2025-01-02,x\n")
    body = app.restore(url, pg=pg, copy={"format": "binary"}).body
    assert (body["status"], body["copy"]["format"], body["copy"]["text_because"]) == ("ok", "binary", None)
    stored = app.database.fetch("SELECT v::text, d::text, note FROM {s}.t")
    assert stored == [("1.500", "2025-01-02", "x")]
