"""A table `seen`, into which a trigger on the table `t` notes the session of each load."""

from __future__ import annotations

from typing import Any

from tests.integration.fix_database import Database


def note_sessions(database: Database, when: str, state: str = "NULL", then: str = "") -> None:
    """Note in which session rows come into `t`, and do something in it.

    Args:
        database: has the table.
        when: BEFORE or AFTER the rows.
        state: what is noted of the session, as SQL.
        then: what is done after that, in PL/pgSQL.
    """
    database.execute("CREATE TABLE {s}.seen (number serial, pid int, named text, state text)")
    database.execute(
        "CREATE FUNCTION {s}.look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" INSERT INTO {{s}}.seen (pid, named, state) SELECT pg_backend_pid(),"
        f" current_setting('application_name'), {state};"
        f" {then} RETURN NULL; END $$"
    )
    database.execute(f"CREATE TRIGGER look {when} INSERT ON {{s}}.t FOR EACH STATEMENT EXECUTE FUNCTION {{s}}.look()")


def seen(database: Database, column: str) -> list[Any]:
    """Return what was noted, in its order."""
    return [value for (value,) in database.fetch(f"SELECT {column} FROM {{s}}.seen ORDER BY number")]
