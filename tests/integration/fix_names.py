"""Names that try to be something else than a name: quotes, comments, placeholders, braces, line breaks, 63 bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg2 import sql

from tests.integration.fix_app import Answer, App
from tests.integration.fix_database import Database

NAMES = {
    "a statement": '"; DROP TABLE canary; --',
    "a statement in single quotes": "'; DROP TABLE canary; --",
    "the end of a list": "v) SELECT 1; DROP TABLE canary; --",
    "an open comment": "-- /* v",
    "quotes": "a\"b\"\"c'd''e",
    "placeholders": "%s%(x)s",
    "percents": "100%% %d %",
    "braces": "{}{0}{s}{{v{",
    "backslashes": "a\\b\\",
    "an escape": "E'\\047; DROP TABLE canary; --'",
    "dollars": "$$ $1 $x$",
    "line breaks": "a\nb\rc\td",
    "capitals and blanks": " Case ",
    "a keyword": "select",
    "a dot and a cast": "a.b::text",
    "control characters": "\x07\x1b[31m\u202etxet",
    "letters": "Größe 温度 ✓ 🦆",
    "63 bytes": "ü" * 31 + "x",
    "63 bytes that end in a quote": "x" * 62 + '"',
}
each_name = pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
HOW: dict[str, dict[str, str]] = {
    "direct": {},
    "staging": {"mode": "staging"},
    "replace": {"on_existing": "replace"},
}
each_way = pytest.mark.parametrize("way", HOW.values(), ids=HOW)


def quoted(*parts: str) -> str:
    """Write a qualified name as a request does."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def csv_of(header: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> bytes:
    """Write CSV with every field in quotes, so that any name can be in the header."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([*([header] if header else []), *rows])
    return text.getvalue().encode()


def run(database: Database, statement: str, *names: str) -> list[tuple[object, ...]]:
    """Run SQL with names in it; each `{}` is one."""
    with database.connection.cursor() as cursor:
        cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
        return cursor.fetchall() if cursor.description is not None else []


def make_hypertable(database: Database, table: str, time: str, value: str, *more: str) -> None:
    """Make a hypertable with one row of the day; `more` is SQL for further arguments of create_hypertable."""
    run(database, "CREATE TABLE {}.{} ({} timestamptz NOT NULL, {} text)", database.schema, table, time, value)
    with database.connection.cursor() as cursor:
        relation = sql.Literal(sql.Identifier(database.schema, table).as_string(cursor))
        arguments = sql.SQL(", ").join([relation, sql.Literal(time), *map(sql.SQL, more)])
        cursor.execute(sql.SQL("SELECT public.create_hypertable({})").format(arguments))


def values(database: Database, table: str, value: str = "v") -> list[object]:
    """The values of a table, in order."""
    return [row[0] for row in run(database, "SELECT {} FROM {}.{} ORDER BY 1", value, database.schema, table)]


def relations(database: Database) -> set[str]:
    """What the test's schema holds. Chunks are elsewhere."""
    found = database.fetch(
        "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE nspname = %s AND relkind IN ('r', 'p', 'v', 'm')",
        database.schema,
    )
    return {name for (name,) in found}


@contextmanager
def nothing_else_happens(database: Database) -> Iterator[None]:
    """Show that the schema holds what it held, and the canary sings."""
    before = relations(database)
    yield
    assert relations(database) == before
    assert values(database, "canary") == ["alive"]


def make_canary(database: Database) -> None:
    database.execute("CREATE TABLE {s}.canary (v text)")
    database.execute("INSERT INTO {s}.canary VALUES ('alive')")


def loaded(answer: Answer) -> int:
    """How many rows a restore loaded that must succeed."""
    assert (answer.status, answer.body["status"]) == (200, "ok"), answer.body
    return int(answer.body["rows_loaded"])


def send(app: App, data: bytes, **request: Any) -> Answer:
    """Restore a file whose own name is harmless, and see that nothing else happens."""
    with nothing_else_happens(app.database):
        return app.restore(app.archive("t", data), **request)
