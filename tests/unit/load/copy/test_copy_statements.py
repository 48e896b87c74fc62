"""The statements as PostgreSQL would read them: their tokens, and that no name or value is anything but itself."""

from __future__ import annotations

from psycopg2 import sql

from shared.csvfile.options import CsvOptions
from shared.load.copy.staging import create_staging, insert_from_staging
from shared.load.copy.text import copy_statement


def names(statement: sql.Composable) -> list[tuple[str, ...]]:
    """List the identifiers of a statement."""
    if isinstance(statement, sql.Composed):
        return [name for part in statement for name in names(part)]
    return [statement.strings] if isinstance(statement, sql.Identifier) else []


def literals(statement: sql.Composable) -> list[object]:
    """List the values of a statement."""
    if isinstance(statement, sql.Composed):
        return [value for part in statement for value in literals(part)]
    return [statement.wrapped] if isinstance(statement, sql.Literal) else []


def text(statement: sql.Composable) -> str:
    """Return the constant text of a statement, identifiers and values left out."""
    if isinstance(statement, sql.Composed):
        return "".join(text(part) for part in statement)
    return statement.string if isinstance(statement, sql.SQL) else "?"


HOSTILE = '"; DROP TABLE x; --'


def test_the_users_minimal_options_make_valid_sql() -> None:
    statement = copy_statement(sql.Identifier("s", "t"), ["a"], CsvOptions(null="", delimiter=","))
    assert text(statement) == (
        "COPY ? (?) FROM STDIN WITH (FORMAT csv, HEADER true, DELIMITER ?, NULL ?, QUOTE ?, ESCAPE ?, ENCODING ?)"
    )
    assert literals(statement) == [",", "", '"', '"', "UTF8"]


def test_names_and_values_never_become_text() -> None:
    options = CsvOptions(null=HOSTILE.replace('"', ""), force_null=(HOSTILE,), default="d", header=False)
    statement = copy_statement(sql.Identifier(HOSTILE, HOSTILE), [HOSTILE], options)
    assert "DROP" not in text(statement)
    assert names(statement) == [(HOSTILE, HOSTILE), (HOSTILE,), (HOSTILE,)]
    table = sql.Identifier(HOSTILE)
    assert "DROP TABLE x" not in text(create_staging(table, table, generated=[HOSTILE], added={HOSTILE: "text"}))
    assert "DROP" not in text(insert_from_staging(table, table, [HOSTILE]))


def test_forced_columns_follow_their_staged_names() -> None:
    options = CsvOptions(force_null=("a",), force_not_null=("*",))
    statement = copy_statement(sql.Identifier("t"), ["x_1", "b"], options, {"a": "x_1"})
    assert names(statement)[3:] == [("x_1",), ("x_1",), ("b",)]
