"""Sends each statement with the `search_path` by which its names are looked up.

PostgreSQL takes the operator or function whose arguments match best, from all schemas of the `search_path`; the order
of the schemas decides only between two that match equally
(https://www.postgresql.org/docs/current/typeconv-func.html). `pg_catalog` has no `oid < integer`, for example. So
anyone who may create an operator in a schema of the path could have it run with the rights of this role.

So each statement is sent with its path, in the same message, which costs no extra round trip:

- The product's own statements are about the catalogue. They find names in `pg_catalog` alone. `pg_temp` is last; where
  a path does not name it, tables and types are looked up there first.
- A statement that writes or reads the rows of a user's table may run that user's code: triggers, defaults, checks,
  policies, and functions of indexes, whose bodies even the planner reads. That code finds names as in any other session
  of the role, by the path of the role or database. Such a statement is marked by `by_users_path`. All operators,
  functions and types in it are qualified.
- PostgreSQL writes expressions for a reader whose path begins with `pg_catalog`. Where such a text becomes part of a
  statement that runs a user's code, it is marked by `after_catalog`.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TypeAlias

from psycopg2 import sql
from typing_extensions import LiteralString

Statement: TypeAlias = "LiteralString | sql.Composable"

OWN_PATH: LiteralString = "pg_catalog, pg_temp"
# Takes no snapshot, as all SETs.
_SET_OWN: LiteralString = f"SET LOCAL search_path = {OWN_PATH}; "
SET_USERS: LiteralString = "SET LOCAL search_path TO DEFAULT"
_SET_AFTER_CATALOG: LiteralString = (
    f"{SET_USERS}; SELECT pg_catalog.set_config('search_path', pg_catalog.rtrim(pg_catalog.concat('pg_catalog, ',"
    " pg_catalog.current_setting('search_path')), ', '), true); "
)

# They look up no name, and must be the only statement of their message.
_CONTROL = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "DISCARD")


class UsersStatement(sql.Composed):
    """A statement that may run a user's code.

    Attributes:
        set_path: what sets its path in a transaction.
    """

    set_path: LiteralString = f"{SET_USERS}; "


class _AfterCatalog(UsersStatement):
    set_path = _SET_AFTER_CATALOG


def by_users_path(statement: Statement) -> UsersStatement:
    """Mark a statement that may run a user's code. Outside a transaction it is sent as it is."""
    return UsersStatement([_composable(statement)])


def after_catalog(statement: Statement) -> UsersStatement:
    """Mark a statement with expressions or types that PostgreSQL wrote, which may run a user's code. In a transaction.

    A name that is not qualified is one of `pg_catalog`, unless another one of the path matches better.
    """
    return _AfterCatalog([_composable(statement)])


def with_path(statement: Statement, *, in_transaction: bool) -> Statement:
    """Return what is sent for a statement.

    Args:
        statement: the product's own one, or a marked one.
        in_transaction: whether a transaction is open. If not, the statements of the message are one.
    """
    if isinstance(statement, UsersStatement):
        return sql.SQL(statement.set_path) + statement if in_transaction else statement
    if isinstance(statement, str):
        return statement if statement.startswith(_CONTROL) else _SET_OWN + statement
    return sql.SQL(_SET_OWN) + statement


def literal(value: object) -> sql.Composable:
    """Write a value for a statement that is marked by `by_users_path`: psycopg2 does not qualify the types of times."""
    if isinstance(value, datetime):
        type_ = sql.SQL("timestamp with time zone" if value.tzinfo else "timestamp without time zone")
    elif isinstance(value, date):
        type_ = sql.SQL("pg_catalog.date")
    else:
        return sql.Literal(value)
    return sql.SQL("{}::{}").format(sql.Literal(value.isoformat()), type_)


def _composable(statement: Statement) -> sql.Composable:
    return sql.SQL(statement) if isinstance(statement, str) else statement
