"""Hostile names of roles and databases: libpq is given them as values, and never as a text to be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from urllib.parse import quote

import psycopg2
import pytest
from psycopg2 import sql

from tests.integration.fix_app import App
from tests.integration.fix_names import NAMES, csv_of, make_canary, nothing_else_happens, run

pytestmark = pytest.mark.any_server

CSV = csv_of(("time", "v"), [("2025-01-01 01:00Z", "a")])
# Of a connection string's own language: keywords, quotes, a URI's delimiters, an address.
FOR_LIBPQ = {
    "keywords": "x host=127.0.0.2 user=postgres",
    "a quoted keyword": "x' host='127.0.0.2",
    "a query": "x?host=127.0.0.2&sslmode=disable#y",
    "userinfo": "x@127.0.0.2:1/y",
    "an equals sign": "host=127.0.0.2",
    "a backslash": "x\\ host=127.0.0.2",
}
ALL = {
    **FOR_LIBPQ,
    **{key: NAMES[key] for key in ("a statement", "placeholders", "braces", "letters", "63 bytes")},
}
# A URI, or a forged line of a log: neither is ever the name of a role or a database.
REFUSED = ["postgresql://postgres@127.0.0.2/x", NAMES["line breaks"], "a\x1b[31m"]
each_name = pytest.mark.parametrize("name", ALL.values(), ids=ALL)
PASSWORD = "only-for-tests"


@pytest.fixture(autouse=True)
def canary(app: App) -> None:
    make_canary(app.database)
    app.database.execute("CREATE TABLE {s}.t (time timestamptz, v text)")


@pytest.fixture
def role(app: App, name: str) -> Iterator[str]:
    """A role of that name that may restore into `t`."""
    database = app.database
    run(database, f"CREATE ROLE {{}} LOGIN PASSWORD '{PASSWORD}'", name)
    try:
        run(database, "GRANT USAGE ON SCHEMA {} TO {}", database.schema, name)
        run(database, "GRANT SELECT, INSERT ON {}.t TO {}", database.schema, name)
        yield name
    finally:
        run(database, "DROP OWNED BY {}", name)
        run(database, "DROP ROLE {}", name)


@pytest.fixture
def other_database(app: App, name: str) -> Iterator[str]:
    """A database of that name, with the table in it."""
    run(app.database, "CREATE DATABASE {} TEMPLATE template0", name)
    pg = app.database.pg
    try:
        with closing(
            psycopg2.connect(host=pg["host"], port=pg["port"], user=pg["user"], password=pg["password"], dbname=name)
        ) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(app.database.schema)))
                cursor.execute(
                    sql.SQL("CREATE TABLE {}.t (time timestamptz, v text)").format(sql.Identifier(app.database.schema))
                )
        yield name
    finally:
        run(app.database, "DROP DATABASE {} WITH (FORCE)", name)


@each_name
def test_a_role(app: App, role: str) -> None:
    pg = app.database.pg | {"user": role, "password": PASSWORD}
    with nothing_else_happens(app.database):
        body = app.restore(app.archive("t", CSV), pg=pg).body
    assert (body["status"], body["rows_loaded"]) == ("ok", 1)
    # It was that role: the error names it.
    error = app.restore(app.archive("t", CSV), pg=pg, destination={"on_existing": "replace"}).body["error"]
    assert error["message"] == f"the role {role} lacks DELETE on {app.database.schema}.t"


@each_name
def test_a_role_in_a_uri(app: App, role: str) -> None:
    pg = app.database.pg
    uri = f"postgresql://{quote(role, safe='')}:{PASSWORD}@{pg['host']}:{pg['port']}/{app.database.name}?sslmode=prefer"
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 05:00Z', 'old')")
    answer = app.restore(app.archive("t", CSV), pg={"connection_uri": uri}, destination={"on_existing": "replace"})
    assert answer.body["error"]["message"] == f"the role {role} lacks DELETE on {app.database.schema}.t"


@each_name
def test_a_role_that_is_not_there(app: App, name: str) -> None:
    answer = app.restore(app.archive("t", CSV), pg=app.database.pg | {"user": name})
    assert (answer.status, answer.code) == (403, "DatabaseAccessDenied")


@each_name
def test_a_database(app: App, other_database: str) -> None:
    with nothing_else_happens(app.database):
        answer = app.restore(app.archive("t", CSV), pg=app.database.pg | {"database": other_database})
    assert (answer.body["status"], answer.body["database"]) == ("ok", other_database), answer.body
    assert run(app.database, "SELECT count(*) FROM {}.t", app.database.schema) == [(0,)]


@each_name
def test_a_database_in_a_uri_and_in_the_path(app: App, other_database: str) -> None:
    pg = app.database.pg
    user = quote(pg["user"]) + (f":{quote(pg['password'], safe='')}" if pg["password"] else "")
    uri = f"postgresql://{user}@{pg['host']}:{pg['port']}/{quote(other_database, safe='')}?sslmode=prefer"
    answer = app.restore(app.archive("t", CSV), pg={"connection_uri": uri})
    if "@" in other_database:
        # It would be the end of a password that was not escaped.
        assert answer.code == "InvalidRequest"
        return
    assert (answer.body["status"], answer.body["database"]) == ("ok", other_database), answer.body
    path = f"backups/{other_database}/{app.database.schema}.t.2025-01-01.csv.gz"
    answer = app.restore(app.storage.url(path), dry_run=True)
    # Nothing is stored there: the path was read, or refused.
    assert answer.code in {"ArchiveNotFound", "InvalidArchiveUrl"}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("field", ["user", "database"])
def test_what_is_not_a_name_at_all(app: App, field: str, name: str) -> None:
    answer = app.restore(app.archive("t", CSV), pg=app.database.pg | {field: name})
    assert (answer.code, answer.body["error"]["details"][0]["target"]) == ("InvalidRequest", f"pg.{field}")
    assert name not in str(answer.body)


@each_name
def test_a_database_that_is_not_there(app: App, name: str) -> None:
    answer = app.restore(app.archive("t", CSV), pg=app.database.pg | {"database": name})
    assert (answer.status, answer.code) == (404, "DatabaseNotFound")
