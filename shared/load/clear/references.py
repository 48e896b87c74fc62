"""What `replace` does to rows that refer to the day's rows by foreign keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from shared.errors import DataRejected, ReferencedRows
from shared.load.refusals import referenced_rows
from shared.load.target.target import Target
from shared.model.results import ReferringRows
from shared.postgres.connect import Cursor
from shared.postgres.savepoint import attempt_in_savepoint
from shared.postgres.sqlstate import violated_constraint
from shared.timescale.references import KeyName, count_changes, count_refusing, find_key, find_references

_FOREIGN_KEY = ("23503", "23001")  # foreign_key_violation; restrict_violation, by RESTRICT from PostgreSQL 18 on


def find_referenced(cursor: Cursor, target: Target) -> tuple[ReferringRows, ...]:
    """Count the rows that would change with the day's rows. For the dry run as well: it only reads.

    Args:
        cursor: in any transaction. The role has the rights that `missing_rights` names.
        target: its window is known.
    """
    if target.window is None:
        return ()
    return count_changes(cursor, target.table, target.window, find_references(cursor, target.table))


def find_refusing(cursor: Cursor, target: Target) -> tuple[ReferringRows, ...]:
    """Count the rows because of which the server may keep the day's rows. Only the DELETE or the COMMIT decides.

    Args:
        cursor: in any transaction. The role can read the tables.
        target: its window is known.
    """
    if target.window is None:
        return ()
    return count_refusing(cursor, target.table, target.window, find_references(cursor, target.table))


def refused_by_server(
    cursor: Cursor,
    day: date,
    target: Target,
    referenced: Sequence[ReferringRows],
    error: DataRejected,
    *,
    at_commit: bool = False,
) -> ReferencedRows | None:
    """Return the error if the server refuses to remove the day's rows; None if its error is about other rows.

    Args:
        cursor: in a transaction in which the day's rows are there, as they were before.
        day: the archive's.
        target: where the rows go.
        referenced: the rows that would change with the day's.
        error: the server's.
        at_commit: the archive's rows had been loaded, so that a constraint of theirs may be at fault.
    """
    violated = violated_constraint(error)
    if violated is None:
        return None
    sqlstate, schema, table, constraint = violated
    key = find_key(cursor, schema, table, constraint) if sqlstate in _FOREIGN_KEY and constraint else None
    if key is not None:
        refused = _refused_by(cursor, day, target, key, sqlstate, at_commit=at_commit)
        if refused is not None:
            return refused
    changed = [rows for rows in referenced if rows.table == (f"{schema}.{table}" if key is None else key.table)]
    if at_commit or not changed:
        return None
    message = f"PostgreSQL does not let {', '.join(map(str, changed))} change: {error.message}"
    return referenced_rows(message, changed, sqlstate=sqlstate, hint="a constraint of that table forbids the change")


def _refused_by(
    cursor: Cursor, day: date, target: Target, key: KeyName, sqlstate: str, *, at_commit: bool
) -> ReferencedRows | None:
    """Return the error of a key that keeps the day's rows; None if this one does not."""
    references, window = find_references(cursor, target.table), target.window
    action = references.refusing_action(key)
    if action is None or window is None:
        return None
    # The role may lack the right to read that table.
    found, _ = attempt_in_savepoint(
        cursor, "referring rows", lambda asking: count_refusing(asking, target.table, window, references, key)
    )
    if at_commit and found == ():
        return None
    refusing = found or (ReferringRows(key.table, key.constraint, action, None),)
    message = f"the server keeps the rows of {day.isoformat()}: {', '.join(map(str, refusing))}"
    return referenced_rows(message, refusing, sqlstate=sqlstate, hint=_KEEPS)


_KEEPS = (
    'remove the rows that refer to the day first: on_referenced "allow" does not override the server. A key that is'
    " DEFERRABLE INITIALLY DEFERRED passes if the archive brings back the rows that it refers to"
)
