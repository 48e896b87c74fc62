"""A hostile name, wherever a request can hold one, is a name: the restore works on that object and on no other."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.fix_app import App
from tests.integration.fix_names import (
    NAMES,
    csv_of,
    each_name,
    each_way,
    loaded,
    make_canary,
    make_hypertable,
    nothing_else_happens,
    quoted,
    run,
    send,
    values,
)

pytestmark = pytest.mark.any_server

ROWS = [("2025-01-01 01:00Z", "a"), ("2025-01-01 02:00Z", "b")]
CSV = csv_of(("time", "v"), ROWS)


@pytest.fixture(autouse=True)
def canary(app: App) -> None:
    make_canary(app.database)


def expected(way: dict[str, str]) -> list[str]:
    """What a table holds in the end that held `old`."""
    return ["a", "b"] if "on_existing" in way else ["a", "b", "old"]


@each_way
@each_name
def test_a_table(app: App, name: str, way: dict[str, str]) -> None:
    make_hypertable(app.database, name, "time", "v")
    run(app.database, "INSERT INTO {}.{} VALUES ('2025-01-01 05:00Z', 'old')", app.database.schema, name)
    destination = {"on_existing": "append", **way, "target_table": quoted(app.database.schema, name)}
    if "mode" in way:
        destination["create_staging_like"] = quoted(app.database.schema, name)
    assert loaded(send(app, CSV, destination=destination)) == 2
    assert values(app.database, name) == expected(way)


@each_name
def test_a_table_that_staging_is_made_like(app: App, name: str) -> None:
    app.database.execute("CREATE TABLE {s}.t (time timestamptz, v text)")
    run(app.database, "CREATE TABLE {}.{} (time timestamptz, v text)", app.database.schema, name)
    destination = {"mode": "staging", "create_staging_like": quoted(name)}
    assert loaded(send(app, CSV, destination=destination)) == 2
    assert (values(app.database, "t"), values(app.database, name)) == (["a", "b"], [])


@each_name
def test_a_table_that_is_not_there(app: App, name: str) -> None:
    answer = send(app, CSV, destination={"target_table": quoted(name)})
    assert (answer.status, answer.code) == (404, "TableNotFound")
    assert name in answer.body["error"]["message"]


@each_name
def test_a_schema(app: App, name: str) -> None:
    run(app.database, "CREATE SCHEMA {}", name)
    try:
        run(app.database, "CREATE TABLE {}.t (time timestamptz, v text)", name)
        for mode in ("direct", "staging"):
            destination = {"mode": mode, "on_existing": "append", "target_table": quoted(name, "t")}
            assert loaded(send(app, CSV, destination=destination)) == 2
        assert run(app.database, "SELECT count(*) FROM {}.t", name) == [(4,)]
    finally:
        run(app.database, "DROP SCHEMA {} CASCADE", name)


@each_way
@each_name
def test_columns(app: App, name: str, way: dict[str, str]) -> None:
    """In the header and in the table, the time column among them, and in an option."""
    time = f"t{name}"[:31]
    make_hypertable(app.database, "t", time, name)
    run(app.database, "INSERT INTO {}.t VALUES ('2025-01-01 05:00Z', 'old')", app.database.schema)
    data = csv_of((time, name), [*ROWS, ("2025-01-01 03:00Z", "")])
    request: dict[str, Any] = {
        "destination": {"on_existing": "append", **way, "time_column": time},
        "copy": {"csv_options": {"FORCE_NULL": [name]}},
    }
    answer = send(app, data, **request)
    assert loaded(answer) == 3
    assert answer.body["columns_loaded"] == [time, name]
    assert values(app.database, "t", name) == [*expected(way), None]


@each_name
def test_columns_by_their_map(app: App, name: str) -> None:
    """Both sides; and without a header, and with one that the table lacks, which staging leaves out."""
    run(app.database, "CREATE TABLE {}.t (time timestamptz, {} text)", app.database.schema, name)
    append = {"on_existing": "append"}
    column_map = {name: "time", "v": name}
    assert loaded(send(app, csv_of((name, "v"), ROWS), destination=append, copy={"column_map": column_map})) == 2
    headerless = {"columns": ["time", name], "csv_options": {"HEADER": False}}
    assert loaded(send(app, csv_of(None, ROWS), destination=append, copy=headerless)) == 2
    drifted = csv_of(("time", name, f"{name}?" * 9), [(*row, "x") for row in ROWS])
    answer = send(app, drifted, destination=append | {"mode": "staging"})
    assert (answer.body["status"], answer.body["rows_loaded"]) == ("ok_with_warnings", 2)
    # It is not an ordinary word, so it may be a piece of a row.
    assert answer.body["columns_ignored"] == ["column 3"]
    assert values(app.database, "t", name) == ["a", "a", "a", "b", "b", "b"]


@each_name
def test_a_column_that_is_not_there(app: App, name: str) -> None:
    app.database.execute("CREATE TABLE {s}.t (time timestamptz, v text)")
    tries: list[tuple[bytes, dict[str, Any]]] = [
        (csv_of(("time", name), ROWS), {}),
        (CSV, {"destination": {"time_column": name}}),
        (CSV, {"copy": {"column_map": {"v": name}}}),
        (CSV, {"copy": {"column_map": {name: "v"}}}),
        (CSV, {"copy": {"csv_options": {"FORCE_NULL": [name]}}}),
        (CSV, {"copy": {"csv_options": {"FORCE_NOT_NULL": [name]}}}),
    ]
    for data, request in tries:
        answer = send(app, data, **request)
        assert (answer.status, answer.code) == (422, "UnknownColumn"), answer.body


@each_name
def test_a_rejected_row_still_has_its_line_and_column(app: App, name: str) -> None:
    """They are read out of PostgreSQL's context, which holds the names."""
    run(app.database, "CREATE TABLE {}.{} (time timestamptz, {} int)", app.database.schema, name, name)
    data = csv_of(("time", name), [("2025-01-01", "1"), ("2025-01-01", "oops")])
    answer = send(app, data, destination={"target_table": quoted(name)})
    assert answer.code == "DataRejected"
    fault = answer.body["error"]["details"][0]
    # PostgreSQL counts the line breaks inside a header or does not, by which of the two they are.
    assert (fault["line"] in {3, 4}, fault["column"]) == (True, name)


