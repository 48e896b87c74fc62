"""Adds to an error what the caller would otherwise have to look up. Asks the server after the transaction has ended.

It adds only what the role can see. If a query fails, the error stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from difflib import SequenceMatcher

import psycopg2

from shared.errors import DatabaseReadOnly, RestoreError, TableNotFound, TargetLocked
from shared.load.inspect.acceptance import look_at_server
from shared.load.locks.restore_lock import lock_session_name
from shared.model.request import RestoreRequest
from shared.names import QualifiedName
from shared.postgres.connect import Connection, Cursor, session_name
from shared.postgres.lock_holders import find_lock_holders
from shared.postgres.sqlstate import sqlstate_of, translated
from shared.postgres.table_names import tables_to_see
from shared.postgres.timeouts import SessionSettings
from shared.postgres.transaction import transaction
from shared.restore.access import INTERNAL_SCHEMAS
from shared.settings import Settings

# How long a query may take, and wait for a lock of the catalogue. A late error is worse than one without its result.
_SECONDS = 5
_MOST_TABLES = 1000
_MOST_NAMED = 3
# How similar two names must be.
_LIKENESS = 0.6

_LOCK_NOT_AVAILABLE = "55P03"


@contextmanager
def explained(connection: Connection, request: RestoreRequest, settings: Settings, request_id: str) -> Iterator[None]:
    """Let an error of the body say more.

    Args:
        connection: is in autocommit again when the body has ended.
        request: what is restored.
        settings: say which tables may be named to the caller.
        request_id: names the restore's own sessions.

    Raises:
        RestoreError: the body's.
    """
    try:
        with translated():
            yield
    except (DatabaseReadOnly, TableNotFound, TargetLocked) as error:
        better: RestoreError | None = None
        # A closed connection answers with an error as well.
        session_settings = SessionSettings(_SECONDS, _SECONDS)
        with (
            suppress(psycopg2.Error, RestoreError),
            transaction(connection, "READ COMMITTED", session_settings) as asking,
        ):
            better = _explain(asking.cursor, error, request, settings, request_id)
        if better is not None:
            raise better from error
        raise


def _explain(
    cursor: Cursor, error: RestoreError, request: RestoreRequest, settings: Settings, request_id: str
) -> RestoreError | None:
    """Add to an error, or return the one that replaces it."""
    if isinstance(error, DatabaseReadOnly) and sqlstate_of(error) is not None:
        # The server has turned read-only since the load checked.
        return look_at_server(cursor)
    if sqlstate_of(error) == _LOCK_NOT_AVAILABLE:
        own = (session_name(request_id), lock_session_name(request_id))
        holders = find_lock_holders(cursor, request.target_table, own=own, most=_MOST_NAMED)
        if holders:
            error.message += f"; locks on {request.target_table} are held by {', '.join(holders)}"
    elif isinstance(error, TableNotFound) and not error.details:
        is_like = error.target == "destination.create_staging_like"
        wanted = request.staging_like if is_like else request.target_table
        known = tables_to_see(cursor, wanted, without_schemas=INTERNAL_SCHEMAS, most=_MOST_TABLES)
        near = nearest(wanted, [name for name in known if settings.allows(name)])
        if near:
            error.message += f"; did you mean {' or '.join(map(str, near))}?"
    return None


def nearest(wanted: QualifiedName, names: Sequence[QualifiedName]) -> list[QualifiedName]:
    """Return at most three names like the wanted one, the nearest first.

    The schema must be alike, too, unless the name of the table differs only in case.
    """
    found = []
    for name in names:
        alike, schemas_alike = _likeness(wanted.name, name.name), _likeness(wanted.schema or "", name.schema or "")
        if alike == 1 or (alike >= _LIKENESS and schemas_alike >= _LIKENESS):
            found.append((-alike - schemas_alike, str(name), name))
    return [name for _, _, name in sorted(found, key=lambda one: one[:2])[:_MOST_NAMED]]


def _likeness(wanted: str, name: str) -> float:
    """Return how much of two names is the same, from 0 to 1, whatever the case."""
    matcher = SequenceMatcher(None, wanted.lower(), name.lower())
    # The second one is quick, and never smaller than the real one.
    return matcher.ratio() if matcher.quick_ratio() >= _LIKENESS else 0.0
