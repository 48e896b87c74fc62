"""Rows that COPY lets into a table, and that INSERT refuses: TimescaleDB's from 2.22 on, and PostgreSQL's own."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.fix_app import Answer, App

# Without a NOT NULL column besides those of the dimensions, TimescaleDB's COPY leaves out what it takes for bounds.
COLUMNS = "time timestamptz NOT NULL, dev text NOT NULL, v int"
HEADER = "time,dev,v\n"
GOOD = [f"2025-01-01 {hour:02}:00Z,d{hour % 5},{hour}" for hour in range(20)]
WAYS = pytest.mark.parametrize(
    "way",
    [
        {"copy": {"format": "text", "indexes": "keep"}},
        {"copy": {"format": "text", "indexes": "auto"}, "verify": False},
        {"copy": {"format": "binary", "indexes": "keep"}, "verify": False},
        {"copy": {"format": "binary", "indexes": "auto"}},
        {"copy": {"format": "text", "transfer": "stream"}},
    ],
    ids=["text", "text, deferred", "binary", "binary, deferred", "streamed"],
)


def csv(*rows: str, header: str = HEADER) -> bytes:
    return (header + "\n".join(rows) + "\n").encode()


def hypertable(app: App, columns: str = COLUMNS, *, partitions: int | None = 2) -> None:
    app.database.hypertable("t", columns)
    if partitions is not None:
        app.database.execute(f"SELECT public.add_dimension('{{s}}.t', 'dev', number_partitions => {partitions})")


def trigger(app: App, body: str, *, table: str = "{s}.t") -> None:
    app.database.execute(
        f"CREATE FUNCTION {{s}}.change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN new; END $$"
    )
    app.database.execute(f"CREATE TRIGGER change BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {{s}}.change()")


def rows(app: App) -> int:
    return int(app.database.value("SELECT count(*) FROM {s}.t"))


def facts(answer: Answer) -> dict[str, Any]:
    (detail,) = answer.body["error"]["details"]
    return {name: detail[name] for name in ("line", "column", "constraint", "sqlstate") if name in detail}


def check_refused(app: App, answer: Answer, **expected: Any) -> None:
    assert (answer.status, answer.code) == (422, "DataRejected"), answer.body
    assert facts(answer).items() >= expected.items()
    assert rows(app) == 0


@WAYS
def test_a_null_in_a_space_partition(app: App, way: dict[str, Any]) -> None:
    hypertable(app)
    url = app.archive("t", csv(*GOOD[:12], "2025-01-01 13:30Z,,7", *GOOD[12:]))
    answer = app.restore(url, **way)
    check_refused(app, answer, line=14, column="dev", sqlstate="23502")
    assert "null value" in answer.body["error"]["message"]
    good = app.restore(app.archive("t", csv(*GOOD)), **way)
    assert (good.status, good.body["rows_loaded"]) == (200, len(GOOD))
    assert rows(app) == len(GOOD)


def test_a_null_by_staging(app: App) -> None:
    hypertable(app)
    url = app.archive("t", csv(*GOOD, "2025-01-01 13:30Z,,7"))
    check_refused(app, app.restore(url, destination={"mode": "staging"}), line=22, column="dev", sqlstate="23502")


@pytest.mark.parametrize(
    ("options", "cell"),
    [
        ({"NULL": "nix"}, "nix"),
        ({"FORCE_NULL": ["dev"]}, '""'),
        ({"NULL": "-", "QUOTE": "'", "FORCE_NULL": "*"}, "'-'"),
    ],
)
def test_a_null_as_the_options_write_it(app: App, options: dict[str, Any], cell: str) -> None:
    hypertable(app)
    url = app.archive("t", csv(*GOOD, f"2025-01-01 13:30Z,{cell},7"))
    answer = app.restore(url, copy={"csv_options": options})
    check_refused(app, answer, line=22, column="dev", sqlstate="23502")


@pytest.mark.parametrize("decompress", [True, False])
@pytest.mark.community
def test_a_null_beside_rows_that_were_there(community_app: App, *, decompress: bool) -> None:
    app = community_app
    hypertable(app)
    app.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress)")
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 00:30Z', 'd', 1), ('2025-01-01 00:30Z', 'e', 1)")
    app.database.execute("SELECT public.compress_chunk(c) FROM public.show_chunks('{s}.t') c")
    request: dict[str, Any] = {
        "destination": {"on_existing": "append"},
        "timescaledb": {"decompress_window": decompress},
    }
    answer = app.restore(app.archive("t", csv("2025-01-01 13:30Z,,7")), **request)
    assert (answer.code, facts(answer)["line"]) == ("DataRejected", 2)
    assert app.restore(app.archive("t", csv(*GOOD)), **request).status == 200
    assert rows(app) == len(GOOD) + 2


def test_nulls_that_were_stored_before_are_not_the_archives_fault(app: App) -> None:
    hypertable(app, COLUMNS.replace("dev text NOT NULL", "dev text"))
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 00:30Z', NULL, 1)")
    destination = {"on_existing": "append"}
    assert app.restore(app.archive("t", csv(*GOOD, "2025-01-01 13:30Z,,7")), destination=destination).status == 200
    assert rows(app) == len(GOOD) + 2


@WAYS
def test_a_file_without_the_space_column(app: App, way: dict[str, Any]) -> None:
    hypertable(app)
    url = app.archive("t", csv("2025-01-01 01:00Z,7", header="time,v\n"))
    # No row is at fault.
    check_refused(app, app.restore(url, **way), column="dev", sqlstate="23502")


@WAYS
def test_a_check_that_passes_for_the_bound_of_an_only_partition(app: App, way: dict[str, Any]) -> None:
    hypertable(app, COLUMNS.replace("v int", "v int CHECK (v >= 0)"), partitions=1)
    url = app.archive("t", csv(*GOOD[:12], "2025-01-01 13:30Z,d1,-7", *GOOD[12:]))
    answer = app.restore(url, **way)
    check_refused(app, answer, line=14, constraint="t_v_check", sqlstate="23514")
    assert app.restore(app.archive("t", csv(*GOOD)), **way).status == 200


@pytest.mark.parametrize(("outside", "verify"), [("error", True), ("allow", True), ("allow", False)])
def test_a_trigger_that_moves_rows_out_of_their_chunk(app: App, outside: str, *, verify: bool) -> None:
    app.database.hypertable("t", "time timestamptz NOT NULL, dev text, v int", interval="interval '6 hours'")
    # Of the same day, but of another chunk.
    trigger(app, "new.time := new.time + interval '6 hours'")
    destination = {"rows_outside_window": outside}
    answer = app.restore(app.archive("t", csv(GOOD[1])), destination=destination, verify=verify)
    check_refused(app, answer, sqlstate="23514")
    # Older ones refuse the row themselves, and name its line.
    assert ("trigger" in answer.body["error"]["hint"]) == (app.database.version >= (2, 22))


def test_a_trigger_of_a_chunk_alone(app: App) -> None:
    app.database.hypertable("t", "time timestamptz NOT NULL, dev text, v int", interval="interval '6 hours'")
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 00:30Z', NULL, 1)")
    trigger(
        app, "new.time := new.time + interval '6 hours'", table=app.database.value("SELECT public.show_chunks('{s}.t')")
    )
    answer = app.restore(app.archive("t", csv(GOOD[1])), destination={"on_existing": "append"})
    assert (answer.status, answer.code) == (422, "DataRejected")
    assert rows(app) == 1


@pytest.mark.parametrize(
    ("body", "partitions", "column"),
    [("new.time := NULL", None, "time"), ("new.time := NULL", 2, "time"), ("new.dev := NULL", 2, "dev")],
)
def test_a_trigger_that_removes_a_value(app: App, body: str, partitions: int | None, column: str) -> None:
    columns = COLUMNS if partitions else COLUMNS.replace("dev text NOT NULL", "dev text")
    hypertable(app, columns, partitions=partitions)
    trigger(app, body)
    answer = app.restore(app.archive("t", csv(*GOOD)), verify=False)
    check_refused(app, answer, column=column, sqlstate="23502")


def test_a_trigger_that_changes_what_it_may(app: App) -> None:
    hypertable(app)
    trigger(app, "new.v := new.v + 100; new.dev := coalesce(new.dev, 'none')")
    assert app.restore(app.archive("t", csv(*GOOD))).status == 200
    assert app.database.value("SELECT min(v) FROM {s}.t") == 100


@pytest.mark.parametrize("is_hypertable", [True, False])
@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize("refuses", ["NOT NULL", "CHECK (value IS NOT NULL)"])
def test_a_domain_that_refuses_the_null_of_a_column_that_the_file_lacks(
    app: App, mode: str, refuses: str, *, is_hypertable: bool
) -> None:
    app.database.execute(f"CREATE DOMAIN {{s}}.given AS int {refuses}")
    app.database.execute("CREATE DOMAIN {s}.any AS int CHECK (value > 0)")
    columns = "time timestamptz NOT NULL, dev text, v {s}.given, w {s}.any, x {s}.given DEFAULT 1"
    if is_hypertable:
        app.database.hypertable("t", columns)
    else:
        app.database.execute(f"CREATE TABLE {{s}}.t ({columns})")
    url = app.archive("t", csv("2025-01-01 01:00Z,d", header="time,dev\n"))
    answer = app.restore(url, destination={"mode": mode})
    check_refused(app, answer, sqlstate="23502" if refuses == "NOT NULL" else "23514")
    assert app.restore(app.archive("t", csv(*GOOD)), destination={"mode": mode}).status == 200


def test_the_right_to_read_is_asked_for_where_rows_are_looked_at(app: App) -> None:
    hypertable(app)
    role = app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT INSERT ON {s}.t")
    request: dict[str, Any] = {"pg": role, "verify": False, "destination": {"on_existing": "append"}}
    answer = app.restore(app.archive("t", csv(*GOOD)), **request)
    if app.database.version < (2, 22):
        assert answer.status == 200
        return
    assert (answer.status, answer.code) == (403, "DatabasePermissionDenied")
    assert "SELECT on" in answer.body["error"]["message"]
    app.database.execute(f"GRANT SELECT ON {{s}}.t TO {role['user']}")
    assert app.restore(app.archive("t", csv(*GOOD)), **request).status == 200


def test_the_line_where_no_temporary_table_may_be_made(app: App) -> None:
    hypertable(app)
    app.database.execute(f"REVOKE TEMPORARY ON DATABASE {app.database.name} FROM PUBLIC")
    role = app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.t")
    try:
        answer = app.restore(app.archive("t", csv(*GOOD, "2025-01-01 13:30Z,,7")), pg=role)
    finally:
        app.database.execute(f"GRANT TEMPORARY ON DATABASE {app.database.name} TO PUBLIC")
    check_refused(app, answer, column="dev", sqlstate="23502")
