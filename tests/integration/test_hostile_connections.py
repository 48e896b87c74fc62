"""Hostile names of roles and databases: libpq is given them as values, and never as a text to be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from urllib.parse import quote

import psycopg2
import pytest
from psycopg2 import sql

from tests.integration.fix_names import NAMES, csv_of, make_canary, nothing_else_happens, run
from tests.integration.fix_site import Site

# The names of roles and databases are the whole server's: no two tests may have one at once.
pytestmark = [pytest.mark.any_server, pytest.mark.xdist_group("names of a server")]

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
def canary(site: Site) -> None:
    make_canary(site.database)
    site.database.execute("CREATE TABLE {s}.t (time timestamptz, v text)")


@pytest.fixture
def role(site: Site, name: str) -> Iterator[str]:
    """A role of that name that may restore into `t`."""
    database = site.database
    run(database, f"CREATE ROLE {{}} LOGIN PASSWORD '{PASSWORD}'", name)
    try:
        run(database, "GRANT USAGE ON SCHEMA {} TO {}", database.schema, name)
        run(database, "GRANT SELECT, INSERT ON {}.t TO {}", database.schema, name)
        yield name
    finally:
        run(database, "DROP OWNED BY {}", name)
        run(database, "DROP ROLE {}", name)


@pytest.fixture
def other_database(site: Site, name: str) -> Iterator[str]:
    """A database of that name, with the table in it."""
    run(site.database, "CREATE DATABASE {} TEMPLATE template0", name)
    pg = site.database.pg
    try:
        with closing(
            psycopg2.connect(host=pg["host"], port=pg["port"], user=pg["user"], password=pg["password"], dbname=name)
        ) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(site.database.schema)))
                cursor.execute(
                    sql.SQL("CREATE TABLE {}.t (time timestamptz, v text)").format(sql.Identifier(site.database.schema))
                )
        yield name
    finally:
        run(site.database, "DROP DATABASE {} WITH (FORCE)", name)


@each_name
def test_a_role(site: Site, role: str) -> None:
    pg = site.database.pg | {"user": role, "password": PASSWORD}
    with nothing_else_happens(site.database):
        body = site.restore(site.archive("t", CSV), pg=pg).body
    assert (body["status"], body["rows_loaded"]) == ("ok", 1)
    # It was that role: what it lacks is told by its name.
    error = site.restore(site.archive("t", CSV), pg=pg, destination={"on_existing": "replace"}).body["error"]
    assert error["message"] == f"the role {role} lacks DELETE on {site.database.schema}.t"


@each_name
def test_a_role_in_a_uri(site: Site, role: str) -> None:
    pg = site.database.pg
    uri = (
        f"postgresql://{quote(role, safe='')}:{PASSWORD}@{pg['host']}:{pg['port']}/{site.database.name}?sslmode=prefer"
    )
    site.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 05:00Z', 'old')")
    answer = site.restore(site.archive("t", CSV), pg={"connection_uri": uri}, destination={"on_existing": "replace"})
    assert answer.body["error"]["message"] == f"the role {role} lacks DELETE on {site.database.schema}.t"


@each_name
def test_a_role_that_is_not_there(site: Site, name: str) -> None:
    answer = site.restore(site.archive("t", CSV), pg=site.database.pg | {"user": name})
    assert (answer.status, answer.code) == (403, "DatabaseAccessDenied")


@each_name
def test_a_database(site: Site, other_database: str) -> None:
    with nothing_else_happens(site.database):
        answer = site.restore(site.archive("t", CSV), pg=site.database.pg | {"database": other_database})
    assert (answer.body["status"], answer.body["database"]) == ("ok", other_database), answer.body
    assert run(site.database, "SELECT count(*) FROM {}.t", site.database.schema) == [(0,)]


@each_name
def test_a_database_in_a_uri_and_in_the_path(site: Site, other_database: str) -> None:
    pg = site.database.pg
    user = quote(pg["user"]) + (f":{quote(pg['password'], safe='')}" if pg["password"] else "")
    uri = f"postgresql://{user}@{pg['host']}:{pg['port']}/{quote(other_database, safe='')}?sslmode=prefer"
    answer = site.restore(site.archive("t", CSV), pg={"connection_uri": uri})
    if "@" in other_database:
        # It would be the end of a password that was not escaped.
        assert answer.code == "InvalidRequest"
        return
    assert (answer.body["status"], answer.body["database"]) == ("ok", other_database), answer.body
    path = f"backups/{other_database}/{site.database.schema}.t.2025-01-01.csv.gz"
    answer = site.restore(site.storage.url(path), dry_run=True)
    # Nothing is stored there: the path was read, or refused.
    assert answer.code in {"ArchiveNotFound", "InvalidArchiveUrl"}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("field", ["user", "database"])
def test_what_is_no_name_at_all(site: Site, field: str, name: str) -> None:
    answer = site.restore(site.archive("t", CSV), pg=site.database.pg | {field: name})
    assert (answer.code, answer.body["error"]["details"][0]["target"]) == ("InvalidRequest", f"pg.{field}")
    assert name not in str(answer.body)


@each_name
def test_a_database_that_is_not_there(site: Site, name: str) -> None:
    answer = site.restore(site.archive("t", CSV), pg=site.database.pg | {"database": name})
    assert (answer.status, answer.code) == (404, "DatabaseNotFound")
