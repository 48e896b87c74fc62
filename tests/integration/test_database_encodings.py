"""Databases in other encodings than UTF-8: what they hold is stored, and what they cannot hold is named."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import psycopg2
import pytest

from tests.integration.fix_app import Answer, App
from tests.integration.fix_database import Database

WAYS = pytest.mark.parametrize(("mode", "format_"), [("direct", "text"), ("direct", "binary"), ("staging", "text")])


@contextmanager
def in_database_of(app: App, encoding: str) -> Iterator[App]:
    """Make a database in an encoding, with a table of text."""
    name = f"restore_test_{uuid.uuid4().hex[:12]}"
    app.database.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    try:
        with closing(psycopg2.connect(os.environ["RESTORE_TEST_DSN"], dbname=name)) as connection:
            connection.autocommit = True
            connection.set_client_encoding("UTF8")
            own = replace(app, database=Database(connection, name, "silver"))
            own.database.execute("CREATE SCHEMA {s}")
            own.database.execute("CREATE TABLE {s}.t (ts timestamptz, v text)")
            yield own
    finally:
        app.database.execute(f"DROP DATABASE {name} WITH (FORCE)")


def load(app: App, value: bytes, mode: str, format_: str, encoding: str = "UTF8") -> Answer:
    copy = {"format": format_, "csv_options": {"ENCODING": encoding}}
    return app.restore(
        app.archive("t", b"ts,v\n2025-01-01 01:00:00+00," + value + b"\n"), destination={"mode": mode}, copy=copy
    )


@WAYS
@pytest.mark.parametrize(
    ("encoding", "text"),
    [("LATIN1", "é"), ("LATIN9", "€œ"), ("WIN1252", "€œ"), ("EUC_JP", "日本"), ("KOI8R", "яж"), ("SQL_ASCII", "日é")],
)
def test_what_the_database_can_hold_is_stored(app: App, encoding: str, text: str, mode: str, format_: str) -> None:
    with in_database_of(app, encoding) as own:
        assert load(own, text.encode(), mode, format_).status == 200
        # Bytes, since psycopg2 takes SQL_ASCII for ASCII.
        assert own.database.value("SELECT encode(textsend(v), 'hex') FROM {s}.t") == text.encode().hex()


@WAYS
@pytest.mark.parametrize(("encoding", "text"), [("LATIN1", "€"), ("LATIN9", "日"), ("WIN1252", "я"), ("EUC_JP", "😀")])
def test_what_the_database_cannot_hold_names_its_encoding(
    app: App, encoding: str, text: str, mode: str, format_: str
) -> None:
    with in_database_of(app, encoding) as own:
        answer = load(own, text.encode(), mode, format_)
        assert (answer.status, answer.code) == (422, "DataRejected")
        assert f"the database is in {encoding}" in answer.body["error"]["hint"]
        assert own.database.value("SELECT count(*) FROM {s}.t") == 0


@WAYS
@pytest.mark.parametrize(("encoding", "of_file"), [("LATIN9", "WIN1252"), ("WIN1252", "LATIN1"), ("KOI8R", "LATIN1")])
def test_an_encoding_that_the_server_does_not_convert_is_named(
    app: App, encoding: str, of_file: str, mode: str, format_: str
) -> None:
    with in_database_of(app, encoding) as own:
        answer = load(own, b"x\xe9", mode, format_, of_file)
        assert (answer.status, answer.code) == (400, "CsvOptionRejected")
        error = answer.body["error"]
        assert error["target"] == "copy.csv_options.ENCODING"
        assert f"{of_file} to {encoding}" in error["message"]
        assert own.database.value("SELECT count(*) FROM {s}.t") == 0
