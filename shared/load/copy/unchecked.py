"""Refuses the rows that a COPY into the target has let in, and that INSERT would have refused.

The COPY itself names no line of them. So the file is copied once more, into a temporary table that has the target's
constraints. It is a plain one, where COPY checks them, and its error names the line.
"""

from __future__ import annotations

from dataclasses import replace

from psycopg2 import sql

from shared.load.copy.staging import create_staging, staging_name
from shared.load.copy.text import copy_into
from shared.load.day import Day
from shared.load.plan import TargetChanged
from shared.load.target.target import Target
from shared.postgres.connect import Cursor
from shared.postgres.savepoint import savepoint
from shared.postgres.search_path import by_users_path
from shared.postgres.sqlstate import error_for_sqlstate, translated
from shared.timescale.chunks import chunk_oid, written_chunks
from shared.timescale.unchecked import Violation, ask_domains_for_null, find_violation, may_leave_checks_out

_NOT_NULL_VIOLATION, _CHECK_VIOLATION = "23502", "23514"


def refuse_unchecked(cursor: Cursor, day: Day, target: Target) -> None:
    """Refuse rows that break a constraint which COPY does not check.

    Args:
        cursor: in the load's transaction, outside savepoints. COPY has taken at least one row.
        day: what was copied.
        target: where the rows are.

    Raises:
        DataRejected: there are some. The detail holds the line, where the file itself is wrong.
        TargetChanged: another transaction has made a chunk since, and its constraints cannot be seen.
    """
    if target.columns.defaulted:
        with translated():
            ask_domains_for_null(cursor, target.table, target.columns.defaulted)
    if not may_leave_checks_out(cursor, target.table):
        return
    for chunk in written_chunks(cursor, target.table):
        if chunk_oid(cursor, chunk) is None:
            raise TargetChanged
        violation = find_violation(cursor, chunk)
        if violation is not None:
            _name_the_line(cursor, day, target)
            _refuse(violation)


def _name_the_line(cursor: Cursor, day: Day, target: Target) -> None:
    """Let PostgreSQL refuse the row, with its line. Return where it does not: a trigger has changed the row."""
    table, options = target.table, day.request.copy_.csv_options
    temporary = sql.Identifier("pg_temp", staging_name(day.token))
    generated = [column.name for column in table.columns if column.is_generated]
    with savepoint(cursor, "table to name a line") as step:
        statement = create_staging(temporary, table.identifier, generated=generated, added={}, kind="TEMPORARY")
        cursor.execute(by_users_path(statement))
    if step.error is None:
        with day.csv.open() as reader:
            errors = replace(day.row_errors, shown_as=table.name)
            copy_into(cursor, temporary, target.columns.loaded, options, reader, errors=errors)


def _refuse(violation: Violation) -> None:
    if violation.column is not None:
        message = f'{violation.rows} rows have a null in the NOT NULL column "{violation.column}"'
        error = error_for_sqlstate(_NOT_NULL_VIOLATION, message, {"column": violation.column})
    else:
        message = f'{violation.rows} rows violate the check constraint "{violation.constraint}" of their chunk'
        error = error_for_sqlstate(_CHECK_VIOLATION, message, {"constraint": violation.constraint})
    error.hint = (
        "look for a BEFORE trigger that changes the rows; INSERT refuses them, and TimescaleDB's COPY stores them where"
        " queries may not find them"
    )
    raise error
