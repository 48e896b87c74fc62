"""`replace` and foreign keys that refer to the day's rows: no row of another table or day changes unless allowed."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from tests.integration.fix_app import Answer, App
from tests.integration.fix_threads import Call

COLUMNS = "time timestamptz NOT NULL, id int NOT NULL, v int, PRIMARY KEY (time, id)"
CSV = b"time,id,v\n2025-01-01 01:00Z,1,10\n2025-01-01 09:00Z,9,90\n"
ROWS = "('2025-01-01 01:00Z', 1, 1), ('2025-01-01 02:00Z', 2, 2), ('2025-01-02 03:00Z', 3, 3)"
KINDS = pytest.mark.parametrize("kind", ["hypertable", "plain", "partitioned"])
ACTIONS = pytest.mark.parametrize("action", ["CASCADE", "SET NULL", "SET DEFAULT"])
# Of the day: the rows 1 and 2. The third refers to another day, the fourth to nothing.
REFERRING = "(11, '2025-01-01 01:00Z', 1), (12, '2025-01-01 02:00Z', 2), (13, '2025-01-02 03:00Z', 3), (14, NULL, NULL)"


@pytest.fixture(params=["app", pytest.param("community_app", marks=pytest.mark.community)])
def server(request: pytest.FixtureRequest) -> App:
    """On each edition."""
    app: App = request.getfixturevalue(request.param)
    return app


def target(app: App, kind: str, columns: str = COLUMNS, rows: str = ROWS) -> None:
    if kind == "hypertable":
        app.database.hypertable("t", columns)
    elif kind == "plain":
        app.database.execute(f"CREATE TABLE {{s}}.t ({columns})")
    else:
        app.database.execute(f"CREATE TABLE {{s}}.t ({columns}) PARTITION BY RANGE (time)")
        app.database.execute(
            "CREATE TABLE {s}.t1 PARTITION OF {s}.t FOR VALUES FROM ('2025-01-01Z') TO ('2025-01-02Z')"
        )
        app.database.execute("CREATE TABLE {s}.t2 PARTITION OF {s}.t DEFAULT")
    app.database.execute(f"INSERT INTO {{s}}.t VALUES {rows}")


def referring(app: App, action: str, *, to: str = "{s}.t", name: str = "r", rows: str = REFERRING) -> None:
    app.database.execute(
        f"CREATE TABLE {{s}}.{name} (n int PRIMARY KEY, time timestamptz DEFAULT '2025-01-02 03:00Z', id int DEFAULT 3,"
        f" CONSTRAINT {name}_fk FOREIGN KEY (time, id) REFERENCES {to} (time, id) {action})"
    )
    app.database.execute(f"INSERT INTO {{s}}.{name} VALUES {rows}")


def replaced(app: App, csv: bytes = CSV, request: dict[str, Any] | None = None, **destination: Any) -> Answer:
    return app.restore(app.archive("t", csv), destination={"on_existing": "replace"} | destination, **(request or {}))


def values(app: App) -> list[int]:
    return [v for (v,) in app.database.fetch("SELECT v FROM {s}.t ORDER BY time, id")]


def contents(app: App, table: str = "r") -> list[tuple[int, int | None]]:
    return app.database.fetch(f"SELECT n, id FROM {{s}}.{table} ORDER BY n")


def refused(answer: Answer, *expected: tuple[str, str, str, int | None]) -> dict[str, Any]:
    """Check the error and what it names: table, constraint, action and rows."""
    assert (answer.status, answer.code) == (409, "ReferencedRows"), answer.body
    (fault,) = answer.body["error"]["details"]
    found = [(rows["table"], rows["constraint"], rows["action"], rows["rows"]) for rows in fault["referenced_rows"]]
    assert [(table.partition(".")[2], *rest) for table, *rest in found] == list(expected)
    assert all(
        f"{table} by {constraint} ({action})" in answer.body["error"]["message"]
        for table, constraint, action, _ in found
    )
    assert not answer.body["error"]["retryable"]
    return dict(fault)


def told(answer: Answer) -> list[tuple[str, str, str, int]]:
    """What a 200 says of rows of other tables."""
    assert answer.status == 200, answer.body
    return [
        (rows["table"].partition(".")[2], rows["constraint"], rows["action"], rows["rows"])
        for rows in answer.body.get("referenced_rows", [])
    ]


AFTER = {
    "CASCADE": [(13, 3), (14, None)],
    "SET NULL": [(11, None), (12, None), (13, 3), (14, None)],
    "SET DEFAULT": [(11, 3), (12, 3), (13, 3), (14, None)],
}
BEFORE = [(11, 1), (12, 2), (13, 3), (14, None)]


@KINDS
@ACTIONS
def test_other_tables_are_left_alone(server: App, kind: str, action: str) -> None:
    target(server, kind)
    referring(server, f"ON DELETE {action}")
    for answer in (replaced(server), replaced(server, mode="staging"), replaced(server, request={"verify": False})):
        refused(answer, ("r", "r_fk", action, 2))
    assert (values(server), contents(server)) == ([1, 2, 3], BEFORE)


@KINDS
@ACTIONS
@pytest.mark.parametrize("dry_run", [True, "full"])
def test_the_dry_run_lists_them(server: App, kind: str, action: str, dry_run: Any) -> None:
    """In the words of the restore, and not where it is allowed or the day stays."""
    target(server, kind)
    referring(server, f"ON DELETE {action}")
    found = replaced(server, request={"dry_run": dry_run}).body["dry_run"]
    error = replaced(server).body["error"]
    assert found["problems"] == [{"code": error["code"], "message": error["message"]}]
    assert "referenced_rows" in found["checked"]
    assert found["referenced_rows"] == error["details"][0]["referenced_rows"] != []
    request = {"dry_run": dry_run}
    allowed = replaced(server, request=request, on_referenced="allow").body["dry_run"]
    assert (allowed["problems"], allowed["referenced_rows"]) == ([], found["referenced_rows"])
    left = replaced(server, request=request, on_existing="skip").body["dry_run"]
    assert (left["problems"], left["referenced_rows"]) == ([], [])
    assert (values(server), contents(server)) == ([1, 2, 3], BEFORE)


@pytest.mark.parametrize("action", ["RESTRICT", "NO ACTION", "NO ACTION DEFERRABLE INITIALLY DEFERRED"])
def test_the_dry_run_leaves_to_the_server_what_it_keeps(server: App, action: str) -> None:
    target(server, "hypertable")
    referring(server, f"ON DELETE {action}")
    answer = replaced(server, request={"dry_run": True})
    assert answer.body["dry_run"]["problems"] == []
    assert "referenced_rows" in answer.body["dry_run"]["not_checked"]
    assert "r_fk" in answer.body["warnings"][0]["message"]


@KINDS
@ACTIONS
@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_request_may_allow_it_and_is_told(server: App, kind: str, action: str, mode: str) -> None:
    target(server, kind)
    referring(server, f"ON DELETE {action}")
    answer = replaced(server, mode=mode, on_referenced="allow")
    assert told(answer) == [("r", "r_fk", action, 2)]
    assert (values(server), contents(server)) == ([10, 90, 3], AFTER[action])
    assert answer.body["removed_by"] == "delete"


@KINDS
def test_only_where_a_row_would_change(server: App, kind: str) -> None:
    target(server, kind)
    referring(server, "ON DELETE CASCADE", rows="(13, '2025-01-02 03:00Z', 3), (14, NULL, NULL)")
    assert told(replaced(server)) == []
    assert (values(server), contents(server)) == ([10, 90, 3], [(13, 3), (14, None)])


@pytest.mark.parametrize("policy", ["append", "skip", "error"])
def test_it_concerns_replace_alone(server: App, policy: str) -> None:
    target(server, "hypertable")
    referring(server, "ON DELETE CASCADE")
    answer = replaced(server, CSV.replace(b"01:00Z,1", b"01:30Z,1"), on_existing=policy)
    assert answer.code == ("WindowNotEmpty" if policy == "error" else None)
    assert contents(server) == BEFORE


@pytest.mark.parametrize("kind", ["hypertable", "partitioned"])
def test_a_key_that_refers_to_a_part(server: App, kind: str) -> None:
    target(server, kind)
    part = "{s}.t1"
    if kind == "hypertable":
        part = server.database.value(
            "SELECT format('%%I.%%I', chunk_schema, chunk_name) FROM timescaledb_information.chunks"
            " WHERE hypertable_schema = %s AND range_start = '2025-01-01Z'",
            server.database.schema,
        )
    referring(server, "ON DELETE CASCADE", to=part, rows="(11, '2025-01-01 01:00Z', 1)")
    refused(replaced(server), ("r", "r_fk", "CASCADE", 1))
    assert contents(server) == [(11, 1)]
    assert told(replaced(server, on_referenced="allow")) == [("r", "r_fk", "CASCADE", 1)]
    assert contents(server) == []


def test_a_target_that_is_a_part_itself(server: App) -> None:
    target(server, "partitioned")
    referring(server, "ON DELETE CASCADE")
    url = server.archive("t1", CSV)
    refused(server.restore(url, destination={"on_existing": "replace"}), ("r", "r_fk", "CASCADE", 2))
    answer = server.restore(url, destination={"on_existing": "replace", "on_referenced": "allow"})
    assert told(answer) == [("r", "r_fk", "CASCADE", 2)]
    assert contents(server) == [(13, 3), (14, None)]


@KINDS
def test_from_table_to_table(server: App, kind: str) -> None:
    """A CASCADE, from there a SET NULL by two ways, and from there an ON UPDATE CASCADE of what was set to NULL."""
    target(server, kind)
    referring(server, "ON DELETE CASCADE")
    server.database.execute(
        "CREATE TABLE {s}.a (n int PRIMARY KEY, r int UNIQUE CONSTRAINT a_fk REFERENCES {s}.r ON DELETE SET NULL,"
        " other int CONSTRAINT a_other REFERENCES {s}.r ON DELETE CASCADE)"
    )
    server.database.execute(
        "CREATE TABLE {s}.b (n int PRIMARY KEY, r int CONSTRAINT b_fk REFERENCES {s}.a (r) ON UPDATE CASCADE,"
        " a int CONSTRAINT b_a REFERENCES {s}.a ON DELETE SET DEFAULT)"
    )
    server.database.execute("INSERT INTO {s}.a VALUES (21, 11, NULL), (22, 12, NULL), (23, 13, 11), (24, NULL, 13)")
    server.database.execute("INSERT INTO {s}.b VALUES (31, 11, 21), (32, 13, 22), (33, 11, 24), (34, NULL, 23)")
    expected = [
        ("r", "r_fk", "CASCADE", 2),
        ("a", "a_fk", "SET NULL", 2),
        ("a", "a_other", "CASCADE", 1),
        ("b", "b_fk", "CASCADE", 2),
        ("b", "b_a", "SET DEFAULT", 1),
    ]
    refused(replaced(server), *expected)
    assert (len(contents(server)), server.database.value("SELECT count(*) FROM {s}.b WHERE r IS NULL")) == (4, 1)
    # NO ACTION on the row 13 of b, as its a goes: the key b_fk ON DELETE.
    refused(replaced(server, on_referenced="allow"), ("b", "b_fk", "NO ACTION", 1))
    server.database.execute("UPDATE {s}.b SET r = NULL WHERE n = 32")
    assert sorted(told(replaced(server, on_referenced="allow"))) == sorted(expected)
    assert server.database.fetch("SELECT * FROM {s}.a ORDER BY n") == [
        (21, None, None),
        (22, None, None),
        (24, None, 13),
    ]
    assert server.database.fetch("SELECT * FROM {s}.b ORDER BY n") == [
        (31, None, 21),
        (32, None, 22),
        (33, None, 24),
        (34, None, None),
    ]


TREE = (
    "time timestamptz NOT NULL, id int PRIMARY KEY, v int, parent int CONSTRAINT up REFERENCES {s}.t ON DELETE {action}"
)


@pytest.mark.parametrize(("action", "left"), [("CASCADE", [10, 90, 5]), ("SET NULL", [10, 90, 3, 4, 5])])
def test_a_table_that_refers_to_itself(server: App, action: str, left: list[int]) -> None:
    """Rows of other days go with those of the day, and what refers to them as well; rows of the day go anyway."""
    server.database.execute(f"CREATE TABLE {{s}}.t ({TREE.replace('{action}', action)})")
    server.database.execute(
        "INSERT INTO {s}.t VALUES ('2025-01-01 01:00Z', 1, 1, NULL), ('2025-01-01 02:00Z', 2, 2, 1),"
        " ('2025-01-02 01:00Z', 3, 3, 2), ('2025-01-03 01:00Z', 4, 4, 3), ('2025-01-03 01:00Z', 5, 5, NULL)"
    )
    rows = 2 if action == "CASCADE" else 1
    refused(replaced(server), ("t", "up", action, rows))
    assert values(server) == [1, 2, 3, 4, 5]
    assert told(replaced(server, on_referenced="allow")) == [("t", "up", action, rows)]
    assert values(server) == left


def test_tables_that_refer_to_each_other(server: App) -> None:
    target(server, "plain", "time timestamptz NOT NULL, id int PRIMARY KEY, v int, r int")
    server.database.execute(
        "CREATE TABLE {s}.r (n int PRIMARY KEY, id int CONSTRAINT r_fk REFERENCES {s}.t ON DELETE CASCADE, name text)"
    )
    server.database.execute("ALTER TABLE {s}.t ADD CONSTRAINT t_fk FOREIGN KEY (r) REFERENCES {s}.r ON DELETE CASCADE")
    server.database.execute(
        'CREATE TABLE {s}.x (name text COLLATE "C", n bigint CONSTRAINT x_fk REFERENCES {s}.r ON DELETE SET NULL)'
    )
    # 1 - 11 - 3 - 13 - 4: the rows 3 and 4 are of other days.
    server.database.execute(
        "INSERT INTO {s}.t VALUES ('2025-01-03 01:00Z', 4, 4, NULL), ('2025-01-03 01:00Z', 5, 5, NULL)"
    )
    server.database.execute("INSERT INTO {s}.r VALUES (11, 1), (13, 3), (14, 4), (15, 5)")
    server.database.execute("UPDATE {s}.t SET r = CASE id WHEN 3 THEN 11 WHEN 4 THEN 13 END")
    server.database.execute("INSERT INTO {s}.x VALUES ('a', 14), ('b', 14), ('c', 15)")
    expected = [("r", "r_fk", "CASCADE", 3), ("t", "t_fk", "CASCADE", 2), ("x", "x_fk", "SET NULL", 2)]
    refused(replaced(server), *expected)
    assert values(server) == [1, 2, 3, 4, 5]
    assert told(replaced(server, on_referenced="allow")) == expected
    assert (values(server), contents(server)) == ([10, 90, 5], [(15, 5)])


def test_a_hypertable_that_refers_to_itself(community_app: App) -> None:
    app = community_app
    app.database.hypertable(
        "t",
        "time timestamptz NOT NULL, id int, v int, up_time timestamptz, up int, PRIMARY KEY (time, id),"
        " CONSTRAINT up FOREIGN KEY (up_time, up) REFERENCES {s}.t ON DELETE CASCADE",
    )
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 01:00Z', 1, 1)")
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-02 01:00Z', 2, 2, '2025-01-01 01:00Z', 1)")
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-03 01:00Z', 3, 3, '2025-01-02 01:00Z', 2)")
    refused(replaced(app), ("t", "up", "CASCADE", 2))
    assert values(app) == [1, 2, 3]
    assert told(replaced(app, on_referenced="allow")) == [("t", "up", "CASCADE", 2)]
    assert values(app) == [10, 90]


@pytest.mark.parametrize("is_compressed", [False, pytest.param(True, marks=pytest.mark.community)])
def test_a_hypertable_that_refers_to_a_plain_table(request: pytest.FixtureRequest, *, is_compressed: bool) -> None:
    app: App = request.getfixturevalue("community_app" if is_compressed else "app")
    target(app, "plain")
    app.database.hypertable(
        "r",
        "gone int, at timestamptz NOT NULL, n int, time timestamptz, id int,"
        " CONSTRAINT r_fk FOREIGN KEY (time, id) REFERENCES {s}.t ON DELETE CASCADE",
        time="at",
    )
    # So the columns of its chunks have other numbers than its own.
    app.database.execute("ALTER TABLE {s}.r DROP gone")
    app.database.execute(
        "INSERT INTO {s}.r SELECT '2025-03-01Z'::timestamptz + n * interval '9 days', n, time::timestamptz, id"
        f" FROM (VALUES {REFERRING}) v(n, time, id)"
    )
    if is_compressed:
        app.database.execute("ALTER TABLE {s}.r SET (timescaledb.compress)")
        app.database.execute("SELECT public.compress_chunk(c) FROM public.show_chunks('{s}.r') c")
    refused(replaced(app), ("r", "r_fk", "CASCADE", 2))
    assert contents(app) == BEFORE
    assert told(replaced(app, on_referenced="allow")) == [("r", "r_fk", "CASCADE", 2)]
    assert contents(app) == AFTER["CASCADE"]


def test_a_partitioned_table_that_refers(server: App) -> None:
    target(server, "hypertable")
    server.database.execute(
        "CREATE TABLE {s}.r (n int, time timestamptz, id int,"
        " CONSTRAINT r_fk FOREIGN KEY (time, id) REFERENCES {s}.t ON DELETE CASCADE) PARTITION BY LIST (n)"
    )
    server.database.execute("CREATE TABLE {s}.r1 PARTITION OF {s}.r FOR VALUES IN (11)")
    server.database.execute("CREATE TABLE {s}.r2 PARTITION OF {s}.r DEFAULT")
    server.database.execute(
        "ALTER TABLE {s}.r1 ADD CONSTRAINT own FOREIGN KEY (time, id) REFERENCES {s}.t ON DELETE SET NULL"
    )
    server.database.execute(f"INSERT INTO {{s}}.r VALUES {REFERRING}")
    expected = [("r", "r_fk", "CASCADE", 2), ("r1", "own", "SET NULL", 1)]
    refused(replaced(server), *expected)
    assert told(replaced(server, on_referenced="allow")) == expected
    assert contents(server) == AFTER["CASCADE"]


REFUSALS = [
    ("ON DELETE RESTRICT", "RESTRICT"),
    ("", "NO ACTION"),
    ("DEFERRABLE INITIALLY DEFERRED", "NO ACTION"),
]


@KINDS
@pytest.mark.parametrize(("action", "name"), REFUSALS)
def test_what_the_server_refuses_has_the_same_code(server: App, kind: str, action: str, name: str) -> None:
    target(server, kind)
    referring(server, action)
    for policy in ("error", "allow"):
        fault = refused(replaced(server, on_referenced=policy), ("r", "r_fk", name, 2))
        assert fault["sqlstate"] in ("23503", "23001")
    assert (values(server), contents(server)) == ([1, 2, 3], BEFORE)


@KINDS
def test_a_deferred_key_that_holds_at_the_commit_passes(server: App, kind: str) -> None:
    target(server, kind)
    referring(
        server, "DEFERRABLE INITIALLY DEFERRED", rows="(11, '2025-01-01 01:00Z', 1), (13, '2025-01-02 03:00Z', 3)"
    )
    assert told(replaced(server)) == []
    assert (values(server), contents(server)) == ([10, 90, 3], [(11, 1), (13, 3)])


def test_a_deferred_key_of_a_loaded_row_is_another_matter(server: App) -> None:
    """The row refers to nothing, and no row refers to the day."""
    target(
        server,
        "plain",
        "time timestamptz NOT NULL, id int PRIMARY KEY, v int,"
        " parent int CONSTRAINT up REFERENCES {s}.t DEFERRABLE INITIALLY DEFERRED",
    )
    answer = replaced(server, b"time,id,v,parent\n2025-01-01 01:00Z,1,10,77\n")
    assert (answer.status, answer.code) == (422, "DataRejected")
    assert values(server) == [1, 2, 3]
    # Here one does.
    server.database.execute("UPDATE {s}.t SET parent = 2 WHERE id = 3")
    refused(replaced(server), ("t", "up", "NO ACTION", 1))


def test_a_key_by_period(server: App) -> None:
    """PostgreSQL 18: the key refers to rows whose ranges overlap its own."""
    available = "SELECT count(*) FROM pg_available_extensions WHERE name = 'btree_gist'"
    if server.database.connection.server_version < 180000 or not server.database.value(available):
        pytest.skip("takes PostgreSQL 18 and btree_gist")
    server.database.execute("CREATE EXTENSION IF NOT EXISTS btree_gist SCHEMA public")
    try:
        target(
            server,
            "plain",
            "time timestamptz NOT NULL, id int, v int, valid daterange DEFAULT '[2025-01-01,2025-02-01)',"
            " PRIMARY KEY (id, valid WITHOUT OVERLAPS)",
        )
        server.database.execute(
            "CREATE TABLE {s}.r (id int, valid daterange,"
            " CONSTRAINT r_fk FOREIGN KEY (id, PERIOD valid) REFERENCES {s}.t (id, PERIOD valid))"
        )
        server.database.execute(
            "INSERT INTO {s}.r VALUES (1, '[2025-01-05,2025-01-06)'), (3, '[2025-01-05,2025-01-06)')"
        )
        refused(replaced(server), ("r", "r_fk", "NO ACTION", 1))
        assert values(server) == [1, 2, 3]
    finally:
        server.database.execute("DROP EXTENSION btree_gist CASCADE")


def test_no_line_is_named_where_half_a_day_breaks_a_key_as_well(server: App) -> None:
    """The row 2 is at fault. A search for it that loads the row 1 alone would break the key of `r`."""
    server.database.execute("CREATE TABLE {s}.p (n int PRIMARY KEY)")
    target(
        server,
        "plain",
        "time timestamptz NOT NULL, id int PRIMARY KEY, v int,"
        " p int CONSTRAINT p_fk REFERENCES {s}.p DEFERRABLE INITIALLY DEFERRED",
        rows="('2025-01-01 01:00Z', 1, 1), ('2025-01-01 02:00Z', 2, 2)",
    )
    server.database.execute(
        "CREATE TABLE {s}.r (n int, id int CONSTRAINT r_fk REFERENCES {s}.t DEFERRABLE INITIALLY DEFERRED)"
    )
    server.database.execute("INSERT INTO {s}.r VALUES (11, 2)")
    answer = replaced(server, b"time,id,v,p\n2025-01-01 01:00Z,1,10,\n2025-01-01 02:00Z,2,20,77\n")
    assert (answer.status, answer.code) == (422, "DataRejected")
    assert [fault["constraint"] for fault in answer.body["error"]["details"]] == ["p_fk"]
    assert not any("line" in fault for fault in answer.body["error"]["details"])


def test_a_table_that_may_not_be_read_is_not_counted_after_a_refusal(server: App) -> None:
    target(server, "plain")
    referring(server, "ON DELETE RESTRICT")
    pg = server.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT, DELETE ON {s}.t")
    refused(replaced(server, request={"pg": pg}), ("r", "r_fk", "RESTRICT", None))


@pytest.mark.parametrize("action", ["SET NULL", "SET DEFAULT"])
def test_a_change_that_the_other_table_forbids(server: App, action: str) -> None:
    target(server, "hypertable")
    referring(server, f"ON DELETE {action}", rows="(11, '2025-01-01 01:00Z', 1)")
    server.database.execute(
        "ALTER TABLE {s}.r ALTER id SET NOT NULL"
        if action == "SET NULL"
        else "ALTER TABLE {s}.r ALTER id SET DEFAULT 77"
    )
    refused(replaced(server, on_referenced="allow"), ("r", "r_fk", action, 1))
    assert (values(server), contents(server)) == ([1, 2, 3], [(11, 1)])


def test_some_columns_of_a_key_alone(server: App) -> None:
    target(server, "hypertable")
    referring(server, "ON DELETE SET NULL (id)")
    server.database.execute("ALTER TABLE {s}.r ADD UNIQUE (n, time)")
    server.database.execute(
        "CREATE TABLE {s}.x (n int, time timestamptz,"
        " CONSTRAINT x_fk FOREIGN KEY (n, time) REFERENCES {s}.r (n, time) ON UPDATE CASCADE)"
    )
    server.database.execute("INSERT INTO {s}.x SELECT n, time FROM {s}.r")
    refused(replaced(server), ("r", "r_fk", "SET NULL", 2))
    assert told(replaced(server, on_referenced="allow")) == [("r", "r_fk", "SET NULL", 2)]
    assert server.database.value("SELECT count(*) FROM {s}.x WHERE time < '2025-01-02Z'") == 2


PAIRS = {
    "int to bigint": ("bigint", "int", "1", "1"),
    "text to varchar": ("varchar(9)", "text", "'a'", "'a'"),
    "char": ("char(5)", "char(9)", "'a'", "'a  '"),
    "numeric to int": ("numeric", "int", "1.00", "1"),
    "enum": ("{s}.mood", "{s}.mood", "'a'", "'a'"),
    "domain": ("{s}.positive", "int", "1", "1"),
    "array": ("int[]", "int[]", "'{{1}}'", "'{{1}}'"),
    "another collation": ('text COLLATE "C"', 'text COLLATE "POSIX"', "'a'", "'a'"),
    "odd name": ("uuid", "uuid", "'11111111-1111-1111-1111-111111111111'", "'11111111-1111-1111-1111-111111111111'"),
}


@pytest.mark.parametrize(("key", "type_", "value", "reference"), PAIRS.values(), ids=PAIRS)
def test_columns_of_different_types(server: App, key: str, type_: str, value: str, reference: str) -> None:
    server.database.execute(
        "CREATE TYPE {s}.mood AS ENUM ('a', 'b'); CREATE DOMAIN {s}.positive AS int CHECK (value > 0)"
    )
    server.database.execute(
        "CREATE TABLE {s}.t (time timestamptz NOT NULL, id int, v int,"
        f' "k %s ""key" {key} DEFAULT {value} PRIMARY KEY)'
    )
    server.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 01:00Z', 1, 1)")
    server.database.execute(
        "CREATE TABLE {s}.r (n int, id int,"
        f' "% odd" {type_} CONSTRAINT "100% fk" REFERENCES {{s}}.t ON DELETE CASCADE)'
    )
    server.database.execute(f"INSERT INTO {{s}}.r VALUES (11, 1, {reference}), (12, 2, NULL)")
    csv = b"time,id,v\n2025-01-01 05:00Z,5,50\n"
    refused(replaced(server, csv), ("r", "100% fk", "CASCADE", 1))
    assert told(replaced(server, csv, on_referenced="allow")) == [("r", "100% fk", "CASCADE", 1)]
    assert contents(server) == [(12, 2)]


@KINDS
def test_a_key_counts_where_its_trigger_fires(app: App, kind: str) -> None:
    """As PostgreSQL leaves it out, with rows that refer to nothing as the result."""
    target(app, kind)
    referring(app, "ON DELETE CASCADE")
    pg = app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT, DELETE ON {s}.t")
    app.database.execute(f"ALTER ROLE {pg['user']} SET session_replication_role = replica")
    assert told(replaced(app, request={"pg": pg})) == []
    assert (values(app), contents(app)) == ([10, 90, 3], BEFORE)


def test_a_key_that_is_disabled(app: App) -> None:
    target(app, "plain")
    referring(app, "ON DELETE CASCADE")
    app.database.execute("ALTER TABLE {s}.t DISABLE TRIGGER ALL")
    assert told(replaced(app)) == []
    assert contents(app) == BEFORE


@ACTIONS
@pytest.mark.parametrize("policy", ["error", "allow"])
def test_a_table_that_may_not_be_read(server: App, action: str, policy: str) -> None:
    """Nobody knows then what would change in it."""
    target(server, "hypertable")
    referring(server, f"ON DELETE {action}")
    server.database.execute(
        "CREATE TABLE {s}.x (n int CONSTRAINT x_fk REFERENCES {s}.r ON UPDATE CASCADE ON DELETE CASCADE)"
    )
    pg = server.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT, DELETE ON {s}.t")
    request = {"pg": pg}
    answer = replaced(server, request=request, on_referenced=policy)
    assert (answer.status, answer.code) == (403, "DatabasePermissionDenied")
    lacking = ["r", "x"] if action == "CASCADE" else ["r"]
    lacks = [f"SELECT on {server.database.schema}.{table}" for table in lacking]
    assert answer.body["error"]["message"] == f"the role {pg['user']} lacks {', '.join(lacks)}"
    plan = replaced(server, request=request | {"dry_run": True}).body["dry_run"]
    rights = {(right["right"], right["on"]) for right in plan["permissions_missing"] if right["needed"]}
    assert rights == {("SELECT", f"{server.database.schema}.{table}") for table in lacking}
    assert contents(server) == BEFORE
    for table in lacking:
        server.database.execute(f"GRANT SELECT ON {{s}}.{table} TO {pg['user']}")
    assert replaced(server, request=request).code == "ReferencedRows"
    # A policy would hide rows that change all the same.
    server.database.execute("ALTER TABLE {s}.r ENABLE ROW LEVEL SECURITY")
    error = replaced(server, request=request, on_referenced=policy).body["error"]
    assert error["message"] == f"the role {pg['user']} lacks BYPASSRLS for {server.database.schema}.r"
    # Nothing of it is asked where no row goes.
    server.database.execute("DELETE FROM {s}.r; DELETE FROM {s}.t WHERE id < 3")
    assert replaced(server, request=request).status == 200


def test_a_table_of_a_schema_that_may_not_be_used(app: App) -> None:
    target(app, "plain")
    app.database.execute(f"CREATE SCHEMA {app.database.schema}_other")
    try:
        other = f"{app.database.schema}_other.r"
        app.database.execute(
            f"CREATE TABLE {other} (time timestamptz, id int,"
            " FOREIGN KEY (time, id) REFERENCES {s}.t ON DELETE CASCADE)"
        )
        pg = app.database.role(
            "GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT, DELETE ON {s}.t", f"GRANT SELECT ON {other}"
        )
        error = replaced(app, request={"pg": pg}).body["error"]
        assert error["message"] == f"the role {pg['user']} lacks USAGE on schema {app.database.schema}_other"
    finally:
        app.database.execute(f"DROP SCHEMA {app.database.schema}_other CASCADE")


def test_a_chunk_with_a_foreign_key_is_not_truncated(server: App) -> None:
    """PostgreSQL would refuse it; the dry run says so first."""
    target(server, "hypertable")
    referring(server, "ON DELETE CASCADE", rows="(13, '2025-01-02 03:00Z', 3)")
    plan = replaced(server, request={"dry_run": True}).body["dry_run"]
    assert plan["chunks"][0]["would"] == ["delete its rows: there is a foreign key that refers to it"]
    assert replaced(server).body["removed_by"] == "delete"


def test_a_row_that_comes_meanwhile(server: App) -> None:
    """It refers to the day after the look at it: the load sees neither it nor its end, and is to be sent again."""
    target(server, "plain")
    referring(server, "ON DELETE CASCADE", rows="(13, '2025-01-02 03:00Z', 3)")
    # Between the load's snapshot and its DELETE: by a session that waits for the lock that the DELETE trigger sets.
    server.database.execute(
        "CREATE FUNCTION {s}.wait() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_advisory_lock_shared(4711); RETURN NULL; END $$"
    )
    server.database.execute("CREATE TRIGGER w BEFORE DELETE ON {s}.t FOR EACH STATEMENT EXECUTE FUNCTION {s}.wait()")
    with closing(server.database.session()) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(4711)")
        call = Call(lambda: replaced(server))
        server.database.wait_for_session("wait_event = 'advisory'")
        cursor.execute(f"INSERT INTO {server.database.schema}.r VALUES (11, '2025-01-01 01:00Z', 1)")
        cursor.execute("SELECT pg_advisory_unlock(4711)")
        answer = call.result()
    assert (answer.status, answer.code) == (503, "TargetLocked")
    assert contents(server) == [(11, 1), (13, 3)]