@each_name
def test_a_column_of_a_type_of_that_name(app: App, name: str) -> None:
    """The one text of the catalogue that becomes SQL: a column that the table to be made like does not have."""
    app.database.execute("CREATE TABLE {s}.t (time timestamptz, v text)")
    run(app.database, "CREATE DOMAIN {}.{} AS text", app.database.schema, name)
    run(app.database, "ALTER TABLE {}.t ADD COLUMN w {}.{}", app.database.schema, app.database.schema, name)
    app.database.execute("CREATE TABLE {s}.model (time timestamptz)")
    destination = {"mode": "staging", "create_staging_like": "model"}
    data = csv_of(("time", "v", "w"), [(*row, "x") for row in ROWS])
    assert loaded(send(app, data, destination=destination)) == 2
    assert values(app.database, "t", "w") == ["x", "x"]


@each_name
def test_chunks(app: App, name: str) -> None:
    """The owner of the hypertable chose the name. It is truncated, locked, deleted from and read by that name."""
    prefix = name.encode()[:40].decode(errors="ignore").replace("'", "''")
    make_hypertable(app.database, "t", "time", "v", f"associated_table_prefix => '{prefix}'")
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 05:00Z', 'old')")
    outside = csv_of(("time", "v"), [*ROWS, ("2025-01-09 01:00Z", "c")])
    answer = send(app, outside, destination={"on_existing": "append", "rows_outside_window": "allow"})
    assert (loaded(answer), answer.body["verification"]["rows_outside_window"]) == (3, 1)
    # The first time, three rows give way to two.
    for mode, warned in (("direct", ["ReplacedByFewer"]), ("staging", [])):
        answer = send(app, CSV, destination={"mode": mode, "on_existing": "replace"})
        assert (answer.body["rows_loaded"], [warning["code"] for warning in answer.body["warnings"]]) == (2, warned)
    assert values(app.database, "t") == ["a", "b", "c"]


@each_name
def test_the_path(app: App, name: str) -> None:
    """A table by the file's own name: it is the one that is restored, or the request is refused."""
    make_hypertable(app.database, name, "time", "v")
    with nothing_else_happens(app.database):
        answer = app.restore(app.archive(name, CSV))
    if answer.status == 200:
        assert values(app.database, name) == ["a", "b"]
    else:
        # A control character and a backslash stand in no path, and a slash divides schema and table.
        codes = {"InvalidArchiveUrl", "ArchiveNotFound", "TableNotFound"}
        assert (answer.status in {400, 404}, answer.code in codes) == (True, True), answer.body
        assert any(ord(letter) < 32 or letter in "\\/" for letter in name), answer.body


@pytest.mark.parametrize("letter", ["x", "ü"])
def test_a_column_of_the_file_that_postgresql_would_cut(app: App, letter: str) -> None:
    """What would be left of it is another column of the table."""
    longer = letter * 64
    shorter = longer.encode()[:63].decode(errors="ignore")
    app.database.execute("CREATE TABLE {s}.t (time timestamptz, v text)")
    run(app.database, "ALTER TABLE {}.t ADD COLUMN {} text", app.database.schema, shorter)
    data = csv_of(("time", "v", longer), [(*row, "x") for row in ROWS])
    for shown, request in (("column 3", {}), (longer, {"copy": {"csv_options": {"FORCE_NULL": [longer]}}})):
        assert send(app, data, **request).code == "UnknownColumn"
        body = send(app, data, destination={"mode": "staging", "on_existing": "append"}, **request).body
        assert (body["columns_ignored"], body["columns_defaulted"]) == ([shown], [shorter])
    assert values(app.database, "t", shorter) == [None] * 4


def test_enough_names_are_tried() -> None:
    assert all(len(name.encode()) <= 63 for name in NAMES.values())
    assert {len(name.encode()) for name in NAMES.values()} >= {63}
