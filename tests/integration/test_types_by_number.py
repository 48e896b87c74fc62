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
