"""The one way from a text to SQL. `tools/sql_types.py`, a part of `make lint`, refuses every other."""

from __future__ import annotations

from psycopg2 import sql


def trusted_sql(text: str) -> sql.SQL:
    """Take a text for SQL. Only for what PostgreSQL itself wrote as SQL, with its names quoted."""
    return sql.SQL(text)  # pyright: ignore[reportArgumentType]
